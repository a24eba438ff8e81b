"""The suite as a user without privileges: all of it runs in one user namespace of his, as in `orlop unshare`.

There each program mounts as the kernel lets a user, or by fuse-overlayfs, and the next program sees the mount. That each
program enters a namespace of its own is what check_rootless.py is about.
"""

import fnmatch
import os
import shutil
import subprocess
import tempfile

import harness

FUSE = "/usr/bin/fuse-overlayfs"
MOUNTERS = ("kernel", "fuse-overlayfs")

# What is not for users, and why.
NOT_FOR_USERS = {
    "rootless-*": "it becomes a user itself",
    "image-store-on-squashfs": "only root mounts squashfs",
    "stores-of-1.24-*": "1.24 writes xattrs that only root may write",
    "reckoning-*": "it has nothing to do with rights",
    "docker-*": "docker's daemon is root's",
    "thin-*": "repositories have marks that only root reads",
    **{name: "it gives files to ids that a user does not have" for name in (
        "gc-takes-what-go-takes", "sound-to-the-check-of-go", "parent-owners-as-in-go",
        "load-records-the-same-on-a-base-with-id-maps")},
}
NOT_BY_FUSE = {name: "what mounts makes no difference there" for name in (
    "refuse-*", "records-*", "names-*", "same-*", "a-name-*", "unknown-*", "id-prefix-*", "go-check-*", "load-*",
    "import-*", "export-*", "empty-*", "odd-*", "unpacked-*", "policy-*", "reading-*", "save-*", "saved-*",
    "two-loads-*", "a-killed-*", "a-collection-*", "loads-beside-*", "*-on-vfs", "the-mount-table-*")}
USERS_ALONE = {"mounts-are-those-of-a-user": "it is about users"}


def why_not(name, mounter):
    """Why a test is left out; None if it is not."""
    lists = [USERS_ALONE] if not mounter else [NOT_FOR_USERS]
    if mounter == "fuse-overlayfs":
        lists.append(NOT_BY_FUSE)
    return next((why for those in lists for pattern, why in those.items() if fnmatch.fnmatch(name, pattern)), None)


def storage_options(mounter):
    """What each program is told, so that all of them mount alike."""
    return ["--storage-opt", f"overlay.mount_program={FUSE}"] if mounter == "fuse-overlayfs" else []


def forgotten_by_go(area, ours, theirs):
    """Deletions that Go does not tell when fuse-overlayfs mounts: those in a directory that was made anew. `ours` without them.

    The files are gone in both programs' mounts, so that what Go tells is too little.
    """
    if area.mounter != "fuse-overlayfs":
        return ours
    return [told for told in ours if told in theirs or told["Kind"] != 2]


def run(options):
    """Runs this program as a user; returns its exit code."""
    if options.as_user == "fuse-overlayfs" and not os.path.exists("/dev/fuse"):
        print("skipped: no /dev/fuse here")
        print("0 passed, 0 failed, 1 skipped")
        return 1 if options.no_skip else 0
    with tempfile.TemporaryDirectory(prefix="orlop-user-", dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        # Where all this is kept and built a user may have no business.
        for name in ("tests/interop", "tests/as-user", "scripts"):
            source, copy = os.path.join(harness.TOP, name), os.path.join(folder, name)
            (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, copy)
        words = ["--inside", "--as-user", options.as_user, "--history", str(options.history)]
        words += [flag for flag, given in (("--no-skip", options.no_skip), ("--verbose", options.verbose)) if given]
        for flag, program in (("--orlop", options.orlop), ("--reference", options.reference),
                              ("--imagecopy", options.imagecopy)):
            words += [flag, shutil.copy(program, folder)]
        words += ["--older", os.path.join(folder, "older")]
        os.mkdir(os.path.join(folder, "older"))
        for name in os.listdir(options.older):
            if name.startswith("containers-storage-"):
                shutil.copy(os.path.join(options.older, name), os.path.join(folder, "older"))
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        orlop = words[words.index("--orlop") + 1]
        home = os.path.join(folder, "home")
        return subprocess.run([f"{folder}/tests/as-user", home, orlop, "unshare", "python3",
                               f"{folder}/tests/interop/run", *words, *options.patterns], check=False).returncode


def settle():
    """Gives the namespace a /tmp of its own, which goes with the user's home."""
    own = os.path.join(os.environ["HOME"], "areas")
    os.mkdir(own)
    subprocess.run(["mount", "--bind", own, "/tmp"], check=True)
