"""Containers in user namespaces: layers and maps from here, run there, and what they wrote read here."""

import io
import tarfile

import fixtures
from harness import check, equal, need, test
from stores import PODMAN_RUN, Store

SIZE = 30000


def _host(area):
    """Where the mapped range begins: a user has 65536 ids in all."""
    return 20000 if area.is_users else 100000


def _maps(area):
    return [word for kind in ("uid", "gid") for word in (f"--{kind}map", f"0:{_host(area)}:{SIZE}")]


SCRIPT = ("cat /proc/self/uid_map; ls -ldn /bin/busybox | tr -s ' ' | cut -d' ' -f3,4; "
          "echo x > /root/x; chown 7:8 /root/x; rm /etc/motd")


def _members(store, layer):
    """What is in the tar of a layer's changes, about which orlop and Go must agree."""
    found = []
    for program in (store.orlop, store.go):
        told = program("diff", "-u", layer)
        with tarfile.open(fileobj=io.BytesIO(told.out)) as tar:
            found.append({m.name: (m.uid, m.gid, m.mode, m.type, m.size, m.linkname) for m in tar})
    agreed = found[0]
    if "cannot be mapped to a container ID; skipping" in told.error:
        # The kernel's mark of a deletion is root's, whom the maps do not know: Go forgets the deletion (ARC-8).
        agreed = {name: facts for name, facts in agreed.items() if "/.wh." not in name}
        check(agreed != found[0], f"Go says so without a deletion: {told.error}")
    equal(agreed, found[1], "the tar of a mapped layer by orlop and by Go")
    return found[0]


def _run(store, image, name):
    need("podman")
    said = store.podman(*PODMAN_RUN, *_maps(store.area), "--name", name, image, "/bin/sh", "-c", SCRIPT).text
    equal([line.split() for line in said.splitlines()], [["0", str(_host(store.area)), str(SIZE)], ["0", "0"]],
          "what a container in a user namespace sees")
    return next(c["layer"] for c in store.records("containers") if name in c["names"])


def _same_lists(store):
    for kind in ("layers", "images", "containers"):
        equal(store.orlop(kind, "-j").json, store.go(kind, "-j").json, f"{kind} -j by orlop and by Go")


@test("mapped-by-podman-and-committed-here-on-vfs")
def _(area):
    store = Store(area, driver="vfs")
    store.orlop("load", "-i", fixtures.write(area, "docker-archive"))
    image = store.image(fixtures.NAME)["id"]
    # The copy of the layer with other owners is made here, and found there.
    store.orlop("create-container", "-n", "here", *_maps(area), image)
    copies = store.image(fixtures.NAME)["mapped-layers"]
    equal(len(copies), 1, "mapped copies")
    layer = _run(store, fixtures.NAME, "mapped")
    equal(store.image(fixtures.NAME)["mapped-layers"], copies, "mapped copies after podman")
    equal(store.by_id("layers")[layer]["parent"], copies[0], "what podman's container lies on")
    _same_lists(store)
    members = _members(store, layer)
    equal(members["root/x"][:2], (7, 8), "an owner inside")
    equal(members["etc/.wh.motd"][:2], (0, 0), "a deletion")
    store.orlop("commit", "mapped", "localhost/committed-here:1")
    said = store.podman(*PODMAN_RUN, "--rm", "localhost/committed-here:1", "/bin/sh", "-c",
                        "ls -ln /root/x | tr -s ' ' | cut -d' ' -f3,4; test -e /etc/motd || echo gone")
    equal(said.text.split(), ["7", "8", "gone"], "the image that was committed")
    for name in ("here", "mapped"):
        store.orlop("delete-container", name)
    store.orlop("delete-image", store.image("localhost/committed-here:1")["id"])
    store.orlop("delete-image", image)
    equal(store.records("layers"), [], "layers, mapped copies included")
    equal(store.leftovers(), [], "leftovers")


@test("mapped-by-podman-and-read-here-on-overlay")
def _(area):
    store = Store(area)
    store.orlop("load", "-i", fixtures.write(area, "docker-archive"))
    layer = _run(store, fixtures.NAME, "mapped")
    _same_lists(store)
    members = _members(store, layer)
    # podman 4.3 maps at the mount and does not note that in the layer's record; fuse-overlayfs keeps the owners of inside.
    noted = "uidmap" in store.by_id("layers")[layer] or area.mounter == "fuse-overlayfs"
    equal(members["root/x"][:2], (7, 8) if noted else (_host(area) + 7, _host(area) + 8), "an owner")
    changes = {c["Path"]: c["Kind"] for c in store.orlop("changes", "-j", layer).json}
    equal({p: changes.get(p) for p in ("/root/x", "/etc/motd")}, {"/root/x": 1, "/etc/motd": 2},
          "changes of a container in a user namespace")
