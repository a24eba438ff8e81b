//! Copies of whole trees, for drivers without mounts: shared blocks where the file system can, else copied by the kernel. Or, where
//! nobody writes to the files of either tree in place, shared files (`overlay-driver.md` LEG-10).

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::names::{show, split};
use super::unpack::{Directories, Implied, LateMode, Parents};
use super::walk::{Item, Walk};
use super::xattrs;
use crate::sys::beneath::Identity;
use crate::{Error, ErrorKind, Result};

/// Bytes that one call copies: interruptible at reasonable intervals.
const PIECE: usize = 64 << 20;

/// Copies what is below `from` to the empty directory `to`, and gives `to` the attributes of `from`: owners, modes, times,
/// extended attributes, hard links, devices, holes.
///
/// # Errors
/// [`ErrorKind::Io`] when something cannot be read or made, which it names; what was copied until then stays.
pub fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    copy(from, to, Files::Copied)
}

/// As [`copy_tree`], but all that is no directory is the same file in both trees, by hard links: whoever changes one of them must
/// replace the file, not write to it. A file that can have no more links, or is on another file system, is copied.
///
/// # Errors
/// As [`copy_tree`].
pub fn link_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    copy(from, to, Files::Linked)
}

/// What becomes of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    Copied,
    Linked,
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, files: Files) -> Result<()> {
    let mut walk = Walk::new(from).map_err(|e| failed(b".", e))?;
    let mut copy = Copy {
        parents: Parents::new(to, Implied::default()).map_err(|e| failed(b".", e))?,
        directories: Directories::default(),
        links: HashMap::new(),
        files,
    };
    let root = rustix::fs::fstat(from).map_err(|e| failed(b".", e))?;
    let deferred =
        attributes((from, b"."), (to, b"."), &root, files.keep()).map_err(|e| failed(b".", e))?;
    copy.directories.push(b"", times(&root), deferred);
    while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
        match copy.entry(&walk, &item) {
            // Gone since its name was read.
            Ok(()) | Err(Errno::STALE) => {}
            Err(e) => return Err(failed(walk.path(), e)),
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(to, ".", flags, Mode::empty()).map_err(|e| failed(b".", e))?;
    copy.directories.finish(&mut copy.parents, root.as_fd())
}

impl Files {
    /// The attributes that a directory gets, and a file that is copied. A copy is labelled by its place, unless files beside it keep
    /// their labels.
    fn keep(self) -> fn(&[u8]) -> bool {
        match self {
            Self::Copied => |key| key != b"security.selinux",
            Self::Linked => |_| true,
        }
    }
}

fn failed(path: &[u8], e: Errno) -> Error {
    Error::new(ErrorKind::Io, format!("copying {}", show(path))).caused_by(std::io::Error::from(e))
}

pub(super) fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, nanos: u64| Timespec { tv_sec, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

struct Copy<'a> {
    parents: Parents<'a>,
    directories: Directories,
    /// The first copy of each file with several names.
    links: HashMap<Identity, Vec<u8>>,
    files: Files,
}

/// A name in a directory.
pub(super) type Place<'a> = (BorrowedFd<'a>, &'a [u8]);

impl Copy<'_> {
    fn entry(&mut self, walk: &Walk, item: &Item) -> rustix::io::Result<()> {
        let (path, stat, kind) = (walk.path(), &item.stat, item.kind());
        let (parent, name) = split(path);
        let to = self.parents.get(parent, false)?;
        let target: Place<'_> = (to.fd.as_fd(), name);
        let linked = stat.st_nlink > 1 && kind != FileType::Directory;
        if let Some(first) = self.links.get(&Identity::from(stat)).filter(|_| linked) {
            let (dir, base) = split(first);
            let dir = self.parents.get(dir, false)?;
            return rustix::fs::linkat(&dir.fd, base, &to.fd, name, AtFlags::empty());
        }
        if kind == FileType::Directory {
            rustix::fs::mkdirat(&to.fd, name, Mode::from_raw_mode(0o700))?;
            let deferred = attributes((walk.dir()?, name), target, stat, self.files.keep())?;
            self.directories.push(path, times(stat), deferred);
            return Ok(());
        }
        let from: Place<'_> = (walk.dir()?, name);
        match self.files {
            Files::Copied => copy_one(from, target, stat, self.files.keep())?,
            Files::Linked if link(from, target)? => return Ok(()),
            Files::Linked => copy_one(from, target, stat, self.files.keep())?,
        }
        if linked {
            self.links.insert(Identity::from(stat), path.to_vec());
        }
        Ok(())
    }
}

/// Gives a file one more name; `false` if it can have none there, and must be copied.
pub(super) fn link(from: Place<'_>, to: Place<'_>) -> rustix::io::Result<bool> {
    match rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::MLINK | Errno::XDEV) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Copies what is no directory, with its attributes and times.
pub(super) fn copy_one(
    from: Place<'_>,
    to: Place<'_>,
    stat: &Stat,
    keep: impl Fn(&[u8]) -> bool,
) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => copy_file(open_file(from, stat)?, to, stat, mode)?,
        FileType::Symlink => {
            let text = rustix::fs::readlinkat(from.0, from.1, Vec::new())?;
            rustix::fs::symlinkat(text.as_c_str(), to.0, to.1)?;
        }
        kind => rustix::fs::mknodat(to.0, to.1, kind, mode, stat.st_rdev)?,
    }
    attributes(from, to, stat, keep)?;
    rustix::fs::utimensat(to.0, to.1, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens a regular file, if it is still the one that was looked at.
fn open_file((dir, name): Place<'_>, stat: &Stat) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    if Identity::from(&rustix::fs::fstat(&file)?) != Identity::from(stat) {
        return Err(Errno::STALE);
    }
    Ok(file)
}

/// Everything but the times; returns the mode that must wait until a directory is full. Of the extended attributes those that `keep`
/// takes.
pub(super) fn attributes(
    from: Place<'_>,
    to: Place<'_>,
    stat: &Stat,
    keep: impl Fn(&[u8]) -> bool,
) -> rustix::io::Result<LateMode> {
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    let made = rustix::fs::statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW)?;
    if (made.st_uid, made.st_gid) != (stat.st_uid, stat.st_gid) {
        rustix::fs::chownat(to.0, to.1, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let path = xattrs::entry_path(to.0, to.1);
    let kind = FileType::from_raw_mode(stat.st_mode);
    let wanted = stat.st_mode & 0o7777;
    let now = if kind == FileType::Directory { wanted | 0o700 } else { wanted };
    // The copy was made above by ourselves and is no link, so that following links leads nowhere else.
    if kind != FileType::Symlink {
        rustix::fs::chmod(path.as_slice(), Mode::from_raw_mode(now))?;
    }
    for (key, value) in xattrs::select(from.0, from.1, keep)? {
        match rustix::fs::lsetxattr(path.as_slice(), key.as_slice(), &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(e) => return Err(e),
        }
    }
    Ok((now != wanted).then_some((wanted, Identity::from(&made))))
}

fn copy_file(from: OwnedFd, to: Place<'_>, stat: &Stat, mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let out = rustix::fs::openat(to.0, to.1, flags, mode | Mode::WUSR)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0 || rustix::fs::ioctl_ficlone(&out, &from).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while at < size {
        // Without support for holes the whole file is data.
        let start = match rustix::fs::seek(&from, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = rustix::fs::seek(&from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        copy_range(&from, &out, start, end)?;
        at = end.max(start + 1);
    }
    rustix::fs::ftruncate(&out, size)
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> rustix::io::Result<()> {
    let (mut from_at, mut to_at) = (start, start);
    while from_at < end {
        let most = usize::try_from(end - from_at).unwrap_or(PIECE).min(PIECE);
        match rustix::fs::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), most) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_by_hand(from, to, from_at, end);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> rustix::io::Result<()> {
    let mut buffer = vec![0u8; super::channel::BUFFER];
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let n = match rustix::io::pread(from, buffer.get_mut(..most).unwrap_or_default(), at) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e),
        };
        let mut rest = buffer.get(..n).unwrap_or_default();
        while !rest.is_empty() {
            match rustix::io::pwrite(to, rest, at) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => {
                    at += n as u64;
                    rest = rest.get(n..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}
