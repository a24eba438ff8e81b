"""Layers out again: every implementation must write the very bytes that came in."""

import bz2
import gzip
import lzma
import os
import subprocess

import fixtures
import imagefile
import users
from harness import check, equal, need, same_mapping, test
from stores import Store, tree

LAYER = "aa" * 32


def writers(store):
    return {"orlop": store.orlop, "go": store.go, "debian": store.debian}


def same_diff_everywhere(store, layer, wanted, what):
    for name, program in writers(store).items():
        got = program("diff", "-u", layer).out
        check(got == wanted, f"{what}: diff by {name} is {imagefile.digest(got)} "
              f"({len(got)} bytes), not {imagefile.digest(wanted)} ({len(wanted)} bytes)")


@test("export-is-byte-identical-whoever-imported")
def _(area):
    need("containers-storage")
    for importer in ("orlop", "go", "debian"):
        store = Store(area, "by-" + importer)
        parent = []
        for number, data in enumerate(fixtures.layers()):
            layer = f"{number:x}{importer[0]}".encode().hex().ljust(64, "0")
            tar = area.write(f"{importer}-{number}.tar", data)
            writers(store)[importer]("import-layer", "-r", "-i", layer, "-f", tar, *parent)
            equal(store.by_id("layers")[layer]["diff-digest"], imagefile.digest(data),
                  f"diff digest recorded by {importer}")
            same_diff_everywhere(store, layer, data, f"layer {number} imported by {importer}")
            parent = [layer]


def _streams(plain):
    zstd = subprocess.run(["zstd", "-qc"], input=plain, capture_output=True, check=True).stdout
    half = len(plain) // 2
    skippable = bytes.fromhex("502a4d1804000000") + b"skip"
    two = [subprocess.run(["zstd", "-qc"], input=part, capture_output=True, check=True).stdout
           for part in (plain[:half], plain[half:])]
    return {
        "plain": (plain, 0), "bzip2": (bz2.compress(plain), 1),
        "gzip": (gzip.compress(plain, mtime=0), 2),
        "gzip-two-members": (gzip.compress(plain[:half], mtime=0)
                             + gzip.compress(plain[half:], mtime=0), 2),
        "xz": (lzma.compress(plain), 3), "zstd": (zstd, 4),
        "zstd-two-frames": (two[0] + skippable + two[1], 4),
    }


@test("import-of-every-compression")
def _(area):
    need("zstd")
    plain = fixtures.layers()[2]
    ours, theirs = Store(area, "ours"), Store(area, "theirs")
    for name, (stream, number) in _streams(plain).items():
        file = area.write(name, stream)
        layer = imagefile.digest(name.encode())[7:]
        ours.orlop("import-layer", "-r", "-i", layer, "-f", file)
        theirs.go("import-layer", "-r", "-i", layer, "-f", file)
        record = ours.by_id("layers")[layer]
        equal(record.get("compression", 0), number, f"compression of {name}")
        same = {k: v for k, v in record.items() if k != "created"}
        wanted = {k: v for k, v in theirs.by_id("layers")[layer].items() if k != "created"}
        equal(same, wanted, f"record of {name}")
        equal(ours.orlop("diff", "-u", layer).out == plain, True, f"round trip of {name}")


@test("export-compressed-decompresses-to-the-same")
def _(area):
    store, plain = Store(area), fixtures.layers()[2]
    store.orlop("import-layer", "-r", "-i", LAYER, "-f", area.write("layer.tar", plain))
    check(gzip.decompress(store.orlop("diff", "-c", LAYER).out) == plain, "gzip export differs")


@test("unpacked-tree-equals-the-go-tree")
def _(area):
    ours, theirs = Store(area, "ours"), Store(area, "theirs")
    parent = []
    for number, data in enumerate(fixtures.layers()):
        tar, layer = area.write(f"{number}.tar", data), f"{number:064x}"
        ours.orlop("import-layer", "-r", "-i", layer, "-f", tar, *parent)
        theirs.go("import-layer", "-r", "-i", layer, "-f", tar, *parent)
        found, wanted = tree(ours.layer_dir(layer)), tree(theirs.layer_dir(layer))
        # Whiteouts and folders the archive only implies get the time of unpacking.
        for facts in list(found.values()) + list(wanted.values()):
            if facts["mode"].startswith("0o4") or facts.get("device") == 0:
                facts.pop("mtime")
        same_mapping(found, wanted, f"tree of layer {number}")
        parent = [layer]


@test("odd-archives-survive-the-round-trip")
def _(area):
    import io
    import tarfile
    store = Store(area)

    def tar(form, fill):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form, encoding="latin-1") as archive:
            fill(archive)
        return out.getvalue()

    def long_names(archive):
        for number in range(3):
            info = tarfile.TarInfo(f"{number}/" + "x" * 120 + "/" + "y" * 200)
            info.size, info.mtime = 5, imagefile.EPOCH
            archive.addfile(info, io.BytesIO(b"12345"))

    def not_utf8(archive):
        info = tarfile.TarInfo("caf\xe9")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))

    simple = tar(tarfile.USTAR_FORMAT, not_utf8)
    cases = {
        "gnu long names": tar(tarfile.GNU_FORMAT, long_names),
        "pax long names": tar(tarfile.PAX_FORMAT, long_names),
        "not utf-8": simple,
        "junk after the end": simple + b"junk" * 700,
        "no end marker": simple[:1024],
        "much padding": simple + bytes(40960),
    }
    for number, (name, data) in enumerate(cases.items()):
        layer = f"{number + 1:064x}"
        store.orlop("import-layer", "-r", "-i", layer, "-f", area.write(f"odd-{number}", data))
        same_diff_everywhere(store, layer, data, name)


@test("empty-layer-stream")
def _(area):
    ours, theirs = Store(area, "ours"), Store(area, "theirs")
    empty = area.write("empty", b"")
    ours.orlop("import-layer", "-r", "-i", LAYER, "-f", empty)
    theirs.go("import-layer", "-r", "-i", LAYER, "-f", empty)
    found, wanted = ours.by_id("layers")[LAYER], theirs.by_id("layers")[LAYER]
    found["created"] = wanted["created"]
    equal(found, wanted, "record of an empty layer")
    equal(ours.go("diff", "-u", LAYER).out, ours.orlop("diff", "-u", LAYER).out, "its diff")


@test("container-layer-diff-means-the-same-everywhere")
def _(area):
    """A layer without tar-split is packed afresh: the trees must agree, not the bytes."""
    store = Store(area)
    store.orlop("load", "-i", fixtures.write(area, "docker-archive"))
    image = store.image(fixtures.NAME)
    store.orlop("create-container", "-n", "changed", image["id"])
    point = store.mounted(store.orlop, "changed")
    os.remove(f"{point}/etc/passwd")
    os.remove(f"{point}/usr/lib/one")
    with open(f"{point}/etc/hostname", "a", encoding="utf-8") as file:
        file.write("more\n")
    os.mkdir(f"{point}/srv/new", 0o2775)
    os.link(f"{point}/etc/group", f"{point}/srv/new/group")
    os.setxattr(f"{point}/srv/new", "user.orlop.note", b"1")
    for folder, _, files in os.walk(f"{point}/srv/opaque", topdown=False):
        for name in files:
            os.remove(os.path.join(folder, name))
        os.rmdir(folder)
    os.mkdir(f"{point}/srv/opaque")
    store.orlop("unmount", "changed")
    layer = next(c["layer"] for c in store.records("containers"))
    trees = {}
    for name, program in writers(store).items():
        target = Store(area, "as-told-by-" + name)
        tar = area.write(name + ".tar", program("diff", "-u", layer).out)
        target.go("import-layer", "-r", "-i", LAYER, "-f", tar)
        trees[name] = tree(target.layer_dir(LAYER))
        for facts in trees[name].values():
            facts["mtime"] //= 10**9
        for path, facts in trees[name].items():
            if facts.get("device") == 0 or ".wh." in path:
                # A deletion carries the second in which it was told (overlay-driver.md 10.2).
                facts.pop("mtime")
        trees[name]["."].pop("mtime")
    ours, theirs = (run("changes", "-j", layer).json for run in (store.orlop, store.go))
    told = users.forgotten_by_go(area, ours, theirs)
    for forgotten in (change["Path"] for change in ours if change not in told):
        folder, name = os.path.split(forgotten.lstrip("/"))
        trees["orlop"].pop(f"{folder}/.wh.{name}")
    equal(trees["orlop"], trees["go"], "container diff by orlop and by Go")
    equal(sorted(map(str, told)), sorted(map(str, theirs)), "changes by orlop and by Go")
