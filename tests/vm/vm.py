"""A small virtual machine: a Debian kernel, an initramfs made here, a shell script, no disk of its own.

It is emulated (qemu's TCG), since tests often run where KVM is not to be had: some ten times slower than the machine it
runs on, and power-on to power-off in about ten seconds.
"""

import lzma
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
QEMU = "qemu-system-x86_64"
DONE = "vm: the script ended with "

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
exec >/dev/console 2>&1
while read module; do insmod /modules/$module || echo "vm: cannot load $module"; done </modules/order
sh /script
echo "%s$?"
poweroff -f
""" % DONE


class Failed(Exception):
    """The machine did not do what it was told; the text says what it did."""


def kernel(package="linux-image-amd64"):
    """The folder of a kernel that tests/vm/kernel has fetched."""
    return os.path.join(TOP, "build/vm", package)


def release(package="linux-image-amd64"):
    """What that kernel calls itself."""
    with open(os.path.join(kernel(package), "release"), encoding="utf-8") as file:
        return file.read().strip()


def why_not(package="linux-image-amd64"):
    """Why there can be no machine here; None if there can."""
    if not shutil.which(QEMU):
        return f"{QEMU} is not installed (scripts/deps installs it)"
    if not os.path.exists(os.path.join(kernel(package), "release")):
        return f"no kernel in {kernel(package)} (tests/vm/kernel {package} fetches it)"
    busybox = shutil.which("busybox")
    if not busybox:
        return "busybox is not installed (scripts/deps installs it)"
    return None


class Initramfs:
    """What the machine has as its root directory; it all is in memory and gone when the machine stops."""

    def __init__(self, script, modules, package="linux-image-amd64"):
        self.members = {}
        self.modules = os.path.join(kernel(package), "modules")
        for name in ("dev", "proc", "sys", "run", "mnt", "tmp", "var", "var/tmp", "root"):
            self._folder(name)
        self.program("busybox")
        self.file("init", INIT.encode(), 0o755)
        self.file("script", script.encode(), 0o755)
        order = self._load_order(modules)
        for path in order:
            self.file("modules/" + _module_name(path), _module(path))
        self.file("modules/order", "".join(_module_name(p) + "\n" for p in order).encode())

    def file(self, name, data, mode=0o644):
        self._folder(os.path.dirname(name))
        self.members[name] = (stat.S_IFREG | mode, data)

    def copy(self, source, name):
        """A file or a whole folder of this machine."""
        if os.path.isdir(source):
            self._folder(name)
            for entry in os.listdir(source):
                self.copy(os.path.join(source, entry), f"{name}/{entry}")
            return
        with open(source, "rb") as opened:
            self.file(name, opened.read(), stat.S_IMODE(os.stat(source).st_mode))

    def program(self, path, name=None):
        """A program of this machine as /bin/NAME, with the shared libraries that it needs."""
        path = shutil.which(path)
        self.copy(path, "bin/" + (name or os.path.basename(path)))
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(?:=> |^\s*)(/\S+) \(", listed, re.M):
            self.copy(library, library.lstrip("/"))

    def write(self, path):
        """In the kernel's newc format of cpio."""
        with open(path, "wb") as out:
            names = sorted(self.members)  # folders before what is in them
            for number, name in enumerate([*names, "TRAILER!!!"], 1):
                mode, data = self.members.get(name, (0, b""))
                encoded = name.encode() + b"\0"
                fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
                head = b"070701" + b"".join(b"%08X" % f for f in fields) + encoded
                out.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def _folder(self, name):
        if name and name not in self.members:
            self._folder(os.path.dirname(name))
            self.members[name] = (stat.S_IFDIR | 0o755, b"")

    def _load_order(self, wanted):
        """The modules' files, each after those that it needs. What the kernel has built in is no file."""
        files = {_module_name(os.path.join(folder, name)): os.path.join(folder, name)
                 for folder, _, names in os.walk(self.modules) for name in names if ".ko" in name}
        order = []

        def add(name):
            path = files.get(name.replace("-", "_"))
            if path is None or path in order:
                return
            needed = re.search(rb"\0depends=([^\0]*)\0", _module(path))
            for other in needed[1].decode().split(",") if needed and needed[1] else ():
                add(other)
            order.append(path)

        for name in wanted:
            add(name)
        return order


def _module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def _module(path):
    with (lzma.open if path.endswith(".xz") else open)(path, "rb") as module:
        return module.read()


# What a disk of the machine and its usual file systems need; crc32c is looked for by name, so nothing depends on it.
MODULES = ("crc32c_generic", "virtio_pci", "virtio_blk", "overlay", "ext4", "xfs", "loop")


def run(initramfs, arguments=(), on_line=None, timeout=600, memory=1024, cpus=1, package="linux-image-amd64",
        parameters=""):
    """Boot it, wait for the end of its script and return what it printed.

    `arguments` are qemu's, for disks, `parameters` the kernel's; `on_line` is called with each line. Raises Failed if the script does, if the kernel
    panics, or if there is no end within `timeout` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="orlop-vm-") as folder:
        image = os.path.join(folder, "initramfs")
        initramfs.write(image)
        # On a busy machine the kernel would find at its start that the timer does not tick, and panic: no_timer_check.
        argv = [QEMU, "-accel", "tcg", "-cpu", "max", "-m", str(memory), "-smp", str(cpus), "-display", "none",
                "-monitor", "none", "-serial", "stdio", "-nic", "none", "-no-reboot",
                "-kernel", os.path.join(kernel(package), "vmlinuz"), "-initrd", image,
                "-append", f"console=ttyS0 quiet panic=-1 no_timer_check {parameters}", *arguments]
        machine = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace")
        late = threading.Event()
        timer = threading.Timer(timeout, lambda: (late.set(), machine.kill()))
        timer.start()
        lines = []
        try:
            for line in machine.stdout:
                lines.append(line.rstrip())
                if on_line:
                    on_line(lines[-1])
            machine.wait()
        finally:
            timer.cancel()
            machine.kill()
            machine.wait()
    tail = "\n".join("    " + line for line in lines[-30:])
    if late.is_set():
        raise Failed(f"the virtual machine was not done within {timeout} s (is this machine busy?); it printed last:\n{tail}")
    if DONE + "0" not in lines:
        raise Failed(f"the virtual machine failed (qemu's exit code {machine.returncode}); it printed last:\n{tail}")
    return lines
