//! Descriptors of the directories that members go to, kept so that neighbours do not look them up again.

use std::cell::Cell;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::{Errno, Result};

use super::attributes::Present;
use super::descriptors::Descriptors;
use crate::archive::names::{show, split};
use crate::sys::beneath::{Beneath, Identity};

/// How long the paths of those that are kept are together, about. Longer ones are made in ill will.
const PATHS: usize = 4 << 20;

/// An open directory.
pub(crate) struct Dir {
    pub(crate) fd: OwnedFd,
    pub(crate) id: Identity,
    /// What new files get in it, if one has been looked at: an owner, and all of these bits of the mode asked for.
    gives: Cell<Option<Present>>,
}

impl Dir {
    fn new(fd: OwnedFd, id: Identity) -> Self {
        Self { fd, id, gives: Cell::new(None) }
    }

    /// What a new file has for which `mode` was asked. Set-group-ID bits, access lists and the umask decide that for
    /// all files of the directory alike: most need not be looked at.
    pub(super) fn look_at_new(&self, file: &OwnedFd, mode: Mode) -> Result<Present> {
        let asked = mode.as_raw_mode();
        let known = self.gives.get();
        if let Some(gives) = known.filter(|gives| asked & !gives.mode == 0) {
            return Ok(Present { mode: asked, ..gives });
        }
        let present = Present::from(&rustix::fs::fstat(file)?);
        let before = known.map_or(0, |gives| gives.mode);
        self.gives.set(Some(Present { mode: before | asked & present.mode, ..present }));
        Ok(present)
    }
}

/// Directories by their cleaned path, the longest unused one going first.
pub(crate) struct Parents<'fd> {
    beneath: Beneath<'fd>,
    root: Rc<Dir>,
    last: (Vec<u8>, Rc<Dir>),
    kept: HashMap<Vec<u8>, (Rc<Dir>, u64)>,
    /// Bytes in the paths of those.
    paths: usize,
    descriptors: Descriptors,
    clock: u64,
    implied: Implied,
}

/// What missing parents get.
#[derive(Clone, Copy, Default)]
pub(crate) struct Implied {
    /// A mode of 0755 whatever the umask, as in a full tree; else 0777 less the umask.
    pub(crate) full: bool,
    /// Under id maps, the owner that root inside is on the host (UNP-7); else root's as far as we may, in a full tree the process's.
    pub(crate) root: Option<(u32, u32)>,
    /// An owner that cannot be set is passed over.
    pub(crate) forgiving: bool,
}

impl<'fd> Parents<'fd> {
    pub(crate) fn new(root: BorrowedFd<'fd>, implied: Implied) -> Result<Self> {
        let beneath = Beneath::new(root);
        let fd = beneath.directory(b".", None)?;
        let id = Identity::from(&rustix::fs::fstat(&fd)?);
        let root = Rc::new(Dir::new(fd, id));
        let last = (Vec::new(), Rc::clone(&root));
        let descriptors = Descriptors::of_process();
        Ok(Self {
            beneath,
            root,
            last,
            kept: HashMap::new(),
            paths: 0,
            descriptors,
            clock: 0,
            implied,
        })
    }

    /// The directory of a cleaned path; with `make` missing ones are made.
    pub(crate) fn get(&mut self, path: &[u8], make: bool) -> Result<Rc<Dir>> {
        if self.last.0 == path {
            return Ok(Rc::clone(&self.last.1));
        }
        let dir = match self.known(path) {
            Some(dir) => dir,
            None => {
                let dir = Rc::new(self.open(path, make)?);
                self.keep(path, &dir);
                dir
            }
        };
        self.last = (path.to_vec(), Rc::clone(&dir));
        Ok(dir)
    }

    /// Keeps a directory that was just made.
    pub(crate) fn put(&mut self, path: &[u8], fd: OwnedFd, id: Identity) {
        let dir = Rc::new(Dir::new(fd, id));
        self.keep(path, &dir);
        if self.last.0 == path {
            self.last.1 = dir;
        }
    }

    /// A directory or a symbolic link has gone, and any path may lead elsewhere now; or a directory has changed.
    pub(crate) fn forget(&mut self) {
        self.root.gives.set(None);
        self.kept.clear();
        self.paths = 0;
        self.last = (Vec::new(), Rc::clone(&self.root));
    }

    fn known(&mut self, path: &[u8]) -> Option<Rc<Dir>> {
        if path.is_empty() {
            return Some(Rc::clone(&self.root));
        }
        self.clock += 1;
        let (dir, used) = self.kept.get_mut(path)?;
        *used = self.clock;
        Some(Rc::clone(dir))
    }

    fn keep(&mut self, path: &[u8], dir: &Rc<Dir>) {
        if self.kept.len() >= self.descriptors.directories()
            || self.descriptors.are_scarce(&dir.fd)
            || self.paths + path.len() > PATHS
        {
            // A quarter at a time, so that the search for the oldest is rare.
            let mut ages: Vec<u64> = self.kept.values().map(|(_, used)| *used).collect();
            ages.sort_unstable();
            let limit = ages.get(ages.len() / 4).copied().unwrap_or(u64::MAX);
            self.kept.retain(|_, (_, used)| *used >= limit);
            self.paths = self.kept.keys().map(Vec::len).sum();
        }
        self.clock += 1;
        self.paths += path.len();
        self.kept.insert(path.to_vec(), (Rc::clone(dir), self.clock));
    }

    fn open(&mut self, path: &[u8], make: bool) -> Result<Dir> {
        let (parent, base) = split(path);
        let fd = match self.known(parent) {
            // One step from a known directory, unless it turns out to be a link.
            Some(dir) => match self.step(&dir, base, make) {
                Err(Errno::LOOP | Errno::NOTDIR) => self.look_up(path, make)?,
                other => other?,
            },
            None => self.look_up(path, make)?,
        };
        let id = Identity::from(&rustix::fs::fstat(&fd)?);
        Ok(Dir::new(fd, id))
    }

    fn step(&self, dir: &Dir, base: &[u8], make: bool) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir.fd, base, flags, Mode::empty()) {
            Err(Errno::NOENT) if make => {
                make_directory(dir.fd.as_fd(), base, self.implied)?;
                rustix::fs::openat(&dir.fd, base, flags, Mode::empty())
            }
            other => other,
        }
    }

    fn look_up(&self, path: &[u8], make: bool) -> Result<OwnedFd> {
        let implied = self.implied;
        let mut maker = |at: BorrowedFd<'_>, name: &[u8]| make_directory(at, name, implied);
        self.beneath.directory(path, make.then_some(&mut maker as _))
    }
}

fn make_directory(at: BorrowedFd<'_>, name: &[u8], implied: Implied) -> Result<()> {
    match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o777)) {
        Err(Errno::EXIST) => return Ok(()),
        other => other?,
    }
    let Implied { full, root: owner, forgiving } = implied;
    let stat = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    // The group comes from the parent where that has the set-group-ID bit; root's is wanted (UNP-7).
    let wanted = owner.unwrap_or((0, 0));
    if (owner.is_some() || !full) && (stat.st_uid, stat.st_gid) != wanted {
        let (uid, gid) = (Uid::from_raw(wanted.0), Gid::from_raw(wanted.1));
        match rustix::fs::chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => {}
            // A user without privileges keeps what is his.
            Err(Errno::PERM) if owner.is_none() => {}
            Err(error) if forgiving => {
                tracing::warn!(name = %show(name), uid = wanted.0, gid = wanted.1, %error, "owner not set");
            }
            Err(e) => return Err(e),
        }
    }
    if full {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(at, name, flags, Mode::empty())?;
        return rustix::fs::fchmod(fd, Mode::from_raw_mode(0o755 | stat.st_mode & 0o2000));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // ARC-5
    #[test]
    fn long_paths_need_little_memory() {
        let dir = tempfile::tempdir().unwrap();
        let root: OwnedFd = std::fs::File::open(dir.path()).unwrap().into();
        let mut parents = Parents::new(root.as_fd(), Implied::default()).unwrap();
        let id = parents.root.id;
        for n in 0..30 {
            parents.put(&vec![n; 1 << 20], root.try_clone().unwrap(), id);
        }
        let bytes: usize = parents.kept.keys().map(Vec::len).sum();
        assert!(bytes <= 8 << 20, "{bytes}");
        assert!(parents.known(&vec![29; 1 << 20]).is_some());
    }
}
