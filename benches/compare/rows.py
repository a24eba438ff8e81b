"""The lines of the table, and their targets."""

import os
import shutil

import data
from containers import Containers, Load
from in_process import ALONE, AMONG_MANY, METACOPY, OF_CHAINS, OF_TREES, WITH_METACOPY, InProcess
from layers import AmongMany, Delete, DeleteUntilFree, Export, Import
from report import Row

FLOOR = 2.0  # no import slower than twice the floor
# How the files of the image are spread over its eight layers, in percent: few layers are alike.
SHARES = (40, 20, 12, 10, 8, 5, 3, 2)


class Archive:
    """A layer in its forms, each made when it is asked for."""

    def __init__(self, folder, name, files):
        self.plain, self.files = os.path.join(folder, name + ".tar"), files

    def file(self, form):
        path = self.plain.removesuffix("tar") + form
        if not os.path.exists(self.plain):
            data.in_child(data.write_tar, self.plain, self.files)
        if not os.path.exists(path):
            data.in_child(data.compress, self.plain, form)
        return path

    def drop(self):
        for form in data.FORMS:
            path = self.plain.removesuffix("tar") + form
            if os.path.exists(path):
                os.remove(path)


class Layout:
    """An image in an OCI layout, made when it is asked for."""

    def __init__(self, folder, name, layers, form):
        self.folder, self.layers, self.form = os.path.join(folder, name), layers, form

    def path(self):
        if not os.path.exists(self.folder):
            data.in_child(data.write_layout, self.folder, self.layers, self.form)
        return self.folder

    def drop(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def space(options):
    """Bytes that the largest line of the table needs for its stores."""
    content = max(options.files * 13_000, options.large * options.large_size << 20)
    return 3 * content + (64 << 20)


def image_layers(options):
    layers, first = [], 0
    for number, share in enumerate(SHARES):
        count = options.files * share // 100
        large = (options.extra << 20) * share // 100
        layers.append(data.small_files(count, first) + data.large_files(1, large, number))
        first += count
    return layers


def busy_layout(options, folder):
    """The image whose load keeps the machine busy."""
    layers = [data.large_files(4, (options.busy << 20) // 32, number * 4) for number in range(8)]
    return Layout(folder, "busy", layers, "tar.zst")


def table(options, folder):
    label = f"{options.files:,} small files"
    small = Archive(folder, "small", data.small_files(options.files))
    for form in ("tar.gz", "tar.zst", "tar"):
        yield Row(f"import {form}, {label}", Import(small, form), 0.35, 0.40, FLOOR)
    yield Row(f"export tar, {label}", Export(small, "-u"), 0.40, 0.50)
    yield Row(f"export tar.gz, {label}", Export(small, "-c"))
    yield Row(f"delete, {label}", Delete(small, 2))
    yield Row("  beside a floor of one thread", Delete(small, 1))
    # Go deletes after the lock, too: the target is a share of its whole deletion.
    yield Row("  until the lock is free", DeleteUntilFree(small))
    yield Row("  until that, beside all of Go's", DeleteUntilFree(small, whole="go"), 0.05)
    small.drop()

    label = f"{options.large} large files"
    large = Archive(folder, "large", data.large_files(options.large, options.large_size << 20))
    yield Row(f"import tar.gz, {label}", Import(large, "tar.gz"), 0.45, 0.55, FLOOR)
    yield Row(f"import tar.zst, {label}", Import(large, "tar.zst"), floor=FLOOR)
    yield Row(f"import tar, {label}", Import(large, "tar"), 0.45, 0.55, FLOOR)
    yield Row(f"export tar, {label}", Export(large, "-u"))
    yield Row(f"export tar.gz, {label}", Export(large, "-c"))
    large.drop()

    yield Row("container cycle, ten layers", Containers(), 0.50, 0.50)
    count = options.layers
    listing, changing = (("list",),), (("create-layer", "new", "0"), ("delete-layer", "new"))
    yield Row(f"list {count:,} layers", AmongMany(count, (("layers",),), listing), 0.30)
    yield Row(f"look up one of {count:,} layers",
              AmongMany(count, (("layer", f"layer-{count - 1}"),), listing), 0.30)
    yield Row(f"create, delete among {count:,} layers", AmongMany(
        count, (("create-layer", "-i", "{new}"), ("delete-layer", "{new}")), changing), 0.50)
    image = Layout(folder, "image", image_layers(options), "tar.gz")
    yield Row("load an image of eight layers", Load(image), 0.30)
    image.drop()


def in_process(options, folder):
    archive = Archive(folder, "few", data.small_files(max(options.files // 20, 10)))
    for operation in ALONE:
        yield Row(operation, InProcess(operation, options, archive, 1))
    for operation in AMONG_MANY:
        yield Row(f"{operation} among {options.layers:,}", InProcess(operation, options, archive, options.layers))
    for operation, most in OF_CHAINS:
        yield Row(f"overlay: {operation}", InProcess(operation, options, archive, 1), most)
    archive.drop()
    archive = Archive(folder, "image", data.small_files(options.files))
    for operation in WITH_METACOPY:
        # Go looks at the layer's own content alone for its size, and so at less than will be in the diff.
        most = None if operation.startswith("size") else 0.03
        yield Row(f"overlay: {operation}, metacopy", InProcess(operation, options, archive, 1, METACOPY), most)
    for operation, most in OF_TREES:
        yield Row(f"overlay: {operation}", InProcess(operation, options, archive, 1), most)
    archive.drop()
