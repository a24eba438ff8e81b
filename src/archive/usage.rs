//! How much a tree holds (REM-13).

use std::collections::HashSet;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::DiskUsage;
use super::merged::{MergedWalk, Upper};
use super::names::show;
use super::walk::Walk;
use crate::sys::beneath::Identity;
use crate::{Error, ErrorKind, Result};

/// Adds up the sizes of all that is not a directory, each file once however many names it has, and counts the files; the
/// root itself counts as one. What vanishes meanwhile is passed over.
///
/// # Errors
/// [`ErrorKind::Io`] when a directory cannot be read, which it names.
pub fn disk_usage(root: BorrowedFd<'_>) -> Result<DiskUsage> {
    let fail = |path: &[u8], e| {
        Error::new(ErrorKind::Io, format!("measuring {}", show(path)))
            .caused_by(std::io::Error::from(e))
    };
    let mut walk = Walk::new(root).map_err(|e| fail(b".", e))?;
    let mut usage = DiskUsage { size: 0, inodes: 1 };
    let mut seen = HashSet::new();
    while let Some(item) = walk.next().map_err(|e| fail(walk.path(), e))? {
        if item.kind() == FileType::Directory {
            usage.inodes += 1;
        } else if item.stat.st_nlink == 1 || seen.insert(Identity::from(&item.stat)) {
            usage.inodes += 1;
            usage.size += u64::try_from(item.stat.st_size).unwrap_or(0);
        }
    }
    Ok(usage)
}

/// Adds up the sizes of all that an upper has and is not a directory, each file once; what its redirected directories stand for is
/// counted, as it will be in its tar.
///
/// # Errors
/// [`ErrorKind::Io`] when a directory cannot be read, [`ErrorKind::Corrupt`] for a redirect to nothing; both name it.
pub fn upper_size(upper: &Upper<'_>) -> Result<u64> {
    let mut walk = MergedWalk::new(upper)?;
    let mut seen = HashSet::new();
    let mut size = 0u64;
    while let Some(item) = walk.next()? {
        if item.kind() != FileType::Directory
            && (item.stat.st_nlink == 1 || seen.insert(Identity::from(&item.stat)))
        {
            size = size.saturating_add(u64::try_from(item.stat.st_size).unwrap_or(0));
        }
    }
    Ok(size)
}
