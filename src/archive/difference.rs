//! What a tree changes over another one, as an upper directory of the kernel's overlay, without a copy of any file.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::ChangeKind;
use super::changes::exact_changes;
use super::copy::{attributes, copy_one, link, times};
use super::names::{show, split};
use super::unpack::{Directories, Implied, Parents};
use super::xattrs::{self, is_overlay_mark};
use crate::{Error, ErrorKind, Result};

/// What a difference consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Difference {
    /// New and changed files that are no directories.
    pub(crate) files: u64,
    /// Directories, those without a change of their own above changed entries included.
    pub(crate) directories: u64,
    /// Names of the old tree that the new one does not have.
    pub(crate) whiteouts: u64,
}

/// Fills the empty directory `upper` so that an overlay of it and `old` shows `new`, which was made from `old` by hard links (without
/// `old`: so that it shows `new` itself). What is no directory is shared with `new`; whoever writes to it writes to both.
///
/// The kernel's own marks, which mean nothing in a plain tree, are left out; a file that has one is copied.
///
/// # Errors
/// [`ErrorKind::Io`] when something cannot be read or made, which it names; what was made until then stays.
pub(crate) fn link_difference(
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
    upper: BorrowedFd<'_>,
) -> Result<Difference> {
    let begin = |fd| Parents::new(fd, Implied::default());
    let mut from = begin(new).map_err(|e| failed(b".", e))?;
    let mut to = begin(upper).map_err(|e| failed(b".", e))?;
    let mut directories = Directories::default();
    let mut made = Difference::default();

    let root = rustix::fs::fstat(new).map_err(|e| failed(b".", e))?;
    let (mode, list) =
        attributes((new, b"."), (upper, b"."), &root, |key| !is_overlay_mark(key), |_| Ok(()))
            .map_err(|e| failed(b".", e))?;
    directories.push_with_list(b"", times(&root), mode, list);
    for change in exact_changes(new, old)? {
        let path = change.path.strip_prefix(b"/").unwrap_or(&change.path);
        enter(path, change.kind, &mut from, &mut to, &mut directories, &mut made)
            .map_err(|e| failed(path, e))?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(upper, ".", flags, Mode::empty()).map_err(|e| failed(b".", e))?;
    directories.finish(&mut to, root.as_fd())?;
    Ok(made)
}

fn failed(path: &[u8], e: Errno) -> Error {
    Error::new(ErrorKind::Io, format!("linking {}", show(path))).caused_by(std::io::Error::from(e))
}

/// Makes one change; the directories above it have been made, as changes of their own.
fn enter(
    path: &[u8],
    kind: ChangeKind,
    from: &mut Parents<'_>,
    to: &mut Parents<'_>,
    directories: &mut Directories,
    made: &mut Difference,
) -> rustix::io::Result<()> {
    let (parent, name) = split(path);
    let to = to.get(parent, false)?;
    if kind == ChangeKind::Delete {
        made.whiteouts += 1;
        return rustix::fs::mknodat(&to.fd, name, FileType::CharacterDevice, Mode::empty(), 0);
    }
    let from = from.get(parent, false)?;
    let stat = rustix::fs::statat(&from.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let (source, target) = ((from.fd.as_fd(), name), (to.fd.as_fd(), name));
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        made.directories += 1;
        rustix::fs::mkdirat(&to.fd, name, Mode::from_raw_mode(0o700))?;
        let (mode, list) =
            attributes(source, target, &stat, |key| !is_overlay_mark(key), |_| Ok(()))?;
        directories.push_with_list(path, times(&stat), mode, list);
        return Ok(());
    }
    made.files += 1;
    let marked = xattrs::list(source.0, name)?.iter().any(|key| is_overlay_mark(key));
    if marked || !link(source, target)? {
        copy_one(source, target, &stat, |key| !is_overlay_mark(key))?;
    }
    Ok(())
}
