//! The changes that an overlay's upper directory holds (CHG-1 to CHG-7).

use rustix::fs::{FileType, Stat};

use super::{List, same_time};
use crate::Result;
use crate::archive::merged::{Item, MergedWalk, Upper};
use crate::archive::pack::is_whiteout;
use crate::archive::{Change, ChangeKind};

/// Lists the changes that an upper makes to the layers below it. A renamed directory (`redirect`) is new with all that it stands
/// for.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when a directory cannot be read, [`crate::ErrorKind::Corrupt`] for a redirect to nothing; both name it.
pub fn changes_in_upper(upper: &Upper<'_>) -> Result<Vec<Change>> {
    let mut walk = MergedWalk::new(upper)?;
    let mut list = List::default();
    while let Some(item) = walk.next()? {
        let path = walk.path();
        list.above.truncate(walk.depth() - 1);
        let kind = kind_of(&walk, &item)?;
        match kind {
            None => {}
            Some(ChangeKind::Modify) => list.push(path, ChangeKind::Modify),
            Some(kind) => list.push_below(path, kind),
        }
        if item.kind() == FileType::Directory {
            list.enter(path, kind.is_some());
        }
    }
    Ok(list.changes)
}

fn kind_of(walk: &MergedWalk<'_>, item: &Item) -> Result<Option<ChangeKind>> {
    if item.moved {
        return Ok(Some(ChangeKind::Add));
    }
    if is_whiteout(&item.stat) || item.replaces && walk.hides_something()? {
        return Ok(Some(ChangeKind::Delete));
    }
    let below = walk.nearest()?.filter(|stat| !is_whiteout(stat));
    // What lies in a directory that a layer below renamed is not at this path in any of them.
    let below = match below {
        None if !item.replaces => walk.old_entry()?,
        found => found,
    };
    Ok(match below {
        None => Some(ChangeKind::Add),
        Some(below) if is_same_directory(&below, &item.stat) => None,
        Some(_) => Some(ChangeKind::Modify),
    })
}

fn is_same_directory(below: &Stat, above: &Stat) -> bool {
    let is_dir = |s: &Stat| FileType::from_raw_mode(s.st_mode) == FileType::Directory;
    is_dir(below)
        && is_dir(above)
        && below.st_size == above.st_size
        && below.st_mode == above.st_mode
        && same_time(below, above)
}
