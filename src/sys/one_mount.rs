//! Two directories seen through one mount.
//!
//! The kernel links and renames within a mount only, and before Linux 5.19 reflinks within one only, though both ends be on one file
//! system. A driver's home is a mount of its own. So both directories are looked up in a detached copy of the mount that is below it,
//! which has no mounts upon it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::OpenTreeFlags;

use super::beneath::Identity;

/// The two, for as long as it lives.
#[derive(Debug)]
pub(crate) struct OneMount {
    pub(crate) from: OwnedFd,
    pub(crate) to: OwnedFd,
    /// The mount ends with it.
    _tree: OwnedFd,
}

impl OneMount {
    /// `None` where there is no such mount, or no right to make one; the two are then what they were.
    pub(crate) fn of(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Option<Self> {
        let found = try_of(from, to);
        found.inspect_err(|e| tracing::debug!(error = %e, "no mount has both directories")).ok()
    }
}

fn try_of(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<OneMount> {
    let (from_path, to_path) = (path_of(from)?, path_of(to)?);
    let common: PathBuf = from_path
        .components()
        .zip(to_path.components())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a)
        .collect();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, &common, flags)?;
    let open = |path: &Path, meant: BorrowedFd<'_>| -> io::Result<OwnedFd> {
        let below = path.strip_prefix(&common).map_err(io::Error::other)?;
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&tree, below, flags, Mode::empty(), how)?;
        let is = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|stat| Identity::from(&stat));
        // What another mount covers, or another directory has replaced.
        if is(fd.as_fd())? != is(meant)? {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        Ok(fd)
    };
    let (from, to) = (open(&from_path, from)?, open(&to_path, to)?);
    Ok(OneMount { from, to, _tree: tree })
}

/// Where an open directory is now.
pub(crate) fn path_of(fd: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_a_mount_separates_can_be_linked() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root mounts");
            return;
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["old", "new", "new/in"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("old/file"), "x").unwrap();
        crate::sys::mount::bind_private(&at("new")).unwrap();
        let (old, new) = (File::open(at("old")).unwrap(), File::open(at("new/in")).unwrap());
        let link = |from: BorrowedFd<'_>, to: BorrowedFd<'_>| {
            rustix::fs::linkat(from, "file", to, "file", rustix::fs::AtFlags::empty())
        };
        assert_eq!(link(old.as_fd(), new.as_fd()), Err(rustix::io::Errno::XDEV));
        let both = OneMount::of(old.as_fd(), new.as_fd()).unwrap();
        link(both.from.as_fd(), both.to.as_fd()).unwrap();
        assert!(at("new/in/file").exists());
        // Another file system has nothing in common.
        let proc = File::open("/proc/self").unwrap();
        assert!(OneMount::of(old.as_fd(), proc.as_fd()).is_none());
        drop((both, new));
        crate::sys::mount::detach(&at("new")).unwrap();
    }
}
