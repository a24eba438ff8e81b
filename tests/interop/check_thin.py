"""Thin images beside the engines: podman, skopeo and the Go library keep them, and containers on them are run from the repository."""

import json
import os

import fixtures
import imagefile
from harness import check, equal, need, same_mapping, test
from stores import PODMAN_RUN, Store, tree

NAME, NEXT = "localhost/thin:1", "localhost/next:1"
REPOSITORY = "r.example.org"

# What a publisher makes of a layer's tar: deletions as the kernel's overlay has them.
PUBLISH = """set -e; cd "$1"
tar -x -p --numeric-owner --xattrs --xattrs-include='*' -f -
find . -name .wh..wh..opq | while read -r mark; do
    rm "$mark"; setfattr -n trusted.overlay.opaque -v y "${mark%/*}"
done
find . -name '.wh.*' | while read -r mark; do
    rm "$mark"; mknod "${mark%/*}/${mark##*/.wh.}" c 0 0
done
"""


class Site:
    """A store, and a folder where the demonstration image's layers are published, which nobody can write to."""

    def __init__(self, area):
        self.area, self.store = area, Store(area)
        self.root = area.dir("cvmfs")
        repository = area.dir(f"cvmfs/{REPOSITORY}")
        for data in fixtures.layers():
            folder = area.dir(f"cvmfs/{REPOSITORY}/layers/{imagefile.digest(data)[7:]}")
            area.run("bash", "-c", PUBLISH, "bash", folder, stdin=data)
        area.run("mount", "--bind", repository, repository)
        area.run("mount", "-o", "remount,bind,ro", repository)

    def orlop(self, *words, **how):
        return self.store.orlop("--dialect", "cvmfs", "--storage-opt", "cvmfsMountMethod=external",
                                "--storage-opt", f"cvmfsRoot={self.root}", *words, **how)

    def archive(self):
        """A docker archive of the thin image, as another program than orlop writes it."""
        layers = [{"digest": digest[7:], "url": f"cvmfs://{REPOSITORY}/layers/{digest[7:]}"}
                  for digest in fixtures.diff_ids()]
        layer = imagefile.Layer()
        layer.add("thin.json", data=json.dumps({"version": "1.0", "layers": layers}).encode())
        data = layer.bytes()
        path = self.area.file("thin.tar")
        imagefile.write_image([(NAME, [data], imagefile.config_of([data]))], "docker-archive", path)
        return path, data


@test("thin-images-are-run-from-the-repository")
def _(area):
    """18, ADD-11: loaded, started, committed and exported."""
    need("podman", "skopeo", "setfattr")
    site = Site(area)
    store = site.store
    path, data = site.archive()
    site.orlop("load", "-q", "-i", path)
    site.orlop("create-container", "-n", "box", NAME)
    root = site.orlop("mount", "box").text.strip()
    # It shows what the whole image shows.
    whole = Store(area, "whole")
    whole.orlop("load", "-q", "-i", fixtures.write(area, "docker-archive"))
    whole.orlop("create-container", "-n", "box", fixtures.NAME)
    # But for the times of directories, which whoever publishes has changed.
    ours, theirs = (tree(at, times=False) for at in (root, whole.orlop("mount", "box").text.strip()))
    for files in (ours, theirs):
        del files["."]
    same_mapping(ours, theirs, "files of a container on a thin image")

    said = store.podman(*PODMAN_RUN, "--rm", "--rootfs", root, "/bin/sh", "-c",
                        "cat /etc/motd; rm /etc/motd; echo new > /etc/new; test -e /srv/gone || echo gone").text
    equal(said, "welcome below deck\ngone\n", "what the container says")
    changed = {change["Path"]: change["Kind"] for change in site.orlop("changes", "-j", "box").json}
    equal((changed.get("/etc/new"), changed.get("/etc/motd")), (1, 2), f"what it has changed: {changed}")
    site.orlop("unmount", "box")
    site.orlop("commit", "-q", "box", NEXT)

    # Committed, it is an image of two layers, whose tars are the thin one and what has changed.
    chain = store.chain(store.image(NEXT))
    equal(len(chain), 2, "layers")
    equal(site.orlop("diff", "-u", chain[0]["id"]).out, data, "the tar of the thin layer")
    names = area.run("tar", "-t", stdin=site.orlop("diff", "-u", chain[1]["id"]).out).text.split()
    check({"etc/new", "etc/.wh.motd"} <= set(names), f"what has changed: {names}")
    check(not any(name.startswith(("bin/", "usr/")) for name in names), f"nothing of the repository: {names}")
    saved = area.file("next.tar")
    site.orlop("save", "-q", "--format", "oci-archive", "-o", saved, NEXT)
    equal(json.loads(area.run("skopeo", "inspect", "--config", f"oci-archive:{saved}").out)["rootfs"]["diff_ids"],
          [layer["diff-digest"] for layer in chain], "the layers that were saved")

    # It is loaded elsewhere, and runs there.
    site.store = Store(area, "elsewhere")
    site.orlop("load", "-q", "-i", saved)
    site.orlop("create-container", "-n", "again", NEXT)
    root = site.orlop("mount", "again").text.strip()
    equal(site.store.podman(*PODMAN_RUN, "--rm", "--rootfs", root, "/bin/sh", "-c",
                            "cat /etc/new /srv/empty; test -e /etc/motd || echo gone").text, "new\ngone\n", "the second container")
    site.orlop("unmount", "again")


@test("thin-images-are-kept-by-podman")
def _(area):
    """docs/dialects/cvmfs.md: what podman and the Go library see, and that they break nothing."""
    need("podman", "skopeo", "setfattr")
    site = Site(area)
    store = site.store
    path, data = site.archive()
    site.orlop("load", "-q", "-i", path)
    image = store.image(NAME)
    listed = store.podman("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}").text
    equal(listed.strip(), f"sha256:{image['id']} {NAME}", "images")
    equal(store.podman("inspect", "--format", "{{.RootFS.Layers}}", NAME).text.strip(),
          f"[{imagefile.digest(data)}]", "layers")
    store.podman("tag", NAME, "localhost/other:1")
    saved = area.file("saved.tar")
    store.podman("save", "-q", "-o", saved, NAME)
    equal(imagefile.digest(area.run("skopeo", "inspect", "--config", "--raw", f"docker-archive:{saved}").out)[7:],
          image["id"], "the image as podman saves it")
    # For podman it is an image with one file.
    equal(os.listdir(store.podman("image", "mount", NAME).text.strip()), ["thin.json"], "files")
    store.podman("image", "unmount", NAME)

    # Whatever collects garbage there, a container on it stays, and is mounted.
    site.orlop("create-container", "-n", "box", NAME)

    def shows():
        root = site.orlop("mount", "box").text.strip()
        check(os.path.exists(f"{root}/bin/busybox") and not os.path.exists(f"{root}/thin.json"), "its files")
        site.orlop("unmount", "box")

    shows()
    store.podman("image", "prune", "-f")
    shows()
    # As after a crash, when the next command of podman's looks through the home.
    equal(store.go("gc").error, "", "what Go's collection says")
    equal(store.go("check").text, "", "what Go's check says")
    shows()
    store.podman("untag", NAME, "localhost/other:1")
    check("in use by a container" in store.podman("rmi", NAME, ok=False).error, "an image with a container")
    shows()
    site.orlop("delete-container", "box")
    # Another image may be put upon it and beside it, by anybody.
    store.podman("load", "-q", "-i", fixtures.write(area, "docker-archive"))
    equal(store.podman(*PODMAN_RUN, "--rm", fixtures.NAME, "/bin/echo", "runs").text, "runs\n", "an ordinary container")
    store.podman("rmi", NAME)
    left = os.listdir(f"{store.graph}/overlay")
    check(image["layer"] not in left, f"what is left: {left}")
    # It comes back by podman, which knows nothing of thin layers, and by orlop, which does.
    store.podman("load", "-q", "-i", saved)
    store.podman("rmi", NAME)
    site.orlop("load", "-q", "-i", saved)
    site.orlop("create-container", "-n", "box", NAME)
    shows()
