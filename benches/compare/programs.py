"""The programs that are compared, each with a store of its own, and what a run of one of them costs."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple


class Spent(NamedTuple):
    """Seconds, seconds of processor time, and the most memory, in KiB, that one of its processes had."""

    wall: float
    cpu: float
    peak: int = 0


def total(spent):
    """What several commands, one after the other, cost."""
    return Spent(sum(s.wall for s in spent), sum(s.cpu for s in spent), max(s.peak for s in spent))


def start(command, out):
    """Starts a command; what it complains about is kept in `child.complaints`."""
    complaints = tempfile.TemporaryFile()
    child = subprocess.Popen(command, stdout=out, stderr=complaints)
    child.complaints, child.began = complaints, time.perf_counter()
    return child


def finish(child, began):
    """Waits for a command, the processes that it waited for included; fails where it failed."""
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    with child.complaints as complaints:
        if child.returncode != 0:
            complaints.seek(0)
            sys.exit(f"bench: {' '.join(child.args)}: {complaints.read().decode().strip()}")
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def measured(command, sink=os.devnull):
    with open(sink, "wb") as out:
        began = time.perf_counter()
        return finish(start(command, out), began)


class Program:
    """orlop, or the Go command."""

    def __init__(self, name, path, folder, sync):
        self.name, self.path, self.sync = name, path, sync
        self.root = tempfile.mkdtemp(prefix=f"{name}-", dir=folder)
        self.sink = os.path.join(self.root, "sink")
        self.graph, self.run_root = self.root + "/graph", self.root + "/run"
        self.command = [path, "-g", self.graph, "-R", self.run_root, "-s", "overlay",
                        "--storage-opt", f"overlay.sync={sync}"]
        self.serial = 0

    def run(self, *words, sink=os.devnull):
        return measured([*self.command, *words], sink)

    def load(self, layout):
        return self.run("load", "-q", "-i", layout)

    def output(self, *words):
        return subprocess.run([*self.command, *words], check=True, capture_output=True, text=True).stdout

    def fresh_id(self):
        self.serial += 1
        return f"{self.serial:064x}"

    def layers_file(self, name):
        return os.path.join(self.graph, "overlay-layers", name)

    def close(self):
        subprocess.run([*self.command, "shutdown", "-f"], check=False, capture_output=True)
        subprocess.run(["umount", "-l", self.graph + "/overlay"], check=False, capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)


class Go(Program):
    """Its command knows no images from files: that is the work of the image library, and of `imagecopy`."""

    def __init__(self, path, imagecopy, folder, sync):
        super().__init__("go", path, folder, sync)
        self.imagecopy = imagecopy

    def load(self, layout):
        return measured([self.imagecopy, "-graph", self.graph, "-run", self.run_root,
                         "-option", f"overlay.sync={self.sync}", f"oci:{layout}", "localhost/bench:1"])


class Floor:
    """The program in benches/floor."""

    name = "floor"

    def __init__(self, path, folder, sync):
        self.root = tempfile.mkdtemp(prefix="floor-", dir=folder)
        self.sink = os.path.join(self.root, "sink")
        self.command = [path, *(["--sync"] if sync == "filesystem" else [])]
        self.serial = 0

    def run(self, *words, sink=os.devnull):
        return measured([*self.command, *words], sink)

    def fresh_folder(self):
        return tempfile.mkdtemp(dir=self.root)

    def close(self):
        for folder in os.listdir(self.root):
            merged = f"{self.root}/{folder}/overlay/cycle/merged"
            if os.path.ismount(merged):
                subprocess.run(["umount", "-l", merged], check=False)
        shutil.rmtree(self.root, ignore_errors=True)
