"""The frame of the interop tests: registration, scratch areas, programs."""

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "scripts"))

TESTS = []  # (name, function), in the order of definition


class Skip(Exception):
    """Raised by a test that cannot run here; the text says why."""


class Failed(Exception):
    """Raised by a check that does not hold."""


def test(name):
    """Register a function of one argument (the Area) as a named test."""
    def register(function):
        TESTS.append((name, function))
        return function
    return register


def check(condition, text):
    if not condition:
        raise Failed(text)


def equal(found, wanted, what):
    if found != wanted:
        raise Failed(f"{what} differs:\n  found  {_show(found)}\n  wanted {_show(wanted)}")


def _show(value):
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=repr)
    return text if len(text) < 4000 else text[:4000] + "…"


def same_mapping(found, wanted, what):
    """Compare two dicts and name the keys that differ."""
    wrong = [f"    {key}: {_show(found.get(key))} instead of {_show(wanted.get(key))}"
             for key in sorted(set(found) | set(wanted), key=str)
             if found.get(key) != wanted.get(key)]
    if wrong:
        raise Failed(f"{what} differs:\n" + "\n".join(wrong[:20]))


class Result:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    @property
    def text(self):
        return self.out.decode("utf-8", "replace")

    @property
    def error(self):
        return self.err.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.out)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")


def _folder_that_names_an_image(parent):
    """A new folder. Short, because podman refuses a run root of more than 50 characters, and of letters and digits
    only, because podman names what it loads from a folder after its path (tempfile's underscores are not always
    allowed there)."""
    while True:
        path = os.path.join(parent, f"orlop-{secrets.token_hex(4)}")
        try:
            os.mkdir(path, 0o700)
            return path
        except FileExistsError:
            continue


class Area:
    """A scratch folder of one test; everything mounted below it goes with it."""

    def __init__(self, options, parent="/tmp"):
        self.options = options
        # Who mounts for a user without privileges, where one does it all.
        self.mounter = getattr(options, "as_user", None)
        self.path = _folder_that_names_an_image(parent)
        self.log = []
        self.environment = dict(os.environ)
        for name in ("STORAGE_DRIVER", "STORAGE_OPTS", "CONTAINERS_STORAGE_CONF",
                     "CONTAINERS_STORAGE_CONF_OVERRIDE", "SOURCE_DATE_EPOCH"):
            self.environment.pop(name, None)
        self.environment.update(
            LC_ALL="C.UTF-8", TMPDIR=self.dir("tmp"),
            CONTAINERS_STORAGE_CONF=self.write("storage.conf", (
                '[storage]\ndriver = "overlay"\n'
                f'graphroot = "{self.path}/unused-graph"\n'
                f'runroot = "{self.path}/unused-run"\n').encode()),
            CONTAINERS_CONF=self.write("containers.conf", (
                '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
                f'runtime = "runc"\ntmp_dir = "{self.path}/libpod-tmp"\n').encode()))

    @property
    def is_users(self):
        """Whether all of it is done by a user without privileges."""
        return bool(self.mounter)

    def file(self, name):
        return os.path.join(self.path, name)

    def dir(self, name):
        path = self.file(name)
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, name, data):
        with open(self.file(name), "wb") as out:
            out.write(data)
        return self.file(name)

    def run(self, *argv, ok=True, stdin=b"", env=None, timeout=300):
        """Run a program. ok=True: it must succeed; False: it must fail; None: either."""
        argv = [str(a) for a in argv]
        line = shlex.join(argv)
        environment = {**self.environment, **(env or {})}
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True,
                                  env=environment, timeout=timeout)
        except subprocess.TimeoutExpired:
            self.log.append(f"$ {line}\n  no end after {timeout} s")
            raise Failed(f"no end after {timeout} s: {line}") from None
        result = Result(argv, done.returncode, done.stdout, done.stderr)
        self.log.append(f"$ {line}\n  -> {result.code}\n{_indent(result)}")
        if ok is True and result.code != 0:
            raise Failed(f"exit code {result.code}: {line}\n{result.error.strip()}")
        if ok is False:
            check(result.code != 0, f"should have failed: {line}")
            check(result.code > 0 and result.code != 101, f"died ({result.code}): {line}")
            check("panicked" not in result.error, f"panicked: {line}\n{result.error}")
        return result

    def close(self):
        unmount_below(self.path)
        # Directories of mode 000 do not stop root, but immutable mounts would.
        shutil.rmtree(self.path, ignore_errors=True)
        if os.path.exists(self.path):
            subprocess.run(["rm", "-rf", "--one-file-system", self.path], check=False)


def _indent(result):
    lines = (result.text[:2000] + result.error[:2000]).splitlines()
    return "\n".join("  " + line for line in lines[:30])


def mounts_below(path):
    """Mount points at or below `path`, deepest first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split(" ")[4])
            if point == path or point.startswith(path + "/"):
                found.append(point)
    return sorted(found, key=len, reverse=True)


def unmount_below(path):
    for _ in range(5):
        points = mounts_below(path)
        if not points:
            return
        for point in points:
            subprocess.run(["umount", "-l", point], check=False, stderr=subprocess.DEVNULL)


def run_tests(options, tests):
    """Run and report; returns (passed, failed, skipped) lists of names."""
    passed, failed, skipped = [], [], []
    for name, function in tests:
        area, begin = Area(options), time.monotonic()
        try:
            function(area)
            verdict, why = "pass", ""
            passed.append(name)
        except Skip as reason:
            verdict, why = "skip", f"skipped: {reason}"
            skipped.append(name)
        except Exception as reason:  # a broken test must not stop the others
            verdict = "FAIL"
            why = str(reason) if isinstance(reason, Failed) else traceback.format_exc()
            failed.append(name)
        print(f"{verdict} {time.monotonic() - begin:6.1f}s {name}", flush=True)
        if why:
            print("    " + why.replace("\n", "\n    "), flush=True)
        if verdict == "FAIL" or options.verbose:
            print("    commands:\n      " + "\n".join(area.log[-options.history:])
                  .replace("\n", "\n      "), flush=True)
        if options.keep and verdict == "FAIL":
            print(f"    kept: {area.path}", flush=True)
        else:
            area.close()
    return passed, failed, skipped
