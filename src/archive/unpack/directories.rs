//! What directories get only at the end: their times, and modes that would lock the unpacker out (UNP-18).

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::failed;
use super::parents::Parents;
use crate::archive::names::split;
use crate::archive::xattrs;
use crate::sys::beneath::Identity;
use crate::sys::one_mount::path_of;
use crate::{Error, Result};

/// The attribute of a directory by which what is made in it gets an access list (acl(5)).
pub(crate) const DEFAULT_LIST: &[u8] = b"system.posix_acl_default";

struct Pending {
    /// Bytes that the path shares with the one before it.
    shared: usize,
    /// Bytes of its own, in `Directories::bytes`.
    own: usize,
    times: Timestamps,
    mode: LateMode,
    /// The access list that new files in it get.
    list: Option<Vec<u8>>,
}

/// A mode and the directory it is for: what is at its path in the end may be another one, by way of a link.
pub(crate) type LateMode = Option<(u32, Identity)>;

/// Directories in the order of the archive. Paths are kept as what differs from the path before, so that a chain 20,000
/// deep costs two bytes a link (ARC-2, ARC-5).
#[derive(Default)]
pub(crate) struct Directories {
    bytes: Vec<u8>,
    previous: Vec<u8>,
    pending: Vec<Pending>,
}

impl Directories {
    /// A cleaned path, empty for the root, and what it gets at the end.
    pub(crate) fn push(&mut self, path: &[u8], times: Timestamps, mode: LateMode) {
        self.push_with_list(path, times, mode, None);
    }

    /// As [`Self::push`], with the value of [`DEFAULT_LIST`] that the copies in it must not get.
    pub(crate) fn push_with_list(
        &mut self,
        path: &[u8],
        times: Timestamps,
        mode: LateMode,
        list: Option<Vec<u8>>,
    ) {
        let shared = self.previous.iter().zip(path).take_while(|(a, b)| a == b).count();
        let own = path.get(shared..).unwrap_or_default();
        self.bytes.extend_from_slice(own);
        self.pending.push(Pending { shared, own: own.len(), times, mode, list });
        self.previous.truncate(shared);
        self.previous.extend_from_slice(own);
    }

    pub(crate) fn finish(self, parents: &mut Parents<'_>, root: BorrowedFd<'_>) -> Result<()> {
        let (mut path, mut at) = (Vec::new(), 0);
        for item in self.pending {
            path.truncate(item.shared);
            path.extend_from_slice(self.bytes.get(at..at + item.own).unwrap_or_default());
            at += item.own;
            match set(&path, &item, parents, root) {
                // Replaced or removed by a later member.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(unset(&path, root, e)),
            }
        }
        Ok(())
    }
}

/// The root has no path below itself, and is named by where it is.
fn unset(path: &[u8], root: BorrowedFd<'_>, e: Errno) -> Error {
    let action = "setting the times of";
    if !path.is_empty() {
        return failed(action, path, e);
    }
    let place = path_of(root).unwrap_or_else(|_| ".".into());
    failed(action, place.as_os_str().as_bytes(), e)
}

fn set(
    path: &[u8],
    item: &Pending,
    parents: &mut Parents<'_>,
    root: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    if path.is_empty() {
        if let Some((mode, _)) = item.mode {
            rustix::fs::fchmod(root, Mode::from_raw_mode(mode))?;
        }
        set_list(root, b".", item)?;
        return rustix::fs::futimens(root, &item.times);
    }
    let (parent, base) = split(path);
    let dir = parents.get(parent, false)?;
    let stat = rustix::fs::statat(&dir.fd, base, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    set_list(dir.fd.as_fd(), base, item)?;
    rustix::fs::utimensat(&dir.fd, base, &item.times, AtFlags::SYMLINK_NOFOLLOW)?;
    if let Some((mode, of)) = item.mode
        && of == Identity::from(&stat)
    {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir.fd, base, flags, Mode::empty())?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// Where there are no access lists, or we may not give one, the directory goes without, as without other attributes.
fn set_list(dir: BorrowedFd<'_>, name: &[u8], item: &Pending) -> rustix::io::Result<()> {
    let Some(list) = &item.list else { return Ok(()) };
    let path = xattrs::entry_path(dir, name);
    match rustix::fs::lsetxattr(path, DEFAULT_LIST, list, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Timespec, UTIME_NOW};

    use super::super::parents::Implied;
    use super::*;

    #[test]
    fn a_directory_whose_times_cannot_be_set_is_named() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        // Of such a descriptor no times can be set.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap();
        let mut directories = Directories::default();
        directories.push(b"", times, None);
        let mut parents = Parents::new(root.as_fd(), Implied::default()).unwrap();
        let e = directories.finish(&mut parents, root.as_fd()).unwrap_err().to_string();
        assert!(e.contains(&format!("setting the times of {:?}", dir.path())), "{e}");
    }
}
