"""How long another process waits for the lock of the layers (store-format.md 9) while a command runs."""

import fcntl
import os
import time

from programs import Spent, finish, start


def until_free(program, command, layer):
    """From the start of the command until the lock was had here with the layer gone: what the command does while it
    opens the store is not yet its work, however often it takes the lock for that."""
    before = layer.encode()
    with open(os.devnull, "wb") as out:
        began = time.perf_counter()
        child = start([*program.command, command, layer], out)
    while True:
        fd = os.open(program.layers_file("layers.lock"), os.O_RDWR | os.O_CLOEXEC)
        fcntl.lockf(fd, fcntl.LOCK_EX)
        obtained = time.perf_counter()
        with open(program.layers_file("layers.json"), "rb") as records:
            gone = before not in records.read()
        os.close(fd)
        if gone:
            break
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            finish(child, began)
            raise SystemExit(f"bench: {command} has ended, and layer {layer} is still there")
        time.sleep(0.0002)
    spent = finish(child, began)
    return Spent(obtained - began, spent.cpu, spent.peak)
