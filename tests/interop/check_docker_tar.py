"""The tars that a real docker daemon makes of its containers, beside those of the dialect moby: byte by byte."""

import io
import json
import os
import tarfile

import fixtures
import imagefile
from dockerd import Dockerd
from harness import Skip, check, equal, same_mapping, test
from stores import tree


def things():
    """A tar of all kinds of files, as `docker cp` takes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        def add(name, kind=tarfile.REGTYPE, data=b"", mode=0o644, xattrs=(), **more):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.mtime = kind, mode, len(data), 1_600_000_000.75
            for key, value in more.items():
                setattr(info, key, value)
            info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in xattrs}
            tar.addfile(info, io.BytesIO(data))
        add("z-dir", tarfile.DIRTYPE, mode=0o3775, uid=12, gid=34)
        add("z-dir/inner", data=b"inner\n", mode=0o4755, uid=1000, gid=1000)
        add("z-dir/setgid", data=b"", mode=0o2711)
        add("b-file", data=b"x" * 70_001, mode=0o600, uid=3_000_000, gid=4_000_000_000)
        add("a-link", tarfile.LNKTYPE, linkname="b-file")
        add("z-dir/link", tarfile.LNKTYPE, linkname="b-file")
        add("old", data=b"old", mtime=1.0)
        add("before", data=b"before the epoch", mtime=-86_400.0)
        add("later", data=b"beyond the octal digits", mtime=10_000_000_000.0)
        add("n" * 99, data=b"99")
        add("n" * 100, data=b"100")
        add("n" * 101, data=b"101")
        add("deep/" * 30 + "file", data=b"deep")
        add("u" * 250, data=b"250")
        add("gr\u00f6\u00dfe \u65e5\u672c.txt", data=b"not ASCII", mode=0o444)
        add("s-long", tarfile.SYMTYPE, linkname="t/" * 90)
        add("s-umlaut", tarfile.SYMTYPE, linkname="z-dir/\u00fc")
        add("char", tarfile.CHRTYPE, devmajor=5, devminor=1, mode=0o620)
        add("block", tarfile.BLKTYPE, devmajor=259, devminor=70_000, mode=0o660)
        add("pipe", tarfile.FIFOTYPE, mode=0o1622)
        add("cap", data=b"cap", mode=0o755)
        add("attr", data=b"attr", xattrs=[("user.mark", "told"), ("user.b", "c=d")])
        add("attr-dir", tarfile.DIRTYPE, mode=0o755, xattrs=[("user.mark", "dir")])
        add("blank name ", data=b"")
        add("line\nbreak", data=b"")
    return out.getvalue()




def described(data):
    """Header blocks and content, member by member, for a message that can be read."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: {**m.get_info(), "pax": m.pax_headers, "offset": m.offset,
                         "data": imagefile.digest(tar.extractfile(m).read()) if m.isreg() else ""}
                for m in tar}


def same_tar(ours, theirs, what):
    if ours == theirs:
        return
    found, wanted = described(ours), described(theirs)
    equal(list(found), list(wanted), f"{what}: the names")
    for name, facts in wanted.items():
        equal(found[name], facts, f"{what}: {name!r}")
    at = next(n for n, (a, b) in enumerate(zip(ours, theirs)) if a != b)
    block = at // 512 * 512
    check(False, f"{what}: byte {at}: {ours[block:block + 512]!r} instead of {theirs[block:block + 512]!r}")


def layer_tars(docker, image):
    """The tars of an image's layers, base first, as `docker save` writes them."""
    path = docker.area.file("saved.tar")
    docker.docker("save", "-o", path, image)
    with tarfile.open(path) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]
        return [tar.extractfile(name).read() for name in manifest["Layers"]]


class Beside:
    """Docker's layers as those of a store of the dialect moby: its records name them, and are not in docker's tree."""

    def __init__(self, docker, area):
        self.docker, self.area = docker, area
        self.graph = area.dir("graph")
        for name in ("overlay2", "overlay2-layers"):
            os.makedirs(f"{self.graph}/{name}")
        area.run("mount", "--bind", f"{docker.root}/overlay2", f"{self.graph}/overlay2")

    def know(self, *layers):
        """Records of these layers, each upon the one before it."""
        below = (None, *layers)
        records = [{"id": layer, **({"parent": parent} if parent else {}), "created": "2020-01-01T00:00:00Z"}
                   for parent, layer in zip(below, layers)]
        self.area.write("graph/overlay2-layers/layers.json", json.dumps(records).encode())

    def orlop(self, *words, **how):
        return self.area.run(self.area.options.orlop, "-g", self.graph, "-R", self.area.dir("run"),
                             "--dialect", "moby", *words, **how)

    def diff(self, layer, parent, *words):
        self.know(parent, layer)
        return self.orlop("diff", "-u", *words, layer).out

    def of(self, facts, *words):
        """The diff of a container's or an image's layer, over the next one below."""
        data = facts["GraphDriver"]["Data"]
        below = data["LowerDir"].split(":")[0]
        return self.diff(data["UpperDir"].split("/")[-2], below.split("/")[-2], *words)


@test("docker-tars-of-containers-are-the-dialects")
def _(area):
    """MOB-24, MOB-27: what docker commits of a container is what the dialect's diff writes."""
    with Dockerd(area) as docker:
        docker.load(fixtures.write(area, "docker-archive"))
        if "Native Overlay Diff: true" not in docker.docker("info").text:
            raise Skip("this kernel's overlay has docker compare trees")
        beside = Beside(docker, area)
        container = lambda name: docker.docker("inspect", name).json[0]
        docker.docker("create", "--name", "copied", fixtures.NAME)
        docker.docker("cp", "-a", "-", "copied:/srv", stdin=things())
        upper = container("copied")["GraphDriver"]["Data"]["UpperDir"]
        area.run("setcap", "cap_net_raw+ep", f"{upper}/srv/cap")
        equal(os.getxattr(f"{upper}/srv/attr", "user.mark"), b"told", "what docker leaves out")
        docker.docker("commit", "copied", "copied:1")
        theirs = layer_tars(docker, "copied:1")[-1]
        check(b"security.capability" in theirs and b"user.mark" not in theirs, "attributes")
        same_tar(beside.of(container("copied")), theirs, "a container that was never started")
        # What docker unpacked of it again is the same.
        same_tar(beside.of(docker.inspect("copied:1")), theirs, "a committed layer")
        # Who wants the other attributes asks for another form.
        check(b"user.mark" in beside.of(container("copied"), "--compat", "1.24"), "user.mark")

        # Deletions, a directory in the place of another one, a changed file.
        docker.docker("run", "--network", "none", "--name", "ran", fixtures.NAME, "/bin/sh", "-c",
                      "rm /etc/motd && rm -r /srv/opaque && mkdir -m 1777 /srv/opaque && "
                      "echo new > /srv/opaque/new && echo more >> /etc/passwd")
        docker.docker("commit", "ran", "ran:1")
        theirs = layer_tars(docker, "ran:1")[-1]
        for name in (b"etc/.wh.motd", b"srv/opaque/.wh..wh..opq"):
            check(name in theirs, f"no {name!r} in it")
        same_tar(beside.of(container("ran")), theirs, "a container that deleted")


@test("docker-layers-are-mounted-by-the-driver")
def _(area):
    """MOB-10, MOB-12 to MOB-15, MOB-19, MOB-20: layers of a real daemon's, mounted and written to; and docker runs on what was made."""
    with Dockerd(area) as docker:
        docker.load(fixtures.write(area, "docker-archive"))
        beside = Beside(docker, area)
        home = f"{docker.root}/overlay2"
        id_of = lambda path: path.split("/")[-2]
        container = lambda name: docker.docker("inspect", name).json[0]["GraphDriver"]["Data"]
        docker.docker("create", "--name", "box", "--network", "none", fixtures.NAME, "/bin/cat", "/etc/mine")
        docker.docker("create", "--name", "swapped", "--network", "none", fixtures.NAME, "/bin/sh", "-c",
                      "cat /etc/mine; echo docker >> /etc/mine; test -e /etc/motd || echo gone")

        # An image's layer has children: it is shown, and nobody writes to it. The base layer is a directory.
        data = docker.inspect(fixtures.NAME)["GraphDriver"]["Data"]
        top, below = id_of(data["UpperDir"]), [id_of(path) for path in data["LowerDir"].split(":")]
        beside.know(*reversed([top, *below]))
        theirs = area.dir("theirs")
        area.run("mount", "-t", "overlay", "overlay", theirs, "-o", f"ro,lowerdir={data['UpperDir']}:{data['LowerDir']}")
        before = tree(home, times=False)
        root = beside.orlop("mount", top).text.strip()
        same_mapping(tree(root), tree(theirs), "files of the image")
        area.run("touch", f"{root}/new", ok=False)
        beside.orlop("unmount", top)
        equal(os.path.realpath(beside.orlop("mount", below[-1]).text.strip()),
              os.path.realpath(f"{beside.graph}/overlay2/{below[-1]}/diff"), "where the base layer is seen")
        beside.orlop("unmount", below[-1])
        same_mapping(tree(home, times=False), before, "docker's layers after reading")
        area.run("umount", theirs)

        # A container's layer is written to, and docker goes on with it.
        data = container("box")
        upper, init = id_of(data["UpperDir"]), id_of(data["LowerDir"].split(":")[0])
        beside.know(*reversed([upper, init, top, *below]))
        root = beside.orlop("mount", upper).text.strip()
        with open(f"{root}/etc/mine", "w", encoding="utf-8") as file:
            file.write("orlop\n")
        os.unlink(f"{root}/etc/motd")
        beside.orlop("unmount", upper)
        equal(docker.docker("diff", "box").text, "C /etc\nA /etc/mine\nD /etc/motd\n", "what docker says has changed")
        equal(docker.docker("start", "-a", "box").text, "orlop\n", "what the container says")

        # A layer that orlop makes in the place of a container's own, which that has never been mounted.
        data = container("swapped")
        upper, init = id_of(data["UpperDir"]), id_of(data["LowerDir"].split(":")[0])
        beside.know(*reversed([init, top, *below]))
        ours = imagefile.digest(b"a layer")[7:]
        beside.orlop("create-layer", "-i", ours, init)
        equal(sorted(os.listdir(f"{home}/{ours}")), sorted(os.listdir(f"{home}/{upper}")), "files of a new layer")
        with open(f"{home}/{upper}/lower", encoding="utf-8") as theirs, open(f"{home}/{ours}/lower", encoding="utf-8") as made:
            equal(made.read(), theirs.read(), "layers below")
        root = beside.orlop("mount", ours).text.strip()
        with open(f"{root}/etc/mine", "w", encoding="utf-8") as file:
            file.write("made here\n")
        os.unlink(f"{root}/etc/motd")
        beside.orlop("unmount", ours)
        whole = docker.docker("inspect", "swapped").json[0]["Id"]
    with open(f"{docker.root}/image/overlay2/layerdb/mounts/{whole}/mount-id", "w", encoding="utf-8") as file:
        file.write(ours)
    docker.start()
    try:
        equal(docker.docker("start", "-a", "swapped").text, "made here\ngone\n", "what a container on a layer of ours says")
        with open(f"{home}/{ours}/diff/etc/mine", encoding="utf-8") as file:
            equal(file.read(), "made here\ndocker\n", "what docker has written")
        with open(f"{home}/{ours}/link", encoding="utf-8") as file:
            link = file.read()
        docker.docker("rm", "swapped")
        check(not os.path.lexists(f"{home}/{ours}") and not os.path.lexists(f"{home}/l/{link}"), "docker removes it as its own")
    finally:
        docker.stop()
