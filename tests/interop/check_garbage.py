"""What has no record, and what is sound: stores with mapped copies, older uppers and a store beside, judged by the Go command."""

import os
import shutil

import fixtures
from harness import check, equal, test
from stores import Store

MAPS = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]
COPIES = {"_CONTAINERS_OVERLAY_DISABLE_IDMAP": "yes"}
ORPHAN = "0123456789abcdef" * 4


def _filled(area, name="store"):
    """A store with an image, a mapped copy of it, and containers on both."""
    store = Store(area, name)
    store.orlop("load", "-i", fixtures.write(area, "docker-archive"))
    store.orlop("create-container", "-n", "plain", fixtures.NAME)
    store.orlop("create-container", "-n", "copied", *MAPS, fixtures.NAME, env=COPIES)
    store.orlop("create-container", "-n", "mapped", "--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536", fixtures.NAME)
    return store


def _twin(area, store):
    """A copy of a store that nothing uses."""
    twin = Store(area, "twin")
    for source, target in ((store.graph, twin.graph), (store.run_root, twin.run_root)):
        shutil.rmtree(target)
        area.run("cp", "-a", source, target)
    return twin


def _listing(store):
    """Every name below the graph root but locks and what only one of the programs makes."""
    found = set()
    for folder, folders, names in os.walk(store.graph):
        folders[:] = [n for n in folders if n not in ("tmp", "tempdirs", "work", "staging")]
        found |= {os.path.relpath(os.path.join(folder, n), store.graph) for n in folders + names
                  if not n.endswith(".lock") and n != ".has-mount-program"}
    return found


def _litter(store):
    """Directories and files without a record, and others that nobody takes for such."""
    for path in (store.path("images", ORPHAN), store.path("containers", ORPHAN), store.path("layers", ORPHAN),
                 os.path.join(store.graph, store.driver, ORPHAN, "diff"), os.path.join(store.graph, store.driver, "junk"),
                 store.path("images", "short")):
        os.makedirs(path)
    with open(store.path("layers", ORPHAN + ".tar-split.gz"), "wb"):
        pass


@test("gc-takes-what-go-takes")
def _(area):
    store = _filled(area)
    store.orlop("shutdown")
    _litter(store)
    twin = _twin(area, store)
    store.orlop("gc")
    twin.go("gc")
    twin.go("shutdown", ok=None)
    equal(sorted(_listing(store)), sorted(_listing(twin)), "what is left after gc, by orlop and by Go")
    check(not any(ORPHAN in name or name.endswith("junk") for name in _listing(store)), "what has no record is still there")
    check("overlay-images/short" in _listing(store), "a directory of no id was taken")
    equal(store.orlop("gc", "-j").text, '""\n', "gc -j")
    for kind in ("layers", "images", "containers"):
        equal(store.orlop(kind, "-j").json, store.go(kind, "-j").json, f"{kind} -j by orlop and by Go")
    for name in ("plain", "mapped"):
        store.orlop("mount", name)
        store.orlop("unmount", name)


@test("sound-to-the-check-of-go")
def _(area):
    store = _filled(area)
    store.orlop("mount", "mapped")
    store.orlop("unmount", "mapped")
    store.orlop("shutdown")
    store.go("check", "-q")
    # The layers beside are another store's: nothing is missing, and nothing of them is garbage.
    user = Store(area, "user")
    user.options = ["--storage-opt", f"overlay.imagestore={store.graph}"]
    user.orlop("create-container", "-n", "beside", fixtures.NAME)
    user.orlop("gc")
    user.orlop("mount", "beside")
    user.orlop("unmount", "beside")
    user.go("check", "-q")


@test("parent-owners-as-in-go")
def _(area):
    store = _filled(area)
    names = ("plain", "mapped", "copied")
    for name in names:
        store.orlop("mount", name, env=COPIES if name == "copied" else None)
    layers = [c["layer"] for n in names for c in store.records("containers") if n in c["names"]]
    # A group that nobody maps, above all of them.
    os.chown(store.graph, 0, 77)
    for words in (["container-parent-owners", *names], ["container-parent-owners", "-j", *names],
                  ["layer-parent-owners", *layers], ["layer-parent-owners", "-j", *layers]):
        equal(store.orlop(*words).text, store.go(*words).text, " ".join(words[:2]))
    check("GIDs: [0 77]" in store.orlop("container-parent-owners", "mapped").text, "the group above is not told")
    store.orlop("unmount", "mapped")
    for program in (store.orlop, store.go):
        check("layer is not mounted" in program("container-parent-owners", "mapped", ok=False).error, "not refused")
    user = Store(area, "user")
    user.options = ["--storage-opt", f"overlay.imagestore={store.graph}"]
    for program in (user.orlop, user.go):
        program("layer-parent-owners", store.image(fixtures.NAME)["layer"], ok=False)
    for name in names:
        store.orlop("unmount", "-f", name)
