"""What is done with layers. A piece of work has `prepare` and `step` for the two programs, and where the floor knows it
`prepare_floor` and `step_floor`; only what a step returns counts, not what it does to clean up."""

import json
import os
import shutil

from lock import until_free
from programs import total


class Import:
    """Import of a layer."""

    def __init__(self, archive, form="tar"):
        self.archive, self.form = archive, form

    @property
    def file(self):
        return self.archive.file(self.form)

    def prepare(self, program):
        pass

    def step(self, program):
        layer = program.fresh_id()
        spent = program.run("import-layer", "-r", "-i", layer, "-f", self.file)
        program.run("delete-layer", layer)
        return spent

    def prepare_floor(self, floor):
        pass

    def step_floor(self, floor):
        folder = floor.fresh_folder()
        spent = floor.run("import", folder, self.file)
        shutil.rmtree(folder)
        return spent


class Export(Import):
    """Export of a layer that was imported: -u uncompressed, -c as gzip."""

    def __init__(self, archive, flag):
        super().__init__(archive)
        self.flag = flag
        if flag != "-u":
            self.step_floor = None  # what gzip costs depends on how well one packs

    def prepare(self, program):
        program.run("import-layer", "-r", "-i", program.fresh_id(), "-f", self.file)

    def step(self, program):
        return program.run("diff", self.flag, f"{program.serial:064x}", sink=program.sink)

    def prepare_floor(self, floor):
        self.tree = floor.fresh_folder()
        floor.run("import", self.tree, self.file)

    def step_floor(self, floor):
        return floor.run("export-tree", self.tree, sink=floor.sink)


class Delete(Import):
    """Deletion of a layer, to the last file; the floor's with that many threads."""

    def __init__(self, archive, threads):
        super().__init__(archive)
        self.threads = threads

    def step(self, program):
        layer = program.fresh_id()
        program.run("import-layer", "-r", "-i", layer, "-f", self.file)
        return program.run("delete-layer", layer)

    def step_floor(self, floor):
        folder = floor.fresh_folder()
        floor.run("import", folder, self.file)
        return floor.run("delete-tree", folder, str(self.threads))


class DeleteUntilFree(Import):
    """From the start of a deletion until another process has the lock and the layer is gone; with `whole`, for the
    program of that name until it has ended."""

    step_floor = None

    def __init__(self, archive, whole=None):
        super().__init__(archive)
        self.whole = whole

    def step(self, program):
        layer = program.fresh_id()
        program.run("import-layer", "-r", "-i", layer, "-f", self.file)
        if program.name == self.whole:
            return program.run("delete-layer", layer)
        return until_free(program, "delete-layer", layer)


def many_records(first, count):
    return [first | {"id": f"{n:064x}", "names": [f"layer-{n}"]} for n in range(1, count + 1)]


class AmongMany:
    """Commands in a store whose list has that many layers; `floor` are those of the floor."""

    def __init__(self, layers, commands, floor):
        self.layers, self.commands, self.floor = layers, commands, floor

    def prepare(self, program):
        program.run("create-layer", "-i", program.fresh_id())
        # One process for each layer would take minutes; the others only need to be in the list.
        with open(program.layers_file("layers.json"), encoding="utf-8") as file:
            first = json.load(file)[0]
        with open(program.layers_file("layers.json"), "w", encoding="utf-8") as file:
            json.dump(many_records(first, self.layers), file)
        program.serial = self.layers

    def step(self, program):
        layer = program.fresh_id()
        return total([program.run(*(word.format(new=layer) for word in words)) for words in self.commands])

    def prepare_floor(self, floor):
        self.store = make_floor_store(floor, self.layers)

    def step_floor(self, floor):
        return total([floor.run(command, self.store, *more) for command, *more in self.floor])


def make_floor_store(floor, layers):
    """A store for the floor, with a list of that many layers."""
    store = floor.fresh_folder()
    os.makedirs(store + "/overlay/l")
    first = {"created": "2026-01-02T03:04:05.678901234Z", "compression": 0}
    for name, records in (("layers", many_records(first, layers)), ("containers", []), ("mountpoints", [])):
        with open(f"{store}/{name}.json", "w", encoding="utf-8") as file:
            json.dump(records, file)
    return store
