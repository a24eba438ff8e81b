//! A walk over a tree below a descriptor: lexical by directory entry, links never followed, no recursion (ARC-2).

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::{Errno, Result};

use crate::sys::beneath::{Identity, open_parent};

/// Descriptors of a walk that stay open; deeper trees reopen their upper levels through `..`.
const OPEN_LEVELS: usize = 64;

/// A directory entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) bytes: Vec<u8>,
    pub(super) ino: u64,
    pub(super) kind: FileType,
}

/// The entries of a directory, in the kernel's order. The descriptor's position must be at the beginning.
pub(super) fn read_names(dir: BorrowedFd<'_>) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // The directory was removed since it was opened.
            Err(Errno::NOENT) => break,
            Err(e) => return Err(e),
        };
        let bytes = entry.file_name().to_bytes();
        if bytes != b"." && bytes != b".." {
            names.push(Name { bytes: bytes.to_vec(), ino: entry.ino(), kind: entry.file_type() });
        }
    }
    Ok(names)
}

/// The entries of a directory, sorted by name.
pub(super) fn sorted_names(dir: BorrowedFd<'_>) -> Result<Vec<Name>> {
    let mut names = read_names(dir)?;
    names.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
    Ok(names)
}

/// Whether a call on an entry failed because somebody removed it, or put a file of another kind in its place, since it was
/// looked at.
pub(super) fn is_change(e: Errno) -> bool {
    matches!(e, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL | Errno::STALE)
}

/// Calls `work` with each regular file and directory below `root`, and whether it is a directory; links are not followed, and what
/// vanishes meanwhile is passed over.
///
/// # Errors
/// The first of `work`, or a system call's.
pub(crate) fn each_file(
    root: BorrowedFd<'_>,
    mut work: impl FnMut(BorrowedFd<'_>, bool) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut walk = Walk::new(root)?;
    while let Some(item) = walk.next()? {
        let directory = item.kind() == FileType::Directory;
        if !directory && item.kind() != FileType::RegularFile {
            continue;
        }
        match walk.open(&item) {
            Err(e) if is_change(e) => {}
            file => work(file?.as_fd(), directory)?,
        }
    }
    Ok(())
}

struct Level {
    /// `None` where it was closed to save descriptors.
    fd: Option<OwnedFd>,
    id: Identity,
    names: std::vec::IntoIter<Name>,
    /// How long the path of the level is.
    path: usize,
}

/// An entry met on the way; the walk itself has its path and directory.
pub(crate) struct Item {
    pub(super) name: Vec<u8>,
    pub(crate) stat: Stat,
}

impl Item {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// A walk. After a directory its entries follow.
pub(crate) struct Walk {
    levels: Vec<Level>,
    path: Vec<u8>,
    enter: Option<Identity>,
}

impl Walk {
    /// A walk over what is in `root`, itself not included.
    pub(crate) fn new(root: BorrowedFd<'_>) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(root, ".", flags, Mode::empty())?;
        let mut walk = Self { levels: Vec::new(), path: Vec::new(), enter: None };
        walk.push(fd)?;
        Ok(walk)
    }

    /// The path of the present entry, without a slash at either end.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The directory of the present entry.
    pub(super) fn dir(&self) -> Result<BorrowedFd<'_>> {
        self.levels.last().and_then(|l| l.fd.as_ref()).map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    /// What that directory is.
    pub(super) fn dir_identity(&self) -> Result<Identity> {
        self.levels.last().map(|level| level.id).ok_or(Errno::BADF)
    }

    /// Opens the present entry, which is a directory or a regular file.
    pub(super) fn open(&self, item: &Item) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.dir()?, item.name.as_slice(), flags, Mode::empty())?;
        // Replaced since it was looked at: what was said of it is no longer true.
        if Identity::from(&rustix::fs::fstat(&fd)?) != Identity::from(&item.stat) {
            return Err(Errno::STALE);
        }
        Ok(fd)
    }

    /// The next entry; what vanishes or is replaced meanwhile is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Item>> {
        if let Some(id) = self.enter.take() {
            let at = self.path.iter().rposition(|b| *b == b'/').map_or(0, |n| n + 1);
            let name = self.path.get(at..).unwrap_or_default();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(self.dir()?, name, flags, Mode::empty()) {
                Ok(fd) if Identity::from(&rustix::fs::fstat(&fd)?) == id => self.push(fd)?,
                Ok(_) => {}
                Err(e) if is_change(e) => {}
                Err(e) => return Err(e),
            }
        }
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(name) = level.names.next() else {
                let done = self.levels.pop();
                let Some(above) = self.levels.last_mut() else { return Ok(None) };
                if above.fd.is_none() {
                    let from = done.and_then(|l| l.fd).ok_or(Errno::BADF)?;
                    above.fd = Some(open_parent(from.as_fd(), Some(above.id))?);
                }
                continue;
            };
            self.path.truncate(level.path);
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name.bytes);
            let stat =
                rustix::fs::statat(self.dir()?, name.bytes.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
            match stat {
                Ok(stat) => {
                    let item = Item { name: name.bytes, stat };
                    if item.kind() == FileType::Directory {
                        self.enter = Some(Identity::from(&stat));
                    }
                    return Ok(Some(item));
                }
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn push(&mut self, fd: OwnedFd) -> Result<()> {
        let id = Identity::from(&rustix::fs::fstat(&fd)?);
        let names = sorted_names(fd.as_fd())?.into_iter();
        let old = self.levels.len().checked_sub(OPEN_LEVELS);
        if let Some(level) = old.and_then(|n| self.levels.get_mut(n)) {
            level.fd = None;
        }
        self.levels.push(Level { fd: Some(fd), id, names, path: self.path.len() });
        Ok(())
    }
}
