//! Removing trees below a descriptor: without following links, without recursion, however deep they are (ARC-2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::archive::walk::{Name, read_names};
use crate::sys::beneath::{Identity, open_parent};

const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Whether an entry, by its directory and name, stays.
pub(super) type Spare<'a> = &'a dyn Fn(Identity, &[u8]) -> bool;

/// Removes `name` and all below it; tells what it was.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> Result<FileType> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory {
        empty(rustix::fs::openat(dir, name, OPEN, Mode::empty())?, None)?;
        rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?;
    } else {
        rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
    }
    Ok(kind)
}

struct Level {
    id: Identity,
    name: Vec<u8>,
    spared: bool,
    left: Vec<Name>,
}

/// Empties a directory of what is not spared.
pub(super) fn empty(top: OwnedFd, spare: Option<Spare<'_>>) -> Result<()> {
    let mut at = top;
    let level = |fd: &OwnedFd, name: Vec<u8>, spared: bool| -> Result<Level> {
        let id = Identity::from(&rustix::fs::fstat(fd)?);
        Ok(Level { id, name, spared, left: read_names(fd.as_fd())? })
    };
    let mut levels = vec![level(&at, Vec::new(), true)?];
    while let Some(current) = levels.last_mut() {
        if let Some(entry) = current.left.pop() {
            let name = entry.bytes;
            let spared = spare.is_some_and(|spare| spare(current.id, &name));
            let is_dir = entry.kind == FileType::Directory
                || entry.kind == FileType::Unknown && is_directory(at.as_fd(), &name);
            if is_dir {
                match rustix::fs::openat(&at, name.as_slice(), OPEN, Mode::empty()) {
                    Ok(fd) => {
                        levels.push(level(&fd, name, spared)?);
                        at = fd;
                    }
                    Err(Errno::NOENT) => {}
                    Err(e) => return Err(e),
                }
            } else if !spared {
                match rustix::fs::unlinkat(&at, name.as_slice(), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(e),
                }
            }
            continue;
        }
        let Some(done) = levels.pop() else { break };
        let Some(above) = levels.last() else { break };
        at = open_parent(at.as_fd(), Some(above.id))?;
        if !done.spared {
            match rustix::fs::unlinkat(&at, done.name.as_slice(), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                // Something below is spared, and with it the way there.
                Err(Errno::NOTEMPTY | Errno::EXIST) if spare.is_some() => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

fn is_directory(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
