"""The same operations in one process of each library, so that the start of a process decides nothing."""

from layers import AmongMany
from programs import Spent, measured

ALONE = ("create, delete layer", "import, delete tar", "export tar", "mount, unmount", "create, delete container")
# What the driver alone does, with how much of Go's time it may take.
OF_CHAINS = (("get, put of 10 layers", 1.0), ("get, put of 400 layers", 0.50))
OF_TREES = (("change owners", 0.40), ("changes over the base", 0.40), ("changes over another layer", 0.40))
# What is told of a container whose upper has redirects and files without data.
METACOPY = "overlay.mountopt=metacopy=on,redirect_dir=on"
WITH_METACOPY = ("diff of a container", "changes of a container", "size of a container")
AMONG_MANY = ("list layers", "look up layer", "create, delete layer")


class InProcess:
    """An operation again and again in one process, in a store of that many layers; a step is the mean of them, without what
    the process does beforehand: it opens the store, and may import a layer."""

    step_floor = None

    def __init__(self, operation, options, archive, layers, driver_option=None):
        self.operation, self.options, self.archive, self.layers = operation, options, archive, layers
        self.driver_option = driver_option

    def prepare(self, program):
        if self.layers > 1:
            AmongMany(self.layers, (), ()).prepare(program)

    def step(self, program):
        path = {"orlop": self.options.in_process, "go": self.options.go_in_process}[program.name]
        spent = measured([path, program.graph, program.run_root, self.driver_option or f"overlay.sync={program.sync}",
                          self.archive.file("tar"), str(self.options.in_process_seconds), self.operation],
                         sink=program.sink)
        with open(program.sink, encoding="utf-8") as file:
            wall, cpu, _ = file.read().split()
        return Spent(float(wall), float(cpu), spent.peak)
