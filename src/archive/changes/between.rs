//! The changes between two trees, by a walk over both at once (`overlay-driver.md` 9.2), which several threads share.
//!
//! Where the new tree is the old one with layers above it, only what these layers name is looked at: all else is the same file
//! in both.

use std::cmp::Ordering;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{self, AtomicBool};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::above::{self, Above, Marks, named_in};
use super::noted::{is_note, noted};
use super::{failed, in_order, same_time};
use crate::archive::crew::Crew;
use crate::archive::walk::{Name, is_change, sorted_names};
use crate::archive::xattrs;
use crate::archive::{Change, ChangeKind, CompareOptions, capability};
use crate::sys::beneath::{Identity, open_parent};
use crate::{Error, ErrorKind, IdMaps, Result};

/// Levels whose descriptors stay open, two each.
const OPEN_LEVELS: usize = 64;

/// Lists what leads from the tree `old` (an empty one if there is none) to the tree `new`, depth first, in the byte order
/// of names.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when something cannot be read, which it names.
pub fn changes_between(
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
    options: CompareOptions<'_>,
) -> Result<Vec<Change>> {
    list(new, old, options, None)
}

/// As [`changes_between`], of an overlay over `old` with the layers `above` on it. Both trees show the owners that the files have.
///
/// # Errors
/// As [`changes_between`].
pub fn changes_by_layers(
    new: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
    above: &Above<'_>,
    options: CompareOptions<'_>,
) -> Result<Vec<Change>> {
    list(new, Some(old), options, Some(above))
}

fn list(
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
    options: CompareOptions<'_>,
    above: Option<&Above<'_>>,
) -> Result<Vec<Change>> {
    walk_both(new, old, above, &|new, old, name| differs(new, old, name, options))
}

/// Whether an entry of the new tree differs from that of the old one, of which there are the directory and the status each.
pub(super) type Differs<'d> = dyn Fn((BorrowedFd<'_>, &Stat), (BorrowedFd<'_>, &Stat), &[u8]) -> rustix::io::Result<bool>
    + Sync
    + 'd;

/// As [`changes_between`], by another measure of what differs. What both trees have as the same file is not looked at.
pub(super) fn walk_both(
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
    above: Option<&Above<'_>>,
    differs: &Differs<'_>,
) -> Result<Vec<Change>> {
    let root = |fd| open(fd, b".").map_err(|e| failed(b".", e));
    let first = Pair {
        new: root(new)?,
        old: old.map(root).transpose()?,
        above: above.and_then(Above::roots),
        path: Vec::new(),
    };
    let marks = above.map_or_else(Marks::default, |above| Marks::of(above.prefix));
    let stop = AtomicBool::new(false);
    let done = Crew::run("orlop-compare", first, |pair, crew| {
        let mut found = Found { crew, stop: &stop, changes: Vec::new() };
        let mut path = pair.path.clone();
        let mut walk = Comparison { levels: Vec::new(), differs, marks: &marks };
        match compare(&mut walk, &mut found, &mut path, pair) {
            Ok(()) => Ok(found.changes),
            Err(e) => {
                stop.store(true, atomic::Ordering::Relaxed);
                Err(failed(&path, e))
            }
        }
    })
    .map_err(|e| Error::new(ErrorKind::Internal, "comparing two trees").caused_by(e))?;
    let mut changes = Vec::new();
    for part in done {
        changes.append(&mut part?);
    }
    Ok(in_order(changes))
}

/// Two directories of the same path, to be compared by any thread.
struct Pair {
    new: OwnedFd,
    old: Option<OwnedFd>,
    above: Option<Vec<OwnedFd>>,
    path: Vec<u8>,
}

/// What one thread found, and who may help it.
struct Found<'a> {
    crew: &'a Crew<Pair>,
    stop: &'a AtomicBool,
    changes: Vec<Change>,
}

impl Found<'_> {
    fn push(&mut self, path: &[u8], kind: ChangeKind) {
        self.changes.push(Change { path: [b"/", path].concat(), kind });
    }
}

/// A directory of one of the trees.
struct Side {
    fd: Option<OwnedFd>,
    id: Identity,
}

struct Level {
    new: Side,
    old: Option<Side>,
    /// The same directory in the layers above the old tree, if only these can make a difference.
    above: Option<Vec<OwnedFd>>,
    names: std::vec::IntoIter<Vec<u8>>,
    path: usize,
}

struct Comparison<'o> {
    levels: Vec<Level>,
    differs: &'o Differs<'o>,
    marks: &'o Marks,
}

fn open(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn compare(
    walk: &mut Comparison<'_>,
    found: &mut Found<'_>,
    path: &mut Vec<u8>,
    Pair { new, old, above, .. }: Pair,
) -> rustix::io::Result<()> {
    walk.enter(new, old, above, path.len())?;
    while let Some(level) = walk.levels.last_mut() {
        let Some(name) = level.names.next() else {
            walk.leave()?;
            continue;
        };
        path.truncate(level.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&name);
        let new_dir = level.new.fd.as_ref().ok_or(Errno::BADF)?.as_fd();
        let old_dir = level.old.as_ref().and_then(|side| side.fd.as_ref()).map(AsFd::as_fd);
        let new = look(Some(new_dir), &name)?;
        let old = look(old_dir, &name)?;
        let kind = match (&new, &old) {
            (None, None) => continue,
            (None, Some(_)) => {
                found.push(path, ChangeKind::Delete);
                continue;
            }
            (Some(_), None) => Some(ChangeKind::Add),
            (Some(new), Some(old)) => {
                let old_dir = old_dir.ok_or(Errno::BADF)?;
                match (walk.differs)((new_dir, new), (old_dir, old), &name) {
                    Ok(differs) => differs.then_some(ChangeKind::Modify),
                    // It is being changed at this moment.
                    Err(e) if is_change(e) => Some(ChangeKind::Modify),
                    Err(e) => return Err(e),
                }
            }
        };
        if let Some(kind) = kind {
            found.push(path, kind);
        }
        if new.as_ref().is_some_and(is_dir) {
            let new_fd = match open(new_dir, &name) {
                Ok(fd) => fd,
                Err(e) if is_change(e) => continue,
                Err(e) => return Err(e),
            };
            let old_fd = match (old_dir, &old) {
                (Some(dir), Some(stat)) if is_dir(stat) => match open(dir, &name) {
                    Ok(fd) => Some(fd),
                    Err(e) if is_change(e) => None,
                    Err(e) => return Err(e),
                },
                _ => None,
            };
            if found.stop.load(atomic::Ordering::Relaxed) {
                return Ok(());
            }
            let above = match (&level.above, &old_fd) {
                (Some(above), Some(_)) => walk.marks.within(above, &name),
                _ => None,
            };
            if found.crew.is_hungry() {
                let path = path.clone();
                found.crew.give(Pair { new: new_fd, old: old_fd, above, path });
            } else {
                walk.enter(new_fd, old_fd, above, path.len())?;
            }
        }
    }
    Ok(())
}

impl Comparison<'_> {
    fn enter(
        &mut self,
        new: OwnedFd,
        old: Option<OwnedFd>,
        above: Option<Vec<OwnedFd>>,
        path: usize,
    ) -> rustix::io::Result<()> {
        let held: usize = self.levels.iter().flat_map(|level| &level.above).map(Vec::len).sum();
        let above = above.filter(|above| held + above.len() <= above::OPEN);
        let side = |fd: OwnedFd| -> rustix::io::Result<Side> {
            let id = Identity::from(&rustix::fs::fstat(&fd)?);
            Ok(Side { fd: Some(fd), id })
        };
        let (new, old) = (side(new)?, old.map(side).transpose()?);
        let names = match &above {
            Some(above) => named_in(above)?,
            None => {
                let names = |side: &Side| match &side.fd {
                    Some(fd) => sorted_names(fd.as_fd()),
                    None => Err(Errno::BADF),
                };
                let same_device = old.as_ref().is_some_and(|old| old.id.dev == new.id.dev);
                let old_names = old.as_ref().map(names).transpose()?.unwrap_or_default();
                merged(names(&new)?, old_names, same_device)
            }
        };
        let far = self.levels.len().checked_sub(OPEN_LEVELS);
        if let Some([level, below, ..]) = far.and_then(|n| self.levels.get_mut(n..)) {
            level.new.fd = None;
            // Where the old tree ends above the new one, nothing below leads back to its last directory.
            if let (Some(old), Some(_)) = (&mut level.old, &below.old) {
                old.fd = None;
            }
        }
        self.levels.push(Level { new, old, above, names: names.into_iter(), path });
        Ok(())
    }

    fn leave(&mut self) -> rustix::io::Result<()> {
        let (Some(done), Some(above)) = (self.levels.pop(), self.levels.last_mut()) else {
            return Ok(());
        };
        reopen(&mut above.new, Some(done.new))?;
        if let Some(old) = &mut above.old {
            // The old tree may end above the new one; then its level is still open.
            reopen(old, done.old)?;
        }
        Ok(())
    }
}

fn reopen(above: &mut Side, below: Option<Side>) -> rustix::io::Result<()> {
    if above.fd.is_none() {
        let below = below.and_then(|side| side.fd).ok_or(Errno::BADF)?;
        above.fd = Some(open_parent(below.as_fd(), Some(above.id))?);
    }
    Ok(())
}

/// All names of both, without those that are the same file: nothing can differ below them.
fn merged(new: Vec<Name>, old: Vec<Name>, same_device: bool) -> Vec<Vec<u8>> {
    let mut names = Vec::with_capacity(new.len());
    let (mut new, mut old) = (new.into_iter().peekable(), old.into_iter().peekable());
    loop {
        let order = match (new.peek(), old.peek()) {
            (None, None) => return names,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.bytes.cmp(&b.bytes),
        };
        let from_new = if order.is_le() { new.next() } else { None };
        let from_old = if order.is_ge() { old.next() } else { None };
        let same = matches!((&from_new, &from_old), (Some(a), Some(b)) if a.ino == b.ino);
        if let Some(name) = from_new.or(from_old).filter(|_| !(same && same_device)) {
            names.push(name.bytes);
        }
    }
}

fn look(dir: Option<BorrowedFd<'_>>, name: &[u8]) -> rustix::io::Result<Option<Stat>> {
    let Some(dir) = dir else { return Ok(None) };
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// As in Go, what the new tree's maps do not have is compared as it is.
fn has_other_owner(new: &Stat, old: &Stat, maps: (&IdMaps, &IdMaps)) -> bool {
    let on_disk = |stat: &Stat| (stat.st_uid, stat.st_gid);
    let inside = |stat: &Stat, maps: &IdMaps| maps.to_container(stat.st_uid, stat.st_gid);
    match inside(new, maps.0) {
        Some(owner) => owner != inside(old, maps.1).unwrap_or_else(|| on_disk(old)),
        None => on_disk(new) != on_disk(old),
    }
}

fn differs(
    (new_dir, new): (BorrowedFd<'_>, &Stat),
    (old_dir, old): (BorrowedFd<'_>, &Stat),
    name: &[u8],
    options: CompareOptions<'_>,
) -> rustix::io::Result<bool> {
    let CompareOptions { maps, override_stat } = options;
    let for_readers = |dir, stat: &Stat| match override_stat {
        true => noted(dir, name, *stat),
        false => Ok(*stat),
    };
    let (new, old) = (for_readers(new_dir, new)?, for_readers(old_dir, old)?);
    if new.st_mode != old.st_mode
        || has_other_owner(&new, &old, maps)
        || new.st_rdev != old.st_rdev
        || !same_time(&new, &old)
        || !is_dir(&new) && new.st_size != old.st_size
    {
        return Ok(true);
    }
    if FileType::from_raw_mode(new.st_mode) == FileType::Symlink {
        let new_text = rustix::fs::readlinkat(new_dir, name, Vec::new())?;
        if new_text != rustix::fs::readlinkat(old_dir, name, Vec::new())? {
            return Ok(true);
        }
    }
    let counts = |key: &[u8]| key == capability::KEY || key.starts_with(b"user.");
    let attributes = |dir, maps| -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut found = xattrs::select(dir, name, counts)?;
        // What it says has been compared, and it can be said in two ways.
        found.retain(|(key, value)| !(override_stat && is_note(key, value)));
        for (_, value) in found.iter_mut().filter(|(key, _)| key == capability::KEY) {
            *value = capability::inside(value, maps).unwrap_or_else(|| value.clone());
        }
        Ok(found)
    };
    Ok(attributes(new_dir, maps.0)? != attributes(old_dir, maps.1)?)
}
