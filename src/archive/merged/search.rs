//! What a name stands for in the layers, found as the kernel finds it (`ovl_lookup`, Linux 6.18).

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::marks::{Metacopy, Redirect, path_of};
use super::place::Place;
use super::{Upper, failed};
use crate::Result;
use crate::archive::names::join;
use crate::archive::pack::is_whiteout;
use crate::archive::xattrs;
use crate::sys::beneath::{Beneath, Held};

/// The number of the first layer below the upper.
pub(super) const BELOW: usize = 1;

/// All layers, the upper first.
pub(super) struct Stack<'a> {
    layers: Vec<Beneath<'a>>,
    pub(super) prefix: &'a str,
}

/// A file that a layer has.
pub(super) struct Hit {
    pub(super) layer: usize,
    /// Its path there.
    pub(super) path: Vec<u8>,
    /// An `O_PATH` descriptor.
    pub(super) fd: OwnedFd,
    pub(super) stat: Box<Stat>,
    /// Set on a file whose data are further below.
    pub(super) metacopy: Option<Metacopy>,
}

impl Hit {
    fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }
}

/// What is looked for from layer to layer; marks on the way change it.
enum Want {
    Name(Vec<u8>),
    /// Components from the root.
    Path(Vec<Vec<u8>>),
}

/// A search from above to below, which can be interrupted between two layers.
pub(super) struct Search {
    want: Want,
    /// Nothing further below counts.
    pub(super) done: bool,
    /// A redirect was followed.
    pub(super) redirected: bool,
    /// The last hit is redirected, and nothing was found there yet.
    pub(super) astray: bool,
    /// What was found, the uppermost first: the parts of a directory, or a file and what its data come from.
    pub(super) hits: Vec<Hit>,
}

impl Search {
    pub(super) fn new(name: &[u8]) -> Self {
        Self {
            want: Want::Name(name.to_vec()),
            done: false,
            redirected: false,
            astray: false,
            hits: Vec::new(),
        }
    }

    /// Whether directories were found.
    pub(super) fn is_dir(&self) -> bool {
        self.hits.first().is_some_and(Hit::is_dir)
    }

    /// The directories found, as parts of the one at `merged` whose parent's parts are `above`.
    pub(super) fn places(&self, merged: &[u8], above: &[Place]) -> Vec<Place> {
        let place = |hit: &Hit| {
            let like = above.iter().find(|place| place.layer == hit.layer);
            Place::at(hit.layer, &hit.path, merged, like)
        };
        self.hits.iter().map(place).collect()
    }
}

impl<'a> Stack<'a> {
    pub(super) fn new(upper: &Upper<'a>) -> Self {
        let all = std::iter::once(&upper.own).chain(upper.lowers);
        Self { layers: all.map(|fd| Beneath::new(*fd)).collect(), prefix: upper.prefix }
    }

    pub(super) fn len(&self) -> usize {
        self.layers.len()
    }

    /// The layers below the upper.
    pub(super) fn lowers(&self) -> &[Beneath<'a>] {
        self.layers.get(BELOW..).unwrap_or_default()
    }

    /// What a layer has at a path.
    pub(super) fn look(&self, layer: usize, path: &[u8]) -> rustix::io::Result<Held> {
        self.layers.get(layer).map_or(Ok(Held::Missing), |root| root.find(path))
    }

    /// As [`Stack::look`].
    pub(super) fn find(&self, layer: usize, path: &[u8]) -> Result<Held> {
        self.look(layer, path).map_err(|e| failed(path, e))
    }

    /// Goes on with a search in the directory at `merged`, whose parts are `places`, through the layers of that range.
    pub(super) fn run(
        &self,
        search: &mut Search,
        places: &[Place],
        merged: &[u8],
        layers: Range<usize>,
    ) -> Result<()> {
        let mut next = layers.start;
        while !search.done && next < layers.end {
            if let Want::Name(name) = &search.want {
                let of_range = |place: &&Place| (next..layers.end).contains(&place.layer);
                let Some(place) = places.iter().find(of_range) else { break };
                next = place.layer;
                let path = join(&place.path(merged), name);
                if let Held::File(fd, stat) = self.find(next, &path)? {
                    self.take(search, Hit { layer: next, path, fd, stat, metacopy: None })?;
                }
            } else {
                self.descend(search, next)?;
            }
            next += 1;
        }
        Ok(())
    }

    /// Looks for a path in one layer. Directories on the way may be redirected themselves, which counts for the layers below.
    fn descend(&self, search: &mut Search, layer: usize) -> Result<()> {
        let Want::Path(parts) = &search.want else { return Ok(()) };
        let names = parts.clone();
        let mut path = Vec::new();
        for (n, name) in names.iter().enumerate() {
            path = join(&path, name);
            let behind = names.len() - n - 1;
            match self.find(layer, &path)? {
                Held::Missing => return Ok(()),
                Held::Hidden => {
                    search.done = true;
                    return Ok(());
                }
                Held::File(fd, stat) if behind == 0 => {
                    let hit = Hit { layer, path, fd, stat, metacopy: None };
                    return self.take(search, hit);
                }
                Held::File(fd, stat) => {
                    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                        search.done = true;
                        return Ok(());
                    }
                    if self.is_opaque(fd.as_fd(), &path)? {
                        search.done = true;
                    } else {
                        self.redirect(search, fd.as_fd(), &path, behind)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts what a layer has, if those above let it be seen.
    fn take(&self, search: &mut Search, mut hit: Hit) -> Result<()> {
        let kind = FileType::from_raw_mode(hit.stat.st_mode);
        let above = search.hits.last().map(Hit::is_dir);
        let fits = match above {
            None => true,
            Some(true) => kind == FileType::Directory,
            // Only the data of a file without them are looked for below it.
            Some(false) => kind == FileType::RegularFile,
        };
        if is_whiteout(&hit.stat) || !fits {
            search.done = true;
            return Ok(());
        }
        let goes_on = match kind {
            FileType::Directory => !self.is_opaque(hit.fd.as_fd(), &hit.path)?,
            FileType::RegularFile => {
                let mark =
                    self.mark(hit.fd.as_fd(), "metacopy").map_err(|e| failed(&hit.path, e))?;
                hit.metacopy = mark.map(|value| Metacopy::parse(&value, &hit.path)).transpose()?;
                hit.metacopy.is_some()
            }
            _ => false,
        };
        search.astray = goes_on && self.redirect(search, hit.fd.as_fd(), &hit.path, 0)?;
        search.done |= !goes_on;
        search.hits.push(hit);
        Ok(())
    }

    /// Follows a file's redirect for the layers below, and tells whether it has one; `behind` components are wanted below the file.
    fn redirect(
        &self,
        search: &mut Search,
        fd: BorrowedFd<'_>,
        path: &[u8],
        behind: usize,
    ) -> Result<bool> {
        let Some(value) = self.mark(fd, "redirect").map_err(|e| failed(path, e))? else {
            return Ok(false);
        };
        search.redirected = true;
        match (Redirect::parse(&value, path)?, &mut search.want) {
            (Redirect::Path(parts), want) => {
                let rest = match want {
                    Want::Path(old) => old.split_off(old.len().saturating_sub(behind)),
                    Want::Name(_) => Vec::new(),
                };
                *want = Want::Path(parts.into_iter().chain(rest).collect());
                // An opaque directory on the way here does not hide what is elsewhere.
                search.done = false;
            }
            (Redirect::Name(name), Want::Name(old)) => *old = name,
            (Redirect::Name(name), Want::Path(old)) => {
                let at = old.len().saturating_sub(behind + 1);
                if let Some(part) = old.get_mut(at) {
                    *part = name;
                }
            }
        }
        Ok(true)
    }

    fn is_opaque(&self, fd: BorrowedFd<'_>, path: &[u8]) -> Result<bool> {
        let mark = self.mark(fd, "opaque").map_err(|e| failed(path, e))?;
        Ok(mark.as_deref() == Some(b"y"))
    }

    /// The value of one of the kernel's marks; what has vanished, as it can from file systems in user space, has none. Without /proc
    /// nothing is known.
    pub(super) fn mark(
        &self,
        fd: BorrowedFd<'_>,
        mark: &str,
    ) -> rustix::io::Result<Option<Vec<u8>>> {
        let path = path_of(fd);
        match xattrs::get_at(&path, [self.prefix, mark].concat().as_bytes()) {
            Err(Errno::NOENT) if rustix::fs::lstat(&*path).is_ok() => Ok(None),
            found => found,
        }
    }
}
