"""Loads of one image at the same time: by two of orlop's processes, and beside the Go library's."""

import os
import re
import subprocess
import time

import fixtures
from harness import Failed, check, equal, need, test
from stores import Store


def _start(area, *argv):
    area.log.append("$ " + " ".join(str(a) for a in argv) + " &")
    return subprocess.Popen([str(a) for a in argv], env=area.environment, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _load(area, store, path, *before):
    return _start(area, *before, area.options.orlop, "-g", store.graph, "-R", store.run_root,
                  "-s", store.driver, "load", "-i", path)


def _end(process, wanted=0):
    try:
        _, said = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Failed(f"no end after 120 s: {process.args}") from None
    equal(process.returncode, wanted, f"exit code of {process.args}: {said.decode()}")


def _hold(area, store, digest):
    """The Go library, holding the lock of a digest."""
    holder = _start(area, area.options.imagecopy, "-graph", store.graph, "-run", store.run_root,
                    "-hold", digest)
    equal(holder.stdout.readline(), b"held\n", "what the holder says")
    return holder


def _complete(store):
    image = store.image(fixtures.NAME)
    equal([layer["diff-digest"] for layer in store.chain(image)], fixtures.diff_ids(), "layers")
    equal(len(store.records("layers")), len(fixtures.diff_ids()), "number of layers")
    equal(store.leftovers(), [], "leftovers")


def _staged(trace):
    """How many temp dirs of content a traced process made."""
    with open(trace, encoding="utf-8", errors="replace") as file:
        # Without the outcome: strace tells it on a line of its own when another thread's call comes between.
        return len(set(re.findall(r'mkdir(?:at)?\(.*/overlay/tempdirs/(temp-dir-\d+)", 0700', file.read())))


@test("two-loads-of-one-image-unpack-it-once")
def _(area):
    # store-format.md 9.3, the locks of digests
    need("strace")
    path = fixtures.write(area, "oci-archive")
    store = Store(area)
    # Both are there before either may begin.
    holder = _hold(area, store, fixtures.diff_ids()[0])
    traces = [area.file(f"trace-{n}") for n in range(2)]
    loads = [_load(area, store, path, "strace", "-f", "-e", "trace=mkdir,mkdirat", "-o", trace)
             for trace in traces]
    time.sleep(1)
    check(all(load.poll() is None for load in loads), "a load did not wait for the Go library")
    equal([_staged(trace) for trace in traces], [0, 0], "layers unpacked while waiting")
    _end(holder)
    for load in loads:
        _end(load)
    equal(sorted(_staged(trace) for trace in traces), [0, len(fixtures.diff_ids())],
          "layers that each of two loads unpacked")
    _complete(store)


@test("a-killed-loader-keeps-nobody-waiting")
def _(area):
    store = Store(area)
    digest = fixtures.diff_ids()[1]
    holder = _hold(area, store, digest)
    load = _load(area, store, fixtures.write(area, "docker-archive"))
    time.sleep(0.5)
    check(load.poll() is None, "the load did not wait")
    holder.kill()
    holder.communicate()
    _end(load)
    _complete(store)
    lock = os.path.join(store.run_root, "overlay-locks", digest)
    equal(oct(os.stat(lock).st_mode & 0o7777), oct(0o644), "mode of a digest's lock")
    # A load that finds everything needs no lock.
    holder = _hold(area, store, digest)
    _end(_load(area, store, fixtures.write(area, "docker-archive")))
    _end(holder)


@test("loads-beside-the-go-library")
def _(area):
    path = fixtures.write(area, "oci-dir")
    for turn in range(3):
        store = Store(area, f"store-{turn}")
        # Both make the store's directories anew: begin with one that is there.
        store.orlop("images")
        copy = _start(area, area.options.imagecopy, "-graph", store.graph, "-run", store.run_root,
                      fixtures.skopeo_name("oci-dir", path), fixtures.NAME)
        loads = [_load(area, store, path) for _ in range(2)]
        for process in [copy, *loads]:
            _end(process)
        _complete(store)
