"""Whether a store is what it promises: everything it lists is there, byte for byte, and nothing else."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile

from workload import COMMITTED, TOP

sys.path.insert(0, os.path.join(TOP, "tests/interop"))

from stores import file_name  # noqa: E402

# What the driver's folder has beside its layers (docs/spec/overlay-driver.md, 3).
NOT_LAYERS = {"l", "staging", "tempdirs", ".has-mount-program"}


class Lost(Exception):
    """Something that was promised does not hold."""


def need(condition, text):
    if not condition:
        raise Lost(text)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Checker:
    def __init__(self, orlop, reference, root, run_root):
        self.orlop, self.reference, self.root = orlop, reference, root
        self.graph = os.path.join(root, "store")
        self.roots = ["-g", self.graph, "-R", run_root, "-s", "overlay"]
        self.unlike = set()
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "CONTAINERS_STORAGE_CONF": "/dev/null"}

    def run(self, *words, program=None):
        done = subprocess.run([program or self.orlop, *self.roots, *words], capture_output=True, check=False,
                              env=self.environment, timeout=120)
        if done.returncode != 0:
            said = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
            raise Lost(f"{os.path.basename(done.args[0])} {' '.join(words)}: {said[:1000]}")
        return done.stdout

    def listed(self, kind):
        return json.loads(self.run(kind, "-j")) or []

    def path(self, *parts):
        return os.path.join(self.graph, *parts)

    def all(self, diffs):
        """Check everything; {key: value} of what is there, keys and values as in the workload. `diffs` is by image id."""
        # A writer first, so that it has to clear what the cut has left.
        self.run("create-layer", "-i", "after-the-cut")
        self.run("delete-layer", "after-the-cut")
        layers = {r["id"]: r for r in self.listed("layers")}
        images = {r["id"]: r for r in self.listed("images")}
        containers = {r["id"]: r for r in self.listed("containers")}
        found = {}
        for record in layers.values():
            found[("layer", record["id"])] = self.layer(record, layers)
            for key, value in self.items("layers", record, None).items():
                found[("data", "layer", record["id"], key)] = value
        for record in images.values():
            value = self.image(record, layers, diffs)
            for name in record.get("names", []):
                need(("image", name) not in found, f"two images are called {name}")
                found[("image", name)] = value
        for record in containers.values():
            found[("container", record["id"])] = self.container(record, layers, images)
            for key, value in self.items("containers", record, "big-data-digests").items():
                found[("data", "container", record["id"], key)] = value
        self.files(layers, images, containers)
        found.update(self.saved(diffs))
        self.run("check", program=self.reference)
        return found

    def layer(self, record, layers):
        name = record["id"]
        parent = record.get("parent")
        need(not parent or parent in layers, f"layer {name} has no parent {parent}")
        wanted = record.get("diff-digest", "")
        if wanted:
            there = "sha256:" + sha256(self.run("diff", "-u", name))
            need(there == wanted, f"layer {name} is {there}, its record says {wanted}")
        return wanted

    def items(self, kind, record, digests):
        """{key: hash} of the big data of a record. What differs from the record's own words is noted in self.unlike."""
        found = {}
        for key in record.get("big-data-names", []):
            if kind == "layers":
                data = self.run("get-layer-data", record["id"], key)
            else:
                with open(self.path(f"overlay-{kind}", record["id"], file_name(key)), "rb") as file:
                    data = file.read()
            found[key] = sha256(data)
            if digests and (record[digests][key], record["big-data-sizes"][key]) != ("sha256:" + found[key], len(data)):
                self.unlike.add(("data", kind[:-1], record["id"], key))
        return found

    def image(self, record, layers, diffs):
        name = record["id"]
        items = self.items("images", record, "big-data-digests")
        need(items.get("sha256:" + name) == name, f"image {name} has no config, or another one")
        config = json.loads(self.run("get-image-data", name, "sha256:" + name))
        manifest = json.loads(self.run("get-image-data", name, "manifest"))
        need(manifest["config"]["digest"] == "sha256:" + name, f"the manifest of image {name} is of another one")
        chain, top = [], record.get("layer")
        while top:
            need(top in layers, f"image {name} needs layer {top}, which is not there")
            chain.insert(0, layers[top].get("diff-digest"))
            top = layers[top].get("parent")
        need(chain == config["rootfs"]["diff_ids"], f"image {name} has other layers than its config says")
        if name in diffs:
            need(chain == diffs[name], f"image {name} has other layers than were loaded")
            return name
        with tarfile.open(fileobj=io.BytesIO(self.run("diff", "-u", record["layer"]))) as tar:
            return tar.extractfile(COMMITTED).read().decode().strip()

    def container(self, record, layers, images):
        name, image = record["id"], record.get("image")
        need(image in images, f"container {name} is of image {image}, which is not there")
        need(record["layer"] in layers, f"container {name} has no layer")
        need(layers[record["layer"]]["parent"] == images[image]["layer"], f"container {name} lies on another layer than its image")
        point = self.run("mount", name).decode().strip()
        seen = os.listdir(os.path.join(point, "srv"))
        self.run("unmount", name)
        need("base" in seen, f"container {name} does not show what its image holds")
        return image

    def files(self, layers, images, containers):
        """Each thing on record has its files, and there are no others."""
        home, data = self.path("overlay"), self.path("overlay-layers")
        folders = _names(home) - NOT_LAYERS
        _same(folders, set(layers), "layer directories")
        links = {}
        for name in folders:
            with open(os.path.join(home, name, "link"), encoding="utf-8") as file:
                links[file.read()] = f"../{name}/diff"
        _same(_names(os.path.join(home, "l")), set(links), "short links")
        for link, target in links.items():
            need(os.readlink(os.path.join(home, "l", link)) == target, f"the link {link} leads elsewhere")
        for name, record in layers.items():
            lowers, parent = [], record.get("parent")
            while parent:
                lowers.append(parent)
                parent = layers[parent].get("parent")
            if lowers:
                with open(os.path.join(home, name, "lower"), encoding="utf-8") as file:
                    short = [links.get(word[2:]) for word in file.read().split(":")]
                need(short == [f"../{n}/diff" for n in lowers], f"`lower` of layer {name} lists other layers")
        split = {n for n in _names(data) if n.endswith(".tar-split.gz")}
        _same(split, {f"{n}.tar-split.gz" for n, r in layers.items() if r.get("diff-digest")}, "tar-splits")
        # An image's data is written before its record, and deleted after it, so a cut in between leaves data that nobody reads.
        for kind, records in (("layers", layers), ("containers", containers)):
            folders = {n for n in _names(self.path(f"overlay-{kind}")) if re.fullmatch("[0-9a-f]{64}", n)}
            need(folders <= set(records), f"{kind}: data without a record: {folders - set(records)}")
        for place in (os.path.join(home, "tempdirs"), os.path.join(data, "tmp")):
            need(not _names(place), f"{place} holds {_names(place)}")

    def saved(self, diffs):
        """The images that were saved to files and folders: either whole or not there."""
        found = {}
        for name in _names(self.root) - {"store", "lost+found"}:
            path = os.path.join(self.root, name)
            if name.startswith("."):
                continue  # not given its name yet
            if os.path.isdir(path):
                files = {}
                for folder, _, names in os.walk(path):
                    for entry in names:
                        with open(os.path.join(folder, entry), "rb") as file:
                            files[os.path.relpath(os.path.join(folder, entry), path)] = file.read()
                for entry, data in files.items():
                    if entry.startswith("blobs/"):
                        need(sha256(data) == os.path.basename(entry), f"{name}/{entry} is damaged")
                blob = lambda d: files.get("blobs/" + d["digest"].replace(":", "/"), b"")  # noqa: E731
                try:
                    manifest = json.loads(blob(json.loads(files["index.json"])["manifests"][0]))
                except (KeyError, ValueError) as why:
                    raise Lost(f"{name} is no OCI layout: {why!r}") from None
                for part in [manifest["config"], *manifest["layers"]]:
                    need(len(blob(part)) == part["size"], f"{name} lacks {part['digest']}")
                found[("file", name)] = manifest["config"]["digest"][7:]
                continue
            try:
                with tarfile.open(path) as tar:
                    files = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}
                entry = json.loads(files["manifest.json"])[0]
                config = files[entry["Config"]]
                there = ["sha256:" + sha256(files[n]) for n in entry["Layers"]]
            except (tarfile.TarError, KeyError, ValueError) as why:
                raise Lost(f"{name} is no docker archive: {why!r}") from None
            need(json.loads(config)["rootfs"]["diff_ids"] == there, f"{name} has layers that are damaged")
            found[("file", name)] = sha256(config)
            need(diffs[found[("file", name)]] == there, f"{name} has other layers than were saved")
        return found


def compare(found, unlike, allowed):
    """Against the expectations of the workload.

    A data item is a file and, in the record, its size and digest. One that is overwritten just then may be new already and
    its record not yet (docs/spec/store-format.md, 7); any other is what its record says.
    """
    for key in unlike:
        need(len(allowed.get(key, [])) > 1, f"{' '.join(key)} is not what its record says")
    for key in found:
        # The layers of images have ids of their own making; image() has looked at them.
        need(key in allowed or key[0] == "layer", f"{' '.join(key)} was never made")
    for key, values in allowed.items():
        there = found.get(key)
        need(there in values, f"{' '.join(key)}: found {there!r}, promised was {' or '.join(map(repr, values))}")


def _names(path):
    return set(os.listdir(path)) if os.path.isdir(path) else set()


def _same(found, wanted, what):
    need(found == wanted, f"{what}: without a record {sorted(found - wanted)}, missing {sorted(wanted - found)}")
