"""Compare orlop with the Go library and with the floor: the same work, on the same data and file system, in turns.

Prints the medians of wall clock and processor time and the ratios orlop / Go beside their targets, a mark where one is
missed; "floor" is the time of a C program that makes only the unavoidable system calls (benches/floor). Stores and data are
on a tmpfs where there is one, so that the figures are those of the programs, not of a disk; with --disk the stores are on
a disk, and each line is measured twice: with sync = none, and with sync = filesystem for both and a flush by the floor;
what is measured in one process only with the latter.
"""

import argparse
import dataclasses
import os
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True

import data  # noqa: E402
import latency  # noqa: E402
import measure  # noqa: E402
import memory  # noqa: E402
import rows  # noqa: E402
from report import Report  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# How much of everything: files and MiB.
SIZES = {
    "whole": {"files": 45_000, "large": 12, "large_size": 58, "layers": 2000, "extra": 130, "zeros": 4096, "busy": 2048,
              "cycles": 200, "rounds": 9, "seconds": 15.0, "in_process_seconds": 2.0},
    "quick": {"files": 8_000, "large": 4, "large_size": 58, "layers": 2000, "extra": 30, "zeros": 512, "busy": 512,
              "cycles": 100, "rounds": 5, "seconds": 3.0, "in_process_seconds": 0.5},
    "tiny": {"files": 40, "large": 2, "large_size": 1, "layers": 20, "extra": 1, "zeros": 8, "busy": 8,
             "cycles": 3, "rounds": 1, "seconds": 0.0, "in_process_seconds": 0.0},
}


def parse():
    built, reference = f"{TOP}/target/release", f"{TOP}/build/reference"
    parser = argparse.ArgumentParser(description=__doc__, prog="compare",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="size", action="store_const", const="quick", default="whole",
                      help="fewer files and rounds")
    size.add_argument("--tiny", dest="size", action="store_const", const="tiny",
                      help="hardly any: tests that everything runs, the figures mean nothing")
    parser.add_argument("--disk", action="store_true", help="stores on disk, with both sync settings")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    parser.add_argument("--only", default="", metavar="TEXT", help="only lines that contain this")
    parser.add_argument("--dir", help="where the stores are (default: /dev/shm, with --disk /var/tmp)")
    for name, help_text in (("files", "small files"), ("large", "large files"), ("large-size", "MiB of a large file"),
                            ("layers", "layers in the list"), ("zeros", "MiB of the file of zeros"),
                            ("busy", "MiB of the image loaded meanwhile"), ("rounds", "rounds of a line, at most")):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=help_text)
    parser.add_argument("--seconds", type=float, metavar="S", help="no further round of a line after that, three apart")
    parser.add_argument("--orlop", default=os.environ.get("ORLOP", f"{built}/orlop"))
    parser.add_argument("--in-process", default=f"{built}/in-process")
    parser.add_argument("--reference", default=os.environ.get("REFERENCE", f"{reference}/containers-storage"))
    parser.add_argument("--imagecopy", default=os.environ.get("IMAGECOPY", f"{reference}/imagecopy"))
    parser.add_argument("--go-in-process", default=f"{reference}/in-process")
    parser.add_argument("--floor", default=f"{TOP}/build/bench/floor")
    options = parser.parse_args()
    for name, value in SIZES[options.size].items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    return options


def main():
    options = parse()
    if os.geteuid() != 0:
        sys.exit("bench: must run as root")
    for program in (options.orlop, options.in_process, options.reference, options.imagecopy, options.go_in_process,
                    options.floor):
        if not os.access(program, os.X_OK):
            sys.exit(f"bench: {program} is missing; run 'make bench-programs'")
    for name in ("CONTAINERS_STORAGE_CONF", "CONTAINERS_STORAGE_CONF_OVERRIDE", "STORAGE_DRIVER", "STORAGE_OPTS"):
        os.environ.pop(name, None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))  # mounts and data do not stay
    memory_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="orlop-bench-", dir=memory_dir)
    stores = tempfile.mkdtemp(prefix="orlop-bench-",
                              dir=options.dir or ("/var/tmp" if options.disk else memory_dir))
    report = Report()

    def wanted(label):
        return options.only in label

    try:
        data.require_space(stores, rows.space(options))
        report.heading("Stores on disk" if options.disk else "Stores on tmpfs")
        for row in rows.table(options, folder):
            if not wanted(row.label):
                continue
            report.row(row, measure.in_turns(row, options, stores, "none"))
            if options.disk:
                synced = dataclasses.replace(row, label=row.label + ", synced")
                report.row(synced, measure.in_turns(row, options, stores, "filesystem"))
        report.heading("In one process, per operation" + (", synced" if options.disk else ""))
        for row in rows.in_process(options, folder):
            if wanted(row.label):
                report.row(row, measure.in_turns(row, options, stores, "filesystem" if options.disk else "none"))
        if not options.disk:
            memory.measure(options, report, stores, wanted)
            latency.measure(options, report, stores, rows.busy_layout(options, folder), wanted)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(stores, ignore_errors=True)
    if report.missed:
        print("\nMissed:\n  " + "\n  ".join(report.missed))
        if options.check:
            sys.exit(1)


if __name__ == "__main__":
    main()
