"""The reckoning of the stress test itself: it must notice what it is there for."""

from harness import check, equal, test
from stress_model import Log, Op, existence, markers, names, registers

A, B = "a" * 64, "b" * 64


def _log(*ops):
    log = Log()
    for verb, id, begin, end, *more in ops:
        value, given = (*more, None, ())[:2] if len(more) < 2 else more
        given = given or ()
        log.ops.append(Op(0, "test", verb, "layer", id, begin, end, value, tuple(given)))
    return log


@test("reckoning-notices-lost-and-revived-objects")
def _(_area):
    made, unmade = ("create", A, 0, 1), ("delete", A, 2, 3)
    equal(existence(_log(made), "layer", [A], {A}), [], "created and there")
    equal(existence(_log(made, unmade), "layer", [A], set()), [], "deleted and gone")
    check(existence(_log(made), "layer", [A], set()), "a lost creation went unnoticed")
    check(existence(_log(made, unmade), "layer", [A], {A}), "a revived object went unnoticed")
    check(existence(_log(), "layer", [A], {A}), "an object nobody made went unnoticed")
    check(existence(_log(made, made), "layer", [A], {A}), "two creations went unnoticed")


@test("reckoning-notices-lost-names")
def _(_area):
    first = ("create", A, 0, 1, None, ["n"])
    other = ("create", B, 0, 1)
    steal = ("add-names", B, 2, 3, None, ["n"])
    equal(names(_log(first, other), "layer", {"n": A}), [], "kept")
    equal(names(_log(first, other, steal), "layer", {"n": B}), [], "taken over")
    check(names(_log(first, other), "layer", {}), "a lost name went unnoticed")
    check(names(_log(first, other, steal), "layer", {"n": A}), "a name that went back")
    check(names(_log(first, other), "layer", {"n": B}), "a name nobody gave")
    cleared = ("set-names", A, 2, 3, None, [])
    equal(names(_log(first, cleared), "layer", {}), [], "given up")
    check(names(_log(first, cleared), "layer", {"n": A}), "a name given up, yet there")
    # Overlapping in time: both orders are right.
    race = ("add-names", B, 0.5, 3, None, ["n"])
    for holder in (A, B):
        equal(names(_log(first, other, race), "layer", {"n": holder}), [], f"race for {holder[0]}")


@test("reckoning-notices-lost-writes")
def _(_area):
    ops = [("create", A, 0, 1, ""), ("set-metadata", A, 2, 3, "x"), ("set-metadata", A, 4, 5, "y")]
    equal(registers(_log(*ops), "layer", "set-metadata", {A: "y"}, "metadata"), [], "last")
    check(registers(_log(*ops), "layer", "set-metadata", {A: "x"}, "metadata"), "an old value")
    check(registers(_log(*ops), "layer", "set-metadata", {A: ""}, "metadata"), "the first value")
    log = Log()
    log.ops.append(Op(0, "test", "write", "container", A, 0, 1, "m"))
    equal(markers(log, lambda id, marker: True), [], "a file that is there")
    check(markers(log, lambda id, marker: False), "a lost file went unnoticed")
