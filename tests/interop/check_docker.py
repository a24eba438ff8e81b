"""Images of a real docker daemon: listed, taken over, used by podman; and what docker makes of what is left."""

import json
import os
import subprocess
import time

import fixtures
import imagefile
from dockerd import Dockerd
from harness import check, equal, need, same_mapping, test
from stores import PODMAN_RUN, Store, tree


def stocked(docker, area):
    """An image loaded, one built, one committed, one imported, and two stopped containers; their ids by name."""
    docker.load(fixtures.write(area, "docker-archive"))
    docker.docker("tag", fixtures.NAME, "other:2")
    docker.docker("run", "--network", "none", "--name", "ran", fixtures.NAME, "/bin/sh", "-c",
                  "echo x > /etc/new; rm /etc/motd; mkdir /srv/d; echo ran")
    docker.docker("create", "--name", "copied", fixtures.NAME)
    docker.docker("cp", area.write("note", b"below deck\n"), "copied:/srv/note")
    docker.docker("commit", "copied", "committed:1")
    docker.build(f"FROM {fixtures.NAME}\nRUN echo built > /etc/built; rm -r /srv/opaque\nENV A=b\n"
                 "RUN echo twice > /etc/twice\n", "built:1")
    docker.docker("import", "-", "imported:1", stdin=fixtures.layers()[0])
    return {name: docker.inspect(name)["Id"][7:]
            for name in (fixtures.NAME, "committed:1", "built:1", "imported:1")}


def same_diffs(docker, store, name):
    """The stored image is docker's: id, layers, and every tar by its digest."""
    facts = docker.inspect(name)
    record = store.image(facts["Id"][7:])
    chain = store.chain(record)
    equal([l["diff-digest"] for l in chain], facts["RootFS"]["Layers"], f"layers of {name}")
    for layer in chain:
        tar = store.orlop("diff", "-u", layer["id"]).out
        equal(imagefile.digest(tar), layer["diff-digest"], f"the tar of a layer of {name}")
    return record


def saved_config(area, path):
    return imagefile.digest(area.run("skopeo", "inspect", "--config", "--raw",
                                     f"docker-archive:{path}").out)[7:]


@test("docker-images-are-listed-beside-the-daemon")
def _(area):
    with Dockerd(area) as docker:
        ids = stocked(docker, area)
        run = lambda kind: area.run(area.options.orlop, "docker", kind, "--data-root",
                                    docker.root, "-j").json
        images = {i["id"]: i for i in run("images")}
        equal({"sha256:" + i for i in images}, docker.ids(), "ids of all images")
        for name, image in ids.items():
            facts = docker.inspect(name)
            equal(sorted(images[image]["names"]), sorted(facts["RepoTags"]), f"names of {name}")
            equal(images[image]["diff-digests"], facts["RootFS"]["Layers"], f"layers of {name}")
        containers = {c["name"]: c for c in run("containers")}
        equal(sorted(containers), ["copied", "ran"], "containers")
        facts = docker.docker("inspect", "copied").json[0]
        equal(containers["copied"]["id"], facts["Id"], "a container's id")
        upper = f"{docker.root}/overlay2/{containers['copied']['layer']}/diff"
        equal(facts["GraphDriver"]["Data"]["UpperDir"], upper, "a container's layer")
        paths = set()
        for layer in run("layers"):
            check(os.path.isdir(f"{docker.root}/overlay2/{layer['cache-id']}/diff"), layer["id"])
            paths.add(layer["cache-id"])
        uppers = {docker.inspect(n)["GraphDriver"]["Data"]["UpperDir"].split("/")[-2] for n in ids}
        check(uppers <= paths, f"top layers that are not listed: {uppers - paths}")

        # One that runs is no image yet; what stands still is.
        store = Store(area)
        docker.docker("run", "-dit", "--network", "none", "--name", "runs", fixtures.NAME, "/bin/sh")
        said = store.orlop("migrate", "docker", "--data-root", docker.root, "--containers", ok=False)
        check("container runs: " in said.error and "it runs" in said.error, said.error)
        names = {n for record in store.records("images") for n in record["names"]}
        check("localhost/ran:latest" in names and "localhost/runs:latest" not in names, f"{names}")
        docker.docker("rm", "-f", "runs")


@test("docker-layers-are-listed-by-the-driver")
def _(area):
    """17 and rule 3 of 20: a home named overlay2 tells by its layers whose it is, and nothing of it is changed."""
    with Dockerd(area) as docker:
        stocked(docker, area)
        home = f"{docker.root}/overlay2"
        before = tree(home)
        layers = sorted(name for name in os.listdir(home) if os.path.isdir(f"{home}/{name}/diff"))
        for words in (["--dialect", "moby"], ["-s", "overlay2"]):
            told = area.run(area.options.orlop, "-g", docker.root, "-R", area.dir("run"), *words,
                            "storage-layers").text.split()
            equal(sorted(told), layers, f"layers, by {words}")
        same_mapping(tree(home), before, "docker's layers")


@test("docker-images-are-taken-over-beside-the-daemon")
def _(area):
    need("podman", "skopeo")
    store = Store(area)
    with Dockerd(area) as docker:
        ids = stocked(docker, area)
        before = tree(f"{docker.root}/overlay2")
        out = store.orlop("migrate", "docker", "--data-root", docker.root, "--containers", "-j")
        report = out.json
        check(all("error" not in image for image in report), f"{report}")
        records = {name: same_diffs(docker, store, name) for name in ids}
        equal(set(records[fixtures.NAME]["names"]), {fixtures.NAME, "docker.io/library/other:2"},
              "names")
        # Docker's tree is as it was, and the daemon goes on using it.
        same_mapping(tree(f"{docker.root}/overlay2"), before, "docker's layers")
        equal(docker.docker("run", "--rm", "--network", "none", "built:1", "/bin/cat",
                            "/etc/built").text, "built\n", "a container of docker's")

        # What podman sees is what docker's layers show, but for the root's mode, which tars do not have.
        for name in ("docker.io/library/built:1", fixtures.NAME):
            layers = docker.inspect(name)["GraphDriver"]["Data"]
            theirs = area.dir("theirs")
            area.run("mount", "-t", "overlay", "overlay", theirs, "-o",
                     f"ro,lowerdir={layers['UpperDir']}:{layers['LowerDir']}")
            ours, shown = tree(store.podman("image", "mount", name).text.strip()), tree(theirs)
            del ours["."], shown["."]
            same_mapping(ours, shown, f"files of {name}")
            store.podman("image", "unmount", name)
            area.run("umount", theirs)

        # Containers came as images, with what they changed.
        said = store.podman(*PODMAN_RUN, "--rm", "localhost/ran", "/bin/sh", "-c",
                            "cat /etc/new; test -e /etc/motd || echo gone; test -d /srv/d && echo made").text
        equal(said, "x\ngone\nmade\n", "what a container had changed")
        equal(store.podman(*PODMAN_RUN, "--rm", "localhost/copied", "/bin/cat", "/srv/note").text,
              "below deck\n", "what was copied into a container")

    # Without the daemon: the whole life in podman, with the ids that docker gave.
    equal(store.podman(*PODMAN_RUN, "--rm", "built:1", "/bin/sh", "-c", "cat /etc/twice; echo $A").text,
          "twice\nb\n", "output of a container")
    for name, image in (("built:1", ids["built:1"]), ("committed:1", ids["committed:1"])):
        path = area.file(name.split(":")[0] + ".tar")
        store.podman("save", "-q", "-o", path, name)
        equal(saved_config(area, path), image, f"id of {name} as podman saves it")
        store.podman("push", "-q", name, f"dir:{path}.dir")
        equal(store.podman("inspect", "--format", "{{.Id}}", name).text.strip(), image, f"id of {name}")
    # Once more changes nothing.
    stored = store.snapshot()
    again = store.orlop("migrate", "docker", "--data-root", docker.root, "--containers", "-j").json
    check({l["outcome"] for image in again for l in image["layers"]} == {"present"}, f"{again}")
    equal(store.snapshot(), stored, "the store after a second call")


@test("docker-images-are-moved")
def _(area):
    need("podman")
    store = Store(area)
    with Dockerd(area) as docker:
        ids = stocked(docker, area)
        busy = store.orlop("migrate", "docker", "--data-root", docker.root, "--move", ok=False)
        check("daemon" in busy.error, f"the reason: {busy.error}")
        equal(store.records("images"), [], "images after a refused move")
        everything = docker.ids()
    words = ("migrate", "docker", "--data-root", docker.root, "--move")
    # Crash and resume: what was copied before is not made again.
    store.orlop("migrate", "docker", "--data-root", docker.root, "imported:1")
    planned = store.orlop(*words, "--dry-run", "-j").json
    check(not any(image["moved"] for image in planned), f"{planned}")
    report = {image["id"]: image for image in store.orlop(*words, "-j").json}
    moved = {i for i, image in report.items() if image["moved"]}
    # The containers keep their image, and with it the layers under all others.
    equal(moved, {ids["built:1"], ids["committed:1"], ids["imported:1"]}, "what has moved")
    check("container" in report[ids[fixtures.NAME]]["kept"], "why an image stays")
    outcomes = [l["outcome"] for l in report[ids["built:1"]]["layers"]]
    # The base layer was imported before; what lies on it stays with the containers' image.
    equal((outcomes[0], outcomes[3:]), ("present", ["moved", "moved"]), "what became of layers")

    # The daemon starts on what is left, and works.
    docker.start()
    try:
        equal(docker.ids(), {"sha256:" + ids[fixtures.NAME]}, f"images that docker keeps of {everything}")
        docker.docker("start", "-a", "ran")
        equal(docker.docker("diff", "copied").text, "C /srv\nA /srv/note\n", "a container of docker's")
        docker.docker("rm", "ran", "copied")
        docker.build(f"FROM {fixtures.NAME}\nRUN echo again > /etc/again\n", "again:1")
        # What has moved can come back.
        path = area.file("back.tar")
        store.podman("save", "-q", "-o", path, "docker.io/library/built:1")
        docker.load(path)
        equal(docker.inspect("built:1")["Id"][7:], ids["built:1"], "the id of what came back")
    finally:
        docker.stop()
    report = store.orlop(*words, "-j").json
    check(all(image["moved"] for image in report), f"{report}")
    left = [n for n in os.listdir(f"{docker.root}/overlay2") if n != "l"]
    equal((left, os.listdir(f"{docker.root}/overlay2/l")), ([], []), "directories that docker has left")
    docker.start()
    try:
        equal(docker.ids(), set(), "images that docker has left")
    finally:
        docker.stop()
    for name, out in (("built:1", "built\n"), ("again:1", "again\n")):
        file = "/etc/" + name.split(":")[0]
        equal(store.podman(*PODMAN_RUN, "--rm", name, "/bin/cat", file).text, out, f"a file of {name}")


def half_done(docker, area, call, place):
    """A move out of a copy of the data root, killed at the first `call` that has `place` in its path: (copy, store, words)."""
    number = len([n for n in os.listdir(area.path) if n.startswith("copy-")])
    copy, undisturbed, store = area.dir(f"copy-{number}") + "/docker", Store(area, f"all-{number}"), Store(area, f"store-{number}")
    words = ("migrate", "docker", "--move", "--data-root", copy)

    def run(store, *tracer):
        area.run("rm", "-rf", "--one-file-system", copy)
        area.run("cp", "-a", docker.root, copy)
        return area.run("strace", "-f", "-y", "-qq", "-o", area.file("trace"), "-e", f"trace={call}", *tracer,
                        area.options.orlop, "-g", store.graph, "-R", store.run_root, "-s", store.driver,
                        *store.options, *words, ok=None)

    check(run(undisturbed).code == 0, "a move that nobody ends")
    seen = {}
    with open(area.file("trace"), encoding="utf-8", errors="replace") as lines:
        for line in lines:
            thread, _, rest = line.partition(" ")
            if rest.lstrip().startswith(call + "("):
                seen[thread] = seen.get(thread, 0) + 1
                if f"{copy}/{place}" in rest:
                    break
        else:
            check(False, f"no {call} at {place}")
    undisturbed.orlop("shutdown")
    done = run(store, "-e", f"inject={call}:signal=KILL:when={seen[thread]}")
    equal(done.code, -9, f"the code of a move killed at {call} of {place}")
    with open(area.file("trace"), encoding="utf-8", errors="replace") as lines:
        last = [line for line in lines if f" {call}(" in line][-1]
    check(f"{copy}/{place}" in last, f"it was killed elsewhere: {last}")
    return copy, store, words


@test("docker-builds-that-were-killed-keep-their-layers")
def _(area):
    """BuildKit reads an image through an entry in layerdb/mounts, which a daemon that is killed meanwhile leaves for ever."""
    store = Store(area)
    with Dockerd(area) as docker:
        big = imagefile.Layer()
        for number in range(64):
            big.add(f"big/{number}", data=os.urandom(1 << 20))
        docker.docker("import", "-", "big:1", stdin=big.bytes())
        docker.load(fixtures.write(area, "docker-archive"))
        layers = docker.inspect("big:1")["RootFS"]["Layers"]
        mounts = f"{docker.root}/image/overlay2/layerdb/mounts"
        text = area.write("Dockerfile", b"FROM scratch\nCOPY --from=big:1 /big /copy\n")
        # Nobody waits for its end.
        build = subprocess.Popen(
            [docker.client, "-H", f"unix://{docker.socket}", "build", "--network", "none", "-t", "never:1", "-f", text, area.dir("empty")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**area.environment, "DOCKER_BUILDKIT": "1"})
        give_up = time.monotonic() + 60
        while not (os.path.isdir(mounts) and any(os.path.exists(f"{mounts}/{name}/parent") for name in os.listdir(mounts))):
            check(build.poll() is None and time.monotonic() < give_up, "the build has ended, and was never seen to read the image")
            time.sleep(0.002)
        docker.kill()
        build.wait()
        (name,) = os.listdir(mounts)
        equal((len(name), sorted(os.listdir(f"{mounts}/{name}"))), (25, ["mount-id", "parent"]), "what is left")

        # Neither a restart nor a prune clears it.
        docker.start()
        docker.docker("builder", "prune", "-af")
    equal(os.listdir(mounts), [name], "what docker has left of it")
    report = store.orlop("migrate", "docker", "--data-root", docker.root, "--move", "-j").json
    check(all(image["moved"] for image in report), f"{report}")
    equal(os.listdir(mounts), [name], "what is left of it after a move")
    left = area.run(area.options.orlop, "docker", "layers", "--data-root", docker.root, "-j").json
    equal([layer["diff-digest"] for layer in left], layers, "the layers that docker keeps")
    docker.start()
    try:
        equal(docker.ids(), set(), "images that docker has left")
    finally:
        docker.stop()
    for layer in store.chain(store.image("docker.io/library/big:1")):
        equal(imagefile.digest(store.orlop("diff", "-u", layer["id"]).out), layer["diff-digest"], "the tar of the layer")


@test("docker-starts-on-what-a-killed-move-leaves")
def _(area):
    """Every image that docker lists then is whole, and the next move finishes what was begun."""
    need("strace")
    with Dockerd(area) as docker:
        docker.load(fixtures.write(area, "docker-archive"))
        docker.build(f"FROM {fixtures.NAME}\nRUN echo built > /etc/built\nRUN echo twice > /etc/twice\n", "built:1")
        everything = docker.ids()
    root = docker.root
    for call, place in (("unlinkat", "image/overlay2/imagedb/content"), ("rename", "image/overlay2/layerdb/sha256"),
                        ("unlinkat", "overlay2/l")):
        docker.root = root
        docker.root, store, words = half_done(docker, area, call, place)
        check(os.path.exists(f"{docker.root}/image/overlay2/orlop-moved.json"), "what is to be finished is written down")
        docker.start()
        try:
            listed = docker.ids()
            check(listed <= everything, f"after {call} at {place}: {listed}")
            for image in listed:
                docker.docker("save", "-o", area.file("saved.tar"), image)
        finally:
            docker.stop()
        said = store.orlop(*words).text
        # What is left of layers alone, the daemon removes on its way out.
        check(place == "overlay2/l" or "Finished an earlier move" in said, f"after {call} at {place}: {said}")
        check(not os.path.exists(f"{docker.root}/image/overlay2/orlop-moved.json"), "what is written down goes")
        left = [n for n in os.listdir(f"{docker.root}/overlay2") if n != "l"]
        equal((left, os.listdir(f"{docker.root}/overlay2/l")), ([], []), f"what is left after {call} at {place}")
        equal(os.listdir(f"{docker.root}/image/overlay2/layerdb/sha256"), [], "records that are left")
        docker.start()
        try:
            equal(docker.ids(), set(), f"images that docker has left after {call} at {place}")
        finally:
            docker.stop()
        for name in (fixtures.NAME, "docker.io/library/built:1"):
            for layer in store.chain(store.image(name)):
                tar = store.orlop("diff", "-u", layer["id"]).out
                equal(imagefile.digest(tar), layer["diff-digest"], f"the tar of a layer of {name}")


@test("docker-images-that-are-damaged-are-refused")
def _(area):
    store = Store(area)
    said = store.orlop("migrate", "docker", "--move", "--copy", ok=False).error
    check("exclude each other" in said, said)
    with Dockerd(area) as docker:
        docker.load(fixtures.write(area, "docker-archive"))
        upper = docker.inspect(fixtures.NAME)["GraphDriver"]["Data"]["UpperDir"]
    with open(f"{upper}/etc/motd", "r+b") as file:
        file.write(b"WELCOME")
    before = store.snapshot()
    said = store.orlop("migrate", "docker", "--data-root", docker.root, ok=False).error
    check("motd" in said, f"what is wrong: {said}")
    after = store.snapshot()
    equal(json.dumps(after["layers"] + after["images"]), "[]", f"the store, before {before}")
    equal(after["leftovers"], [], "what a refusal leaves")
    # Who does not want to know gets it as it is.
    store.orlop("migrate", "docker", "--data-root", docker.root, "--no-verify")
    store.image(fixtures.NAME)


# Whatever makes a layer's files and its tar differ on purpose: times cut to seconds and from before the epoch, new and removed directories,
# hard links that are made, copied up and cut, owners, bits of the mode, pipes.
STEPS = f"""FROM {fixtures.NAME}
RUN echo built > /etc/built; rm -r /srv/opaque; mkdir /srv/opaque; echo n > /srv/opaque/n
RUN ln /etc/built /etc/hard; ln -s built /etc/sym; mkfifo /srv/fifo; mkdir -p /a/b/c; chmod 4755 /etc/built; chown 5:6 /etc/sym /a/b
RUN rm /etc/motd; touch /etc/twice; chmod 1777 /a; rm /etc/hard; mv /a/b /a/renamed
RUN touch -d 1960-01-01 /srv/old; date > /a/date
"""


@test("docker-layers-of-every-origin-are-verified")
def _(area):
    store = Store(area)
    with Dockerd(area) as docker:
        ids = stocked(docker, area)
        ids["legacy:1"] = docker.build(STEPS, "legacy:1")[7:]
        ids["kit:1"] = docker.build(STEPS, "kit:1", kit=True)[7:]
        report = store.orlop("migrate", "docker", "--data-root", docker.root, "--copy", "-j").json
        equal([image["error"] for image in report if "error" in image], [], "what differs")
        check(set(ids.values()) <= {image["id"] for image in report}, f"{report}")
        for name in ids:
            same_diffs(docker, store, name)


@test("docker-layers-that-were-changed-are-refused")
def _(area):
    store = Store(area)
    with Dockerd(area) as docker:
        docker.load(fixtures.write(area, "docker-archive"))
        upper = docker.inspect(fixtures.NAME)["GraphDriver"]["Data"]["UpperDir"]
    migrate = ("migrate", "docker", "--data-root", docker.root)
    motd = f"{upper}/etc/motd"
    before = os.stat(motd), os.stat(f"{upper}/etc")

    def times(path, stat):
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def refused(why):
        times(f"{upper}/etc", before[1])
        for words in ((), ("--move",)):
            said = store.orlop(*migrate, *words, ok=False).error
            check(why in said and "--no-verify" in said, f"{why}: {said}")
            equal(json.dumps(store.records("layers") + store.records("images")), "[]", why)

    os.chmod(motd, 0o4755)
    refused("etc/motd\" with the layer's tar: damaged store: its mode is 4755")
    os.chmod(motd, before[0].st_mode & 0o7777)
    os.chown(motd, 1000, -1)
    refused("its owner is 1000:")
    os.chown(motd, before[0].st_uid, -1)
    os.utime(motd, (1, 1))
    refused("its time is 1.000000000")
    times(motd, before[0])
    os.setxattr(motd, "user.more", b"")
    refused("the attribute \"user.more\"")
    os.removexattr(motd, "user.more")
    os.link(motd, f"{upper}/etc/more")
    refused("etc/more\" with the layer's tar: damaged store: it is a file, in the tar nothing")
    os.unlink(f"{upper}/etc/more")
    times(f"{upper}/etc", before[1])
    store.orlop(*migrate)
    store.image(fixtures.NAME)
