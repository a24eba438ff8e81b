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

/// Whether an attribute of that name says that the content is in a lower layer.
pub(super) fn says_so(key: &[u8], overlay_prefix: &str) -> bool {
    matches!(key.strip_prefix(overlay_prefix.as_bytes()), Some(b"metacopy" | b"redirect"))
}

/// Whether any entry of an overlay's upper directory has its content in a lower layer, so that only a mount shows it.
/// `overlay_prefix` is `trusted.overlay.` or `user.overlay.`.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when something cannot be read, which it names.
pub fn has_content_elsewhere(upper: BorrowedFd<'_>, overlay_prefix: &str) -> Result<bool> {
    let key = |name: &str| [overlay_prefix, name].concat().into_bytes();
    let (metacopy, redirect) = (key("metacopy"), key("redirect"));
    let mut walk = Walk::new(upper).map_err(|e| failed(b".", e))?;
    while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
        // Other kinds are always copied whole.
        let key = match item.kind() {
            FileType::RegularFile => &metacopy,
            FileType::Directory => &redirect,
            _ => continue,
        };
        let found = walk.dir().and_then(|dir| xattrs::get(dir, &item.name, key));
        match found {
            Ok(None) => {}
            Err(e) if super::vanished(&e) => {}
            Ok(Some(_)) => return Ok(true),
            Err(e) => return Err(failed(walk.path(), e)),
        }
    }
    Ok(false)
}
