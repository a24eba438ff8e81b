//! Other owners for all that is in a tree: from one pair of id maps to another (`overlay-driver.md` MAP-3 to MAP-6, DEF-6).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::names::{self, show, split};
use super::pool::{Pool, processors};
use super::walk::{Item, Walk};
use super::xattrs;
use crate::sys::beneath::{Beneath, Found, Identity};
use crate::{Error, ErrorKind, IdMaps, Result};

/// Files of a directory that one thread takes at once.
const BATCH: usize = 64;

/// Batches that wait for a thread; each holds a descriptor.
const AHEAD: usize = 64;

const CAPABILITY: &[u8] = b"security.capability";

/// Changes the owners of what is below `root`, itself not included: a host id is taken for the id inside that `to_container` has for it,
/// and becomes the host id that `to_host` has for that; files keep their capabilities and set-id bits, and names of one file stay
/// names of one file also where an overlay copies it up.
///
/// Root's files are root's also where `to_container` does not map root; an id inside that is not mapped becomes 65534, the
/// overflow id.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for an owner that `to_container` does not map; [`ErrorKind::Io`] when a system call fails. Both name
/// the file; what was changed until then stays.
pub fn change_owners(root: BorrowedFd<'_>, to_container: &IdMaps, to_host: &IdMaps) -> Result<()> {
    let change = Change {
        to_container: to_container.clone(),
        to_host: to_host.clone(),
        root: to_host.root()?,
    };
    let mut crew = Crew::start(change, processors())?;
    let mut links = Links::default();
    let mut walk = Walk::new(root).map_err(|e| failed(b".", e))?;
    while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
        if !links.is_another(walk.path(), &item) {
            crew.give(&walk, item)?;
        }
    }
    crew.finish()?;
    links.join_again(root)
}

fn failed(path: &[u8], e: Errno) -> Error {
    Error::new(ErrorKind::Io, format!("changing the owner of {}", show(path)))
        .caused_by(std::io::Error::from(e))
}

/// Some entries of one directory.
struct Batch {
    dir: OwnedFd,
    path: Vec<u8>,
    names: Vec<Item>,
}

#[derive(Clone)]
struct Change {
    to_container: IdMaps,
    to_host: IdMaps,
    /// Root's of `to_host`.
    root: (u32, u32),
}

impl Change {
    /// The owner that a file is to have; `None` if the one that it has is not mapped.
    fn wanted(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let inside = self.to_container.to_container(uid, gid);
        // Layers whose parents should have had mapped owners and have not.
        let (uid, gid) = inside.or(((uid, gid) == (0, 0)).then_some((0, 0)))?;
        let host = self.to_host.to_host_or_overflow(uid, gid);
        Some((
            if uid == self.root.0 { uid } else { host.0 },
            if gid == self.root.1 { gid } else { host.1 },
        ))
    }

    fn apply_all(&self, batch: &Batch) -> Result<()> {
        batch.names.iter().try_for_each(|item| self.apply(batch, item))
    }

    fn apply(&self, batch: &Batch, item: &Item) -> Result<()> {
        let path = || names::join(&batch.path, &item.name);
        let (uid, gid) = (item.stat.st_uid, item.stat.st_gid);
        let Some(wanted) = self.wanted(uid, gid) else {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("changing the owner of {}", show(&path())),
            )
            .detail(format!("its owner {uid}:{gid} is not in the id maps that the layer has")));
        };
        if wanted == (uid, gid) {
            return Ok(());
        }
        change_owner(batch.dir.as_fd(), item, wanted).map_err(|e| failed(&path(), e))
    }
}

/// MAP-5: a change of the owner takes away what gives its users rights.
fn change_owner(
    dir: BorrowedFd<'_>,
    item: &Item,
    (uid, gid): (u32, u32),
) -> std::result::Result<(), Errno> {
    let name = item.name.as_slice();
    let capability = match item.kind() {
        FileType::RegularFile => match xattrs::get(dir, name, CAPABILITY) {
            // One that belongs to another user namespace.
            Err(Errno::OVERFLOW) => None,
            found => found?,
        },
        _ => None,
    };
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(dir, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    if item.kind() != FileType::Symlink && item.stat.st_mode & 0o6000 != 0 {
        set_mode(dir, name, item.stat.st_mode & 0o7777)?;
    }
    if let Some(value) = capability {
        let path = xattrs::entry_path(dir, name);
        rustix::fs::lsetxattr(path.as_slice(), CAPABILITY, &value, XattrFlags::empty())?;
    }
    Ok(())
}

/// A link that somebody puts in the place of the file is not followed.
fn set_mode(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> std::result::Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))
}

/// The threads, and what the walk has for them.
struct Crew {
    change: Change,
    /// None on a single processor, where handing over gains nothing.
    pool: Option<Pool<Batch, Result<()>>>,
    batch: Option<Batch>,
}

impl Crew {
    fn start(change: Change, threads: usize) -> Result<Self> {
        let start = || {
            let change = change.clone();
            Pool::start("orlop-owner", threads, move |batch: Batch| change.apply_all(&batch))
                .map_err(|e| failed(b".", Errno::from_io_error(&e).unwrap_or(Errno::AGAIN)))
        };
        let pool = (threads > 1).then(start).transpose()?;
        Ok(Self { change, pool, batch: None })
    }

    /// Hands the present entry of the walk over, with others of its directory.
    fn give(&mut self, walk: &Walk, item: Item) -> Result<()> {
        let (parent, _) = split(walk.path());
        let fits = |b: &Batch| b.names.len() < BATCH && b.path == parent;
        if !self.batch.as_ref().is_some_and(fits) {
            self.submit()?;
            let dir = walk
                .dir()
                .and_then(|d| rustix::io::fcntl_dupfd_cloexec(d, 0))
                .map_err(|e| failed(walk.path(), e))?;
            self.batch = Some(Batch { dir, path: parent.to_vec(), names: Vec::new() });
        }
        if let Some(batch) = &mut self.batch {
            batch.names.push(item);
        }
        Ok(())
    }

    fn submit(&mut self) -> Result<()> {
        let Some(batch) = self.batch.take() else { return Ok(()) };
        while self.pool.as_ref().is_some_and(|pool| pool.pending() >= AHEAD) {
            self.collect()?;
        }
        match &mut self.pool {
            Some(pool) => pool.submit(batch).map_err(|e| stopped().caused_by(e)),
            None => self.change.apply_all(&batch),
        }
    }

    /// Waits for the oldest batch; says whether there was one.
    fn collect(&mut self) -> Result<bool> {
        match self.pool.as_mut().and_then(Pool::collect) {
            Some(outcome) => outcome.map_err(|e| stopped().caused_by(e))?.map(|()| true),
            None => Ok(false),
        }
    }

    fn finish(mut self) -> Result<()> {
        self.submit()?;
        while self.collect()? {}
        Ok(())
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Internal, "changing owners")
}

/// Files of several names: the first one met is changed, the others are joined to it again in the end.
#[derive(Default)]
struct Links {
    first: HashMap<Identity, First>,
    /// The directory of the last name, which the next one is often in too.
    dir: Rc<[u8]>,
}

/// The first name of a file. Nothing is kept of its others, which may be many.
struct First {
    dir: Rc<[u8]>,
    name: Box<[u8]>,
    /// Whether another one was met.
    has_others: bool,
}

impl First {
    fn path(&self) -> Vec<u8> {
        names::join(&self.dir, &self.name)
    }
}

impl Links {
    fn is_another(&mut self, path: &[u8], item: &Item) -> bool {
        if item.stat.st_nlink < 2 || item.kind() == FileType::Directory {
            return false;
        }
        match self.first.entry(Identity::from(&item.stat)) {
            Entry::Occupied(first) => {
                first.into_mut().has_others = true;
                true
            }
            Entry::Vacant(vacant) => {
                let (dir, name) = split(path);
                if *self.dir != *dir {
                    self.dir = dir.into();
                }
                let dir = Rc::clone(&self.dir);
                vacant.insert(First { dir, name: name.into(), has_others: false });
                false
            }
        }
    }

    /// MAP-6: without an index, an overlay copies up one name of a file, and the others are left with the file below.
    fn join_again(mut self, root: BorrowedFd<'_>) -> Result<()> {
        self.first.retain(|_, first| first.has_others);
        let below = Beneath::new(root);
        let mut apart = HashMap::new();
        for (id, first) in self.first {
            let path = first.path();
            match below.look(&path).map_err(|e| failed(&path, e))? {
                // In any other tree all names have the new owner with the first.
                Found::File(stat) if Identity::from(&*stat) == id => {}
                Found::File(_) => drop(apart.insert(id, first)),
                Found::Missing | Found::Hidden => {}
            }
        }
        if apart.is_empty() {
            return Ok(());
        }
        let mut walk = Walk::new(root).map_err(|e| failed(b".", e))?;
        // Not by how many names a file has: that number falls meanwhile.
        while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
            if let Some(first) = apart.get(&Identity::from(&item.stat)) {
                let joined = walk.dir().and_then(|dir| join(below, (dir, &item.name), first));
                joined.map_err(|e| failed(walk.path(), e))?;
            }
        }
        Ok(())
    }
}

/// Makes an entry another name of the file that the first one is now.
fn join(
    below: Beneath<'_>,
    (dir, name): (BorrowedFd<'_>, &[u8]),
    first: &First,
) -> std::result::Result<(), Errno> {
    let first_dir = below.directory(&first.dir, None)?;
    let about = rustix::fs::fstat(dir)?;
    rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
    rustix::fs::linkat(&first_dir, &*first.name, dir, name, AtFlags::empty())?;
    // The directory was not changed as far as its users can tell.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
    rustix::fs::futimens(&dir, &times(&about))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, nanos: u64| Timespec { tv_sec, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
