"""Stores of other versions of the Go library: used, changed and handed back; and a garbage collection beside a load."""

import io
import os
import subprocess
import tarfile
import threading
import time

import fixtures
from harness import Skip, check, equal, same_mapping, test
from stores import Store, tree

# What each version is run as; the reference is of 1.64, Debian's of 1.43.
VERSIONS = ("1.24", "1.43", "1.53", "1.64")


def _program(area, version):
    if version == "1.64":
        return area.options.reference
    if version == "1.43":
        if subprocess.run(["sh", "-c", "command -v containers-storage"], capture_output=True, check=False).returncode:
            raise Skip("containers-storage is not installed")
        return "containers-storage"
    path = os.path.join(area.options.older, f"containers-storage-{version}")
    if not os.access(path, os.X_OK):
        raise Skip(f"{path} is missing; run 'make reference'")
    return path


def _tar(*members):
    """A tar of directories (names that end in /) and files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mtime = 1_000_000_000
            if name.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            else:
                member.size, member.mode = len(content), 0o640
                archive.addfile(member, io.BytesIO(content.encode()))
    return out.getvalue()


LAYERS = (
    _tar(("etc/", ""), ("etc/kept", "kept"), ("etc/changed", "old"), ("etc/gone", "gone"),
         ("replaced/", ""), ("replaced/before", "b"), ("tree/", ""), ("tree/deep/", ""), ("tree/deep/f", "f")),
    _tar(("etc/", ""), ("etc/changed", "new"), ("etc/.wh.gone", ""),
         ("replaced/", ""), ("replaced/.wh..wh..opq", ""), ("replaced/after", "a")),
    _tar(("tree/", ""), ("tree/.wh.deep", ""), ("top", "top")),
)
SEEN = {"etc/kept": "kept", "etc/changed": "new", "replaced/after": "a", "top": "top"}
NOT_SEEN = ("etc/gone", "replaced/before", "tree/deep")


def _ids(prefix):
    return [f"{prefix}{number}".ljust(64, "0") for number in range(len(LAYERS))]


def _make(area, run, prefix):
    """Three layers, an image and a changed container, by one program."""
    parent = []
    for layer, data in zip(_ids(prefix), LAYERS):
        run("import-layer", "-r", "-i", layer, "-f", area.write(f"{layer}.tar", data), *parent)
        parent = [layer]
    image, container = f"image-{prefix}", f"ctr-{prefix}"
    run("create-image", "-i", image.ljust(64, "0"), "-n", f"localhost/{image}:1", parent[0])
    run("create-container", "-i", container.ljust(64, "0"), "-n", container, image.ljust(64, "0"))
    _change(run, container)
    return container


def _change(run, container):
    root = run("mount", container).text.strip()
    with open(os.path.join(root, "etc/changed"), "a", encoding="utf-8") as file:
        file.write("er")
    os.remove(os.path.join(root, "top"))
    os.rename(os.path.join(root, "replaced/after"), os.path.join(root, "replaced/later"))
    os.mkdir(os.path.join(root, "made"), 0o2755)
    os.symlink("../etc/kept", os.path.join(root, "made/link"))
    run("unmount", container)


def _tree_by(run, what):
    root = run("mount", what).text.strip()
    found = tree(root)
    run("unmount", what)
    return found


def _timeless(found):
    return {name: {k: v for k, v in facts.items() if k != "mtime"} for name, facts in found.items()}


def _layer_of(store, container):
    return next(c["layer"] for c in store.records("containers") if container in c.get("names", []))


def _changes(run, layer, parent):
    return sorted(set(run("changes", layer, parent).text.splitlines()))


def _same_use(area, store, theirs, container, top, images):
    """Both programs see the same in a container, whoever made it, and in the image below."""
    seen = _tree_by(theirs, container)
    same_mapping(_tree_by(store.orlop, container), seen, f"the tree of {container}")
    check("made/link" in seen and "top" not in seen and "replaced/later" in seen, f"changes in {container}")
    layer = _layer_of(store, container)
    equal(_changes(store.orlop, layer, top), _changes(theirs, layer, top), f"changes of {container}")
    # The diffs, made into layers by orlop, come to the same tree, but for the parts of seconds that no tar of theirs has.
    timeless = _timeless(seen)
    for who, run in (("orlop", store.orlop), ("them", theirs)):
        diff = run("diff", "-u", layer, top).out
        copy = f"copy-{who}-{container}"
        store.orlop("import-layer", "-n", copy, "-f", area.write(copy, diff), top)
        same_mapping(_timeless(_tree_by(store.orlop, copy)), timeless, f"the tree of {who}'s diff of {container}")
        store.orlop("delete-layer", copy)
    for layer, data in zip(images, LAYERS):
        for who, run in (("orlop", store.orlop), ("they", theirs)):
            equal(run("diff", "-u", layer).out == data, True, f"the stream of {layer} that {who} give back")


def _define(version):
    @test(f"stores-of-{version}-are-used-and-handed-back")
    def _(area):
        # ACC-2, overlay-driver.md 2, 22: what each writes, the other reads
        program = _program(area, version)
        store = Store(area)

        def theirs(*words, **how):
            return store._command(program, *words, **how)

        made_there = _make(area, theirs, "a")
        made_here = _make(area, store.orlop, "b")
        for run, images in ((theirs, _ids("b")), (store.orlop, _ids("a"))):
            scratch = run("create-layer", images[-1]).text.split()[0]
            root = run("mount", scratch).text.strip()
            for name, text in SEEN.items():
                with open(os.path.join(root, name), encoding="utf-8") as file:
                    equal(file.read(), text, name)
            for name in NOT_SEEN:
                check(not os.path.lexists(os.path.join(root, name)), f"{name} is still there")
            run("unmount", scratch)
            run("delete-layer", scratch)
        _same_use(area, store, theirs, made_there, _ids("a")[-1], _ids("a"))
        _same_use(area, store, theirs, made_here, _ids("b")[-1], _ids("b"))

        # Each goes on with what the other has made.
        for run, container in ((store.orlop, made_there), (theirs, made_here)):
            root = run("mount", container).text.strip()
            os.remove(os.path.join(root, "etc/kept"))
            with open(os.path.join(root, "late"), "w", encoding="utf-8") as file:
                file.write("late")
            run("unmount", container)
            seen = _tree_by(theirs, container)
            check("late" in seen and "etc/kept" not in seen, f"late changes in {container}")
            same_mapping(_tree_by(store.orlop, container), seen, f"the tree of {container} at the end")

        # And deletes it; then nothing is left, and the newest finds nothing wrong.
        store.go("check", "-q")
        theirs("delete-container", made_here)
        store.orlop("delete-container", made_there)
        theirs("delete-image", "image-b".ljust(64, "0"))
        store.orlop("delete-image", "image-a".ljust(64, "0"))
        equal([store.records(kind) for kind in ("layers", "images", "containers")], [[], [], []], "records")
        home = os.path.join(store.graph, "overlay")
        left = [n for n in os.listdir(home) if n not in ("l", "tempdirs", "staging", ".has-mount-program")]
        equal(left, [], "layers on the disk")
        equal(os.listdir(os.path.join(home, "l")), [], "short links")


for _version in VERSIONS:
    _define(_version)


@test("a-collection-by-1.53-never-leaves-half-a-layer")
def _(area):
    # store-format.md 10.3: 1.53 takes the driver's temp dirs for a layer that nobody knows. A load that it meets ends with an error
    # that says so, and no layer is without a part of its content.
    program = _program(area, "1.53")
    store = Store(area)
    path = fixtures.write(area, "oci-archive")
    store.orlop("create-layer", "-n", "first")
    runs = []

    def collect():
        for number in range(10):
            runs.append(subprocess.run([program, "-g", store.graph, "-R", store.run_root, "-s", "overlay", "gc"],
                                       env=area.environment, capture_output=True, check=False, timeout=120))
            time.sleep(0.05 * number)

    collector = threading.Thread(target=collect)
    collector.start()
    outcomes = []
    try:
        while collector.is_alive() or 0 not in outcomes:
            beside = collector.is_alive()
            loaded = store.orlop("load", "-q", "-i", path, ok=None)
            outcomes.append(loaded.code)
            if loaded.code:
                check(beside, "a load fails with nobody beside it")
                check(loaded.code == 1 and "another program has deleted" in loaded.error,
                      f"no clean error: {loaded.code} {loaded.error}")
                equal(store.records("images"), [], "images after a failed load")
                continue
            image = store.image(fixtures.NAME)
            equal([layer["diff-digest"] for layer in store.chain(image)], fixtures.diff_ids(), "layers")
            for layer, data in zip(store.chain(image), fixtures.layers()):
                equal(store.orlop("diff", "-u", layer["id"]).out == data, True, f"content of {layer['id']}")
            store.orlop("delete-image", image["id"])
    finally:
        collector.join()
    for run in runs:
        # Where a load writes a file below what 1.53 is deleting, that one's own removal fails, and nothing else may.
        said = run.stderr.decode(errors="replace")
        check(run.returncode == 0 or run.returncode == 1 and "/tempdirs" in said and "directory not empty" in said,
              f"a collection: {run.returncode} {said}")
    # With nobody beside it, it has nothing to complain of.
    area.run(program, "-g", store.graph, "-R", store.run_root, "-s", "overlay", "gc")
    equal(sorted(store.by_id("layers")), sorted(set(store.by_id("layers")) & set(os.listdir(f"{store.graph}/overlay"))),
          "layers with their files after the last collection")
    area.log.append(f"codes of the loads: {outcomes}")
    store.go("check", "-q")
