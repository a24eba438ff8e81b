"""What is mounted for a user, and what the kernel keeps on the disk for it."""

import os

import fixtures
import users
from harness import check, equal, test
from stores import Store

# In mountinfo.
KINDS = {"kernel": "overlay", "fuse-overlayfs": "fuse.fuse-overlayfs"}


def _mount(point):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        for line in table:
            place, rest = line.split(" - ")
            if place.split(" ")[4] == point:
                kind, _, options = rest.split(" ", 2)
                return kind, options.strip().split(",")
    return None, []


@test("mounts-are-those-of-a-user")
def _(area):
    # overlay-driver.md 4.4, GET-29
    with open("/proc/self/uid_map", encoding="utf-8") as table:
        check(len(table.readlines()) == 2, "this is no user's namespace")
    store = Store(area)
    store.orlop("load", "-i", fixtures.write(area, "oci-archive"))
    store.orlop("create-container", "-n", "one", fixtures.NAME)
    layer = store.records("containers")[0]["layer"]
    for mounts, other in ((store.orlop, store.go), (store.go, store.orlop)):
        point = store.mounted(mounts, "one")
        kind, options = _mount(point)
        equal(kind, KINDS[area.mounter], "what mounts")
        equal("userxattr" in options, area.mounter == "kernel", f"userxattr among {options}")
        folder = f"{point}/srv/opaque"
        for name in os.listdir(folder):
            os.remove(os.path.join(folder, name))
        os.rmdir(folder)
        os.mkdir(folder)
        with open(f"{folder}/again", "w", encoding="utf-8") as file:
            file.write("again\n")
        other("unmount", "one")
        equal(_mount(point)[0], None, "mounted after the other has unmounted it")
        marks = os.listdir(f"{store.layer_dir(layer)}/srv/opaque")
        if area.mounter == "kernel":
            equal(os.getxattr(f"{store.layer_dir(layer)}/srv/opaque", "user.overlay.opaque"), b"y", "the mark of opacity")
        else:
            check(".wh..wh..opq" in marks, f"the mark of opacity: {marks}")
        ours, theirs = (run("changes", "-j", layer).json for run in (store.orlop, store.go))
        ours = users.forgotten_by_go(area, ours, theirs)
        equal(sorted(map(str, ours)), sorted(map(str, theirs)), "changes by orlop and by Go")
