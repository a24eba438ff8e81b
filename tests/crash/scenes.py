"""The commands that are swept, and the store that each of them finds."""

import json
import os
import shutil
import subprocess

import harness
import imagefile
from beside import KEPT, Bucket, DockerRoot, Nothing, OldHome
from stores import Store, tree

IMAGE, OTHER, THIRD = "localhost/two:1", "localhost/other:1", "localhost/third:1"
BOX = "box"  # the container
EPOCH = {"SOURCE_DATE_EPOCH": str(imagefile.EPOCH)}


# Runs that take less than this, in seconds, leave some scenes to longer ones.
SHORT = 100


class Scene:
    """One command: the store before it is `start`, then the commands of `begin` are run, then this one."""

    def __init__(self, name, words, start="image", begin=(), done=(), between=None, stays="", podman=True,
                 orphans=("images",), options=(), environment=None, short=True, clears=False, beside=Nothing,
                 others=True, refused=None):
        self.name, self.words, self.start, self.begin = name, words, start, begin
        # What all programs are given besides: driver options, and variables.
        self.options, self.environment = options, environment or {}
        # Whether a run of less than SHORT seconds has time for it: each scene costs some twenty strikes at the least.
        self.short = short
        # What the command says when it finds that all has happened already.
        self.done = done
        # (kind, id, which part): an object that a kill may leave neither as before nor as after.
        self.between = between
        # Why the repeat may find all done though layers of before are still there.
        self.stays = stays
        # Whether podman can read what the command makes.
        self.podman = podman
        # The kinds whose data a kill may leave without a record, and whether there is none once the command has succeeded.
        self.orphans, self.clears = orphans, clears
        # What it works on besides, a class of beside.py.
        self.beside = beside
        # Whether other programs can open the store before the command has come to its end.
        self.others = others
        # Which of its threads the first one does not get, as strace counts: those that would change something. So the first one does
        # that itself, and each call is in reach; threads that only read it gets.
        self.refused = refused


# What a command says of a thing that is there, or is gone, already.
THERE, GONE = ("already", "in use"), ("not known", "no such", "not a ", "not an ", "unknown", "does not exist")

# Owners of the container in a user namespace.
HOST = 100000
MAPS = ("--uidmap", f"0:{HOST}:65536", "--gidmap", f"0:{HOST}:65536")
# With this no mount maps ids, and layers are copied with other owners.
COPIES = {"_CONTAINERS_OVERLAY_DISABLE_IDMAP": "yes"}
# A store beside this one, with the image in it.
MEDIUM = ("--storage-opt", "overlay.imagestore={medium}")

SCENES = (
    Scene("load into no store", ["load", "-q", "-i", "{archive}"], start="nothing"),
    Scene("load", ["load", "-q", "-i", "{archive}"], start="other"),
    Scene("load of an OCI archive", ["load", "-q", "-i", "{oci}"], start="other"),
    Scene("import-layer", ["import-layer", "-i", "new", "-n", "new-name", "-r", "-f", "{tar}", "{base}"],
          done=THERE),
    Scene("create-layer", ["create-layer", "-i", "new", "-n", "new-name", "{base}"], done=THERE),
    Scene("create-image", ["create-image", "-i", "new", "-n", "new-name", "-m", "{{}}", "{base}"], done=THERE, podman=False),
    Scene("create-container", ["create-container", "-i", "new", "-n", "new-name", IMAGE], done=THERE),
    Scene("commit", ["commit", "-q", BOX, THIRD], start="container"),
    Scene("commit of a mounted container", ["commit", "-q", BOX, THIRD], start="container",
          begin=(["mount", BOX],)),
    Scene("mount", ["mount", BOX], start="container"),
    Scene("mount of what is mounted", ["mount", BOX], start="container", begin=(["mount", BOX],)),
    Scene("unmount", ["unmount", BOX], start="container", begin=(["mount", BOX],)),
    Scene("unmount --force", ["unmount", "-f", BOX], start="container",
          begin=(["mount", BOX], ["mount", BOX])),
    Scene("delete-container", ["delete-container", BOX], start="container", done=GONE),
    Scene("delete-container, mounted", ["delete-container", BOX], start="container",
          begin=(["mount", BOX],), done=GONE),
    Scene("delete-image", ["delete-image", IMAGE], done=GONE,
          stays="the layers of a deleted image stay, as in Go (store-format.md 10.2)"),
    Scene("delete-layer", ["delete-layer", "spare"], start="spare", done=GONE),
    Scene("delete of a container", ["delete", BOX], start="container", done=GONE),
    Scene("delete of a layer", ["delete", "spare"], start="spare", done=GONE),
    Scene("delete of an image", ["delete", IMAGE], done=GONE),
    Scene("add-names", ["add-names", "-n", "localhost/more:1", "{image}"]),
    Scene("add-names of another's", ["add-names", "-n", OTHER, "{image}"]),
    Scene("set-names", ["set-names", "-n", "renamed", BOX], start="container"),
    Scene("remove-names", ["remove-names", "-n", "spare-name", "spare"], start="spare"),
    Scene("set-metadata", ["set-metadata", "-m", "{{}}", "{image}"]),
    Scene("set-image-data", ["set-image-data", "-f", "{item}", "{image}", "Item"]),
    Scene("set-image-data anew", ["set-image-data", "-f", "{item}", "{image}", "Item"],
          begin=(["set-image-data", "-f", "{tar}", "{image}", "Item"],), between=("image", "{image}", "either")),
    Scene("set-container-data", ["set-container-data", "-f", "{item}", BOX, "Item"], start="container"),
    Scene("set-layer-data", ["set-layer-data", "-f", "{item}", "spare", "Item"], start="spare"),
    Scene("applydiff to an empty layer", ["applydiff", "-f", "{tar}", "spare"], start="spare",
          between=("layer", "spare", "content")),
    Scene("shutdown", ["shutdown"], start="container"),
    Scene("wipe", ["wipe"], start="container", orphans=("images", "containers")),
    Scene("gc", ["gc"], start="garbage", orphans=("layers", "images", "containers"), clears=True,
          short=False),
    # Other owners: by the mount, and by copies.
    Scene("create-container with id maps", ["create-container", "-i", "new", *MAPS, IMAGE], done=THERE,
          short=False),
    Scene("mount with id maps", ["mount", BOX], start="mapped"),
    Scene("unmount with id maps", ["unmount", BOX], start="mapped", begin=(["mount", BOX],), short=False),
    Scene("delete-container with id maps, mounted", ["delete-container", BOX], start="mapped", begin=(["mount", BOX],),
          done=GONE, short=False),
    Scene("commit with id maps", ["commit", "-q", BOX, THIRD], start="mapped", short=False),
    Scene("create-container on a mapped copy", ["create-container", "-i", "new", *MAPS, IMAGE], done=THERE,
          environment=COPIES),
    Scene("import-layer with id maps", ["import-layer", "-i", "new", *MAPS, "-r", "-f", "{tar}", "{base}"], done=THERE,
          environment=COPIES, short=False),
    Scene("delete-container on a mapped copy", ["delete-container", BOX], start="copied", done=GONE, environment=COPIES,
          short=False),
    Scene("delete-image with a mapped copy", ["delete-image", IMAGE], start="copied", begin=(["delete-container", BOX],),
          done=GONE, environment=COPIES, short=False,
          stays="the layers of a deleted image stay, as in Go (store-format.md 10.2)"),
    # Beside a store that is only read.
    Scene("load beside an image store", ["load", "-q", "-i", "{archive}"], start="other", options=MEDIUM, short=False),
    Scene("create-container beside an image store", ["create-container", "-i", "new", IMAGE], start="other", done=THERE,
          options=MEDIUM),
    Scene("mount beside an image store", ["mount", BOX], start="beside", options=MEDIUM, short=False),
    Scene("delete-container beside an image store", ["delete-container", BOX], start="beside", done=GONE, options=MEDIUM,
          short=False),
    # Go refuses that option without a program that is not everywhere.
    Scene("load with composefs", ["load", "-q", "-i", "{archive}", "--storage-opt", "overlay.use_composefs=true"],
          start="other", short=False),
    Scene("delete-layer of a served layer", ["delete-layer", "served"], start="served", done=GONE,
          options=("--storage-opt", "overlay.additionallayerstore={server}"), short=False),
    Scene("dedup", ["dedup"], start="image"),
    Scene("storage-layers", ["storage-layers"], start="image"),
    # Other people's stores. Of each image one layer is new: the thread that would take it over is refused, the next three are those
    # that compare it; in the end, two compare what was there.
    Scene("migrate docker --move", ["migrate", "docker", "--move", "--data-root", "{docker}"], start="docker",
          beside=DockerRoot, refused="1..5+4"),
    Scene("migrate docker --move of an image", ["migrate", "docker", "--move", "--data-root", "{docker}", IMAGE],
          start="docker", beside=DockerRoot, done=("no image of that id or name",), refused="1", short=False),
    Scene("migrate legacy --remove", ["migrate", "legacy", "--remove"], start="legacy", beside=OldHome, others=False,
          short=False),
    Scene("thin make", ["--dialect", "cvmfs", "thin", "make", "-q", "--repo", "r.cern.ch", "--name", "localhost/thin:1",
                        "--upload-config", "{upload}", IMAGE], beside=Bucket, short=False),
)


def layers():
    """Two small layers with every kind of entry that unpacking treats on its own."""
    base, top = imagefile.Layer(), imagefile.Layer()
    base.dir("d", mode=0o750)
    base.add("d/file", data=b"file\n", mode=0o640, uid=3, gid=4)
    base.hardlink("d/linked", "d/file", mode=0o640)
    base.symlink("d/symlink", "file")
    base.add("noise", data=imagefile.noise("sweep", 9000), xattrs={"user.sweep": b"value"})
    base.add("gone", data=b"gone\n")
    top.dir("d", mode=0o755)
    top.whiteout("gone")
    top.add("noise", data=b"replaced\n", mode=0o755)
    return [base.bytes(), top.bytes()]


class Stage:
    """An area with the stores that the scenes start from, and the one in which they run."""

    def __init__(self, options, some=None):
        """`some`: the layers of the image; two small ones if not given."""
        self.area = area = harness.Area(options, options.inside)
        self.environment = area.environment
        self.store = Store(area)
        self.starts = {}
        self.foreign, self.outside = set(), None
        some = some or layers()
        third, fourth = imagefile.Layer(), imagefile.Layer()
        third.add("other", data=b"other\n")
        fourth.add("kept", data=b"kept\n")
        others, kept = [some[0], third.bytes()], [fourth.bytes()]
        self.tars = {imagefile.digest(tar): tar for tar in some + others}
        self.names = {"tar": area.write("layer.tar", some[-1]), "item": area.write("item", b"an item\n"),
                      "image": imagefile.digest(imagefile.config_of(some))[7:],
                      "archive": area.file("image.tar"), "oci": area.file("oci.tar"),
                      "other": area.file("other.tar"), "kept": area.file("kept.tar")}
        self.besides = {}
        images = [(IMAGE, some, imagefile.config_of(some))]
        imagefile.write_image(images, "docker-archive", self.names["archive"])
        imagefile.write_image(images, "oci-archive", self.names["oci"])
        imagefile.write_image([(OTHER, others, imagefile.config_of(others))], "docker-archive", self.names["other"])
        imagefile.write_image([(KEPT, kept, imagefile.config_of(kept))], "docker-archive", self.names["kept"])

    def beside(self, scene):
        """What the scene's command works on beside the store."""
        if scene.beside not in self.besides:
            self.besides[scene.beside] = scene.beside(self)
        return self.besides[scene.beside]

    def start(self, scene):
        """The store as the scene's command finds it, and the command's words."""
        if scene.options and "medium" not in self.names:
            self._publish()
        self.store.foreign = self.foreign if scene.options == MEDIUM else set()
        self.store.options = [word.format(**self.names) for word in scene.options]
        self.area.environment = {**self.environment, **scene.environment}
        beside = self.beside(scene)
        # What other programs are told besides changes what a store holds.
        key = scene.start, scene.options, *scene.environment
        if key not in self.starts:
            self.starts[key] = self.area.file(f"start-{len(self.starts)}")
            self._make(scene.start, beside)
            self._replace(self.area.file("store"), self.starts[key])
        self._replace(self.starts[key], self.area.file("store"))
        beside.begin()
        for words in scene.begin:
            self.store.orlop(*self.filled(words))
        return self.store, self.filled(scene.words)

    def _publish(self):
        """A store beside the scenes' own, which is only read, and one that serves layers."""
        area = self.area
        beside = Store(area, "beside")
        beside.orlop("load", "-q", "-i", self.names["archive"])
        beside.orlop("shutdown")
        served = os.path.join(area.dir("server"), imagefile.digest(b"toc"))
        os.makedirs(served + "/diff")
        for name in ("diff/file", "info", "blob"):
            with open(os.path.join(served, name), "w", encoding="utf-8") as file:
                file.write("{}")
        self.foreign = set(beside.by_id("layers"))
        self.outside = self.foreign_state()
        self.names.update(medium=beside.graph, server=area.file("server"), served=served)

    def foreign_state(self):
        """All that is in the stores beside, which nobody may change."""
        return [tree(self.area.file(name)) for name in ("beside/graph", "server")]

    def filled(self, words):
        """The words with the files and ids that they name."""
        names = dict(self.names)
        if any("{base}" in word for word in words):
            names["base"] = self.store.chain(self.store.image(IMAGE))[0]["id"]
        return [word.format(**names) for word in words]

    def _make(self, start, beside):
        store = self.store
        self._replace(None, self.area.file("store"))
        if start == "docker":
            # Of a store's layers, which then is another one.
            for name in ("archive", "kept"):
                store.orlop("load", "-q", "-i", self.names[name])
            beside.make()
            store.orlop("shutdown")
            for root in (store.graph, store.run_root):
                shutil.rmtree(root)
                os.mkdir(root)
        if start != "nothing":
            store.orlop("load", "-q", "-i", self.names["other"])
        if start not in ("nothing", "other", "beside", "docker"):
            store.orlop("load", "-q", "-i", self.names["archive"])
        if start in ("container", "mapped", "copied", "beside", "legacy"):
            maps = MAPS if start in ("mapped", "copied") else ()
            store.orlop("create-container", "-i", BOX, "-n", "box-name", *maps, IMAGE)
            point = store.mounted(store.orlop, BOX)
            with open(os.path.join(point, "written"), "w", encoding="utf-8") as file:
                file.write("in the container\n")
                if maps:
                    os.chown(file.fileno(), HOST + 7, HOST + 8)
            name = next(n for n in sorted(os.listdir(point)) if os.path.isfile(os.path.join(point, n)))
            os.unlink(os.path.join(point, name))
            store.orlop("unmount", BOX)
            store.orlop("set-container-data", "-f", self.names["item"], BOX, "Given")
        if start == "served":
            store.orlop("create-layer", "-i", "served", "-r")
            path = os.path.join(store.graph, store.driver, "served")
            os.rmdir(path + "/diff")
            os.symlink(self.names["served"] + "/diff", path + "/diff")
            with open(path + "/additionallayer", "w", encoding="utf-8") as file:
                file.write(self.names["served"])
        if start == "spare":
            store.orlop("create-layer", "-i", "spare", "-n", "spare-name")
        if start == "garbage":
            self._litter()
        if start not in ("nothing", "served"):
            # So that podman's own files, which are no part of the sweep, are there already.
            store.podman("images", "-q")
        if start == "legacy":
            beside.make()

    def _litter(self):
        """Data of every kind without a record; only what has such a name is known to be data."""
        store, lost = self.store, 16 * "1057"
        store.orlop("create-layer", "-i", lost, "-r")
        store.orlop("applydiff", "-f", self.names["tar"], lost)
        records = store.path("layers", "layers.json")
        with open(records, encoding="utf-8") as file:
            kept = [record for record in json.load(file) if record["id"] != lost]
        with open(records, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        for kind in ("images", "containers"):
            os.makedirs(store.path(kind, lost))
            with open(store.path(kind, f"{lost}/=data"), "w", encoding="utf-8") as file:
                file.write("data of nothing\n")

    def _replace(self, source, target):
        """Make `target` a copy of `source`, with owners, times, attributes and hard links; of None: two empty roots."""
        harness.unmount_below(self.store.graph)
        shutil.rmtree(target, ignore_errors=True)
        if source:
            subprocess.run(["cp", "-a", source, target], check=True)
        else:
            os.makedirs(target + "/graph")
            os.makedirs(target + "/run")

    def close(self):
        self.area.close()
