//! One entry of a tree: another name for it, or a copy.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::content::copy_file;
use super::times;
use crate::archive::unpack::{DEFAULT_LIST, LateMode};
use crate::archive::xattrs;
use crate::progress::Silent;
use crate::sys::beneath::Identity;

/// A name in a directory.
pub(in crate::archive) type Place<'a> = (BorrowedFd<'a>, &'a [u8]);

/// Gives a file one more name; `false` if it can have none there, and must be copied.
pub(in crate::archive) fn link(from: Place<'_>, to: Place<'_>) -> rustix::io::Result<bool> {
    match rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::MLINK | Errno::XDEV) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Copies what is no directory, with its attributes and times; of the extended ones those that `keep` takes.
pub(in crate::archive) fn copy_one(
    from: Place<'_>,
    to: Place<'_>,
    stat: &Stat,
    keep: impl Fn(&[u8]) -> bool,
) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => copy_content(&open_file(from, stat)?, to, stat, mode)?,
        FileType::Symlink => {
            let text = rustix::fs::readlinkat(from.0, from.1, Vec::new())?;
            rustix::fs::symlinkat(text.as_c_str(), to.0, to.1)?;
        }
        kind => rustix::fs::mknodat(to.0, to.1, kind, mode, stat.st_rdev)?,
    }
    attributes(from, to, stat, keep, |_| Ok(()))?;
    rustix::fs::utimensat(to.0, to.1, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens a regular file, if it is still the one that was looked at.
pub(super) fn open_file((dir, name): Place<'_>, stat: &Stat) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    if Identity::from(&rustix::fs::fstat(&file)?) != Identity::from(stat) {
        return Err(Errno::STALE);
    }
    Ok(file)
}

fn copy_content(from: &OwnedFd, to: Place<'_>, stat: &Stat, mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let out = rustix::fs::openat(to.0, to.1, flags, mode | Mode::WUSR)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0 || rustix::fs::ioctl_ficlone(&out, from).is_ok() {
        return Ok(());
    }
    copy_file(from, &out, size, true, &Silent)
}

/// What a directory gets when it is full: its mode, where that would keep us out, and the access list of what is made in it.
pub(in crate::archive) type Late = (LateMode, Option<Vec<u8>>);

/// Everything but the times, and what has to wait until a directory is full, which it returns. Of the extended attributes those that
/// `keep` takes, unless `check` refuses one.
pub(in crate::archive) fn attributes(
    from: Place<'_>,
    to: Place<'_>,
    stat: &Stat,
    keep: impl Fn(&[u8]) -> bool,
    check: impl Fn(&[u8]) -> rustix::io::Result<()>,
) -> rustix::io::Result<Late> {
    let made = rustix::fs::statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW)?;
    if (made.st_uid, made.st_gid) != (stat.st_uid, stat.st_gid) {
        let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
        rustix::fs::chownat(to.0, to.1, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let path = xattrs::entry_path(to.0, to.1);
    let kind = FileType::from_raw_mode(stat.st_mode);
    let wanted = stat.st_mode & 0o7777;
    let now = if kind == FileType::Directory { wanted | 0o700 } else { wanted };
    // The copy was made by ourselves and is no link, so that following links leads nowhere else.
    if kind != FileType::Symlink {
        rustix::fs::chmod(path.as_slice(), Mode::from_raw_mode(now))?;
    }
    let mut list = None;
    for (key, value) in xattrs::select(from.0, from.1, keep)? {
        check(&key)?;
        if key == DEFAULT_LIST {
            list = Some(value);
            continue;
        }
        match rustix::fs::lsetxattr(path.as_slice(), key.as_slice(), &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(((now != wanted).then_some((wanted, Identity::from(&made))), list))
}
