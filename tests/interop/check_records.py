"""Records rewritten by one implementation and taken over by the other, byte for byte."""

import json

import fixtures
from harness import check, equal, test
from stores import Store

KINDS = ("layers", "images", "containers")


def furnished(area, name="store"):
    """A store with layers, images and containers made by orlop."""
    store = Store(area, name)
    store.orlop("load", "-i", fixtures.write(area, "docker-archive"))
    image = store.image(fixtures.NAME)
    store.orlop("create-layer", "-n", 'odd <&> "name"\u2028', "-n", "second", image["layer"])
    store.orlop("create-container", "-n", "one", "-m", '{"a":"<b>"}', image["id"])
    store.orlop("create-container", "-n", "two", image["id"])
    store.orlop("set-container-data", "-f", area.write("item", b"item\x00"), "one", "Some Key")
    store.orlop("add-names", "-n", "localhost/other:2", image["id"])
    return store


def _rewrite(store, program, scratch):
    """Make `program` rewrite all three files and leave the content as it was."""
    layer = store.records("layers")[0]["id"]
    image = store.records("images")[0]["id"]
    for what in (layer, image, "one"):
        program("add-names", "-n", scratch, what)
        program("remove-names", "-n", scratch, what)


@test("records-are-byte-for-byte-what-go-writes")
def _(area):
    store = furnished(area)
    before = {kind: store.bytes(kind) for kind in KINDS}
    _rewrite(store, store.go, "scratch")
    for kind in KINDS:
        after = store.bytes(kind)
        if kind == "images":  # each change of names extends the history
            strip = [{**r, "names-history": 0} for r in json.loads(before[kind])]
            equal([{**r, "names-history": 0} for r in json.loads(after)], strip, kind)
            order = [list(r) for r in json.loads(before[kind])]
            equal([list(r) for r in json.loads(after)], order, f"key order of {kind}")
        else:
            equal(after.decode(), before[kind].decode(), f"{kind}.json after Go rewrote it")


@test("names-changed-by-each-in-turn")
def _(area):
    store = furnished(area)
    programs = {"orlop": store.orlop, "go": store.go, "debian": store.debian}
    image = store.records("images")[0]["id"]
    for order in (("orlop", "go", "debian"), ("go", "orlop", "debian")):
        for who in order:
            programs[who]("add-names", "-n", f"localhost/by-{who}:1", image)
        equal(len(store.records("images")[0]["names"]), 5, "number of names")
        for who in order[::-1]:  # the older one has no remove-names
            kept = [n for n in store.records("images")[0]["names"] if n != f"localhost/by-{who}:1"]
            programs[who]("set-names", *[w for n in kept for w in ("-n", n)], image)
    equal(sorted(store.records("images")[0]["names"]), sorted([fixtures.NAME, "localhost/other:2"]),
          "names at the end")


@test("same-operations-same-records")
def _(area):
    """The same commands on two stores, one per implementation, leave the same records."""
    found = {}
    for who in ("orlop", "go"):
        store = Store(area, who)
        run = getattr(store, who)
        for number, data in enumerate(fixtures.layers()):
            words = [f"{number - 1:064x}"] if number else []
            run("import-layer", "-r", "-i", f"{number:064x}", "-n", f"layer-{number}",
                "-f", area.write(f"{number}.tar", data), *words)
        run("create-image", "-i", "a" * 64, "-n", "localhost/a:1", "-m", '{"x":1}', f"{2:064x}")
        run("set-image-data", "-f", area.write("manifest", b'{"schemaVersion":2}'), "a" * 64, "manifest")
        run("set-image-data", "-f", area.write("other", b"\x00\xff"), "a" * 64, "Other Key")
        run("add-names", "-n", "localhost/b:1", "a" * 64)
        run("set-names", "-n", "localhost/c:1", "-n", "localhost/b:1", "a" * 64)
        run("remove-names", "-n", "localhost/b:1", "a" * 64)
        run("create-container", "-i", "c" * 64, "-n", "ctr", "-m", "m", "a" * 64)
        run("set-container-data", "-f", area.write("data", b"1"), "ctr", "data")
        run("set-metadata", "-m", "<new>", "ctr")
        run("create-layer", "-i", "d" * 64, "-n", "x", "-n", "y", f"{0:064x}")
        run("set-metadata", "-m", "layer metadata", "d" * 64)
        run("set-names", "-n", "x", f"{1:064x}")
        found[who] = {}
        for kind in KINDS:
            text = store.bytes(kind).decode()
            for record in json.loads(text):
                text = text.replace(record["created"], "TIME")
                if kind == "containers":
                    text = text.replace(record["layer"], "LAYER")
            for container in store.records("containers"):
                text = text.replace(container["layer"], "LAYER")
            found[who][kind] = text
    for kind in KINDS:
        equal(found["orlop"][kind], found["go"][kind], f"{kind}.json")


@test("a-name-moves-to-its-new-owner")
def _(area):
    store = furnished(area)
    first, second = [r["id"] for r in store.records("layers")[:2]]
    for giver, taker in ((store.orlop, store.go), (store.go, store.orlop)):
        giver("add-names", "-n", "wandering", first)
        taker("add-names", "-n", "wandering", second)
        owners = [r["id"] for r in store.records("layers") if "wandering" in r.get("names", [])]
        equal(owners, [second], "owners of a name taken over")


@test("unknown-fields-survive-our-rewrite")
def _(area):
    store = furnished(area)
    path = store.path("layers", "layers.json")
    with open(path, encoding="utf-8") as file:
        records = json.load(file)
    records[0]["future-field"] = {"z": [1, 2.5, None], "a": "<&>"}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(records, file)
    store.orlop("add-names", "-n", "fresh", records[1]["id"])
    equal(store.records("layers")[0].get("future-field"), records[0]["future-field"],
          "a field of a later version")


@test("mount-counts-are-shared")
def _(area):
    store = furnished(area)
    orders = ((store.orlop, store.go), (store.go, store.orlop))
    for first, second in orders:
        point = store.mounted(first, "one")
        equal(store.mounted(second, "one"), point, "mount point of the second mount")
        first("unmount", "one")
        check(_mounted(point), "still counted once, but unmounted")
        second("unmount", "one")
        check(not _mounted(point), "no longer counted, but mounted")
        counts = store.area.run("cat", f"{store.run_root}/overlay-layers/mountpoints.json").json
        equal(counts, [], "mountpoints.json")


def _mounted(point):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split(" ")[4] == point for line in table)


@test("id-prefix-name-and-digest-find-the-same")
def _(area):
    store = furnished(area)
    image = store.records("images")[0]
    for what in (image["id"], image["id"][:12], fixtures.NAME):
        equal(store.orlop("image", "-j", what).json, store.go("image", "-j", what).json,
              f"image {what}")
    equal(store.orlop("images-by-digest", "-j", image["digest"]).json,
          store.go("images-by-digest", "-j", image["digest"]).json, "images-by-digest")
    for what in ("one", "second", "nothing-of-that-name"):
        ours, theirs = (program("exists", "-j", what, ok=None) for program in (store.orlop, store.go))
        equal((ours.code, ours.json), (theirs.code, theirs.json), f"exists {what}")


@test("go-check-finds-nothing-wrong")
def _(area):
    store = furnished(area)
    if area.is_users:
        # Go's check misses the devices that no user can make. It must not miss more than in a store of its own.
        theirs = Store(area, "theirs")
        area.run(area.options.imagecopy, "-graph", theirs.graph, "-run", theirs.run_root,
                 "docker-archive:" + fixtures.write(area, "docker-archive"), fixtures.NAME)
        ours, theirs = (made.go("check", "-j", ok=None).json for made in (store, theirs))
        for kind in ("Layers", "ROLayers", "Images", "ROImages"):
            equal(ours[kind], theirs[kind], f"check of {kind} by Go")
        return
    equal(store.go("check", "-j").json, {"Layers": {}, "ROLayers": {}, "Images": {},
                                         "ROImages": {}, "Containers": {}}, "check by Go")
