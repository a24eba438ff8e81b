"""A user without privileges: his own store, beside podman and the Go library as that user."""

import json
import os
import shutil

import fixtures
import harness
from harness import Skip, check, equal, need, test

AS_USER = os.path.join(harness.TOP, "tests/as-user")
FUSE = "/usr/bin/fuse-overlayfs"
MOTD = "welcome below deck\n"


class User:
    """A user with a home in the area, and a store where podman has it by default."""

    def __init__(self, area, options="", ranges=True):
        need("unshare", "setpriv", "newuidmap")
        self.area, self.ranges = area, ranges
        os.chmod(area.path, 0o755)
        self.programs = {}
        for name, path in (("orlop", area.options.orlop), ("go", area.options.reference)):
            # Where the programs are built a user may have no business.
            self.programs[name] = shutil.copy(path, area.file(name))
        self.home = area.file("home")
        self.graph = self.home + "/.local/share/containers/storage"
        area.write("storage.conf", (
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.graph}"\n'
            f'runroot = "{self.home}/run/containers"\n[storage.options.overlay]\n{options}\n').encode())
        os.chmod(area.file("storage.conf"), 0o644)
        area.write("containers.conf", (
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n').encode())
        os.chmod(area.file("containers.conf"), 0o644)

    def run(self, *words, **how):
        environment = {**how.pop("env", {}), **({} if self.ranges else {"NO_RANGES": "1"})}
        return self.area.run(AS_USER, self.home, *words, env=environment, **how)

    def orlop(self, *words, **how):
        return self.run(self.programs["orlop"], *words, **how)

    def go(self, *words, **how):
        return self.run(self.programs["go"], *words, **how)

    def podman(self, *words, **how):
        return self.run("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", *words, **how)

    def podman_run(self, *words, **how):
        return self.podman("run", "--network", "none", "--ulimit", "nofile=1024:1024",
                           "--ulimit", "nproc=1000:1000", *words, **how)

    def shell(self, script, *words, **how):
        """A script in a user namespace that orlop makes; $ORLOP is the command, $1 and so on are `words`."""
        environment = {"ORLOP": self.programs["orlop"]}
        return self.orlop("unshare", "bash", "-euc", script, "script", *words, env=environment, **how)

    def records(self, kind):
        with open(f"{self.graph}/overlay-{kind}/{kind}.json", encoding="utf-8") as file:
            return json.load(file)

    def chain(self):
        """The directories of the fixture's layers, base first, and their ids."""
        layers = {layer["id"]: layer for layer in self.records("layers")}
        image = next(i for i in self.records("images") if fixtures.NAME in i.get("names", []))
        chain, top = [], image["layer"]
        while top:
            chain.insert(0, top)
            top = layers[top].get("parent")
        return chain

    def image(self, kind="oci-archive"):
        path = fixtures.write(self.area, kind)
        os.chmod(path, 0o644)
        return path


# Changes a container in the namespace, and tells how it was mounted.
CHANGE = """
point=$("$ORLOP" mount "$1")
stat --file-system --format %T "$point"
echo changed >"$point/etc/motd"
rm -r "$point/srv"
mkdir "$point/srv"
echo new >"$point/srv/new"
chown 1000:1000 "$point/srv/new"
"$ORLOP" unmount "$1" >/dev/null
"""


def _everything(user, kind):
    """What a user does with images and containers, one program after the other."""
    equal(user.orlop("load", "-i", user.image()).text, f"Loaded image: {fixtures.NAME}\n", "load")
    for number, layer in enumerate(user.chain()):
        check(user.orlop("diff", "-u", layer).out == fixtures.layers()[number], f"diff of layer {number}")
        check(user.go("diff", "-u", layer).out == fixtures.layers()[number], f"Go's diff of layer {number}")
    listed = user.podman("images", "--format", "{{.Repository}}:{{.Tag}}").text
    check(fixtures.NAME in listed.split(), f"podman lists {listed!r}")
    equal(user.podman_run("--rm", fixtures.NAME, "cat", "/etc/motd").text, MOTD, "podman run")

    # A container of podman's, changed by it and then in orlop's hands.
    user.podman_run("--name", "theirs", fixtures.NAME, "sh", "-c", "echo theirs >/etc/theirs; rm /etc/motd")
    seen = user.shell('point=$("$ORLOP" mount theirs); cat "$point/etc/theirs"; ls "$point/etc"')
    check(seen.text.startswith("theirs\n") and "motd" not in seen.text, f"podman's changes: {seen.text}")
    container = json.loads(user.orlop("container", "--json", "theirs").out)[0]
    changes = {c["Path"]: c["Kind"] for c in user.orlop("changes", "-j", container["layer"]).json}
    equal((changes.get("/etc/theirs"), changes.get("/etc/motd")), (1, 2), "changes of podman's container")

    # A container of orlop's, committed, in podman's hands.
    user.orlop("create-container", "-n", "ours", fixtures.NAME)
    refused = user.orlop("mount", "ours", ok=False)
    check("unshare" in refused.error, f"where to mount: {refused.error}")
    equal(user.shell(CHANGE, "ours").text, kind + "\n", "what mounts")
    user.orlop("commit", "ours", "localhost/ours:1")
    seen = user.podman_run("--rm", "localhost/ours:1", "sh", "-c", "cat /etc/motd /srv/new; ls /srv; stat -c %u:%g /srv/new")
    equal(seen.text, "changed\nnew\nnew\n1000:1000\n", "the committed image in podman")
    layer = json.loads(user.orlop("container", "--json", "ours").out)[0]["layer"]
    ours = sorted((c["Path"], c["Kind"]) for c in user.orlop("changes", "-j", layer).json)
    theirs = sorted((c["Path"], c["Kind"]) for c in user.go("changes", "-j", layer).json)
    equal(ours, theirs, "changes by orlop and by Go")

    # Everything goes, whoever made it.
    user.podman("rm", "theirs")
    user.orlop("delete-container", "ours")
    user.podman("rmi", "localhost/ours:1")
    user.orlop("delete-image", fixtures.image_id())
    for what in ("layers", "images", "containers"):
        equal(user.records(what) or [], [], what)
    left = sorted(set(os.listdir(f"{user.graph}/overlay")) - {"l", "tempdirs", "staging", ".has-mount-program"})
    equal(left, [], "directories of layers")


def _flag(user):
    with open(f"{user.graph}/overlay/.has-mount-program", encoding="utf-8") as file:
        return file.read()


@test("rootless-on-the-kernels-overlay")
def _(area):
    # ACC-15
    need("podman", "runc")
    user = User(area)
    _everything(user, "overlayfs")
    equal(_flag(user), "false", "whether a program mounts")


@test("rootless-on-fuse-overlayfs")
def _(area):
    # ACC-15
    need("podman", "runc", "fuse-overlayfs")
    if not os.path.exists("/dev/fuse"):
        raise Skip("no /dev/fuse here")
    user = User(area, f'mount_program = "{FUSE}"')
    _everything(user, "fuseblk")
    equal(_flag(user), "true", "whether a program mounts")
    # The home is the program's from now on, also for those who were not told.
    user.orlop("load", "-i", user.image())
    tops = [f"{user.graph}/overlay/{layer}/diff" for layer in user.chain()]
    kept = {name for top in tops for _, _, names in os.walk(top) for name in names if name.startswith(".wh.")}
    check({".wh.gone", ".wh..wh..opq"} <= kept, f"whiteouts kept as files: {kept}")
    area.write("storage.conf", f'[storage]\ndriver = "overlay"\ngraphroot = "{user.graph}"\n'
                               f'runroot = "{user.home}/run/containers"\n'.encode())
    user.orlop("create-container", "-n", "untold", fixtures.NAME)
    equal(user.shell(CHANGE, "untold").text, "fuseblk\n", "what mounts without being named")


@test("rootless-layers-of-podmans")
def _(area):
    need("podman", "runc")
    user = User(area)
    user.podman("load", "-i", user.image("docker-archive"))
    for number, layer in enumerate(user.chain()):
        check(user.orlop("diff", "-u", layer).out == fixtures.layers()[number], f"diff of layer {number}")
    user.orlop("create-container", "-n", "ours", fixtures.NAME)
    user.shell(CHANGE, "ours")
    # podman's own namespace does as well as orlop's.
    point = user.run("podman", "unshare", user.programs["orlop"], "mount", "ours").text.strip()
    check(point.startswith(user.graph), f"mounted at {point!r}")


@test("rootless-without-subordinate-ids")
def _(area):
    user = User(area, ranges=False)
    refused = user.orlop("load", "-i", user.image(), ok=False)
    check("/etc/subuid" in refused.error, f"what is missing: {refused.error}")
    equal(user.orlop("images", "-j").json, None, "images after the refusal")
    loaded = user.orlop("--storage-opt", "overlay.ignore_chown_errors=true", "--root", user.graph, "--runroot",
                        user.home + "/run/containers", "-s", "overlay", "load", "-i", user.image())
    check(fixtures.NAME in loaded.text, f"load without owners: {loaded.text}")
    user.orlop("create-container", "-n", "ours", fixtures.NAME)
    equal(user.shell('cat "$("$ORLOP" mount ours)/etc/hostname"').text, "middle\n", "a file of the image")
