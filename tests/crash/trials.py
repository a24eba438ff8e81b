"""One command struck at one system call, and what must hold of the store then."""

import re
import signal

import harness
import state
from calls import NETWORK, Trace, struck
from harness import Failed, check
from scenes import BOX, EPOCH

# What an error says of its cause.
CAUSES = {"ENOSPC": "No space left on device", "EDQUOT": "Disk quota exceeded",
          "EIO": "Input/output error", "EINTR": "Interrupted system call"}
ERRORS = tuple(CAUSES)
# A network that does not come back: each further use of the call fails, too.
CUT = "CUT"
CAUSES[CUT] = "No route to host"


def errors(point):
    """What the call may fail with."""
    return NETWORK.get(point.call, ERRORS)


# Where a command may succeed though a call failed, and why: (command, call, place, reason).
BEST_EFFORT = (
    ("", "", r"/(tempdirs|tmp)/(lock-N|temp-dir-N)", "what is on its way out stays for the next writer to remove"),
    ("", "", r"/run/overlay/[.a-z(),-]*(true|false)", "what is not remembered is probed again"),
    ("", "write", "standard error", "there is nobody left to tell"),
    ("^migrate docker", "open_tree", "", "without one mount for both, files are copied, not linked"),
    ("^create-container", "", r"overlay-layers(/(layers.lock|\.tmp-layers\.json|layers\.json)|$)",
     "the container is there; the next writer takes its last flag away"),
)
# What a full disk alone does not hinder.
FULL = (
    ("", "mkdirat|fchmod|fchown", r"/merged\.1$", "a layer on a full disk is unmounted without a fresh mount point"),
)
# Where a command may fail though it has done its work, or a part that the next writer or the repeat finishes.
LATE = (
    ("", "fsync", "", "the new record is in place; only whether it survives a loss of power is in doubt"),
    ("", "write", "standard output", "all is done, only it could not be told"),
    ("^(delete|wipe)", "", "", "a deletion that has begun is finished by the next writer or by the repeat"),
    ("^unmount", "", "", "what is unmounted stays so; the repeat puts the count right"),
    ("^applydiff", "", "", "a diff is applied in place, as in Go"),
    ("^gc", "", "", "what is collected before an error stays so; the repeat collects the rest"),
    ("^migrate legacy", "", r"overlay\.legacy", "the store is migrated; a repeat takes away what is left of the old layout"),
    ("^migrate docker", "", "", "what has been taken over stays, and the repeat goes on from it"),
)
COPIED = "the image keeps its mapped copy, on which the repeat makes the container, as in Go"
BETWEEN = {"either": "the item is in place before the record tells its digest, as in Go",
           "content": "a diff is applied in place, as in Go"}


def reason(table, scene, point):
    """Why the point of the scene is in the table; None if it is not."""
    return next((why for name, call, where, why in table if re.search(name, scene.name)
                 and re.search(call, point.call) and re.search(where, point.place)), None)


class Sweep:
    """One scene, prepared: what its command does to a store, and at which system calls."""

    def __init__(self, stage, scene):
        self.stage, self.scene, self.notes = stage, scene, {}
        store, _ = stage.start(scene)
        self.beside = stage.beside(scene)
        self.beside_before = self.beside.facts()
        self.known = set(store.by_id("layers"))
        self.before, self.old_mounts = self.objects(store), state.mounts(store)
        self.old_counts = state.counts(store)
        self.old_files = state.files(store)
        probe(store)
        self.opened_files = state.files(store)
        store, words = stage.start(scene)
        log = stage.area.file("trace")
        self.run(store, words, *self.strace(log, "all"), ok=True)
        with open(log, encoding="utf-8", errors="replace") as lines:
            self.trace = Trace(lines, stage.area.path)
        self.after, self.beside_after = self.objects(store), self.beside.facts()
        self.between = {}
        if scene.between:
            kind, id, part = scene.between
            self.between = {(kind, stage.filled([id])[0]): (BETWEEN[part], part)}

    def objects(self, store, lists=None):
        return state.objects(store, self.known, lists)

    def run(self, store, words, *tracer, ok):
        """The scene's command, on one processor, so that it starts as few threads as it can."""
        options = self.stage.area.options
        return self.stage.area.run("taskset", "-c", options.processor, *tracer, options.orlop, "-g", store.graph,
                                   "-R", store.run_root, "-s", store.driver, *store.options, *words, ok=ok, env=EPOCH)

    def strace(self, log, calls):
        """The beginning of a command that writes what is called to the log."""
        words = ["strace", "-f", "-y", "-qq", "-e", "signal=none", "-o", log]
        if not self.scene.refused:
            return [*words, "-e", f"trace={calls}"]
        calls = calls if calls == "all" else f"{calls},clone3"
        return [*words, "-e", f"trace={calls}", "-e", f"inject=clone3:error=EAGAIN:when={self.scene.refused}"]

    def strike(self, point, what, lasting=False):
        """Run the command with `what` injected at the point, or if `lasting` from there on: (store, words, result, how often).

        How often the pipeline's threads meet differs from run to run, and so may the count of a call by a few: the C
        library's trimming of a heap opens a file, for one. So a count may be missed twice, one to each side.
        """
        for shift in (0, 0, *(s for n in range(1, 17) for s in (n, -n))) * 3:
            when = point.when + shift
            if when < 1:
                continue
            store, words = self.stage.start(self.scene)
            log = self.stage.area.file("trace")
            done = self.run(store, words, *self.strace(log, point.call),
                            "-e", f"inject={point.call}:{what}:when={when}{'+' if lasting else ''}", ok=None)
            with open(log, encoding="utf-8", errors="replace") as lines:
                where = struck(lines, point.call, self.stage.area.path)
            if where[0] == point.place:
                return store, words, done, len(where)
        raise Failed(f"the call was not reached, but {where[0]}")

    def note(self, texts):
        for text in texts:
            self.notes[text] = self.notes.get(text, 0) + 1

    def kill(self, point, others=True, go_first=False):
        """Kill at the point; what came of it, in two words."""
        store, words, done, _ = self.strike(point, "signal=KILL")
        check(done.code == -signal.SIGKILL, f"was not killed, but ended with code {done.code}: {done.error}")
        return self.recovered(store, words, others, go_first)

    def recovered(self, store, words, others, go_first=False):
        """What must hold after a kill anywhere in the command."""
        self.beside.sound(self.beside_before, "after the kill")
        go_first = go_first and self.scene.others
        if go_first:
            state.listed(store, store.go)
        # Readers work at once, before anything has been put right.
        lists = state.listed(store, store.orlop)
        but = {**self.between, **state.unfinished(store, lists)}
        self.note(state.each_before_or_after(self.objects(store, lists), self.before, self.after, but, "a reader at once"))
        probe(store)
        now = self.settled(store, "after the next writer", go_first)
        outcome = "before" if now == self.before else "after" if now == self.after else "between"
        if others and self.scene.others:
            self.others_read(store)
        self.again(store, words, now, go_first)
        if others and not self.scene.others:
            self.others_read(store)
        if others:
            self.mounts_go(store)
        return outcome

    def settled(self, store, what, go_first=False, cleared=False):
        """The objects, each as before or as after, with all gone that a crash may leave; if `cleared`, with no data of nothing."""
        lists = state.listed(store, store.orlop)
        now = self.objects(store, lists)
        but = {**self.between, **(state.unfinished(store, lists) if go_first else {})}
        self.note(state.each_before_or_after(now, self.before, self.after, but, what)
                  | state.sound(store, lists, what, () if cleared else self.scene.orphans, go_first))
        if self.scene.options:
            check(self.stage.foreign_state() == self.stage.outside, f"{what}: a store beside was changed")
        return now

    def again(self, store, words, now, go_first=False):
        """A repeat does what is still to do, or says that it is done."""
        repeat = self.run(store, words, ok=None)
        found = self.settled(store, "after the repeat", go_first, self.scene.clears and repeat.code == 0)
        left = differing(found, self.after)
        self.beside.sound(self.beside_before, "after the repeat")
        beside = self.beside.facts()
        check(beside == self.beside_after, f"after the repeat, beside the store: {unlike(beside, self.beside_after)}")
        if repeat.code == 0:
            check(not left, f"the repeat succeeded, but {left}")
            return
        check(any(word in repeat.error for word in self.scene.done), f"the repeat failed: {repeat.error}")
        check(found == now, "the repeat failed, but changed something")
        stays = all(key[0] == "layer" and key in self.before and found.get(key) == self.before[key]
                    for key in set(found) ^ set(self.after))
        check(not left or self.scene.stays and stays, f"the repeat says that all is done, but {left}")
        self.note([self.scene.stays] if left else [])

    def others_read(self, store):
        """podman and the Go command read the store as orlop does."""
        told, read = state.listed(store, store.orlop), state.listed(store, store.go)
        for kind in state.KINDS:
            harness.equal(read[kind], told[kind], f"what the Go command lists of the {kind}")
        if self.scene.podman:
            seen = store.podman("images", "-a", "-q", "--no-trunc").text.split()
            # An image of this store and of one beside it is in the lists of both; podman's tells names, maybe several of an image.
            harness.equal(sorted(set(seen)), sorted({"sha256:" + r["id"] for r in told["images"]}),
                          "what podman lists of the images")
            seen = store.podman("ps", "-a", "--external", "--no-trunc", "--format", "{{.ID}}").text.split()
            harness.equal(sorted(seen), sorted(r["id"] for r in told["containers"]), "what podman lists of the containers")

    def mounts_go(self, store):
        """What a killed process has mounted, the next mount uses; it is gone after unmounting or deleting."""
        if not any(key == ("container", BOX) for key in self.objects(store)):
            check(not state.mounts(store), f"still mounted: {state.mounts(store)}")
            return
        point = store.mounted(store.orlop, BOX)
        found = state.mounts(store)
        check(found == [point], f"after one more mount {found} are mounted, not {point} once")
        store.orlop("unmount", "-f", BOX)
        check(not state.mounts(store), f"still mounted after unmount: {state.mounts(store)}")
        check(not state.counts(store), f"still counted as mounted after unmount: {state.counts(store)}")

    def fail(self, point, error):
        """Let the call fail; what came of it, in a word or two."""
        store, words, done, times = self.strike(point, f"error={'EHOSTUNREACH' if error == CUT else error}", error == CUT)
        check(done.code in (0, 1), f"ended with code {done.code}: {done.error}")
        self.beside.sound(self.beside_before, "after the error")
        if point.call in NETWORK:
            wrong = "succeeded without a network" if done.code == 0 else "was not tried again"
            check((done.code == 0) == (error != CUT), f"{wrong}: {done.error}")
        if done.code == 0:
            table = BEST_EFFORT + (FULL if error in ("ENOSPC", "EDQUOT") else ())
            retried = error == "EINTR" or point.call in NETWORK
            why = "retried" if retried else reason(table, self.scene, point)
            check(why, f"the error went unnoticed: {done.error}")
            outcome = "retried" if retried else "ignored"
            self.note([why] if outcome == "ignored" else [])
            probe(store)
            now = self.settled(store, "after success")
            check(now == self.after, f"succeeded, but {differing(now, self.after)}")
        else:
            # Of each of several images: a thread that comes later is struck anew.
            self.clear(done.error, error, words, times if self.scene.refused else 1)
            at_once = state.files(store)
            probe(store)
            now = self.settled(store, "after the error")
            late = reason(LATE, self.scene, point) or (COPIED if self.copied(now) else None)
            present = now, state.mounts(store), state.counts(store)
            if late and (self.scene.clears or present != (self.before, self.old_mounts, self.old_counts)):
                outcome = "done, late"
                self.note([late])
            else:
                outcome = "unchanged"
                check(now == self.before, f"failed, but {differing(now, self.before)}\n{done.error.strip()}")
                check(state.mounts(store) == self.old_mounts, f"mounts changed: {state.mounts(store)}")
                if not late:
                    same_files(at_once, self.old_files, self.opened_files, f"at once after {done.error.strip()}")
                same_files(state.files(store), self.opened_files, self.old_files, "after the next writer")
        self.again(store, words, now)
        return outcome

    def copied(self, now):
        """Whether only the mapped copies that the command makes are there."""
        copies = {key for key in self.after if key[0].startswith("mapped copy") and key not in self.before}
        images = {key for key in self.after if key[0] == "image"}
        return copies and now == {**self.before, **{key: self.after[key] for key in copies | images}}

    def clear(self, text, error, words, times):
        """Each error is one line that names an object or a path, and the cause; there are as many as strikes at the most."""
        lines = [line for line in text.strip().splitlines() if "level=warning" not in line]
        check(1 <= len(lines) <= times, f"not one line of error, after {times} strikes: {text!r}")
        named = [self.stage.area.path, "standard output", " (id "] + [word for word in words[1:] if not word.startswith("-")]
        for line in lines:
            check(CAUSES[error] in line, f"does not say {CAUSES[error]!r}: {text}")
            check(any(name in line for name in named) or re.search(r"\blayer [0-9a-f]{64}\b", line),
                  f"names no object and no path: {text}")


def probe(store):
    """An opening for writing: whatever that clears up is cleared up after it."""
    store.orlop("create-layer", "-i", state.PROBE)
    store.orlop("delete-layer", state.PROBE)


def same_files(found, wanted, allowed, when):
    """No file is new, gone or changed, but for what any opening for writing makes."""
    wrong = [f"{path} is {found.get(path)}, was {wanted.get(path)}" for path in sorted(set(found) | set(wanted))
             if found.get(path) not in (wanted.get(path), allowed.get(path))]
    check(not wrong, f"{when}: {wrong[:6]}")


def unlike(found, wanted):
    """The beginning of what is otherwise in two dicts."""
    keys = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
    return "; ".join(f"{k} is {found.get(k)}, not {wanted.get(k)}" for k in keys)[:2000]


def differing(found, wanted):
    """What `found` has otherwise than `wanted`, in words; empty if nothing."""
    keys = [k for k in sorted(set(found) | set(wanted)) if found.get(k) != wanted.get(k)]
    word = {(True, True): "differs", (True, False): "is there", (False, True): "is not there"}
    return "; ".join(f"{' '.join(k)} {word[k in found, k in wanted]}" for k in keys)
