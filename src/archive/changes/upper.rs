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
    let (below, above) = if override_stat {
        let above = match noted_in_upper(walk, item) {
            Ok(above) => above,
            Err(Errno::NOENT) if walk.is_gone(&item.name) => return Ok(None),
            Err(e) => return Err(failed(walk.path(), e)),
        };
        // The layers below are those of images, where nothing vanishes by itself.
        let below = noted_of(fd.as_fd(), *below).map_err(|e| {
            failed(walk.path(), e).detail("what a layer below has there cannot be looked at")
        })?;
        (below.st_mode, above.st_mode)
    } else {
        (below.st_mode, item.stat.st_mode)
    };
    Ok((below != above).then_some(ChangeKind::Modify))
}

fn noted_in_upper(walk: &MergedWalk<'_>, item: &Item) -> rustix::io::Result<Stat> {
    noted(walk.dir()?, &item.name, item.stat)
}

/// Whether nothing but the modes can tell the two from the same directory.
fn may_be_same_directory(below: &Stat, above: &Stat) -> bool {
    let is_dir = |s: &Stat| FileType::from_raw_mode(s.st_mode) == FileType::Directory;
    is_dir(below) && is_dir(above) && below.st_size == above.st_size && same_time(below, above)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::time::SystemTime;

    use super::*;
    use crate::ErrorKind;
    use crate::archive::override_stat::KEY;
    use crate::archive::tests::open_dir;

    /// The kind of `etc`, which both layers have, if `meanwhile` comes between the look at its name and that at its notes. On a thread
    /// of its own.
    fn kind_after(meanwhile: impl FnOnce(&Path) + Send) -> Result<Option<ChangeKind>> {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let work = || {
            for layer in ["lower", "upper"] {
                let etc = dir.path().join(layer).join("etc");
                fs::create_dir_all(&etc).unwrap();
                File::open(&etc).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            }
            let [lower, own] = ["lower", "upper"].map(|layer| open_dir(&dir.path().join(layer)));
            let lowers = [lower.as_fd()];
            let upper = Upper { own: own.as_fd(), lowers: &lowers, prefix: "trusted.overlay." };
            let mut walk = MergedWalk::new(&upper).unwrap();
            let item = walk.next().unwrap().unwrap();
            meanwhile(dir.path());
            kind_of(&walk, &item, true)
        };
        std::thread::scope(|s| s.spawn(work).join().unwrap())
    }

    #[test]
    fn what_vanishes_from_the_upper_is_no_change() {
        // FMK-4
        assert_eq!(kind_after(|_| {}).unwrap(), None);
        let chmod = |dir: &Path| {
            let note = b"0:0:700:dir";
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(dir.join("upper/etc"), KEY, note, flags).unwrap();
        };
        assert_eq!(kind_after(chmod).unwrap(), Some(ChangeKind::Modify));
        let remove = |dir: &Path| fs::remove_dir(dir.join("upper/etc")).unwrap();
        assert_eq!(kind_after(remove).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_looked_at_in_a_layer_below_is_an_error() {
        // FMK-4
        if !rustix::process::geteuid().is_root() {
            return println!("skipped: only root can hide /proc");
        }
        let without_proc = |_: &Path| crate::archive::tests::without_proc(|| ());
        let e = kind_after(without_proc).unwrap_err();
        let says = crate::archive::tests::without_proc_says();
        assert_eq!((e.kind(), e.raw_os_error()), (ErrorKind::Io, Some(says)), "{e}");
        assert!(e.to_string().contains("comparing \"etc\""), "{e}");
    }
}
