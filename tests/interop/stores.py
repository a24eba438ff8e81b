"""One store, and how each program is called on it."""

import hashlib
import json
import os
import stat
import zlib

import users
from harness import Failed, check

PODMAN_RUN = ["run", "--network", "none", "--ulimit", "nofile=1024:1024",
              "--ulimit", "nproc=1000:1000"]


class Store:
    """A graph root and run root in a test's area, and the programs that open it, all with `options`."""

    def __init__(self, area, name="store", driver="overlay"):
        self.area, self.driver = area, driver
        self.graph = area.file(name + "/graph")
        self.run_root = area.file(name + "/run")
        self.options = []
        # Layers of additional stores.
        self.foreign = set()
        os.makedirs(self.graph)
        os.makedirs(self.run_root)
        self.options = users.storage_options(area.mounter) if driver == "overlay" else []

    # The three implementations of one command line.
    def _command(self, program, *words, **how):
        return self.area.run(program, "-g", self.graph, "-R", self.run_root,
                             "-s", self.driver, *self.options, *words, **how)

    def orlop(self, *words, **how):
        return self._command(self.area.options.orlop, *words, **how)

    def go(self, *words, **how):
        return self._command(self.area.options.reference, *words, **how)

    def debian(self, *words, **how):
        return self._command("containers-storage", *words, **how)

    # The engines.
    def podman(self, *words, **how):
        return self.area.run(
            "podman", "--root", self.graph, "--runroot", self.run_root,
            "--storage-driver", self.driver, *self.options, "--runtime", "runc",
            "--cgroup-manager", "cgroupfs", "--events-backend", "file", *words, **how)

    def buildah(self, *words, **how):
        return self.area.run(
            "buildah", "--root", self.graph, "--runroot", self.run_root,
            "--storage-driver", self.driver, *self.options, *words, **how)

    def reference(self, name):
        """The image `name` of this store in skopeo's spelling."""
        return f"containers-storage:[{self.driver}@{self.graph}+{self.run_root}]{name}"

    # The files.
    def path(self, kind, name=""):
        return os.path.join(self.graph, f"{self.driver}-{kind}", name)

    def bytes(self, kind, name=None):
        path = self.path(kind, name or kind + ".json")
        if not os.path.exists(path):
            return b""
        with open(path, "rb") as file:
            return file.read()

    def records(self, kind):
        """The records of a kind, stable and volatile, as the files have them."""
        found = []
        for name in (kind + ".json", f"volatile-{kind}.json"):
            data = self.bytes(kind, name)
            found += json.loads(data) or [] if data else []
        return found

    def by_id(self, kind):
        return {record["id"]: record for record in self.records(kind)}

    def image(self, name):
        for record in self.records("images"):
            if name in record.get("names", []) or record["id"] == name:
                return record
        raise Failed(f"no image {name!r} in {self.graph}: "
                     f"{[r.get('names') for r in self.records('images')]}")

    def chain(self, image):
        """The layers of an image record, base first."""
        layers, chain, top = self.by_id("layers"), [], image.get("layer")
        while top:
            check(top in layers, f"layer {top} has no record")
            chain.insert(0, layers[top])
            top = layers[top].get("parent")
        return chain

    def big_data(self, image, key):
        with open(os.path.join(self.path("images", image["id"]), file_name(key)), "rb") as file:
            return file.read()

    def layer_dir(self, layer):
        if self.driver == "vfs":
            return os.path.join(self.graph, "vfs", "dir", layer)
        return os.path.join(self.graph, self.driver, layer, "diff")

    def leftovers(self):
        """What no finished command may leave: temp dirs, staging, half-written records and items."""
        found = []
        for top in (self.path("layers", "tmp"), os.path.join(self.graph, self.driver, "tempdirs"),
                    os.path.join(self.graph, self.driver, "staging")):
            found += [os.path.join(top, n) for n in (os.listdir(top) if os.path.isdir(top) else [])]
        for top in [self.path(k) for k in ("layers", "images", "containers")] + [
                os.path.join(self.run_root, f"{self.driver}-{k}") for k in ("layers", "containers")]:
            for folder, _, names in os.walk(top):
                found += [os.path.join(folder, n) for n in names if n.startswith(".tmp-")]
        return found

    def snapshot(self):
        """Everything a refused operation must leave alone."""
        home = os.path.join(self.graph, self.driver)
        links = os.path.join(home, "l")
        return {
            "layers": self.records("layers"), "images": self.records("images"),
            "containers": self.records("containers"), "leftovers": self.leftovers(),
            "layer directories": sorted(set(_list(home)) - {"tempdirs", "staging", ".has-mount-program"}),
            "links": _list(links),
            "layer files": sorted(set(_list(self.path("layers"))) - {"tmp"} - _JSON),
            "image files": sorted(set(_list(self.path("images"))) - _JSON),
        }

    def mounted(self, program, what):
        """Mount with `program` (self.orlop, self.go, …); the mount point."""
        return program("mount", what).text.strip()


_JSON = {f"{v}{k}.{e}" for v in ("", "volatile-") for k in ("layers", "images", "containers")
         for e in ("json", "lock")}


def _list(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def file_name(key):
    """The file of a big data item (docs/spec/store-format.md, section 7)."""
    if key and all(c == "." or c.isdigit() or "a" <= c <= "z" for c in key):
        return key
    import base64
    return "=" + base64.b64encode(key.encode()).decode()


# Attributes the kernel's overlay keeps for itself.
_OVERLAY_OWN = {"trusted.overlay." + n for n in ("origin", "impure", "uuid", "nlink", "index")}


def tree(root, times=True):
    """{path: facts} of a directory tree, for comparing two of them."""
    found, links = {}, {}
    root = os.fsencode(root)
    for folder, folders, files in os.walk(root):
        for name in [b"."] * (folder == root) + folders + files:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            facts = {"mode": oct(state.st_mode), "owner": (state.st_uid, state.st_gid)}
            if times:
                facts["mtime"] = state.st_mtime_ns
            if stat.S_ISREG(state.st_mode):
                with open(path, "rb") as file:
                    facts["content"] = hashlib.sha256(file.read()).hexdigest()
                if state.st_nlink > 1:
                    links.setdefault(state.st_ino, []).append(path)
            elif stat.S_ISLNK(state.st_mode):
                facts["target"] = os.readlink(path).decode("utf-8", "backslashreplace")
            elif not stat.S_ISDIR(state.st_mode):
                facts["device"] = state.st_rdev
            try:
                names = os.listxattr(path, follow_symlinks=False)
            except OSError:
                names = []
            facts["xattrs"] = {n: os.getxattr(path, n, follow_symlinks=False).hex()
                               for n in sorted(names) if n not in _OVERLAY_OWN}
            key = os.path.relpath(path, root).decode("utf-8", "backslashreplace")
            found[key] = facts
    for group in links.values():
        names = sorted(os.path.relpath(p, root).decode("utf-8", "backslashreplace") for p in group)
        for name in names:
            found[name]["linked with"] = names
    return found


def tar_split(path):
    """A tar-split file with neighbouring segments joined: boundaries are free."""
    with open(path, "rb") as file:
        text = zlib.decompress(file.read(), 47)
    import base64
    joined = []
    for line in text.splitlines():
        entry = json.loads(line)
        if entry["type"] == 2:
            payload = base64.b64decode(entry["payload"] or "")
            if joined and isinstance(joined[-1], bytes):
                joined[-1] += payload
            elif payload:
                joined.append(payload)
        else:
            entry.pop("position")
            joined.append(entry)
    return [e.hex() if isinstance(e, bytes) else e for e in joined]
