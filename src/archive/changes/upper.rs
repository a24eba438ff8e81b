//! The changes that an overlay's upper directory holds (CHG-1 to CHG-7).

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};

use super::{List, failed, same_time};
use crate::Result;
use crate::archive::pack::is_whiteout;
use crate::archive::walk::Walk;
use crate::archive::xattrs::is_opaque;
use crate::archive::{Change, ChangeKind};
use crate::sys::beneath::{Beneath, Found};

/// Lists the changes that `upper` makes to the layers `lowers`, the nearest first.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when a directory cannot be read, which it names.
pub fn changes_in_upper(
    upper: BorrowedFd<'_>,
    lowers: &[BorrowedFd<'_>],
    opaque_prefix: &str,
) -> Result<Vec<Change>> {
    let lowers: Vec<_> = lowers.iter().map(|fd| Beneath::new(*fd)).collect();
    let mut walk = Walk::new(upper).map_err(|e| failed(b".", e))?;
    let mut list = List::default();
    while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
        let path = walk.path();
        list.above.truncate(walk.depth() - 1);
        let fail = |e| failed(path, e);
        let is_dir = item.kind() == FileType::Directory;
        let replaced = is_dir
            && is_opaque(walk.dir().map_err(fail)?, &item.name, opaque_prefix).map_err(fail)?
            && matches!(nearest(&lowers, path).map_err(fail)?, Some(stat) if !is_whiteout(&stat));
        let kind = if is_whiteout(&item.stat) || replaced {
            Some(ChangeKind::Delete)
        } else {
            match nearest(&lowers, path).map_err(fail)? {
                Some(below) if is_whiteout(&below) => Some(ChangeKind::Add),
                Some(below) if is_same_directory(&below, &item.stat) => None,
                Some(_) => Some(ChangeKind::Modify),
                None => Some(ChangeKind::Add),
            }
        };
        match kind {
            None => {}
            Some(ChangeKind::Modify) => list.push(path, ChangeKind::Modify),
            Some(kind) => list.push_below(path, kind),
        }
        if is_dir {
            list.enter(path, kind.is_some());
        }
    }
    Ok(list.changes)
}

/// What the nearest layer that knows of the path has there; nothing if a layer hides it from those below.
fn nearest(lowers: &[Beneath<'_>], path: &[u8]) -> rustix::io::Result<Option<Box<Stat>>> {
    for lower in lowers {
        match lower.look(path)? {
            Found::File(stat) => return Ok(Some(stat)),
            Found::Hidden => return Ok(None),
            Found::Missing => {}
        }
    }
    Ok(None)
}

fn is_same_directory(below: &Stat, above: &Stat) -> bool {
    let is_dir = |s: &Stat| FileType::from_raw_mode(s.st_mode) == FileType::Directory;
    is_dir(below)
        && is_dir(above)
        && below.st_size == above.st_size
        && below.st_mode == above.st_mode
        && same_time(below, above)
}
