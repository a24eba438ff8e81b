"""What a command works on beside its store, and what must hold of that after a strike."""

import hashlib
import http.server
import json
import os
import shutil
import threading

import imagefile
from harness import check
from state import inside

IMAGE, KEPT = "localhost/two:1", "localhost/kept:1"


class Nothing:
    """Most commands know nothing but the store."""

    def __init__(self, stage):
        self.stage, self.store = stage, stage.store

    def make(self):
        """Called once, while the start of the scene is made: what is below the area's `store` is kept for all its runs."""

    def begin(self):
        """Called before each run."""

    def facts(self):
        """All that is there, for comparing with what an undisturbed run leaves."""
        return {}

    def sound(self, before, what):
        """What must hold at any time; `before`: the facts before the command."""


class DockerRoot(Nothing):
    """A data root of docker's, made of a store's layers: an image upon an unnamed step, and one with a container, which docker keeps."""

    def __init__(self, stage):
        super().__init__(stage)
        self.path = stage.area.file("store/docker")
        stage.names["docker"] = self.path

    def at(self, *names):
        return os.path.join(self.path, *names)

    def make(self):
        for folder in ("overlay2/l", "image/overlay2/imagedb/content/sha256", "image/overlay2/imagedb/metadata/sha256",
                       "image/overlay2/layerdb/sha256", "image/overlay2/layerdb/mounts", "containers", "volumes"):
            os.makedirs(self.at(folder))
        self._write("volumes/metadata.db", "")
        step = self._image(IMAGE, 1)
        moves, kept = self._image(IMAGE), self._image(KEPT)
        self._write(f"image/overlay2/imagedb/metadata/sha256/{moves}/parent", "sha256:" + step)
        self._container(KEPT, kept)
        names = {name.rpartition(":")[0]: {name: "sha256:" + id} for name, id in ((IMAGE, moves), (KEPT, kept))}
        self._write("image/overlay2/repositories.json", json.dumps({"Repositories": names}))

    def _image(self, name, count=None):
        """The image of the store, or what was built first of it, with its layers; its id."""
        record = self.store.image(name)
        chain = self.store.chain(record)[:count]
        config = json.loads(self.store.big_data(record, "sha256:" + record["id"]))
        config["rootfs"]["diff_ids"] = [layer["diff-digest"] for layer in chain]
        config["history"] = config["history"][:count]
        # As it is stored, byte for byte, where it is whole.
        data = imagefile.compact(config)
        id = hashlib.sha256(data).hexdigest()
        self._write(f"image/overlay2/imagedb/content/sha256/{id}", data.decode())
        for number, chain_id in enumerate(chain_ids(config)):
            if not os.path.exists(self._record(chain_id)):
                self._layer(chain[number], chain_id, chain_ids(config)[number - 1] if number else None)
        return id

    def _record(self, chain_id, name=""):
        return self.at("image/overlay2/layerdb/sha256", chain_id[7:], name)

    def _layer(self, layer, chain_id, parent):
        cache = hashlib.sha256(chain_id.encode()).hexdigest()
        below = hashlib.sha256(parent.encode()).hexdigest() if parent else None
        self._directory(cache, below)
        os.rmdir(self.at("overlay2", cache, "diff"))
        self.stage.area.run("cp", "-a", self.store.layer_dir(layer["id"]), self.at("overlay2", cache, "diff"))
        os.makedirs(self._record(chain_id))
        shutil.copy(self.store.path("layers", layer["id"] + ".tar-split.gz"), self._record(chain_id, "tar-split.json.gz"))
        for name, text in (("cache-id", cache), ("diff", layer["diff-digest"]), ("size", "1"), ("parent", parent)):
            if text:
                self._write(self._record(chain_id, name), text)

    def _directory(self, cache, below):
        os.makedirs(self.at("overlay2", cache, "diff"))
        link = hashlib.sha256(b"link" + cache.encode()).hexdigest()[:26].upper()
        os.symlink(f"../{cache}/diff", self.at("overlay2/l", link))
        self._write(f"overlay2/{cache}/link", link)
        if below:
            os.mkdir(self.at("overlay2", cache, "work"))
            lower = ["l/" + read(self.at("overlay2", below, "link"))]
            if os.path.exists(self.at("overlay2", below, "lower")):
                lower.append(read(self.at("overlay2", below, "lower")))
            self._write(f"overlay2/{cache}/lower", ":".join(lower))

    def _container(self, name, image):
        id = hashlib.sha256(name.encode()).hexdigest()
        top = chain_ids(json.loads(read(self.at("image/overlay2/imagedb/content/sha256", image))))[-1]
        self._directory(id + "-init", read(self._record(top, "cache-id")))
        self._directory(id, id + "-init")
        for file, text in (("mount-id", id), ("init-id", id + "-init"), ("parent", top)):
            self._write(f"image/overlay2/layerdb/mounts/{id}/{file}", text)
        self._write(f"containers/{id}/config.v2.json", json.dumps(
            {"ID": id, "Name": "/box", "Image": "sha256:" + image, "Driver": "overlay2", "Created": imagefile.CREATED,
             "State": {}, "Config": {}}))

    def _write(self, path, text):
        path = self.at(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def facts(self):
        found = inside(self.path)
        # Written anew, it has the mode that docker gives it.
        del found["image/overlay2/repositories.json"]["mode"]
        return found

    def sound(self, before, what):
        """Names are names of images, and each image that is listed has all that it had."""
        now, listed = self.facts(), os.listdir(self.at("image/overlay2/imagedb/content/sha256"))
        names = json.loads(read(self.at("image/overlay2/repositories.json")))["Repositories"]
        for name, id in (pair for names in names.values() for pair in names.items()):
            check(id[7:] in listed, f"{what}: docker's name {name} is that of an image that is gone")
        for id in listed:
            config = f"image/overlay2/imagedb/content/sha256/{id}"
            wanted = [config, f"image/overlay2/imagedb/metadata/sha256/{id}"]
            for chain_id in chain_ids(json.loads(read(self.at(config)))):
                cache = hashlib.sha256(chain_id.encode()).hexdigest()
                link = hashlib.sha256(b"link" + cache.encode()).hexdigest()[:26].upper()
                wanted += [f"image/overlay2/layerdb/sha256/{chain_id[7:]}", f"overlay2/{cache}", f"overlay2/l/{link}"]
            for path in wanted:
                old, new = (sorted((k, v) for k, v in facts.items() if k == path or k.startswith(path + "/"))
                            for facts in (before, now))
                check(old == new, f"{what}: docker's image {id} is listed, and {path} is not as it was: {old} {new}"[:2000])


def chain_ids(config):
    """Under which names docker keeps the layers of an image."""
    chain = []
    for diff in config["rootfs"]["diff_ids"]:
        chain.append(imagefile.digest(f"{chain[-1]} {diff}".encode()) if chain else diff)
    return chain


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class OldHome(Nothing):
    """The store's own layers in the layout of 2016, which a migration exchanges for another."""

    def home(self, *names):
        return os.path.join(self.store.graph, self.store.driver, *names)

    def make(self):
        """Turns the store's home back, from the records' order: each layer after its parent (LEG-3 to LEG-10)."""
        today = self.store.graph + "/today"
        self.store.orlop("shutdown")
        os.rename(self.home(), today)
        os.mkdir(self.home(), 0o700)
        layers, run = self.store.records("layers"), self.stage.area.run
        for layer in layers:
            id, parent = layer["id"], layer.get("parent")
            os.mkdir(self.home(id), 0o700)
            if layer.get("diff-digest"):
                root = self.home(id, "root")
                if parent:
                    run("cp", "-al", self.home(parent, "root"), root)
                else:
                    os.mkdir(root, 0o755)
                self._apply(root, self.stage.tars[layer["diff-digest"]])
                continue
            for folder, mode in (("work", 0o700), ("merged", 0o700)):
                os.mkdir(self.home(id, folder), mode)
            run("cp", "-a", f"{today}/{id}/diff", self.home(id, "upper"))
            with open(self.home(id, "lower-id"), "w", encoding="utf-8") as file:
                file.write(parent)
        shutil.rmtree(today)

    def _apply(self, root, tar):
        """Deletions first, then files, each of which replaces what has its name."""
        run = self.stage.area.run
        for name in run("tar", "-t", stdin=tar).text.splitlines():
            folder, file = os.path.split(name)
            if file.startswith(".wh."):
                run("rm", "-r", os.path.join(root, folder, file[4:]))
        run("tar", "-x", "-p", "--numeric-owner", "--same-owner", "--exclude=.wh.*", "--xattrs", "--xattrs-include=*",
            "-C", root, stdin=tar)

    def facts(self):
        """What the layers of the old layout hold, and the homes that there are beside."""
        found = {}
        for id in self.store.by_id("layers"):
            for name in ("root", "upper", "diff"):
                if os.path.isdir(self.home(id, name)):
                    found[id] = name, inside(self.home(id, name))
        found["homes"] = sorted(n for n in os.listdir(self.store.graph) if n.startswith(self.store.driver + "."))
        return found

    def sound(self, before, what):
        now = self.facts()
        for id in before.keys() - {"homes"}:
            check(id in now, f"{what}: the files of layer {id} are gone")
            check(now[id][0] == "diff" or now[id] == before[id], f"{what}: the old layer {id} was changed")


class Bucket(Nothing):
    """Where layers are sent: a server that takes what is whole, and says that it is published."""

    def __init__(self, stage):
        super().__init__(stage)
        self.objects = objects = {}

        class Answers(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # An answer goes in one piece, so that the client reads as often in every run.
            wbufsize = -1

            def do_PUT(self):
                length = int(self.headers["content-length"])
                content = self.rfile.read(length)
                if len(content) == length:
                    objects[self.path.partition("?")[0]] = imagefile.digest(content)
                    self._answer("")

            def do_GET(self):
                self._answer("done" if "/layers/" + self.path.rpartition("/")[2] in objects else "unknown")

            def do_HEAD(self):
                self._answer("", 200 if self.path.partition("?")[0] in objects else 404)

            def _answer(self, text, status=200):
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except ConnectionError:
                    pass  # the client was killed

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = "127.0.0.1:%d" % server.server_address[1]
        stage.names["upload"] = stage.area.write("upload.json", json.dumps(
            {"AccessKey": "key", "AccessSecret": "secret", "Host": address, "CvmfsRepo": "r.cern.ch", "SSL": False,
             "PublishStatusURL": f"http://{address}/status"}).encode())

    def begin(self):
        self.objects.clear()

    def facts(self):
        return dict(self.objects)

    def sound(self, before, what):
        for name, digest in self.objects.items():
            check(name == "/layers/" + digest[7:], f"{what}: {name} holds {digest}")
