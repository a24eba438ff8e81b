//! Changes by comparing two whole trees (DIF-5, DIF-7).

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType};

use crate::archive::{self, Change, ChangeKind};
use crate::{Error, Result};

/// Writes the changes from `old` to `new`, or all of `new`.
pub(super) fn write_diff(
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
    out: &mut dyn Write,
) -> Result<()> {
    match old {
        None => archive::pack_tree(new, out),
        Some(_) => {
            let changes = archive::changes_between(new, old)?;
            archive::pack_changes(new, &changes, out)
        }
    }
}

/// The sizes of the files that `new` has and `old` has not, or has otherwise; hard links count once.
pub(super) fn diff_size(new: BorrowedFd<'_>, old: Option<BorrowedFd<'_>>) -> Result<u64> {
    if old.is_none() {
        return Ok(archive::disk_usage(new)?.size);
    }
    sum(new, &archive::changes_between(new, old)?)
}

fn sum(root: BorrowedFd<'_>, changes: &[Change]) -> Result<u64> {
    let mut seen = HashSet::new();
    let mut total = 0u64;
    for change in changes.iter().filter(|c| c.kind != ChangeKind::Delete) {
        let relative = change.path.strip_prefix(b"/").unwrap_or(&change.path);
        let path = std::ffi::OsStr::from_bytes(relative);
        let about = match rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW) {
            // The tree of a running container moves.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
            about => about.map_err(|e| Error::io("examining", path, e))?,
        };
        let is_dir = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
        if !is_dir && (about.st_nlink < 2 || seen.insert((about.st_dev, about.st_ino))) {
            total = total.saturating_add(u64::try_from(about.st_size).unwrap_or(0));
        }
    }
    Ok(total)
}
