"""What a store holds, object by object and file by file, for comparing before and after."""

import hashlib
import json
import os
import stat

import harness
from harness import Failed, check
from stores import file_name, tree

KINDS = ("layers", "images", "containers")
PROBE = "probe"


def listed(store, program):
    """{kind: records} as `program` lists them."""
    return {kind: program(kind, "-j").json or [] for kind in KINDS}


def objects(store, known=None, lists=None):
    """{(kind, id): facts} of every object that orlop lists: its record and its content.

    What differs between two runs of one command is left out: the time of creation and the
    random id of a layer, not among the `known` ones, that was made for a container or an image.
    """
    lists = lists or listed(store, store.orlop)
    known = set(store.by_id("layers")) if known is None else known
    made = made_for(lists, known)
    found = {}
    for kind in KINDS:
        records = store.by_id(kind)
        for id in (record["id"] for record in lists[kind]):
            record = {k: v for k, v in records.get(id, {}).items() if k != "created"}
            key = (kind[:-1], id)
            if kind == "layers":
                content = layer_content(store, record) if record else "another store's"
                # Flags are the store's own; sound() sees to it that none stays.
                record.pop("flags", None)
                if id in made:
                    key, record["id"] = made[id], "random"
                if record.get("parent") in made:
                    record["parent"] = "random"
            else:
                content = {k: data(store, kind, id, k) for k in record.get("big-data-names") or []}
                if record.get("layer") in made:
                    record["layer"] = "random"
                if "mapped-layers" in record:
                    record["mapped-layers"] = ["random" if id in made else id for id in record["mapped-layers"]]
            found[key] = {"record": record, "content": content}
    return found


def made_for(lists, known):
    """{layer: key of what it was made for} of the layers that are not known."""
    made = {r["layer"]: ("layer of container", r["id"]) for r in lists["containers"]}
    for record in lists["images"]:
        for number, id in enumerate(record.get("mapped-layers") or []):
            made[id] = (f"mapped copy {number} for image", record["id"])
    return {id: key for id, key in made.items() if id not in known}


def layer_content(store, record):
    if record.get("diff-digest"):
        done = store.orlop("diff", "-u", record["id"], ok=None)
        told = "sha256:" + hashlib.sha256(done.out).hexdigest() if done.code == 0 else done.error
        if not record.get("uidmap"):
            return told
        # The tar tells nothing of the owners on the disk.
        return [told, *directories(store, record["id"])]
    return directories(store, record["id"])


def directories(store, layer):
    """The trees of a layer's own directories, the newest first: `diff`, `diff1`, …"""
    path = store.layer_dir(layer)
    older = [path + str(number) for number in range(1, 4)]
    return [inside(p) for p in (path, *older) if p == path or os.path.lexists(p)]


def inside(root):
    """A tree without its times, and without the names that its files have elsewhere."""
    found = tree(root, times=False)
    for facts in found.values():
        if len(facts.get("linked with", ())) == 1:
            del facts["linked with"]
    return found


def data(store, kind, id, key):
    try:
        with open(os.path.join(store.path(kind, id), file_name(key)), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as reason:
        return str(reason)


def each_before_or_after(found, before, after, but, what):
    """Every object is as before the command or as after it: there or not, its record and its content.

    Returns the notes that those of `but` gave rise to: {(kind, id): (why, part that may differ)}.
    """
    notes = set()
    for key in sorted(set(found) | set(before) | set(after)):
        now, old, new = found.get(key), before.get(key), after.get(key)
        if now in (old, new):
            continue
        if key in but and _excused(now, old, new, but[key][1]):
            notes.add(but[key][0])
            continue
        raise Failed(f"{what}: {' '.join(key)} is neither as before nor as after:\n"
                     f"  now    {_short(now)}\n  before {_short(old)}\n  after  {_short(new)}")
    return notes


def _excused(now, old, new, part):
    """part: "all"; "content", which then may be anything; "either", record and content each for itself."""
    if part == "all":
        return True
    if not (now and old and new):
        return False
    return now["record"] in (old["record"], new["record"]) and (
        part == "content" or now["content"] in (old["content"], new["content"]))


def unfinished(store, lists):
    """Objects that readers see between a kill and the next writer, though they are on their way in or out."""
    layers = store.by_id("layers")
    flagged = {id for id, record in layers.items() if record.get("flags")}
    why = ("a reader sees what the next writer will take back or finish", "all")
    but = {("layer", id): why for id in flagged}
    for record in lists["containers"]:
        if record["layer"] in flagged or record["layer"] not in layers:
            but["container", record["id"]] = but["layer of container", record["id"]] = why
    return but


def _short(facts):
    text = json.dumps(facts, sort_keys=True)
    return text if len(text) < 600 else text[:600] + "…"


# What may stay, and why; where it is seen, the report says so.
NO_LAYER = "a container without its layer, which Go's recovery took first, can be deleted again (store-format.md 10.2)"
STRAY = "a short link without its layer, whose record Go's recovery took first, stays"
ORPHAN = "the data directory of an image, or after a wipe of a container, or in a gc of whatever was lost, without a record stays for a gc, as in Go (store-format.md 10.2)"


def sound(store, lists, what, orphaned=("images",), go_first=False):
    """Records stand on each other, files belong to records, and nothing is left of a crash; returns notes."""
    notes = set()
    layers = {record["id"]: record for record in lists["layers"]}
    for record in layers.values():
        check(record.get("parent", "") in layers or not record.get("parent"),
              f"{what}: layer {record['id']} has lost its parent")
    for kind in ("images", "containers"):
        for record in lists[kind]:
            whole = record.get("layer", "") in layers or not record.get("layer")
            check(whole or go_first and kind == "containers", f"{what}: {record['id']} of the {kind} has lost its layer")
            notes |= set() if whole else {NO_LAYER}
    recorded = store.by_id("layers")
    layers = {id: record for id, record in layers.items() if id in recorded or id not in store.foreign}
    check(set(recorded) == set(layers), f"{what}: records that no list shows: {set(recorded) ^ set(layers)}")
    flagged = [r["id"] for r in recorded.values() if r.get("flags")]
    check(not flagged, f"{what}: layers are flagged still: {flagged}")
    home = os.path.join(store.graph, store.driver)
    if os.path.isdir(home):
        directories = set(os.listdir(home)) - {"l", "tempdirs", "staging", ".has-mount-program", ".has-thin-layers"}
        if "layers" in orphaned:
            notes |= {ORPHAN} if directories > set(layers) else set()
            directories &= set(layers)
        check(directories == set(layers), f"{what}: layers and directories differ: {directories ^ set(layers)}")
        names = os.listdir(home + "/l") if os.path.isdir(home + "/l") else []
        links = sorted(os.readlink(os.path.join(home, "l", n)).split("/")[1] for n in names)
        if is_old(home, layers):
            links = sorted(layers)
        if go_first and set(links) > set(layers) and len(links) == len(set(links)):
            notes.add(STRAY)
            links = sorted(layers)
        if "layers" in orphaned:
            links = [link for link in links if link in layers]
        check(links == sorted(layers), f"{what}: the links in l/ do not match the layers: {links}, {sorted(layers)}")
    check(not store.leftovers(), f"{what}: left behind: {store.leftovers()}")
    for kind in KINDS:
        names = set(os.listdir(store.path(kind))) if os.path.isdir(store.path(kind)) else set()
        ids = {n.removesuffix(".tar-split.gz") for n in names
               if not n.endswith((".json", ".lock"))} - {"tmp"}
        orphans = ids - {record["id"] for record in lists[kind]}
        check(not orphans or kind in orphaned, f"{what}: files of {kind} that have no record: {orphans}")
        notes |= {ORPHAN} if orphans else set()
    return notes


def is_old(home, layers):
    """Whether the layers are in the layout of 2016, which has no links."""
    return any(os.path.exists(os.path.join(home, id, name)) for id in layers for name in ("root", "lower-id"))


def files(store):
    """{path: what it is} of all that orlop keeps, but for locks and for what any opening makes anew."""
    found = {}
    for root in (store.graph, store.run_root):
        for folder, folders, names in os.walk(root):
            if folder == root:
                # What podman keeps for itself beside the store.
                folders[:] = [n for n in folders if n.startswith(store.driver)]
                names = [n for n in names if n == "storage.lock"]
            folders[:] = [n for n in folders if not os.path.ismount(os.path.join(folder, n))
                          or n == store.driver]
            if os.path.basename(folder) in ("work", f"{store.driver}-locks"):
                # The kernel's own, in an overlay's work directory; locks of digests, which stay.
                folders[:], names = [], []
            for name in folders + names:
                if name.startswith(("idmapped-lower-dir-", "volatile-")):
                    # What is remembered of the kernel by the first who asks.
                    continue
                if name in ("tmp", "tempdirs", f"{store.driver}-locks", ".has-thin-layers"):
                    # Made once, and empty unless something is on its way in or out; or full of locks; or a flag for ever.
                    continue
                path = os.path.join(folder, name)
                state = os.lstat(path)
                if stat.S_ISREG(state.st_mode):
                    with open(path, "rb") as file:
                        content = file.read()
                    if name.endswith(".json") and content in (b"", b"[]", b"null"):
                        # As good as no file.
                        continue
                    content = b"" if name.endswith(".lock") else content
                    what = ("file", state.st_mode & 0o7777, hashlib.sha256(content).hexdigest())
                elif stat.S_ISLNK(state.st_mode):
                    what = ("link", os.readlink(path))
                else:
                    what = ("other", state.st_mode, state.st_uid, state.st_gid, state.st_rdev)
                found[os.path.relpath(path, store.area.path)] = what
    return found


def mounts(store):
    """The mount points of layers, each as often as something is mounted on it."""
    home = os.path.join(store.graph, store.driver)
    return [p for p in harness.mounts_below(home) if p != home]


def counts(store):
    """{layer: how often it is mounted} as the store remembers it."""
    try:
        with open(f"{store.run_root}/{store.driver}-layers/mountpoints.json", encoding="utf-8") as file:
            return {p["id"]: p["count"] for p in json.load(file) or []}
    except FileNotFoundError:
        return {}
