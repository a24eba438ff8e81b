"""Images the tests load, made once per run."""

import os
import shutil

import imagefile
from harness import Skip

NAME = "localhost/orlop/tour:1"
FORMATS = ("docker-archive", "oci-archive", "oci-dir")
_MADE = {}


def busybox():
    found = shutil.which("busybox")
    if not found:
        raise Skip("busybox-static is not installed")
    with open(found, "rb") as program:
        if b"/ld-linux" in program.read():
            raise Skip(f"{found} is not static; install busybox-static")
    return found


def layers():
    if "layers" not in _MADE:
        _MADE["layers"] = imagefile.demo_layers(busybox(), privileged=os.geteuid() == 0)
    return _MADE["layers"]


def image(name=NAME, arch=None):
    return name, layers(), imagefile.config_of(layers(), arch=arch)


def image_id():
    return imagefile.digest(image()[2])[7:]


def diff_ids():
    return [imagefile.digest(data) for data in layers()]


def write(area, kind, name=NAME, compression="gzip"):
    """The demonstration image as a file of `kind` in the area; its path."""
    path = area.file("image-" + kind)
    if not os.path.exists(path):
        imagefile.write_image([image(name)], kind, path, compression)
    return path


def skopeo_name(kind, path, name=NAME):
    """The spelling of an image file for skopeo and the reference program."""
    if kind == "oci-dir":
        return f"oci:{path}:{name}"
    return f"{kind}:{path}" + (f":{name}" if kind == "oci-archive" else "")
