"""Write real multi-layer images with nothing but Python's standard library.

The images hold what makes layers hard: whiteouts, an opaque directory, hard
links, extended attributes, a capability, a device, set-id bits, long and
non-ASCII names. The same options give the same bytes on every run.
"""

import gzip
import hashlib
import io
import json
import os
import platform
import tarfile

EPOCH = 1_700_000_000  # every time stamp in the image, seconds since 1970
CREATED = "2023-11-14T22:13:20Z"
# Version 2 of the kernel's struct vfs_cap_data: cap_net_raw permitted, effective.
CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layer:
    """One tar stream under construction."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(
            fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, kind=tarfile.REGTYPE, data=b"", mode=0o644, uid=0,
            gid=0, link="", xattrs=None, mtime=EPOCH, device=(0, 0)):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid = kind, mode, uid, gid
        info.mtime, info.linkname, info.size = mtime, link, len(data)
        info.devmajor, info.devminor = device
        for key, value in (xattrs or {}).items():
            text = value.decode("utf-8", "surrogateescape")
            info.pax_headers["SCHILY.xattr." + key] = text
        self.tar.addfile(info, io.BytesIO(data) if data else None)

    def dir(self, name, mode=0o755, **more):
        self.add(name.rstrip("/") + "/", tarfile.DIRTYPE, mode=mode, **more)

    def symlink(self, name, target):
        self.add(name, tarfile.SYMTYPE, mode=0o777, link=target)

    def hardlink(self, name, target, mode=0o644):
        # The mode must be the target's: unpacking applies it to the shared file.
        self.add(name, tarfile.LNKTYPE, link=target, mode=mode)

    def whiteout(self, name):
        head, tail = os.path.split(name)
        self.add(os.path.join(head, ".wh." + tail), mode=0)

    def opaque(self, name):
        self.add(os.path.join(name, ".wh..wh..opq"), mode=0)

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


def noise(seed, size):
    """`size` bytes that look random and are the same on every run."""
    out = bytearray()
    block = hashlib.sha256(seed.encode()).digest()
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        out += block
    return bytes(out[:size])


def base_layer(busybox, privileged):
    layer = Layer()
    for name in ("bin", "dev", "etc", "proc", "srv", "srv/gone", "srv/opaque",
                 "sys", "usr", "usr/lib", "var"):
        layer.dir(name)
    layer.dir("tmp", mode=0o1777)
    layer.dir("root", mode=0o700)
    if busybox:
        with open(busybox, "rb") as program:
            layer.add("bin/busybox", data=program.read(), mode=0o755)
        for applet in ("sh", "cat", "ls", "true"):
            layer.hardlink("bin/" + applet, "bin/busybox", mode=0o755)
        for applet in ("echo", "touch", "rm", "stat"):
            layer.symlink("bin/" + applet, "busybox")
    layer.add("etc/passwd", data=b"root:x:0:0:root:/root:/bin/sh\n")
    layer.add("etc/group", data=b"root:x:0:\n")
    layer.add("etc/hostname", data=b"base\n")
    for name in "abc":
        layer.add("srv/opaque/" + name, data=name.encode() * 100)
        layer.add("srv/gone/" + name, data=name.encode() * 10)
    layer.add("srv/replaced", data=b"a file that becomes a directory\n")
    layer.add("usr/lib/one", data=noise("one", 70_000))
    layer.hardlink("usr/lib/two", "usr/lib/one")
    layer.hardlink("usr/lib/three", "usr/lib/one")
    layer.add("usr/lib/attributes", data=b"x", xattrs={
        "user.orlop.text": b"value with = and spaces",
        "user.orlop.binary": b"\x00\x01\x7f"})
    for number in range(200):
        layer.add(f"usr/lib/data-{number:03}", data=noise(str(number), number * 150))
    if privileged:
        layer.add("bin/ping", data=b"#!/bin/sh\n", mode=0o755,
                  xattrs={"security.capability": CAP_NET_RAW})
        layer.add("dev/null", tarfile.CHRTYPE, mode=0o666, device=(1, 3))
    return layer.bytes()


def middle_layer(privileged):
    layer = Layer()
    for name in ("etc", "srv", "usr", "usr/lib", "var"):
        layer.dir(name)
    layer.add("etc/hostname", data=b"middle\n")
    layer.whiteout("srv/gone")
    layer.dir("srv/opaque", mode=0o750)
    layer.opaque("srv/opaque")
    layer.add("srv/opaque/d", data=b"only d is left\n")
    layer.whiteout("usr/lib/two")
    layer.whiteout("srv/replaced")
    layer.dir("var/log")
    if privileged:
        layer.add("var/log/of-another", data=b"owned by 1000:1001\n",
                  uid=1000, gid=1001, mode=0o640)
    layer.symlink("var/run", "../run")
    return layer.bytes()


def top_layer():
    layer = Layer()
    long = "srv/" + "long-name-" * 12
    for name in ("etc", "srv", long, "srv/replaced"):
        layer.dir(name)
    layer.add("srv/replaced/now-inside", data=b"here\n")
    layer.add(long + "/" + "n" * 150, data=b"long\n")
    layer.add("srv/h\u00e4nde \u2713", data="gr\u00fc\u00dfe\n".encode())
    layer.add("srv/empty")
    layer.add("srv/set-id", data=b"#!/bin/sh\n", mode=0o6755)
    layer.add("srv/pipe", tarfile.FIFOTYPE, mode=0o600)
    layer.add("srv/nanoseconds", data=b"t\n", mtime=EPOCH + 0.123456789)
    layer.hardlink("srv/also-set-id", "srv/set-id", mode=0o6755)
    layer.add("etc/motd", data=b"welcome below deck\n")
    return layer.bytes()


def demo_layers(busybox=None, privileged=False):
    """The three layers of the demonstration image, uncompressed."""
    return [base_layer(busybox, privileged), middle_layer(privileged), top_layer()]


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compact(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def architecture():
    names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm",
             "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}
    return names.get(platform.machine(), platform.machine())


def config_of(layers, command=("/bin/sh",), arch=None):
    return compact({
        "architecture": arch or architecture(),
        "os": "linux",
        "created": CREATED,
        "config": {"Cmd": list(command), "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [digest(d) for d in layers]},
        "history": [{"created": CREATED, "created_by": f"layer {n}"}
                    for n in range(len(layers))],
    })


def _pack(data, compression):
    if compression == "gzip":
        return gzip.compress(data, 6, mtime=0), OCI_LAYER + "+gzip"
    return data, OCI_LAYER


def oci_files(images, compression="gzip"):
    """{path: bytes} of an OCI layout; images = [(name or None, layers, config)].

    Images that share a name become one multi-platform index.
    """
    files = {"oci-layout": compact({"imageLayoutVersion": "1.0.0"})}

    def blob(data, kind):
        name = digest(data)
        files["blobs/sha256/" + name[7:]] = data
        return {"mediaType": kind, "digest": name, "size": len(data)}

    groups = {}
    for position, (name, layers, config) in enumerate(images):
        manifest = compact({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": blob(config, OCI_CONFIG),
            "layers": [blob(*_pack(data, compression)) for data in layers]})
        entry = blob(manifest, OCI_MANIFEST)
        described = json.loads(config)
        platform_of = {"architecture": described["architecture"], "os": described["os"]}
        groups.setdefault(name or position, []).append((entry, platform_of))
    listed = []
    for name, members in groups.items():
        if len(members) == 1:
            entry = members[0][0]
        else:
            entry = blob(compact({
                "schemaVersion": 2, "mediaType": OCI_INDEX,
                "manifests": [{**e, "platform": p} for e, p in members]}), OCI_INDEX)
        if isinstance(name, str):
            entry = {**entry, "annotations": {"org.opencontainers.image.ref.name": name}}
        listed.append(entry)
    files["index.json"] = compact({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})
    return files


def docker_files(images):
    """{path: bytes} of a docker archive; images = [(name or None, layers, config)]."""
    files, manifest = {}, []
    for name, layers, config in images:
        config_name = digest(config)[7:] + ".json"
        files[config_name] = config
        paths = []
        for data in layers:
            paths.append(digest(data)[7:] + ".tar")
            files[paths[-1]] = data
        manifest.append({"Config": config_name, "RepoTags": [name] if name else None,
                         "Layers": paths})
    files["manifest.json"] = compact(manifest)
    return files


def write_dir(files, target):
    for name, data in files.items():
        path = os.path.join(target, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)


def write_tar(files, target):
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), EPOCH, 0o644
            tar.addfile(info, io.BytesIO(data))


def write_image(images, kind, target, compression="gzip"):
    """Write `images` as `kind` (oci-dir, oci-archive, docker-archive) to `target`."""
    if kind == "docker-archive":
        write_tar(docker_files(images), target)
    elif kind == "oci-archive":
        write_tar(oci_files(images, compression), target)
    elif kind == "oci-dir":
        write_dir(oci_files(images, compression), target)
    else:
        raise ValueError(f"unknown format {kind!r}")
