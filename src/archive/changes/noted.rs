//! What a file is for its readers where a mode was forced upon all on the disk (FMK-3).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{FileType, Stat, makedev};
use rustix::io::Result;

use crate::archive::override_stat::{KEY, Kind, OverrideStat};
use crate::archive::xattrs;

/// Whether an attribute says what its file is; one that cannot be read is as any other.
pub(super) fn is_note(key: &[u8], value: &[u8]) -> bool {
    key == KEY && OverrideStat::parse(value).is_some()
}

/// What is known of an entry, with owner, mode and kind from its note if it has one. As in a tar, a note that contradicts what is on
/// the disk counts for owner and mode alone.
pub(super) fn noted(dir: BorrowedFd<'_>, name: &[u8], stat: Stat) -> Result<Stat> {
    with_note(stat, || xattrs::get(dir, name, KEY))
}

/// As [`noted`], of an open file, an `O_PATH` descriptor included.
pub(super) fn noted_of(file: BorrowedFd<'_>, stat: Stat) -> Result<Stat> {
    with_note(stat, || xattrs::get_at(&format!("/proc/self/fd/{}", file.as_raw_fd()), KEY))
}

fn with_note(stat: Stat, read: impl FnOnce() -> Result<Option<Vec<u8>>>) -> Result<Stat> {
    let on_disk = FileType::from_raw_mode(stat.st_mode);
    if !matches!(on_disk, FileType::RegularFile | FileType::Directory) {
        return Ok(stat);
    }
    let note = read()?.and_then(|value| OverrideStat::parse(&value));
    Ok(note.map_or(stat, |note| taken(stat, on_disk, note)))
}

fn taken(mut stat: Stat, on_disk: FileType, note: OverrideStat) -> Stat {
    let (kind, device) = match note.kind {
        Some(Kind::Fifo) => (FileType::Fifo, 0),
        Some(Kind::Socket) => (FileType::Socket, 0),
        Some(Kind::Char(major, minor)) => (FileType::CharacterDevice, makedev(major, minor)),
        Some(Kind::Block(major, minor)) => (FileType::BlockDevice, makedev(major, minor)),
        None | Some(Kind::File | Kind::Directory | Kind::Symlink) => (on_disk, stat.st_rdev),
    };
    let kind = if on_disk == FileType::RegularFile { kind } else { on_disk };
    if kind != on_disk {
        (stat.st_size, stat.st_rdev) = (0, device);
    }
    (stat.st_uid, stat.st_gid) = (note.uid, note.gid);
    stat.st_mode = kind.as_raw_mode() | note.mode;
    stat
}
