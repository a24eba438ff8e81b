//! Every difference between a tree and one that was made from it by hard links (`overlay-driver.md` LEG-10).

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};

use super::between::walk_both;
use crate::Result;
use crate::archive::Change;
use crate::archive::xattrs::{self, is_overlay_mark};

/// Lists what leads from `old` (an empty tree if there is none) to `new`, of which unchanged files are the same ones as in `old`.
/// Unlike [`super::changes_between`] it goes by all attributes, and takes a file that is another one for changed, however alike.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when something cannot be read, which it names.
pub(in crate::archive) fn exact_changes(
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
) -> Result<Vec<Change>> {
    walk_both(new, old, None, &differs)
}

fn differs(
    (new_dir, new): (BorrowedFd<'_>, &Stat),
    (old_dir, old): (BorrowedFd<'_>, &Stat),
    name: &[u8],
) -> rustix::io::Result<bool> {
    let kind = FileType::from_raw_mode(new.st_mode);
    let plain = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    if plain(new) != plain(old) || kind == FileType::RegularFile {
        return Ok(true);
    }
    let untouched = kind == FileType::Directory && dates_from_its_entries(new);
    if !untouched && (new.st_mtime, new.st_mtime_nsec) != (old.st_mtime, old.st_mtime_nsec) {
        return Ok(true);
    }
    if kind == FileType::Symlink {
        let new_text = rustix::fs::readlinkat(new_dir, name, Vec::new())?;
        if new_text != rustix::fs::readlinkat(old_dir, name, Vec::new())? {
            return Ok(true);
        }
    }
    let attributes = |dir| xattrs::select(dir, name, |key| !is_overlay_mark(key));
    Ok(attributes(new_dir)? != attributes(old_dir)?)
}

/// Whether the time of a directory is only that at which its last entry was made. A copy by hard links has such times where nobody
/// set others since (LEG-10), and they are not the layer's.
fn dates_from_its_entries(dir: &Stat) -> bool {
    (dir.st_mtime, dir.st_mtime_nsec) == (dir.st_ctime, dir.st_ctime_nsec)
}
