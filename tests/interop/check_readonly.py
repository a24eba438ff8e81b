"""Additional image stores: read where nothing can be written and no lock exists."""

import os
import shutil
import subprocess

import fixtures
from harness import Skip, check, equal, need, test
from stores import Store


def _published(area):
    """A graph root with one image, fit to be published: no lock files at all."""
    store = Store(area, "published")
    store.orlop("load", "-i", fixtures.write(area, "oci-archive"))
    store.orlop("shutdown")
    for folder, _, files in os.walk(store.graph):
        for name in files:
            if name.endswith(".lock"):
                os.remove(os.path.join(folder, name))
    return store


def _use(area, published, medium):
    """Everything a store beside it must be able to do."""
    before = sorted(os.listdir(medium))
    store = Store(area, "user")
    option = ["--storage-opt", f"overlay.imagestore={medium}"]

    def orlop(*words, **how):
        return store.orlop(*option, *words, **how)

    images = orlop("images", "-j").json
    equal([i["names"] for i in images], [[fixtures.NAME]], "images of the additional store")
    equal(len(orlop("layers", "-j").json), 3, "layers of the additional store")
    image = published.image(fixtures.NAME)
    check("Read Only: true" in orlop("image", image["id"]).text, "it is not shown as read-only")

    orlop("create-container", "-n", "on-it", fixtures.NAME)
    point = orlop("mount", "on-it").text.strip()
    with open(f"{point}/etc/hostname", encoding="utf-8") as file:
        equal(file.read(), "middle\n", "a file of the read-only image")
    with open(f"{point}/etc/written", "w", encoding="utf-8") as file:
        file.write("above\n")
    orlop("unmount", "on-it")
    layer = store.records("containers")[0]["layer"]
    changes = {c["Path"]: c["Kind"] for c in orlop("changes", "-j", layer).json}
    equal(changes.get("/etc/written"), 1, "changes of the container")

    for number, data in enumerate(fixtures.layers()):
        found = published.chain(image)[number]["id"]
        check(orlop("diff", "-u", found).out == data, f"diff of read-only layer {number}")
    path = area.file("saved")
    orlop("save", "-o", path, fixtures.NAME)
    config = area.run("skopeo", "inspect", "--config", f"docker-archive:{path}").json
    equal(config["rootfs"]["diff_ids"], fixtures.diff_ids(), "diff ids saved from it")

    orlop("load", "-i", fixtures.write(area, "docker-archive"))
    equal([r["id"] for r in store.records("layers")], [layer],
          "layers of the store itself, when the read-only one has all those of an image")
    orlop("delete-image", image["id"], ok=None)
    orlop("delete-container", "on-it")
    orlop("delete-layer", image["layer"], ok=False)
    equal(sorted(os.listdir(medium)), before, "the read-only medium")
    orlop("shutdown")


@test("image-store-on-a-read-only-bind-mount")
def _(area):
    published = _published(area)
    medium = area.dir("medium")
    area.run("mount", "--bind", published.graph, medium)
    area.run("mount", "-o", "remount,ro,bind", medium)
    _use(area, published, medium)


@test("image-store-on-squashfs")
def _(area):
    need("mksquashfs")
    published = _published(area)
    medium, file = area.dir("medium"), area.file("store.squashfs")
    area.run("mksquashfs", published.graph, file, "-quiet", "-no-progress", "-xattrs")
    done = subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", file, medium],
                          capture_output=True, check=False)
    if done.returncode != 0:
        # Machines without loop devices: erofs or a bind mount tell the same
        # about orlop, and the bind mount has a test of its own.
        if not os.path.exists("/dev/loop-control"):
            raise Skip("no loop devices here: " + done.stderr.decode().strip())
        raise Skip("squashfs cannot be mounted here: " + done.stderr.decode().strip())
    _use(area, published, medium)


@test("image-store-with-a-lock-that-only-reads")
def _(area):
    """Lock files exist, but the medium is read-only: the Go command must manage too."""
    published = Store(area, "published")
    published.orlop("load", "-i", fixtures.write(area, "oci-archive"))
    published.orlop("shutdown")
    medium = area.dir("medium")
    area.run("mount", "--bind", published.graph, medium)
    area.run("mount", "-o", "remount,ro,bind", medium)
    store = Store(area, "user")
    option = ["--storage-opt", f"overlay.imagestore={medium}"]
    equal(store.orlop(*option, "images", "-j").json, store.go(*option, "images", "-j").json,
          "images by orlop and by Go")
    store.orlop(*option, "create-container", "-n", "ours", fixtures.NAME)
    point = store.go(*option, "mount", "ours").text.strip()
    check(os.path.exists(f"{point}/etc/motd"), "Go mounts what orlop created over it")
    store.orlop(*option, "unmount", "ours")
    store.go(*option, "shutdown")
    shutil.rmtree(store.run_root, ignore_errors=True)
