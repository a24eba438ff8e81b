"""What a disk was told, and what it holds if the power fails in between.

The log is that of the kernel's dm-log-writes, which qemu's blklogwrites writes too: a superblock, then for each request an
entry of one sector and the data that was written.
"""

import os
import struct

MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
# What a disk of today writes whole or not at all. XFS relies on it for its own blocks, whose head tells it whether they are
# new: it does not mount when only a part of one has been written (Linux 6.18).
BLOCK = 4096
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")


class Entry:
    __slots__ = ("offset", "length", "flags", "data_at")

    def __init__(self, offset, length, flags, data_at):
        self.offset, self.length, self.flags, self.data_at = offset, length, flags, data_at


class Log:
    """The requests in order, as far as the log counts them."""

    def __init__(self, path):
        self.file = open(path, "rb")
        magic, version, count, self.sector = _SUPER.unpack(self.file.read(_SUPER.size))
        if (magic, version) != (MAGIC, VERSION):
            raise ValueError(f"{path} is no log of dm-log-writes")
        self.entries, at = [], self.sector
        for _ in range(count):
            self.file.seek(at)
            sector, sectors, flags, _ = _ENTRY.unpack(self.file.read(_ENTRY.size))
            if flags & (DISCARD | MARK):
                raise ValueError(f"{path}: a request with flags {flags} is not expected here")
            at += self.sector
            self.entries.append(Entry(sector * self.sector, sectors * self.sector, flags, at))
            at += sectors * self.sector

    def data(self, entry):
        return os.pread(self.file.fileno(), entry.length, entry.data_at)


class Disk:
    """A disk with a volatile write cache, as it was at a moment of a log. Moments can only be visited in their order.

    A flush makes durable what was written before it; so does a write with FUA for itself. What was written since then may
    have reached the disk or not, each request for itself.
    """

    def __init__(self, log, image):
        self.log, self.image = log, image
        self.file = os.open(image, os.O_RDWR)
        self.next, self.volatile = 0, []

    def advance(self, moment):
        """To just before the request number `moment`."""
        assert moment >= self.next, "a disk cannot go back"
        for entry in self.log.entries[self.next:moment]:
            if entry.flags & FLUSH:
                for earlier in self.volatile:
                    self._write(self.file, earlier)
                self.volatile = []
            if entry.length:
                self.volatile.append(entry)
        self.next = moment

    def cut(self, target, dice):
        """Cut the power: write to `target` what the disk then holds; what is kept of the volatile writes is the dice's choice.

        Returns a few words for that choice.
        """
        copy_sparse(self.image, target)
        choice = dice.choices(["none", "all", "some", "torn"], [3, 1, 4, 2])[0]
        chance = {"none": 0, "all": 1}.get(choice, dice.random())
        kept = 0
        out = os.open(target, os.O_WRONLY)
        for entry in self.volatile:
            if entry.flags & FUA or dice.random() < chance:
                kept += 1
                self._write(out, entry)
            elif choice == "torn":
                for start in range(-(entry.offset % BLOCK), entry.length, BLOCK):
                    if dice.random() < chance:
                        self._write(out, entry, max(start, 0), start + BLOCK)
        os.close(out)
        return f"{choice}: {kept} of {len(self.volatile)} unflushed writes kept"

    def settle(self):
        """As the disk is in the end, with the power on."""
        self.advance(len(self.log.entries))
        for entry in self.volatile:
            self._write(self.file, entry)
        os.close(self.file)

    def _write(self, file, entry, start=0, end=None):
        os.pwrite(file, self.log.data(entry)[start:end], entry.offset + start)


def copy_sparse(source, target):
    """Only what is not a hole, in this machine's memory or on its disk."""
    with open(source, "rb") as given, open(target, "wb") as made:
        size = os.fstat(given.fileno()).st_size
        made.truncate(size)
        at = 0
        while True:
            try:
                at = os.lseek(given.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(given.fileno(), at, os.SEEK_HOLE)
            os.lseek(given.fileno(), at, os.SEEK_SET)
            os.lseek(made.fileno(), at, os.SEEK_SET)
            while at < end:
                at += os.sendfile(made.fileno(), given.fileno(), at, end - at)
