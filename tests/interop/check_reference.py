"""What `orlop load` records, field for field beside the Go image library."""

import os

import fixtures
import imagefile
from harness import check, equal, same_mapping, test
from stores import Store, tar_split, tree


def _without_signatures(record):
    """Neither the library's empty signature item nor anything that names it."""
    kept = dict(record)
    for key in ("big-data-names", "big-data-sizes", "big-data-digests"):
        value = kept.get(key)
        if isinstance(value, dict):
            kept[key] = {k: v for k, v in value.items() if not k.startswith("signature")}
        elif value:
            kept[key] = sorted(k for k in value if not k.startswith("signature"))
    return kept


def compare(area, source, path, name, label, base=None, env=None):
    """Load an image into one store, copy it with the library into another. `base` makes what both find there."""
    ours, theirs = Store(area, "ours-" + label), Store(area, "theirs-" + label)
    if base:
        base(ours.orlop)
        base(theirs.go)
    ours.orlop("load", "-i", path, env=env)
    area.run(area.options.imagecopy, "-graph", theirs.graph, "-run", theirs.run_root, source, name, env=env)

    mine, other = ours.by_id("layers"), theirs.by_id("layers")
    equal(list(mine), list(other), f"layer ids, in order ({label})")
    for layer, record in mine.items():
        created = record.pop("created")
        check(created.endswith("Z"), f"a layer's time is not UTC: {created}")
        other[layer].pop("created")
        same_mapping(record, other[layer], f"layer {layer} ({label})")
        equal(list(record), list(other[layer]), f"key order of layer {layer}")
        same_mapping(_timeless(tree(ours.layer_dir(layer))), _timeless(tree(theirs.layer_dir(layer))),
                     f"tree of layer {layer} ({label})")
        names = [store.path("layers", layer + ".tar-split.gz") for store in (ours, theirs)]
        equal(tar_split(names[0]), tar_split(names[1]), f"tar-split of layer {layer}")
        for file in ("link", "lower", "lower-layers"):
            found = [os.path.exists(os.path.join(s.graph, "overlay", layer, file))
                     for s in (ours, theirs)]
            equal(found[0], found[1], f"presence of {file} in layer {layer}")

    mine, other = ours.records("images"), theirs.records("images")
    equal(len(mine), len(other), f"number of images ({label})")
    for found, wanted in zip(mine, other):
        same_mapping(_without_signatures(found), _without_signatures(wanted), f"image ({label})")
        # Signatures apart the library keeps items in a fixed order, but it writes
        # the names from a map: only the set is promised.
        for key in found["big-data-names"]:
            if not key.startswith("signature"):
                equal(ours.big_data(found, key) == theirs.big_data(wanted, key), True,
                      f"big data {key} ({label})")


def _timeless(facts):
    """Without the times nobody promises: whiteouts, and folders nobody listed."""
    for name, entry in facts.items():
        if name == "." or entry.get("device") == 0:
            entry.pop("mtime")
    return facts


@test("load-records-what-the-go-library-records")
def _(area):
    for kind in fixtures.FORMATS:
        path = fixtures.write(area, kind)
        compare(area, fixtures.skopeo_name(kind, path), path, fixtures.NAME, kind)


@test("load-records-the-same-for-uncompressed-oci")
def _(area):
    path = area.file("plain")
    imagefile.write_image([fixtures.image()], "oci-dir", path, compression="none")
    compare(area, f"oci:{path}:{fixtures.NAME}", path, fixtures.NAME, "plain")


@test("load-records-the-same-for-a-repeated-layer")
def _(area):
    layers = fixtures.layers()
    layers = [layers[0], layers[2], layers[1], layers[2]]
    image = (fixtures.NAME, layers, imagefile.config_of(layers))
    for kind in fixtures.FORMATS:
        path = area.file("repeated-" + kind)
        imagefile.write_image([image], kind, path)
        compare(area, fixtures.skopeo_name(kind, path), path, fixtures.NAME, "repeated-" + kind)


@test("load-records-the-same-for-empty-history-entries")
def _(area):
    import json
    layers = fixtures.layers()
    config = json.loads(imagefile.config_of(layers))
    config["history"].insert(1, {"created_by": "ENV A=1", "empty_layer": True})
    config["created"] = "2021-02-03T04:05:06.789+02:00"
    config["x-unknown"] = ["kept", {"as": "it is"}]
    image = (fixtures.NAME, layers, imagefile.compact(config))
    for kind in fixtures.FORMATS:
        path = area.file("history-" + kind)
        imagefile.write_image([image], kind, path)
        compare(area, fixtures.skopeo_name(kind, path), path, fixtures.NAME, "history-" + kind)


@test("load-records-the-same-on-a-base-with-id-maps")
def _(area):
    # Where no mount maps ids, layers have the maps of those that they lie on.
    env = {"_CONTAINERS_OVERLAY_DISABLE_IDMAP": "yes"}
    lowest = fixtures.layers()[0]
    stream = area.write("lowest.tar", lowest)
    maps = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"]

    def base(program):
        program("import-layer", "-r", "-i", imagefile.digest(lowest)[7:], *maps, "-f", stream, env=env)

    for kind in fixtures.FORMATS:
        path = fixtures.write(area, kind)
        compare(area, fixtures.skopeo_name(kind, path), path, fixtures.NAME, "mapped-" + kind, base, env)


@test("load-records-the-same-for-files-of-podman")
def _(area):
    other = Store(area, "maker")
    other.podman("load", "-q", "-i", fixtures.write(area, "docker-archive"))
    for kind in ("docker-archive", "oci-archive"):
        path = area.file("podman-" + kind)
        other.podman("save", "-q", "--format", kind, "-o", path, fixtures.NAME)
        compare(area, f"{kind}:{path}", path, fixtures.NAME, "podman-" + kind)
