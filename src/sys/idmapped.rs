//! Mounts that show the files of a directory with mapped owners (mount_setattr(2), Linux 5.12).

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;

#[cfg(test)]
use super::refused::{self, Call};

/// `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// A mount of the directory `source`, without what is mounted below it, that stands nowhere in the tree and shows the owners that the
/// maps of `namespace` give.
///
/// It is private and read-only: were it left behind by a crash, a removal of the tree around it could not reach the files it shows.
///
/// # Errors
/// As [`map_owners`].
pub(crate) fn mapped_clone(source: &Path, namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, source, flags)?;
    map_owners(&tree, namespace)?;
    Ok(tree)
}

/// Maps the owners that a mount shows, which stands nowhere in the tree yet.
///
/// # Errors
/// The system call's: `EINVAL` if the file system or the kernel maps no ids, `EPERM` without the right to.
pub(crate) fn map_owners(tree: &OwnedFd, namespace: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(test)]
    refused::check(Call::MountSetattr)?;
    let attr = MountAttr {
        set: MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY,
        propagation: libc::MS_PRIVATE,
        userns_fd: u64::try_from(namespace.as_raw_fd()).unwrap_or(u64::MAX),
        ..MountAttr::default()
    };
    // SAFETY: the path is a constant, the structure is as long as the call is told, and the kernel writes to neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
