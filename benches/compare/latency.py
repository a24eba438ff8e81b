"""What a load does to those who use the store meanwhile: the slowest of a hundred container cycles, idle and during it."""

import math
import os
import time

from containers import Containers
from programs import Program, finish, start

MOST = 3.0  # times the idle value


def worst(samples):
    """The 99th percentile."""
    return sorted(samples)[math.ceil(0.99 * len(samples)) - 1]


def during_loads(program, work, layout, cycles):
    samples = []
    while len(samples) < cycles:
        with open(os.devnull, "wb") as out:
            began = time.perf_counter()
            child = start([*program.command, "load", "-q", "-i", layout], out)
        while not os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            samples.append(work.step(program).wall)
        finish(child, began)
        program.run("delete-image", "localhost/bench:1")
    return samples


def measure(options, report, folder, layout, wanted):
    label = "container cycle, 99th percentile"
    if not wanted(label):
        return
    print(f"\nA container cycle during loads of {options.busy:,} MiB")
    path = layout.path()
    program, work = Program("orlop", options.orlop, folder, "none"), Containers()
    try:
        work.prepare(program)
        idle = [work.step(program).wall for _ in range(options.cycles)]
        busy = during_loads(program, work, path, options.cycles)
    finally:
        program.close()
    report.fact(label, f"idle {worst(idle) * 1000:.1f} ms of {len(idle)}, during loads {worst(busy) * 1000:.1f} ms of "
                f"{len(busy)}, times:", "times idle", worst(busy) / worst(idle), MOST)
