//! The changes that an overlay's upper directory holds (CHG-1 to CHG-7).

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::noted::{noted, noted_of};
use super::{List, failed, same_time};
use crate::Result;
use crate::archive::merged::{Item, MergedWalk, Upper};
use crate::archive::pack::is_whiteout;
use crate::archive::{Change, ChangeKind};

/// Lists the changes that an upper makes to the layers below it. A renamed directory (`redirect`) is new with all that it stands
/// for. With `override_stat` the mode of a directory is what its note says, as in [`crate::archive::CompareOptions`] (FMK-4).
///
/// # Errors
/// [`crate::ErrorKind::Io`] when a directory cannot be read, [`crate::ErrorKind::Corrupt`] for a redirect to nothing; both name it.
pub fn changes_in_upper(upper: &Upper<'_>, override_stat: bool) -> Result<Vec<Change>> {
    let mut walk = MergedWalk::new(upper)?;
    let mut list = List::default();
    while let Some(item) = walk.next()? {
        let path = walk.path();
        list.above.truncate(walk.depth() - 1);
        let kind = kind_of(&walk, &item, override_stat)?;
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

fn kind_of(walk: &MergedWalk<'_>, item: &Item, override_stat: bool) -> Result<Option<ChangeKind>> {
    if item.moved {
        return Ok(Some(ChangeKind::Add));
    }
    if is_whiteout(&item.stat) || item.replaces && walk.hides_something()? {
        return Ok(Some(ChangeKind::Delete));
    }
    let below = walk.nearest()?.filter(|(_, stat)| !is_whiteout(stat));
    // What lies in a directory that a layer below renamed is not at this path in any of them.
    let below = match below {
        None if !item.replaces => walk.old_entry()?,
        found => found,
    };
    let Some((fd, below)) = below else { return Ok(Some(ChangeKind::Add)) };
    if !may_be_same_directory(&below, &item.stat) {
        return Ok(Some(ChangeKind::Modify));
    }
    let modes = || -> rustix::io::Result<_> {
        if !override_stat {
            return Ok((below.st_mode, item.stat.st_mode));
        }
        let above = noted(walk.dir()?, &item.name, item.stat)?;
        Ok((noted_of(fd.as_fd(), *below)?.st_mode, above.st_mode))
    };
    let (below, above) = match modes() {
        // It has vanished meanwhile.
        Err(Errno::NOENT) => return Ok(None),
        read => read.map_err(|e| failed(walk.path(), e))?,
    };
    Ok((below != above).then_some(ChangeKind::Modify))
}

/// Whether nothing but the modes can tell the two from the same directory.
fn may_be_same_directory(below: &Stat, above: &Stat) -> bool {
    let is_dir = |s: &Stat| FileType::from_raw_mode(s.st_mode) == FileType::Directory;
    is_dir(below) && is_dir(above) && below.st_size == above.st_size && same_time(below, above)
}
