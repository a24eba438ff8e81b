"""The mount table beside a container on five hundred layers, as those read it who look for their own mounts in it."""

import os
import shutil

import fixtures
from harness import check, equal, need, test
from stores import PODMAN_RUN, Store

LAYERS = 499
# What moby/sys/mountinfo reads of a line; behind a longer one it sees nothing.
LONGEST = 64 << 10


def _line(point):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return next((line for line in table if line.split(" ")[4] == point), "")


@test("the-mount-table-is-read-beside-five-hundred-layers")
def _(area):
    # MNT-3
    need("podman", "findmnt", "runc")
    store = Store(area)
    store.orlop("load", "-i", fixtures.write(area, "docker-archive"))
    parent = []
    for number in range(LAYERS):
        layer = f"{number:064x}"
        store.orlop("create-layer", "-r", "-i", layer, *parent)
        parent = [layer]
    store.orlop("create-layer", "-i", "top", *parent)
    long = store.orlop("mount", "top").text.strip()
    length = len(_line(long))
    check(LONGEST // 8 < length <= LONGEST // 2, f"the line of {LAYERS} layers has {length} bytes")

    # What comes behind it is seen, and its own end, too.
    store.orlop("create-container", "-n", "behind", fixtures.NAME)
    behind = store.orlop("mount", "behind").text.strip()
    for point in (long, behind):
        equal(area.run("findmnt", "-n", "-o", "FSTYPE", "--mountpoint", point).text, "overlay\n", f"findmnt of {point}")
    for runtime in filter(shutil.which, ("runc", "crun")):
        said = store.podman("--runtime", runtime, *PODMAN_RUN, "--rm", fixtures.NAME, "/bin/cat", "/proc/self/mountinfo").text
        check(long not in said and " / / " in said, f"the mounts of a container of {runtime}: {said}")
    check(behind in store.podman("mount").text, "podman does not see what is mounted behind it")
    store.go("unmount", "behind")
    store.go("unmount", "top")
    for point in (long, behind):
        equal(_line(point), "", f"the mount at {point}")
        equal(os.listdir(point), [], f"files at {point}")
