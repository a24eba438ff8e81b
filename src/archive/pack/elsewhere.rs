//! Entries of an upper directory whose content is not in it (DEF-2).
//!
//! With `metacopy=on` the kernel copies a file up without its data, and renames directories by a note of where they were. Such
//! an upper cannot be read on its own: its files would come out as zeros, its directories empty.

use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::failed;
use crate::Result;
use crate::archive::walk::Walk;
use crate::archive::xattrs;

/// The attribute by which the kernel says that the content of a file of this kind is in a lower layer; other kinds are always
/// copied whole. A regular file keeps a redirect that no longer matters when its data come after all.
pub(super) fn mark_of(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => Some("metacopy"),
        FileType::Directory => Some("redirect"),
        _ => None,
    }
}

/// Whether any entry of an overlay's upper directory has its content in a lower layer, so that only a mount shows it.
/// `overlay_prefix` is `trusted.overlay.` or `user.overlay.`.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when something cannot be read, which it names.
pub fn has_content_elsewhere(upper: BorrowedFd<'_>, overlay_prefix: &str) -> Result<bool> {
    let mut walk = Walk::new(upper).map_err(|e| failed(b".", e))?;
    while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
        let Some(mark) = mark_of(item.kind()) else { continue };
        let key = [overlay_prefix, mark].concat();
        let found = walk.dir().and_then(|dir| xattrs::get(dir, &item.name, key.as_bytes()));
        match found {
            Ok(None) => {}
            Err(e) if super::vanished(&e) => {}
            Ok(Some(_)) => return Ok(true),
            Err(e) => return Err(failed(walk.path(), e)),
        }
    }
    Ok(false)
}
