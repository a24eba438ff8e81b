"""What is done with containers and images; as in layers.py."""

import shutil

from data import layer_blobs
from layers import make_floor_store
from programs import total

IMAGE = "f" * 64
PARENTS = 10


class Containers:
    """Create, mount, unmount and delete a container on an image of ten layers: four commands."""

    def prepare(self, program):
        layer = ""
        for _ in range(PARENTS):
            parent, layer = layer, program.fresh_id()
            program.run("create-layer", "-r", "-i", layer, *([parent] if parent else []))
        program.run("create-image", "-i", IMAGE, layer)

    def step(self, program):
        return total([program.run("create-container", "-n", "cycle", IMAGE),
                      program.run("mount", "cycle"),
                      program.run("unmount", "cycle"),
                      program.run("delete-container", "cycle")])

    def prepare_floor(self, floor):
        self.store = make_floor_store(floor, PARENTS)
        for layer in range(1, PARENTS + 1):
            floor.run("create-layer", self.store, str(layer), "0")

    def step_floor(self, floor):
        return total([floor.run("create-container", self.store, "cycle", str(PARENTS)),
                      floor.run("mount", self.store, "cycle"),
                      floor.run("unmount", self.store, "cycle"),
                      floor.run("delete-container", self.store, "cycle")])


class Load:
    """Load of an image from an OCI layout; the floor unpacks its layers, all at once."""

    def __init__(self, layout):
        self.layout = layout

    def prepare(self, program):
        pass

    def step(self, program):
        spent = program.load(self.layout.path())
        program.run("delete-image", "localhost/bench:1")
        return spent

    def prepare_floor(self, floor):
        pass

    def step_floor(self, floor):
        folder = floor.fresh_folder()
        spent = floor.run("load", folder, *layer_blobs(self.layout.path()))
        shutil.rmtree(folder)
        return spent
