//! A walk over what an upper has, in the order of names: its own entries, and what its redirected directories stand for.

use std::cell::OnceCell;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::place::Place;
use super::search::{BELOW, Search, Stack};
use super::{Upper, data, failed, lost};
use crate::Result;
use crate::archive::names::split;
use crate::archive::pack::is_whiteout;
use crate::archive::walk::{is_change, read_names};
use crate::archive::xattrs;
use crate::sys::beneath::{Held, Identity, open_parent};

/// Levels whose directory stays open; deeper trees reopen the upper ones through `..`.
const OPEN_LEVELS: usize = 64;

/// What a directory of the walk lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// What the upper has, over the parent's directory of the same path.
    Changes,
    /// What the upper has in place of the parent's.
    Opaque,
    /// All that is there, from whatever layer, in place of the parent's.
    Whole,
}

/// An entry; the walk has its path and directory.
pub(in crate::archive) struct Item {
    pub(in crate::archive) name: Vec<u8>,
    pub(in crate::archive) stat: Stat,
    /// A directory in which nothing is seen of what the parent has at its path.
    pub(in crate::archive) replaces: bool,
    /// It lies in a directory that is new as a whole, though parts of it are old.
    pub(in crate::archive) moved: bool,
}

impl Item {
    pub(in crate::archive) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// A directory to enter next.
struct Enter {
    places: Vec<Place>,
    mode: Lists,
    id: Identity,
}

struct Level {
    /// The directories listed together, the uppermost first.
    places: Vec<Place>,
    ids: Vec<Option<Identity>>,
    mode: Lists,
    /// The one of them that is open.
    open: Option<(usize, OwnedFd)>,
    /// Names, each with the uppermost directory that has it.
    names: std::vec::IntoIter<(Vec<u8>, usize)>,
    /// How long the path of the level is.
    path: usize,
    /// The parts of the parent's directory at this path, if it has one there; found when first needed.
    old: OnceCell<Option<Vec<Place>>>,
}

/// A walk. After a directory its entries follow.
pub(in crate::archive) struct MergedWalk<'a> {
    stack: Stack<'a>,
    levels: Vec<Level>,
    path: Vec<u8>,
    enter: Option<Enter>,
}

impl<'a> MergedWalk<'a> {
    /// A walk over what is in the upper, its root not included.
    pub(in crate::archive) fn new(upper: &Upper<'a>) -> Result<Self> {
        let stack = Stack::new(upper);
        let places = (0..BELOW).map(Place::root).collect();
        let old = (BELOW..stack.len()).map(Place::root).collect();
        let mut walk = Self { stack, levels: Vec::new(), path: Vec::new(), enter: None };
        walk.push(places, Lists::Changes, None)?;
        if let Some(root) = walk.levels.first() {
            let _ = root.old.set(Some(old));
        }
        Ok(walk)
    }

    /// The path of the present entry, without a slash at either end.
    pub(in crate::archive) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The directory of the present entry.
    pub(in crate::archive) fn dir(&self) -> rustix::io::Result<BorrowedFd<'_>> {
        let open = self.levels.last().and_then(|level| level.open.as_ref());
        open.map(|(_, fd)| fd.as_fd()).ok_or(Errno::BADF)
    }

    /// How many directories are above the present entry, the root included.
    pub(in crate::archive) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The next entry; what vanishes or is replaced meanwhile is passed over.
    pub(in crate::archive) fn next(&mut self) -> Result<Option<Item>> {
        if let Some(Enter { places, mode, id }) = self.enter.take() {
            self.push(places, mode, Some(id))?;
        }
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some((name, part)) = level.names.next() else {
                self.leave()?;
                continue;
            };
            self.path.truncate(level.path);
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            if !self.reach(part)? {
                continue;
            }
            let dir = self.dir().map_err(|e| failed(&self.path, e))?;
            let stat = match rustix::fs::statat(dir, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(failed(&self.path, e)),
            };
            let moved = self.mode() == Lists::Whole;
            // In what is told as a whole it hides nothing that the parent has.
            if is_whiteout(&stat) && moved {
                continue;
            }
            let mut item = Item { name, stat, replaces: false, moved };
            if item.kind() == FileType::Directory {
                self.prepare(&mut item)?;
            }
            return Ok(Some(item));
        }
    }

    /// Opens the data of the present entry, a regular file that was copied up without them and is `size` bytes long.
    ///
    /// # Errors
    /// Where no layer has them.
    pub(in crate::archive) fn open_data(&self, size: u64) -> Result<File> {
        data::open(&self.search(true)?, &self.path, size)
    }

    /// Whether the nearest layer below that knows of the present path has a file there (CHG-3), or the parent's tree has one by a
    /// redirect.
    pub(in crate::archive) fn hides_something(&self) -> Result<bool> {
        match self.nearest()? {
            Some((_, stat)) => Ok(!is_whiteout(&stat)),
            None if self.mode() == Lists::Changes => Ok(self.old_entry()?.is_some()),
            None => Ok(false),
        }
    }

    /// What the nearest layer below that knows of the present path has there, with an `O_PATH` descriptor; nothing if a layer hides
    /// it from those below.
    pub(in crate::archive) fn nearest(&self) -> Result<Option<(OwnedFd, Box<Stat>)>> {
        for lower in self.stack.lowers() {
            match lower.find(&self.path).map_err(|e| failed(&self.path, e))? {
                Held::File(fd, stat) => return Ok(Some((fd, stat))),
                Held::Hidden => return Ok(None),
                Held::Missing => {}
            }
        }
        Ok(None)
    }

    /// What the parent's tree has at the present path, as [`Self::nearest`].
    pub(in crate::archive) fn old_entry(&self) -> Result<Option<(OwnedFd, Box<Stat>)>> {
        let (above, name) = split(&self.path);
        let Some(places) = self.old_places()? else { return Ok(None) };
        let mut search = Search::new(name);
        self.stack.run(&mut search, places, above, BELOW..self.stack.len())?;
        Ok(search.hits.into_iter().next().map(|hit| (hit.fd, hit.stat)))
    }

    /// Whether the directory of the present entry has none of this name any more, as what a running container deletes.
    pub(in crate::archive) fn is_gone(&self, name: &[u8]) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let found = self.dir().and_then(|dir| rustix::fs::statat(dir, name, flags));
        found.is_err_and(|e| e == Errno::NOENT)
    }

    fn mode(&self) -> Lists {
        self.levels.last().map_or(Lists::Whole, |level| level.mode)
    }

    /// Finds out what the present entry, a directory, lists.
    fn prepare(&mut self, item: &mut Item) -> Result<()> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let id = Identity::from(&item.stat);
        let mode = level.mode;
        if let [place] = level.places.as_slice() {
            let mark = |mark: &str| {
                let key = [self.stack.prefix, mark].concat();
                match self.dir().and_then(|dir| xattrs::get(dir, &item.name, key.as_bytes())) {
                    Err(Errno::NOENT) if self.is_gone(&item.name) => Ok(None),
                    found => found.map_err(|e| failed(&self.path, e)),
                }
            };
            let opaque = mark("opaque")?.as_deref() == Some(b"y");
            if opaque || mark("redirect")?.is_none() {
                let mode = if opaque && mode == Lists::Changes { Lists::Opaque } else { mode };
                item.replaces = opaque;
                self.enter = Some(Enter { places: vec![place.clone()], mode, id });
                return Ok(());
            }
        }
        let merged = split(&self.path).0;
        let search = self.search(false)?;
        if !search.is_dir() {
            // It is another file by now.
            return Ok(());
        }
        if search.astray {
            let why = "it was renamed (redirect), and no layer below has what it was";
            return Err(lost(&self.path, why));
        }
        let mut places = search.places(&self.path, &level.places);
        let mut mode = mode;
        if mode != Lists::Whole {
            let same = if search.redirected {
                let below: Vec<Place> =
                    places.iter().filter(|p| p.layer >= BELOW).cloned().collect();
                let old = self.old_of(merged)?.unwrap_or_default();
                let at = |places: &[Place]| -> Vec<_> {
                    places.iter().map(|place| (place.layer, place.path(&self.path))).collect()
                };
                !below.is_empty() && at(&below) == at(&old)
            } else {
                !search.done
            };
            if same {
                places.retain(|place| place.layer < BELOW);
            } else {
                item.replaces = true;
                mode = Lists::Whole;
            }
        }
        self.enter = Some(Enter { places, mode, id });
        Ok(())
    }

    /// Looks for the present entry through the layers; without a redirect the parent's only where `deep`.
    fn search(&self, deep: bool) -> Result<Search> {
        let (above, name) = split(&self.path);
        let mut search = Search::new(name);
        let Some(level) = self.levels.last() else { return Ok(search) };
        let all = self.stack.len();
        if level.mode == Lists::Whole {
            self.stack.run(&mut search, &level.places, above, 0..all)?;
            return Ok(search);
        }
        self.stack.run(&mut search, &level.places, above, 0..BELOW)?;
        if deep || search.redirected {
            let below = match level.mode {
                Lists::Changes => self.old_places()?.unwrap_or_default(),
                Lists::Opaque | Lists::Whole => &[],
            };
            self.stack.run(&mut search, below, above, BELOW..all)?;
        }
        Ok(search)
    }

    /// The parts of the parent's directory at the path of the last level.
    fn old_places(&self) -> Result<Option<&[Place]>> {
        let mut known: Option<&[Place]> = None;
        let mut above = 0;
        let start = self.levels.iter().rposition(|level| level.old.get().is_some()).unwrap_or(0);
        for level in self.levels.iter().skip(start) {
            if level.old.get().is_none() {
                let path = self.path.get(..level.path).unwrap_or_default();
                let found = match known {
                    None => None,
                    Some(places) => self.parts_below(places, above, path)?,
                };
                let _ = level.old.set(found);
            }
            known = level.old.get().and_then(|old| old.as_deref());
            above = level.path;
        }
        Ok(known)
    }

    /// As [`Self::old_places`], of the present entry, whose directory is at `merged`.
    fn old_of(&self, merged: &[u8]) -> Result<Option<Vec<Place>>> {
        match self.old_places()? {
            None => Ok(None),
            Some(places) => self.parts_below(places, merged.len(), &self.path),
        }
    }

    /// The parts, in the layers below, of the directory at `path`, whose parent's path is `above` bytes long and has those parts.
    fn parts_below(
        &self,
        places: &[Place],
        above: usize,
        path: &[u8],
    ) -> Result<Option<Vec<Place>>> {
        let merged = path.get(..above).unwrap_or_default();
        let mut search = Search::new(split(path).1);
        self.stack.run(&mut search, places, merged, BELOW..self.stack.len())?;
        Ok(search.is_dir().then(|| search.places(path, places)))
    }

    /// Makes the directory of the last level that has the present entry the open one; tells whether it is still there.
    fn reach(&mut self, part: usize) -> Result<bool> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        if level.open.as_ref().is_some_and(|(open, _)| *open == part) {
            return Ok(true);
        }
        let Some(place) = level.places.get(part) else { return Ok(false) };
        let path = place.path(self.path.get(..level.path).unwrap_or_default());
        let Held::File(fd, stat) = self.stack.find(place.layer, &path)? else { return Ok(false) };
        if level.ids.get(part).copied().flatten() != Some(Identity::from(&*stat)) {
            return Ok(false);
        }
        level.open = Some((part, fd));
        Ok(true)
    }

    /// Enters the directory at the present path; the uppermost part must be `id`, or it was replaced since it was looked at.
    fn push(&mut self, places: Vec<Place>, mode: Lists, id: Option<Identity>) -> Result<()> {
        let mut level = Level {
            ids: vec![None; places.len()],
            places,
            mode,
            open: None,
            names: Vec::new().into_iter(),
            path: self.path.len(),
            old: OnceCell::new(),
        };
        let mut names = Vec::new();
        for part in (0..level.places.len()).rev() {
            let opened = self.open_part(&level, part).and_then(|fd| {
                let found = Identity::from(&rustix::fs::fstat(&fd)?);
                let read = read_names(fd.as_fd())?;
                Ok((fd, found, read))
            });
            let (fd, found, read) = match opened {
                Ok(opened) => opened,
                Err(e) if is_change(e) => continue,
                Err(e) => return Err(failed(&self.path, e)),
            };
            if part == 0 && id.is_some_and(|id| id != found) {
                return Ok(());
            }
            names.extend(read.into_iter().map(|name| (name.bytes, part)));
            if let Some(slot) = level.ids.get_mut(part) {
                *slot = Some(found);
            }
            level.open = Some((part, fd));
        }
        names.sort_unstable();
        names.dedup_by(|later, first| later.0 == first.0);
        level.names = names.into_iter();
        let old = self.levels.len().checked_sub(OPEN_LEVELS);
        if let Some(above) = old.and_then(|n| self.levels.get_mut(n)) {
            above.open = None;
        }
        self.levels.push(level);
        Ok(())
    }

    /// Opens one part of a level about to be entered, by the directory above where that is the open one.
    fn open_part(&self, level: &Level, part: usize) -> rustix::io::Result<OwnedFd> {
        let place = level.places.get(part).ok_or(Errno::BADF)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let above = self.levels.last().and_then(|above| {
            let (open, fd) = above.open.as_ref()?;
            (above.places.get(*open) == Some(place)).then_some(fd)
        });
        if let Some(above) = above {
            return rustix::fs::openat(above, split(&self.path).1, flags, Mode::empty());
        }
        match self.stack.look(place.layer, &place.path(&self.path))? {
            Held::File(fd, _) => rustix::fs::openat(&fd, ".", flags, Mode::empty()),
            Held::Missing | Held::Hidden => Err(Errno::NOENT),
        }
    }

    /// Leaves the last level, whose parent may have been closed meanwhile.
    fn leave(&mut self) -> Result<()> {
        let (Some(done), Some(above)) = (self.levels.pop(), self.levels.last_mut()) else {
            return Ok(());
        };
        if above.open.is_some() {
            return Ok(());
        }
        let Some((part, fd)) = &done.open else { return Ok(()) };
        let Some(place) = done.places.get(*part) else { return Ok(()) };
        let Some(at) = above.places.iter().position(|p| p == place) else { return Ok(()) };
        let id = above.ids.get(at).copied().flatten();
        let parent = open_parent(fd.as_fd(), id).map_err(|e| failed(&self.path, e))?;
        above.open = Some((at, parent));
        Ok(())
    }
}
