"""Built there, used here: what podman and buildah made, seen by orlop."""

import os

import fixtures
import users
from harness import check, equal, need, test
from stores import PODMAN_RUN, Store


def built(area):
    """A store in which podman and buildah, not orlop, made everything."""
    need("podman", "buildah")
    store = Store(area)
    store.podman("load", "-q", "-i", fixtures.write(area, "docker-archive"))
    folder = area.dir("build")
    with open(f"{folder}/Containerfile", "w", encoding="utf-8") as file:
        file.write(f"FROM {fixtures.NAME}\nENV BUILT=1\n"
                   "RUN echo new > /etc/new && rm -r /srv/opaque /etc/motd\n"
                   "RUN mkdir /srv/opaque && echo again > /srv/opaque/again\n")
    store.buildah("bud", "-q", "--isolation", "chroot", "--pull-never", "--layers",
                  "-t", "localhost/built:1", folder)
    return store


def _same_list(store, kind):
    ours, theirs = store.orlop(kind, "-j").json, store.go(kind, "-j").json
    equal(ours, theirs, f"{kind} -j by orlop and by Go")
    equal(store.orlop(kind).text, store.go(kind).text, f"{kind} by orlop and by Go")
    return ours


@test("built-there-listed-here")
def _(area):
    store = built(area)
    store.podman("create", "-q", "--name", "waiting", "--network", "none", "localhost/built:1")
    for kind in ("layers", "images", "containers"):
        equal(len(_same_list(store, kind)), len(store.records(kind)), f"number of {kind}")
    for record in store.records("images"):
        for words in (["image", "-j", record["id"]], ["get-names", "-j", record["id"]],
                      ["list-image-data", "-j", record["id"]], ["metadata", "-j", record["id"]]):
            equal(store.orlop(*words).json, store.go(*words).json, " ".join(words[:2]))
        for key in record["big-data-names"]:
            equal(store.orlop("get-image-data", record["id"], key).out,
                  store.go("get-image-data", record["id"], key).out, f"big data {key}")
    for record in store.records("layers"):
        equal(store.orlop("layer", "-j", record["id"]).json,
              store.go("layer", "-j", record["id"]).json, "layer -j")
        equal(store.orlop("diffsize", record["id"]).text, store.go("diffsize", record["id"]).text,
              "diffsize")
    equal(store.orlop("container", "-j", "waiting").json,
          store.go("container", "-j", "waiting").json, "container -j")


@test("built-there-mounted-here")
def _(area):
    store = built(area)
    store.orlop("create-container", "-n", "here", store.image("localhost/built:1")["id"])
    point = store.mounted(store.orlop, "here")
    with open(f"{point}/etc/new", encoding="utf-8") as file:
        equal(file.read(), "new\n", "a file that RUN wrote")
    equal(os.listdir(f"{point}/srv/opaque"), ["again"], "a folder made anew")
    check(not os.path.exists(f"{point}/etc/motd"), "a removed file is visible")
    equal(store.go("mounted", "here").text.split()[1:], ["mounted"], "mounted, as Go sees it")
    store.go("unmount", "here")
    equal(store.orlop("mounted", "here").text, "", "mounted, after Go unmounted it")
    equal(os.listdir(point) if os.path.isdir(point) else [], [], "the mount point")
    store.podman("image", "mount", "localhost/built:1")
    store.podman("image", "unmount", "localhost/built:1")


@test("built-there-diffed-and-saved-here")
def _(area):
    store = built(area)
    for layer in store.records("layers"):
        equal(store.orlop("diff", "-u", layer["id"]).out == store.go("diff", "-u", layer["id"]).out,
              True, f"diff of {layer['id']} equals Go's")
        ours, theirs = (program("changes", "-j", layer["id"]).json for program in (store.orlop, store.go))
        ours = users.forgotten_by_go(area, ours, theirs)
        equal(sorted(map(str, ours)), sorted(map(str, theirs)), f"changes of {layer['id']}")
    wanted = [layer["diff-digest"] for layer in store.chain(store.image("localhost/built:1"))]
    for kind in fixtures.FORMATS:
        path = area.file("saved-" + kind)
        store.orlop("save", "--format", kind, "-o", path, "localhost/built:1")
        spelled = f"oci:{path}" if kind == "oci-dir" else f"{kind}:{path}"
        config = area.run("skopeo", "inspect", "--config", spelled).json
        equal(config["rootfs"]["diff_ids"], wanted, f"diff ids in {kind}")


@test("run-there-examined-here")
def _(area):
    store = built(area)
    store.podman(*PODMAN_RUN, "--name", "ran", "localhost/built:1", "/bin/sh", "-c",
                 "echo x > /root/x; rm /etc/passwd; mkdir /srv/opaque/sub")
    layer = next(c["layer"] for c in store.records("containers") if "ran" in c["names"])
    changes = {c["Path"]: c["Kind"] for c in store.orlop("changes", "-j", layer).json}
    equal({p: changes.get(p) for p in ("/root/x", "/etc/passwd", "/srv/opaque/sub")},
          {"/root/x": 1, "/etc/passwd": 2, "/srv/opaque/sub": 1}, "changes of podman's container")
    store.orlop("commit", "ran", "localhost/committed-here:1")
    said = store.podman(*PODMAN_RUN, "--rm", "localhost/committed-here:1", "/bin/cat", "/root/x").text
    equal(said, "x\n", "podman runs what orlop committed from its container")


@test("built-there-deleted-here")
def _(area):
    store = built(area)
    store.podman("create", "-q", "--name", "waiting", "--network", "none", "localhost/built:1")
    image = store.image("localhost/built:1")["id"]
    refused = store.orlop("delete-image", image, ok=False)
    check("in use by a container" in refused.error, f"refusal: {refused.error}")
    store.orlop("delete-container", "waiting")
    for record in store.records("images"):
        store.orlop("delete-image", record["id"], ok=None)
    for record in store.records("images"):  # those that had children the first time
        store.orlop("delete-image", record["id"])
    for kind in ("layers", "images", "containers"):
        equal(store.records(kind), [], f"{kind} after deleting all")
    equal(store.podman("images", "-a", "-q").text, "", "podman images")
    equal(store.leftovers(), [], "leftovers")


@test("volatile-containers-of-the-go-library")
def _(area):
    store = Store(area)
    store.orlop("load", "-i", fixtures.write(area, "oci-archive"))
    image = store.image(fixtures.NAME)["id"]
    store.go("create-container", "--volatile", "-n", "by-go", image)
    store.orlop("create-container", "--volatile", "-n", "by-orlop", image)
    equal(_same_list(store, "containers").__len__(), 2, "number of containers")
    for name, other in (("by-go", store.orlop), ("by-orlop", store.go)):
        check(store.mounted(other, name), f"{name} is not mounted")
        other("unmount", name)
        other("delete-container", name)
    equal(store.records("containers"), [], "containers at the end")
