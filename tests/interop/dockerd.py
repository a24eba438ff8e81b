"""A docker daemon of a test's own: data root, exec root, socket and containerd below its area."""

import fcntl
import os
import shutil
import signal
import subprocess
import time

import harness
from harness import Failed, Skip


def _program(name):
    # Not what else may be called so: a client of another version.
    for folder in ("/usr/bin", "/usr/sbin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    found = shutil.which(name)
    if not found:
        raise Skip(f"{name} is not installed")
    return found


class Dockerd:
    """Runs from `start` to `stop`; the area takes its files away."""

    def __init__(self, area, folder=None):
        self.area = area
        self.server, self.client = _program("dockerd"), _program("docker")
        self.root = os.path.join(folder or area.path, "docker")
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        area = self.area
        self.socket = area.file("docker.sock")
        self.log = open(area.file("dockerd.log"), "ab")
        self.process = subprocess.Popen(
            [self.server, "--iptables=false", "--bridge=none", "--storage-driver=overlay2",
             "--data-root", self.root, "--exec-root", area.file("docker-exec"),
             "--pidfile", area.file("docker.pid"), "-H", f"unix://{self.socket}"],
            stdout=self.log, stderr=self.log, start_new_session=True, env=area.environment)
        give_up = time.monotonic() + 60
        while self.docker("version", ok=None).code != 0:
            if self.process.poll() is not None or time.monotonic() > give_up:
                with open(area.file("dockerd.log"), encoding="utf-8", errors="replace") as log:
                    said = log.read()[-2000:]
                self.stop()
                raise Failed(f"dockerd does not start:\n{said}")
            time.sleep(0.1)

    def stop(self):
        """Ends the daemon, which ends its containerd, and waits until nobody holds its databases."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
        self.log.close()
        meta = f"{self.root}/containerd/daemon/io.containerd.metadata.v1.bolt/meta.db"
        if os.path.exists(meta):
            with open(meta, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
        harness.unmount_below(self.root)

    def kill(self):
        """Ends the daemon and its containerd as a loss of power would, and takes away what is mounted, as that does."""
        pid = self.area.file("docker-exec/containerd/containerd.pid")
        with open(pid, encoding="utf-8") as file:
            os.kill(int(file.read()), signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        # The next one would wait for the one of this number.
        os.unlink(pid)
        self.process = None
        self.log.close()
        harness.unmount_below(self.root)

    def docker(self, *words, **how):
        return self.area.run(self.client, "-H", f"unix://{self.socket}", *words, **how)

    def load(self, path):
        self.docker("load", "-q", "-i", path)

    def inspect(self, image):
        return self.docker("image", "inspect", image).json[0]

    def build(self, text, name, kit=False):
        """Builds without the network, by BuildKit or the builder before it; the new image's id."""
        env = {"DOCKER_BUILDKIT": "1" if kit else "0"}
        self.docker("build", "-q", "--network", "none", "-t", name, "-", stdin=text.encode(), env=env)
        return self.inspect(name)["Id"]

    def ids(self):
        return set(self.docker("images", "-aq", "--no-trunc").text.split())

