//! A list of changes as a tar.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::AtFlags;

use super::header::Header;
use super::member::{NoWhiteouts, Packer, Subject, whiteout_name};
use super::{failed, vanished};
use crate::Result;
use crate::archive::names::split;
use crate::archive::walk::is_change;
use crate::archive::{Change, ChangeKind, Compat};
use crate::sys::beneath::Beneath;

/// Writes the changed files of the tree `root` as a tar, in the byte order of their paths; deletions become whiteouts.
///
/// A whiteout has the epoch for its time, so that equal changes give equal bytes (the Go library puts the present there).
///
/// # Errors
/// [`crate::ErrorKind::Io`] when a file cannot be read, which it names, or `out` fails.
pub fn pack_changes(
    root: BorrowedFd<'_>,
    changes: &[Change],
    compat: Compat,
    out: &mut dyn Write,
) -> Result<()> {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let beneath = Beneath::new(root);
    let mut packer = Packer::new(compat, out);
    let mut last: Option<(Vec<u8>, OwnedFd)> = None;
    for change in sorted {
        let path = change.path.strip_prefix(b"/").unwrap_or(&change.path);
        if change.kind == ChangeKind::Delete {
            let header = Header { name: whiteout_name(path), kind: b'0', ..Header::default() };
            packer.add_header(path, &header)?;
            continue;
        }
        let (parent, name) = split(path);
        let dir = match last.take() {
            Some((known, fd)) if known == parent => fd,
            _ => match beneath.directory(parent, None) {
                Ok(fd) => fd,
                Err(e) if is_change(e) => continue,
                Err(e) => return Err(failed(path, e)),
            },
        };
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let subject = Subject { dir: dir.as_fd(), name, path, stat: &stat };
                packer.add(&subject, &NoWhiteouts)?;
            }
            Err(e) if vanished(&e) => {}
            Err(e) => return Err(failed(path, e)),
        }
        last = Some((parent.to_vec(), dir));
    }
    packer.finish()
}
