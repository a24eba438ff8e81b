"""What the logs of a stress run allow the store to hold at its end.

Every acknowledged operation is an interval [begin, end] of time. Objects
are created and deleted by turns, so acknowledged creations minus deletions
say whether one exists. Names, metadata and data items are registers: the
final value must be one that an operation wrote and no later one, begun
after it had ended, replaced.
"""

import collections

Op = collections.namedtuple(
    "Op", "worker program verb kind id begin end value names", defaults=(None, ()))


class Log:
    """The acknowledged operations of a run."""

    def __init__(self):
        self.ops = []

    def of(self, kind, *verbs, id=None):
        return [op for op in self.ops if op.kind == kind and op.verb in verbs
                and (id is None or op.id == id)]


def existence(log, kind, ids, present):
    """Nothing acknowledged is lost, nothing deleted comes back."""
    wrong = []
    for id in ids:
        created = log.of(kind, "create", id=id)
        deleted = log.of(kind, "delete", id=id)
        balance = len(created) - len(deleted)
        if balance not in (0, 1) or (balance == 1) != (id in present):
            last = sorted(created + deleted, key=lambda op: op.end)[-4:]
            wrong.append(
                f"{kind} {id[:12]}: {len(created)} creations and {len(deleted)} deletions "
                f"acknowledged, yet it is {'there' if id in present else 'not there'}; last: "
                + "; ".join(f"{o.verb} by {o.program}#{o.worker}" for o in last))
    return wrong


def loads(log, ids, present):
    """Loading what is there already is right, so loads are not counted but ordered."""
    wrong = []
    for id in ids:
        done, gone = log.of("loaded", "load", id=id), log.of("loaded", "delete", id=id)
        if id in present:
            if not any(all(o.begin <= op.end for o in gone) for op in done):
                wrong.append(f"image {id[:12]} is there, but nobody loaded it after its deletion")
            continue
        for op in done:
            if not any(o.end > op.begin for o in gone):
                wrong.append(f"image {id[:12]}, loaded by {op.program}#{op.worker}, is not there")
    return wrong


def names(log, kind, holders):
    """holders: {name: id} at the end."""
    wrong = []
    grants, removals = collections.defaultdict(list), collections.defaultdict(list)
    for op in log.of(kind, "create", "add-names", "set-names"):
        for name in op.names:
            grants[name].append(op)
    for op in log.of(kind, "delete", "set-names"):
        removals[op.id].append(op)

    def ends(name, id):
        """Operations after which `id` need not have `name` any more."""
        own = [op for op in removals[id] if op.verb == "delete" or name not in op.names]
        return own + [op for op in grants[name] if op.id != id]

    for name, given in grants.items():
        for grant in given:
            if holders.get(name) == grant.id:
                continue
            if not any(op.end > grant.begin for op in ends(name, grant.id)):
                wrong.append(f"{kind} {grant.id[:12]} lost the name {name}, given by "
                             f"{grant.program}#{grant.worker}; holder now: {holders.get(name)}")
    for name, id in holders.items():
        given = [op for op in grants[name] if op.id == id]
        if not any(all(op.begin <= grant.end for op in ends(name, id)) for grant in given):
            wrong.append(f"{kind} {id[:12]} has the name {name}, which nobody gave it last")
    return wrong


def registers(log, kind, verb, found, what):
    """found: {id: value} of what exists; a creation writes its own value (or None)."""
    wrong = []
    for id, value in found.items():
        writes = log.of(kind, "create", verb, id=id)
        values = [(op, op.value if op.verb == verb or what == "metadata" else None)
                  for op in writes]
        if not any(v == value and all(o.begin <= op.end for o in writes) for op, v in values):
            late = sorted(writes, key=lambda op: op.end)[-3:]
            wrong.append(f"{what} of {kind} {id[:12]} is {value!r}; the last writes: "
                         + "; ".join(f"{o.verb} {o.value!r} by {o.program}#{o.worker}"
                                     for o in late))
    return wrong


def markers(log, present):
    """present(id, marker): is the file that was written into the container there?"""
    wrong = []
    for op in log.of("container", "write"):
        gone = [o for o in log.of("container", "delete", id=op.id) if o.end > op.begin]
        if not gone and not present(op.id, op.value):
            wrong.append(f"container {op.id[:12]} lost the file {op.value}, written while "
                         f"mounted by {op.program}#{op.worker}")
    return wrong
