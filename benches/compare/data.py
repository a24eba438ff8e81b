"""Layers and images to measure with: the same bytes on every run, and gzip makes about half of them. What is random
decodes slowly and what repeats decodes fast, so a sixth is random and the rest is text (/usr of Debian becomes 0.4)."""

import hashlib
import io
import itertools
import json
import os
import random
import shutil
import subprocess
import tarfile

EPOCH = 1_700_000_000
FORMS = ("tar", "tar.gz", "tar.zst")
MEDIA = "application/vnd.oci.image.layer.v1.tar"


def small_files(count, first=0):
    """(name, size) of files of 10 KiB on average, sixteen to a folder."""
    return [(f"usr/lib/package-{n // 256:03}/part-{n // 16 % 16:02}/file-{n:05}", 200 + n * 7919 % 20_500)
            for n in range(first, first + count)]


def large_files(count, size, first=0):
    return [(f"srv/large-{n:02}", size) for n in range(first, first + count)]


def in_child(function, *arguments):
    """Calls it in a process of its own: what a program is said to have used as memory is never less than what
    the process that started it had (getrusage(2): the maximum survives execve), so this one has to stay small."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function(*arguments)
            code = 0
        except BaseException as error:  # whatever it is, it must not go on as a second parent
            print(f"bench: {type(error).__name__}: {error}", flush=True)
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("bench: the data could not be made")


def write_tar(path, files):
    """files: (name, size) pairs; the content depends on nothing but them."""
    source = random.Random(1)
    words = ["".join(source.choices("etaoinshrdlucm", k=source.randint(2, 10))) for _ in range(4096)]
    text = " ".join(source.choices(words, k=1_000_000)).encode()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        folders = set()
        for name, size in files:
            parts = name.split("/")[:-1]
            for folder in itertools.accumulate(parts, "{}/{}".format):
                if folder not in folders:
                    folders.add(folder)
                    info = tarfile.TarInfo(folder + "/")
                    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, EPOCH
                    tar.addfile(info)
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = size, 0o644, EPOCH
            source.seed(name)
            noise, at = source.randbytes(size // 6), source.randrange(len(text) // 2)
            part = text[at:at + size - len(noise)]
            repeats = 1 + size // (len(part) + 1)
            tar.addfile(info, io.BytesIO((noise + part * repeats)[:size]))


def compress(plain, form, level=None):
    """The compressed file beside `plain`, by the programs that most layers are made with."""
    path = plain.removesuffix("tar") + form
    command = {"tar": None,
               "tar.gz": ["gzip", "-n", "-c", f"-{level or 6}", plain],
               "tar.zst": ["zstd", "-q", "-c", f"-{level or 3}", plain]}[form]
    if command:
        with open(path, "wb") as target:
            subprocess.run(command, stdout=target, check=True)
    return path


def write_zeros(path, size):
    """A tar of one file of zeros; it is a hole here."""
    info = tarfile.TarInfo("zeros")
    info.size, info.mode, info.mtime = size, 0o644, EPOCH
    with open(path, "wb") as tar:
        tar.write(info.tobuf(tarfile.PAX_FORMAT))
        tar.truncate(512 + size + 1024)


def file_digest(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_layout(folder, layers, form):
    """An OCI layout of one image, tagged `bench`, whose layers are these lists of (name, size)."""
    blobs = os.path.join(folder, "blobs", "sha256")
    os.makedirs(blobs)

    def add(path, media):
        digest, size = file_digest(path), os.path.getsize(path)
        os.rename(path, os.path.join(blobs, digest))
        return {"mediaType": media, "digest": "sha256:" + digest, "size": size}

    def add_json(value, media):
        path = os.path.join(folder, "json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(value, file)
        return add(path, media)

    plain, diff_ids, described = os.path.join(folder, "layer.tar"), [], []
    for files in layers:
        write_tar(plain, files)
        diff_ids.append("sha256:" + file_digest(plain))
        # A quick level for the image that only has to keep the machine busy.
        packed = compress(plain, form, 1 if form == "tar.zst" else 6)
        described.append(add(packed, MEDIA + {"tar.gz": "+gzip", "tar.zst": "+zstd"}[form]))
        os.remove(plain)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = add_json({"architecture": machine, "os": "linux", "config": {},
                       "rootfs": {"type": "layers", "diff_ids": diff_ids}},
                      "application/vnd.oci.image.config.v1+json")
    manifest = add_json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                         "config": config, "layers": described},
                        "application/vnd.oci.image.manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "localhost/bench:1"}
    with open(os.path.join(folder, "index.json"), "w", encoding="utf-8") as file:
        json.dump({"schemaVersion": 2, "manifests": [manifest]}, file)
    with open(os.path.join(folder, "oci-layout"), "w", encoding="utf-8") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)
    return folder


def layer_blobs(layout):
    """The files of its layers, bottom first."""
    blobs = os.path.join(layout, "blobs", "sha256")

    def parsed(path):
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    index = parsed(os.path.join(layout, "index.json"))
    manifest = parsed(os.path.join(blobs, index["manifests"][0]["digest"][7:]))
    return [os.path.join(blobs, layer["digest"][7:]) for layer in manifest["layers"]]


def require_space(folder, size):
    """Ends the program where that much does not fit."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise SystemExit(f"bench: {folder} has {free >> 20} MiB, {size >> 20} are needed: "
                         "make room, name another folder with --dir, or take --quick")
