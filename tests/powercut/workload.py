"""What the virtual machine does to its disks, and what must hold after each step.

A step is a line of shell and its effects: {key: value}, where a key is ("image", name), ("layer", id), ("container", id),
("data", kind, id, name) or ("file", path), and the value what an observer finds there, None for nothing.
Before and after each step the machine writes a mark to a sector behind the disk's file system, past every cache
and without a flush: so the log tells, in the disk's own order, what was acknowledged at each moment.
"""

import hashlib
import os
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "scripts"))

import imagefile  # noqa: E402

SECTOR = 512
WORDS = b"orlop power cut "
# A file in the top layer of the committed images; its text is the image's value.
COMMITTED = "srv/committed"


class Step:
    def __init__(self, line, effects):
        self.line, self.effects = line, effects


def _tar(seed, files, size):
    layer = imagefile.Layer()
    layer.dir("srv")
    folder = f"srv/{seed}"
    layer.dir(folder)
    for number in range(files):
        layer.add(f"{folder}/{number}", data=imagefile.noise(f"{seed}/{number}", 1 + size * number // files))
    layer.add(f"{folder}/large", data=imagefile.noise(seed, 150_000))
    layer.hardlink(f"{folder}/linked", f"{folder}/large")
    layer.symlink(f"{folder}/pointing", "large")
    layer.add(f"{folder}/attributes", data=b"x", xattrs={"user.orlop": seed.encode()})
    return layer.bytes()


class Workload:
    """The steps, and the files that they take in."""

    def __init__(self, rounds):
        base = _tar("base", 40, 9000)
        self.files, self.diffs, self.steps = {}, {}, []
        formats = ("docker-archive", "oci-archive", "oci-dir")
        for number in range(rounds):
            layers = [base, _tar(f"top-{number}", 12, 20_000)]
            config = imagefile.config_of(layers, (f"/{number}",))
            kind = formats[number % 3]
            files = (imagefile.docker_files if kind == "docker-archive" else imagefile.oci_files)(
                [(f"localhost/loaded-{number}:1", layers, config)])
            image = imagefile.digest(config)[7:]
            self.files[f"image-{number}"] = (kind, files)
            self.diffs[image] = [imagefile.digest(data) for data in layers]
            layer = _tar(f"layer-{number}", 10, 30_000)
            self.files[f"layer-{number}.tar"] = layer
            self._round(number, image, imagefile.digest(layer))
        for number in range(2):
            self.files[f"note-{number}"] = imagefile.noise(f"note {number}", 5000)

    def _round(self, n, image, layer_digest):
        loaded, other, committed = (f"localhost/{w}-{n}:1" for w in ("loaded", "other", "committed"))
        layer, child, box = (hashlib.sha256(f"{w} {n}".encode()).hexdigest() for w in ("layer", "child", "box"))
        notes = [hashlib.sha256(imagefile.noise(f"note {k}", 5000)).hexdigest() for k in range(2)]
        note, text = ("data", "container", box, "note"), f"committed in round {n}"
        add = lambda line, effects: self.steps.append(Step(line, effects))  # noqa: E731
        add(f"orlop load -q -i /files/image-{n}", {("image", loaded): image})
        add(f"orlop import-layer -i {layer} -f /files/layer-{n}.tar", {("layer", layer): layer_digest})
        add(f"orlop create-container -i {box} -n box-{n} {loaded}", {("container", box): image})
        add(f"orlop add-names -n {other} {loaded}", {("image", other): image})
        add(f"orlop set-container-data -f /files/note-0 {box} note", {note: notes[0]})
        add(f"point=$(orlop mount {box}) && echo '{text}' >$point/{COMMITTED} && "
            f"cp /files/layer-{n}.tar $point/srv/copied && rm $point/srv/base/large && orlop unmount {box}", {})
        add(f"orlop commit -q {box} {committed}", {("image", committed): text})
        add(f"orlop create-layer -i {child} {layer}", {("layer", child): ""})
        add(f"orlop set-container-data -f /files/note-1 {box} note", {note: notes[1]})
        add(f"orlop set-layer-data -f /files/note-0 {layer} =note", {("data", "layer", layer, "=note"): notes[0]})
        add(f"orlop save -q -o $disk/saved-{n}.tar {loaded}", {("file", f"saved-{n}.tar"): image})
        add(f"orlop save -q --format oci-dir -o $disk/saved-{n} {loaded}", {("file", f"saved-{n}"): image})
        add(f"orlop delete-container {box}", {("container", box): None, note: None})
        if n % 2:
            # Every other image stays, for the layers that the next one shares with it.
            add(f"orlop delete-image {loaded}", {("image", loaded): None, ("image", other): None})
        add(f"orlop delete-layer {child}", {("layer", child): None})
        add(f"orlop delete-layer {layer}", {("layer", layer): None, ("data", "layer", layer, "=note"): None})
        add(f"orlop delete-image {committed}", {("image", committed): None})

    def place(self, initramfs):
        # busybox's falls back to the page cache, without a word, when its buffer does not suit the disk.
        initramfs.program("dd", "gnu-dd")
        for name, content in self.files.items():
            if isinstance(content, bytes):
                initramfs.file(f"files/{name}", content)
                continue
            kind, files = content
            if kind == "oci-dir":
                for path, data in files.items():
                    initramfs.file(f"files/{name}/{path}", data)
            else:
                initramfs.file(f"files/{name}", _as_tar(files))

    def script(self, disks):
        """For the machine's shell; `disks` = [(file system, sync option, sector of the marks)], /dev/vda first."""
        lines = [f"step_{number}() {{ {step.line}; }}\n" for number, step in enumerate(self.steps)]
        # The kernel writes nothing that it need not: what a program has not synced stays in memory.
        lines.append("""
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
mark() { printf '%s%-496s' "$WORDS" "$*" | gnu-dd of=$device bs=512 seek=$marks conv=notrunc oflag=direct 2>/run/dd-$name || cat /run/dd-$name; }
orlop() { /bin/orlop -g $disk/store -R /run/$name -s overlay --storage-opt overlay.sync=$sync "$@"; }
step() {
    mark begin $1
    step_$1 >/run/out-$name 2>&1 || { echo "step $1 failed on $name:"; cat /run/out-$name; exit 1; }
    mark done $1
}
work() {
    disk=/mnt/$name
    mkdir $disk
    tries=0
    while [ ! -b $device ] && [ $tries -lt 300 ]; do usleep 100000; tries=$((tries + 1)); done
    mount -t $kind $device $disk || exit 1
""".replace("$WORDS", WORDS.decode()))
        for number in range(len(self.steps)):
            lines.append(f"step {number}\n")
        lines.append("mark end\necho $name is done, $(cut -d ' ' -f 1 /proc/uptime) s\nsync\n}\n")
        for number, (kind, sync, marks) in enumerate(disks):
            letter = chr(ord("a") + number)
            lines.append(f"device=/dev/vd{letter} name={kind}-{sync} kind={kind} sync={sync} marks={marks} work & pids=\"$pids $!\"\n")
        lines.append("for pid in $pids; do wait $pid || exit 1; done\n")
        return "".join(lines)


def _as_tar(files):
    with tempfile.NamedTemporaryFile() as file:
        imagefile.write_tar(files, file.name)
        return file.read()


def marks(log, sector):
    """[(moment, words)] of the marks in a log: at `moment` the mark is on its way, and all before it was acknowledged."""
    found = []
    for moment, entry in enumerate(log.entries):
        if entry.offset == sector * SECTOR and entry.length == SECTOR:
            data = log.data(entry)
            assert data.startswith(WORDS), "the last sector is for marks alone"
            found.append((moment, data[len(WORDS):].decode().split()))
    return found


def expectations(steps, marked, moment):
    """{key: [values]}: what may be found at a key if the power fails just before `moment`."""
    allowed = {key: [None] for step in steps for key in step.effects}
    for at, words in marked:
        if at >= moment:
            break
        if words[0] == "end":
            continue
        for key, value in steps[int(words[1])].effects.items():
            allowed[key] = [value] if words[0] == "done" else allowed[key] + [value]
    return allowed
