"""Saved here, read elsewhere: skopeo, podman, and orlop itself."""

import fixtures
import imagefile
import json
import os

from harness import check, equal, need, test
from stores import PODMAN_RUN, Store


def _stocked(area):
    store = Store(area)
    store.orlop("load", "-i", fixtures.write(area, "oci-archive"))
    return store


def _spelled(kind, path):
    return f"oci:{path}" if kind == "oci-dir" else f"{kind}:{path}"


@test("saved-here-read-by-skopeo-and-podman")
def _(area):
    need("skopeo", "podman")
    store = _stocked(area)
    for kind in fixtures.FORMATS:
        path = area.file("saved-" + kind)
        store.orlop("save", "--format", kind, "-o", path, fixtures.NAME)
        raw = area.run("skopeo", "inspect", "--config", "--raw", _spelled(kind, path)).out
        equal(imagefile.digest(raw)[7:], fixtures.image_id(), f"config digest in {kind}")
        # skopeo reads and checks every blob when it copies.
        area.run("skopeo", "copy", "-q", _spelled(kind, path), f"dir:{area.file('copy-' + kind)}")
        elsewhere = Store(area, "podman-" + kind)
        elsewhere.podman("load", "-q", "-i", path)
        image = elsewhere.records("images")[0]
        equal(image["id"], fixtures.image_id(), f"image id for podman ({kind})")
        equal([l["diff-digest"] for l in elsewhere.chain(image)], fixtures.diff_ids(),
              f"diff digests for podman ({kind})")
        back = Store(area, "back-" + kind)
        back.orlop("load", "-i", path)
        equal(back.image(fixtures.NAME)["id"], fixtures.image_id(), f"image id for orlop ({kind})")


@test("saved-twice-is-the-same-file")
def _(area):
    store = _stocked(area)
    for kind in ("docker-archive", "oci-archive"):
        files = []
        for number in range(2):
            path = area.file(f"{kind}-{number}")
            store.orlop("save", "--format", kind, "-o", path, fixtures.NAME)
            with open(path, "rb") as file:
                files.append(imagefile.digest(file.read()))
        equal(files[0], files[1], f"two {kind} files")


@test("save-to-standard-output")
def _(area):
    store = _stocked(area)
    path = area.write("piped", store.orlop("save", fixtures.NAME).out)
    config = area.run("skopeo", "inspect", "--config", f"docker-archive:{path}").json
    equal(config["rootfs"]["diff_ids"], fixtures.diff_ids(), "diff ids")


@test("save-several-images")
def _(area):
    store = _stocked(area)
    layers = fixtures.layers()[:1]
    config = imagefile.config_of(layers)
    imagefile.write_image([("localhost/base:7", layers, config)], "oci-archive", area.file("base"))
    store.orlop("load", "-i", area.file("base"))
    for kind in fixtures.FORMATS:
        path = area.file("both-" + kind)
        store.orlop("save", "--format", kind, "-o", path, fixtures.NAME, "localhost/base:7")
        back = Store(area, "back-" + kind)
        back.orlop("load", "-i", path)
        equal(back.image(fixtures.NAME)["id"], fixtures.image_id(), f"first image ({kind})")
        equal(back.image("localhost/base:7")["id"], imagefile.digest(config)[7:],
              f"second image ({kind})")


@test("save-of-an-unknown-image-leaves-no-file")
def _(area):
    store = _stocked(area)
    path = area.file("never")
    done = store.orlop("save", "-o", path, "localhost/unknown:1", ok=False)
    check("image not known" in done.error, f"message: {done.error}")
    check(not os.path.exists(path), "a file was left")


def _changed(area, store):
    store.orlop("create-container", "-n", "work", store.image(fixtures.NAME)["id"])
    point = store.mounted(store.orlop, "work")
    with open(f"{point}/etc/added", "w", encoding="utf-8") as file:
        file.write("added\n")
    os.remove(f"{point}/etc/motd")
    os.utime(f"{point}/etc/added", (imagefile.EPOCH, imagefile.EPOCH))
    store.orlop("unmount", "work")


@test("committed-here-runs-and-saves-there")
def _(area):
    store = _stocked(area)
    _changed(area, store)
    store.orlop("commit", "--author", "somebody", "--change", "ENV COMMITTED=yes",
                "--change", 'CMD ["/bin/cat","/etc/added"]', "work", "localhost/committed:1")
    image = store.image("localhost/committed:1")
    chain = [l["diff-digest"] for l in store.chain(image)]
    equal(chain[:3], fixtures.diff_ids(), "layers below the commit")
    equal(len(chain), 4, "number of layers")
    config = json.loads(store.big_data(image, "sha256:" + image["id"]))
    equal(config["rootfs"]["diff_ids"], chain, "diff ids in the config")
    equal(config.get("author"), "somebody", "author")
    check("COMMITTED=yes" in config["config"]["Env"], f"environment: {config['config']}")
    equal(len([h for h in config["history"] if not h.get("empty_layer")]), 4, "history of layers")
    check(store.orlop("diff", "-u", image["layer"]).out == store.go("diff", "-u", image["layer"]).out,
          "diff of the committed layer by orlop and by Go")
    equal(imagefile.digest(store.go("diff", "-u", image["layer"]).out), chain[3], "its digest")

    said = store.podman(*PODMAN_RUN, "--rm", "localhost/committed:1").text
    equal(said, "added\n", "output of the committed image under podman")
    facts = store.podman("inspect", "--type", "image", "localhost/committed:1").json[0]
    equal(facts["RootFS"]["Layers"], chain, "layers for podman")
    path = area.file("podman-saved")
    store.podman("save", "-q", "-o", path, "localhost/committed:1")
    elsewhere = Store(area, "elsewhere")
    elsewhere.orlop("load", "-i", path)
    equal(elsewhere.image("localhost/committed:1")["id"], image["id"], "image id after the journey")


@test("commit-under-source-date-epoch-is-reproducible")
def _(area):
    ids = []
    for number in range(2):
        store = Store(area, f"store-{number}")
        store.orlop("load", "-i", fixtures.write(area, "oci-archive"))
        store.orlop("create-container", "-n", "work", store.image(fixtures.NAME)["id"])
        point = store.mounted(store.orlop, "work")
        os.mkdir(f"{point}/srv/fresh")
        for name in ("one", "two", "three"):
            with open(f"{point}/srv/fresh/{name}", "w", encoding="utf-8") as file:
                file.write(name)
            os.utime(f"{point}/srv/fresh/{name}", (imagefile.EPOCH, imagefile.EPOCH))
        for folder in ("srv/fresh", "srv", "."):
            os.utime(f"{point}/{folder}", (imagefile.EPOCH, imagefile.EPOCH))
        store.orlop("unmount", "work")
        store.orlop("commit", "work", "localhost/same:1",
                    env={"SOURCE_DATE_EPOCH": str(imagefile.EPOCH)})
        image = store.image("localhost/same:1")
        config = json.loads(store.big_data(image, "sha256:" + image["id"]))
        check(config["created"].startswith(imagefile.CREATED[:19]), f"created: {config['created']}")
        ids.append(image["id"])
    equal(ids[0], ids[1], "image ids of two equal commits")


@test("commit-and-continue")
def _(area):
    """The container goes on living after a commit, and a second one follows."""
    store = _stocked(area)
    _changed(area, store)
    store.orlop("commit", "work", "localhost/first:1")
    point = store.mounted(store.orlop, "work")
    with open(f"{point}/etc/later", "w", encoding="utf-8") as file:
        file.write("later\n")
    store.orlop("commit", "work", "localhost/second:1")  # while it is mounted
    store.orlop("unmount", "work")
    first, second = (store.image(f"localhost/{n}:1") for n in ("first", "second"))
    check(first["layer"] != second["layer"], "both commits have the same layer")
    store.orlop("delete-container", "work")
    store.orlop("delete-image", first["id"])
    said = store.podman(*PODMAN_RUN, "--rm", "localhost/second:1", "/bin/cat", "/etc/later").text
    equal(said, "later\n", "the second commit after the first was deleted")
