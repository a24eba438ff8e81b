"""Loaded here, used there: podman and buildah on what `orlop load` stored."""

import os
import shutil
import subprocess

import fixtures
import imagefile
from harness import Skip, check, equal, need, test
from stores import PODMAN_RUN, Store


def loaded(area, kind="docker-archive", name="store"):
    store = Store(area, name)
    store.orlop("load", "-i", fixtures.write(area, kind))
    return store


def use_with_podman(area, store, name, chain):
    """images, inspect, mount, run, save, build on top, rmi: the whole life."""
    listed = store.podman("images", "--format", "{{.Repository}}:{{.Tag}}").text
    check(name in listed.split(), f"podman images does not list {name}: {listed}")
    facts = store.podman("inspect", "--type", "image", name).json[0]
    equal(facts["RootFS"]["Layers"], chain, "layers that podman inspects")

    point = store.podman("image", "mount", name).text.strip()
    equal(_read(point, "etc/hostname"), "middle\n", "a file of the mounted image")
    check(not os.path.exists(f"{point}/srv/gone"), "a whiteout does not hide srv/gone")
    equal(os.listdir(f"{point}/srv/opaque"), ["d"], "an opaque directory")
    store.podman("image", "unmount", name)

    said = store.podman(*PODMAN_RUN, "--name", "one", name, "/bin/sh", "-c",
                        "echo changed > /etc/motd; echo hello from inside").text
    equal(said, "hello from inside\n", "output of a container")
    changed = store.podman("diff", "one").text.splitlines()
    check("C /etc/motd" in changed, f"podman diff: {changed}")

    saved = area.file("saved-by-podman.tar")
    store.podman("save", "-q", "-o", saved, name)
    inspected = area.run("skopeo", "inspect", "--config", f"docker-archive:{saved}").json
    equal(inspected["rootfs"]["diff_ids"], chain, "layers that podman saves")

    build = area.dir("build")
    with open(f"{build}/Containerfile", "w", encoding="utf-8") as file:
        file.write(f"FROM {name}\nRUN echo built > /etc/built\n")
    store.buildah("bud", "-q", "--isolation", "chroot", "--pull-never", "-t",
                  "localhost/on-top:1", build)
    built = store.podman("inspect", "--type", "image", "localhost/on-top:1").json[0]
    equal(built["RootFS"]["Layers"][:len(chain)], chain, "layers under a build")
    names = {n for record in store.orlop("images", "-j").json for n in record["names"]}
    check("localhost/on-top:1" in names, f"orlop does not list the built image: {names}")

    store.podman("build", "-q", "--isolation", "chroot", "--pull-never", "-t",
                 "localhost/on-top:2", build)
    built = store.podman("inspect", "--type", "image", "localhost/on-top:2").json[0]
    equal(built["RootFS"]["Layers"][:len(chain)], chain, "layers under a build by podman")

    pushed = area.file("pushed")
    store.podman("push", "-q", name, f"dir:{pushed}")
    raw = area.run("skopeo", "inspect", "--config", f"dir:{pushed}").json
    equal(raw["rootfs"]["diff_ids"], chain, "layers that podman pushes")

    store.podman("rm", "one")
    store.podman("rmi", "localhost/on-top:2")
    store.podman("rmi", "localhost/on-top:1")
    store.podman("rmi", name)
    equal(store.orlop("images", "-j").json, None, "images after podman rmi")
    equal(store.orlop("layers", "-j").json, None, "layers after podman rmi")


def _read(root, name):
    with open(os.path.join(root, name), encoding="utf-8") as file:
        return file.read()


def _define(kind):
    @test(f"load-{kind}-then-podman")
    def _(area):
        need("podman", "buildah", "skopeo")
        store = loaded(area, kind)
        image = store.image(fixtures.NAME)
        equal(image["id"], fixtures.image_id(), "image id")
        equal([layer["diff-digest"] for layer in store.chain(image)], fixtures.diff_ids(),
              "diff digests")
        equal(store.leftovers(), [], "temporary files after load")
        use_with_podman(area, store, fixtures.NAME, fixtures.diff_ids())


for _kind in fixtures.FORMATS:
    _define(_kind)


def _from_tool(tool, maker):
    @test(f"load-file-of-{tool}")
    def _(area):
        need(tool.split("-")[0], "skopeo")
        path, spelled, name = maker(area)
        config = area.run("skopeo", "inspect", "--config", spelled).json
        raw = area.run("skopeo", "inspect", "--config", "--raw", spelled).out
        store = Store(area)
        store.orlop("load", "-i", path)
        image = store.image(imagefile.digest(raw)[7:])
        equal(image.get("names"), [name], "names")
        equal([layer["diff-digest"] for layer in store.chain(image)],
              config["rootfs"]["diff_ids"], "diff digests")
        listed = store.podman("images", "--no-trunc", "--format", "{{.ID}}").text.split()
        check("sha256:" + image["id"] in listed, f"podman does not list it: {listed}")
        store.podman("image", "mount", image["id"])
        store.podman("image", "unmount", image["id"])


def _skopeo_oci(area):
    path = area.file("by-skopeo")
    area.run("skopeo", "copy", "-q", "docker-archive:" + fixtures.write(area, "docker-archive"),
             f"oci:{path}:{fixtures.NAME}")
    return path, f"oci:{path}:{fixtures.NAME}", fixtures.NAME


def _skopeo_archive(area):
    path = area.file("by-skopeo.tar")
    area.run("skopeo", "copy", "-q", fixtures.skopeo_name("oci-dir", fixtures.write(area, "oci-dir")),
             f"docker-archive:{path}:{fixtures.NAME}")
    return path, f"docker-archive:{path}", fixtures.NAME


def _podman_save(kind):
    def make(area):
        other = Store(area, "other")
        other.podman("load", "-q", "-i", fixtures.write(area, "docker-archive"))
        path = area.file("by-podman")
        other.podman("save", "-q", "--format", kind, "-o", path, fixtures.NAME)
        spelled = f"{'oci' if kind == 'oci-dir' else kind}:{path}"
        return path, spelled, fixtures.NAME
    return make


def _buildah_push(area):
    other = Store(area, "other")
    other.podman("load", "-q", "-i", fixtures.write(area, "docker-archive"))
    working = other.buildah("from", "--pull-never", fixtures.NAME).text.strip()
    other.buildah("run", "--isolation", "chroot", working, "--", "/bin/sh", "-c",
                  "echo by buildah > /etc/buildah; rm /etc/motd")
    other.buildah("config", "--env", "ORLOP=1", working)
    other.buildah("commit", "-q", working, "localhost/by-buildah:2")
    path = area.file("by-buildah.tar")
    other.buildah("push", "-q", "localhost/by-buildah:2", f"oci-archive:{path}:localhost/by-buildah:2")
    return path, f"oci-archive:{path}", "localhost/by-buildah:2"


def _umoci(area):
    path, name = area.file("by-umoci"), "1"
    area.run("umoci", "init", "--layout", path)
    area.run("umoci", "new", "--image", f"{path}:{name}")
    for number, data in enumerate(fixtures.layers()):
        tar = area.write(f"umoci-{number}.tar", data)
        area.run("umoci", "raw", "add-layer", "--image", f"{path}:{name}", tar)
    return path, f"oci:{path}:{name}", "localhost/1:latest"


_from_tool("skopeo-oci-dir", _skopeo_oci)
_from_tool("skopeo-docker-archive", _skopeo_archive)
_from_tool("podman-docker-archive", _podman_save("docker-archive"))
_from_tool("podman-oci-archive", _podman_save("oci-archive"))
_from_tool("podman-oci-dir", _podman_save("oci-dir"))
_from_tool("buildah-oci-archive", _buildah_push)
_from_tool("umoci", _umoci)


@test("load-from-standard-input")
def _(area):
    for kind in ("docker-archive", "oci-archive"):
        store = Store(area, "store-" + kind)
        with open(fixtures.write(area, kind), "rb") as file:
            store.orlop("load", stdin=file.read())
        equal(store.image(fixtures.NAME)["id"], fixtures.image_id(), f"image id ({kind})")


@test("load-names-as-podman-does")
def _(area):
    layers = fixtures.layers()[1:2]
    config = imagefile.config_of(layers)
    for kind, names in (("docker-archive", (None, "x:1", "localhost/x:1", "quay.io/a/b:2")),
                        ("oci-archive", (None, "1", "x:1", "quay.io/a/b"))):
        for number, name in enumerate(names):
            path = area.file(f"{kind}-{number}")
            imagefile.write_image([(name, layers, config)], kind, path)
            ours = Store(area, f"ours-{kind}-{number}")
            theirs = Store(area, f"theirs-{kind}-{number}")
            ours.orlop("load", "-i", path)
            theirs.podman("load", "-q", "-i", path)
            equal([r.get("names") for r in ours.records("images")],
                  [r.get("names") for r in theirs.records("images")],
                  f"names of {kind} with the name {name!r}")


@test("load-twice-unpacks-nothing-again")
def _(area):
    store = loaded(area)
    before = {layer: os.stat(store.layer_dir(layer)).st_ino for layer in store.by_id("layers")}
    records = store.records("layers")
    store.orlop("load", "-i", fixtures.write(area, "docker-archive"))
    after = {layer: os.stat(store.layer_dir(layer)).st_ino for layer in store.by_id("layers")}
    equal(after, before, "layer directories")
    equal(store.records("layers"), records, "layer records")
    equal(len(store.records("images")), 1, "number of images")


@test("load-two-images-sharing-layers")
def _(area):
    layers = fixtures.layers()
    images = [("localhost/pair:all", layers, imagefile.config_of(layers)),
              ("localhost/pair:base", layers[:1], imagefile.config_of(layers[:1]))]
    for kind in fixtures.FORMATS:
        path = area.file("pair-" + kind)
        imagefile.write_image(images, kind, path)
        store = Store(area, "store-" + kind)
        store.orlop("load", "-i", path)
        for name, _, config in images:
            equal(store.image(name)["id"], imagefile.digest(config)[7:], f"image id of {name}")
        equal(len(store.records("layers")), 3, f"layers in the store ({kind})")


@test("load-platform-of-an-index")
def _(area):
    images = [fixtures.image("localhost/multi:1", arch) for arch in ("amd64", "arm64", "s390x")]
    for kind in ("oci-dir", "oci-archive"):
        path = area.file("multi-" + kind)
        imagefile.write_image(images, kind, path)
        for arch, (_, _, config) in zip(("amd64", "arm64", "s390x"), images):
            store = Store(area, f"store-{kind}-{arch}")
            store.orlop("load", "--platform", f"linux/{arch}", "-i", path)
            equal(store.image("localhost/multi:1")["id"], imagefile.digest(config)[7:],
                  f"image id for {arch} ({kind})")
        store = Store(area, f"store-{kind}-none")
        store.orlop("load", "--platform", "linux/riscv64", "-i", path, ok=False)
        equal(store.records("images"), [], "images after a platform that is not there")


@test("load-keeps-capability-device-and-times")
def _(area):
    store = loaded(area)
    base, _, top = [store.layer_dir(l["id"]) for l in store.chain(store.image(fixtures.NAME))]
    equal(os.getxattr(f"{base}/bin/ping", "security.capability"), imagefile.CAP_NET_RAW,
          "capability")
    if area.is_users:
        check(not os.path.lexists(f"{base}/dev/null"), "a device that no user can make")
    else:
        equal(os.stat(f"{base}/dev/null").st_rdev, os.makedev(1, 3), "device")
    equal(os.getxattr(f"{base}/usr/lib/attributes", "user.orlop.binary"), b"\x00\x01\x7f", "xattr")
    equal(oct(os.stat(f"{top}/srv/set-id").st_mode & 0o7777), oct(0o6755), "set-id bits")
    equal(os.stat(f"{top}/srv/nanoseconds").st_mtime_ns % 10**9 // 1000, 123456, "microseconds")


@test("load-on-vfs")
def _(area):
    store = Store(area, driver="vfs")
    store.orlop("load", "-i", fixtures.write(area, "oci-archive"))
    equal(store.image(fixtures.NAME)["id"], fixtures.image_id(), "image id")
    said = store.podman(*PODMAN_RUN, "--rm", fixtures.NAME, "/bin/cat", "/srv/opaque/d").text
    equal(said, "only d is left\n", "output of a container on vfs")


@test("policy-json-is-obeyed")
def _(area):
    # A private mount namespace has its own /etc/containers/policy.json.
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        raise Skip("no mount namespaces here")
    path = fixtures.write(area, "docker-archive")
    signed = area.write("key.pub", b"not a key")
    policies = {
        "accept": ('{"default":[{"type":"reject"}],"transports":{"docker-archive":'
                   '{"":[{"type":"insecureAcceptAnything"}]}}}', True),
        "reject": ('{"default":[{"type":"reject"}]}', False),
        "signed": ('{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"%s"}]}'
                   % signed, False),
    }
    for name, (text, good) in policies.items():
        store = Store(area, "store-" + name)
        policy = area.write(name + ".json", text.encode())
        placed = ["unshare", "-m", "sh", "-c",
                  'mkdir -p /etc/containers && touch /etc/containers/policy.json && '
                  'mount --bind "$1" /etc/containers/policy.json && shift && exec "$@"', "sh", policy]
        environment = {}
        if area.is_users:
            # A user's own stands before that of the machine.
            placed, environment = [], {"HOME": area.file(f"home-{name}")}
            shutil.copy(policy, os.path.join(area.dir(f"home-{name}/.config/containers"), "policy.json"))
        done = area.run(
            *placed, area.options.orlop, "-g", store.graph, "-R", store.run_root, "-s", "overlay",
            "load", "-i", path, ok=good, env=environment)
        equal(len(store.records("images")), int(good), f"images with policy {name}")
        if name == "signed":
            check("policy.json" in done.error, f"the error names no file: {done.error}")
        equal(store.leftovers(), [], f"leftovers with policy {name}")
