//! Removing a tree of any depth, with whatever is mounted in it, and nothing outside it (`overlay-driver.md` ARC-2, DEF-23).
//!
//! The walk goes by directory descriptors and file names, never by paths, so that neither depth nor a symbolic link that somebody puts
//! in a directory's place misleads it. It never enters a mount: what is mounted is detached, its content is another's.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::sys::mount::mounts_below;
use crate::{Error, ErrorKind, Result};

/// How many directories of the present branch are kept open; the way up from the others goes through `..`.
const OPEN_LEVELS: usize = 32;

/// How often one entry may be busy, or a directory not empty after it was emptied, before that is an error.
const ATTEMPTS: usize = 10;

const PAUSE: Duration = Duration::from_millis(10);

/// Removes what is at `path`, a directory with all its content too. Nothing there is success. Symbolic links are removed, not
/// followed; what is mounted at or below `path` is detached.
///
/// # Errors
/// The first entry that does not go, by its path; what was removed till then stays removed.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let Some(name) = path.file_name() else {
        return Err(Error::new(ErrorKind::InvalidArgument, "removing")
            .path(path)
            .detail("it has no name of its own"));
    };
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let failed = |e: Errno| Error::io("removing", path, e);
    let name = CString::new(name.as_bytes()).map_err(|_| failed(Errno::INVAL))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent_fd = match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(e) => return Err(failed(e)),
    };
    let mut walk = Walk { path, above: parent_fd, branch: Vec::new() };
    walk.run(name)
}

struct Walk<'a> {
    path: &'a Path,
    /// The directory that holds the root of the tree; not ours to change.
    above: OwnedFd,
    branch: Vec<Level>,
}

/// A directory of the branch that the walk is in.
struct Level {
    name: CString,
    /// Closed while the walk is far below.
    fd: Option<OwnedFd>,
    identity: (u64, u64),
    /// Subdirectories seen and not yet removed.
    pending: Vec<CString>,
    /// How often it turned out not to be empty in the end.
    returns: usize,
}

/// What became of an attempt to remove one name.
enum Outcome {
    Gone,
    Directory,
}

impl Walk<'_> {
    fn run(&mut self, root: CString) -> Result<()> {
        match self.unlink(&root)? {
            Outcome::Gone => return Ok(()),
            Outcome::Directory => self.enter(root)?,
        }
        while let Some(level) = self.branch.last_mut() {
            match level.pending.pop() {
                Some(name) => self.enter(name)?,
                None => self.leave()?,
            }
        }
        Ok(())
    }

    /// The descriptor of the directory that the walk is in.
    fn here(&self) -> Result<BorrowedFd<'_>> {
        match self.branch.last() {
            None => Ok(self.above.as_fd()),
            Some(Level { fd: Some(fd), .. }) => Ok(fd.as_fd()),
            Some(_) => Err(Error::new(ErrorKind::Internal, "removing").path(self.path)),
        }
    }

    fn failure(&self, name: &CStr, e: Errno) -> Error {
        let mut path = match self.branch.split_first() {
            None => return Error::io("removing", self.path, e),
            Some((_, below)) => below
                .iter()
                .fold(self.path.to_path_buf(), |p, l| p.join(OsStr::from_bytes(l.name.to_bytes()))),
        };
        path.push(OsStr::from_bytes(name.to_bytes()));
        Error::io("removing", path, e)
    }

    /// Removes `name` in the present directory unless it is a directory.
    fn unlink(&self, name: &CStr) -> Result<Outcome> {
        let is_directory = |walk: &Self| -> Result<bool> {
            let stat = rustix::fs::statat(walk.here()?, name, AtFlags::SYMLINK_NOFOLLOW);
            Ok(stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory))
        };
        self.insist(name, |walk| {
            match rustix::fs::unlinkat(walk.here()?, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(Ok(Outcome::Gone)),
                // Linux says EISDIR, POSIX EPERM, a directory without write permission EACCES before either.
                Err(Errno::ISDIR) => Ok(Ok(Outcome::Directory)),
                Err(Errno::PERM | Errno::ACCESS | Errno::BUSY) if is_directory(walk)? => {
                    Ok(Ok(Outcome::Directory))
                }
                Err(e) => Ok(Err(e)),
            }
        })
    }

    /// Opens the subdirectory `name`, removes what is no directory in it, and makes it the present directory.
    fn enter(&mut self, name: CString) -> Result<()> {
        let opened = self.insist(&name, |walk| {
            let here = walk.here()?;
            let mut opened = open_below(here, &name);
            if opened.as_ref().is_err_and(|e| *e == Errno::ACCESS) && make_accessible(here, &name) {
                opened = open_below(here, &name);
            }
            match opened {
                Ok(fd) => Ok(Ok(Some(fd))),
                Err(Errno::NOENT) => Ok(Ok(None)),
                // Somebody put another thing in its place.
                Err(Errno::NOTDIR | Errno::LOOP) => walk.unlink(&name).map(|_| Ok(None)),
                Err(e) => Ok(Err(e)),
            }
        })?;
        let Some(fd) = opened else { return Ok(()) };
        let identity = identity_of(&fd).map_err(|e| self.failure(&name, e))?;
        let far = self.branch.len().checked_sub(OPEN_LEVELS);
        if let Some(level) = far.and_then(|far| self.branch.get_mut(far)) {
            level.fd = None;
        }
        self.branch.push(Level { name, fd: Some(fd), identity, pending: Vec::new(), returns: 0 });
        self.scan()
    }

    /// Reads the present directory: removes what is no directory, notes what is one.
    fn scan(&mut self) -> Result<()> {
        let mut pending = Vec::new();
        let mut entries = Dir::read_from(self.here()?).map_err(|e| self.failure(c".", e))?;
        while let Some(entry) = entries.read() {
            let entry = entry.map_err(|e| self.failure(c".", e))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if entry.file_type() == FileType::Directory
                || matches!(self.unlink(name)?, Outcome::Directory)
            {
                pending.push(name.to_owned());
            }
        }
        if let Some(level) = self.branch.last_mut() {
            level.pending = pending;
        }
        Ok(())
    }

    /// Goes up from the present directory, whose subdirectories are gone, and removes it.
    fn leave(&mut self) -> Result<()> {
        let Some(mut level) = self.branch.pop() else { return Ok(()) };
        if let (Some(Level { fd: fd @ None, identity, name, .. }), Some(child)) =
            (self.branch.last_mut(), &level.fd)
        {
            let up = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(child, c"..", up, Mode::empty())
                .and_then(|up| identity_of(&up).map(|found| (up, found)));
            match opened {
                Ok((up, found)) if found == *identity => *fd = Some(up),
                Ok(_) => {
                    let name = name.clone();
                    return Err(self
                        .failure(&name, Errno::STALE)
                        .detail("the tree is moved while it is removed"));
                }
                Err(e) => {
                    let name = name.clone();
                    return Err(self.failure(&name, e));
                }
            }
        }
        let gone = self.insist(&level.name, |walk| {
            match rustix::fs::unlinkat(walk.here()?, &*level.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(Ok(true)),
                Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Ok(false)),
                Err(e) => Ok(Err(e)),
            }
        })?;
        if gone {
            return Ok(());
        }
        // Something came after the reading, or the reading skipped it because of the removals in between.
        level.returns += 1;
        if level.returns > ATTEMPTS {
            return Err(self.failure(&level.name, Errno::NOTEMPTY));
        }
        self.branch.push(level);
        self.scan()
    }

    /// Runs `step` on the entry `name` of the present directory until it works, removing what usually stands in the way: mounts,
    /// and missing permissions on a directory of the tree.
    fn insist<T>(
        &self,
        name: &CStr,
        step: impl Fn(&Self) -> Result<std::result::Result<T, Errno>>,
    ) -> Result<T> {
        let mut attempts = 0;
        loop {
            let errno = match step(self)? {
                Ok(done) => return Ok(done),
                Err(e) => e,
            };
            attempts += 1;
            let curable = match errno {
                _ if attempts > ATTEMPTS => false,
                Errno::BUSY | Errno::XDEV => {
                    // A detaching that fails is tried again with the entry, like one that comes too late.
                    if !matches!(detach_below(self.path), Ok(true)) {
                        std::thread::sleep(PAUSE);
                    }
                    true
                }
                Errno::ACCESS if attempts == 1 && !self.branch.is_empty() => {
                    rustix::fs::fchmod(self.here()?, Mode::RWXU).is_ok()
                }
                Errno::INTR | Errno::AGAIN => true,
                _ => false,
            };
            if !curable {
                return Err(self.failure(name, errno));
            }
        }
    }
}

/// Opens a directory for reading, without following a link; EXDEV if it is a mount.
fn open_below(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        // Kernels before 5.6, and the seccomp profiles of containers.
        Err(Errno::NOSYS | Errno::PERM) => {}
        outcome => return outcome,
    }
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let (outer, inner) = (mount_of(dir)?, mount_of(fd.as_fd())?);
    if outer == inner { Ok(fd) } else { Err(Errno::XDEV) }
}

/// The mount id where the kernel tells (5.8), else the device, which a bind mount shares with what it shows.
fn mount_of(fd: BorrowedFd<'_>) -> std::result::Result<(bool, u64), Errno> {
    match rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
        Ok(stat) if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 => Ok((true, stat.stx_mnt_id)),
        _ => Ok((false, rustix::fs::fstat(fd)?.st_dev)),
    }
}

fn identity_of(fd: &OwnedFd) -> std::result::Result<(u64, u64), Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Gives the owner all permissions on the directory `name`, through a descriptor that does not follow a link.
fn make_accessible(dir: BorrowedFd<'_>, name: &CStr) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
        .and_then(|fd| rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::RWXU))
        .is_ok()
}

/// Detaches what is mounted at `path` or below it, the innermost first, and says whether there was something.
fn detach_below(path: &Path) -> Result<bool> {
    let mounts = mounts_below(path)?;
    for mount in &mounts {
        match rustix::mount::unmount(mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // EINVAL: it went with one that it was mounted under.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(e) => return Err(Error::io("unmounting", mount, e)),
        }
    }
    Ok(!mounts.is_empty())
}

#[cfg(test)]
mod tests;
