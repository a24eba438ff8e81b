//! Removing a tree of any depth, with whatever is mounted in it, and nothing outside it (`overlay-driver.md` ARC-2, DEF-23).
//!
//! The walk goes by directory descriptors and file names, never by paths, so that neither depth nor a symbolic link that somebody puts
//! in a directory's place misleads it. It never enters a mount: what is mounted is detached, its content is another's. A large tree
//! is emptied by several threads (`crew`).

mod crew;

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::sys::mount::mounts_below;
#[cfg(test)]
use crate::sys::refused::{self, Call};
use crate::sys::threads::spawn_scoped;
use crate::{Error, ErrorKind, Result};
use crew::{Crew, Job, Ticket};

/// How many directories of the present branch are kept open; the way up from the others goes through `..`.
const OPEN_LEVELS: usize = 16;

/// How many entries a walk has met before it shares its directories: what is small is gone before a thread has started.
const MANY: usize = 1024;

/// How many levels of a branch are shared, at most; the descriptors of these stay open.
const SHARED_LEVELS: usize = 8;

/// How many walks a thread that waits for another may begin one within the other.
const MAX_NESTED: usize = 2;

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
    let parent = path.parent().unwrap_or(Path::new(""));
    let parent_dir = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let failed = |e: Errno| Error::io("removing", path, e);
    let name = CString::new(name.as_bytes()).map_err(|_| failed(Errno::INVAL))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent_fd = match rustix::fs::open(parent_dir, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(e) => return Err(failed(e)),
    };
    let crew = Crew::default();
    std::thread::scope(|scope| {
        let _present = crew.presence();
        let hire = || {
            for _ in 0..crew::helpers() {
                let help = || crew.help(&|job| work(&crew, path, job, 0));
                // Without it there is one thread less.
                let _ = spawn_scoped(scope, "orlop-remove", help);
            }
        };
        let mut walk = Walk::new(&crew, path, parent.to_path_buf(), Arc::new(parent_fd), 0);
        walk.hire = Some(&hire);
        if let Err(error) = walk.run(name) {
            crew.fail(error);
        }
        crew.finish();
    });
    crew.into_failure().map_or(Ok(()), Err)
}

/// Empties and removes one subdirectory that a walk has shared.
fn work(crew: &Crew, tree: &Path, job: Job, nested: usize) {
    let mut walk = Walk::new(crew, tree, job.path, job.dir, nested);
    if let Err(error) = walk.run(job.name) {
        crew.fail(error);
    }
}

struct Walk<'a> {
    crew: &'a Crew,
    /// The root of the whole tree, below which mounts are detached.
    tree: &'a Path,
    /// The directory that holds the root of this walk, and its path; it is another's to remove.
    above: Arc<OwnedFd>,
    above_path: PathBuf,
    branch: Vec<Level>,
    /// How many entries it has met.
    met: usize,
    /// Gets the other threads; the first walk's alone, and once.
    hire: Option<&'a dyn Fn()>,
    /// How many walks of this thread wait for this one.
    nested: usize,
}

/// A directory of the branch that the walk is in.
struct Level {
    name: CString,
    /// Closed while the walk is far below.
    fd: Option<Arc<OwnedFd>>,
    identity: (u64, u64),
    /// Subdirectories seen and not yet removed.
    pending: Pending,
    /// How often it turned out not to be empty in the end.
    returns: usize,
}

enum Pending {
    Own(Vec<CString>),
    Shared(Ticket),
}

/// What became of an attempt to remove one name.
enum Outcome {
    Gone,
    Directory,
}

impl<'a> Walk<'a> {
    fn new(
        crew: &'a Crew,
        tree: &'a Path,
        above_path: PathBuf,
        above: Arc<OwnedFd>,
        nested: usize,
    ) -> Self {
        Self { crew, tree, above, above_path, branch: Vec::new(), met: 0, hire: None, nested }
    }

    /// Removes `root` with all that it holds, or returns as soon as another thread has failed.
    fn run(&mut self, root: CString) -> Result<()> {
        match self.unlink(&root)? {
            Outcome::Gone => return Ok(()),
            Outcome::Directory => self.enter(root)?,
        }
        while !self.branch.is_empty() {
            if self.met >= MANY {
                if let Some(hire) = self.hire.take() {
                    hire();
                }
                self.share();
            }
            match self.next() {
                Some(name) => self.enter(name)?,
                None if self.wait_for_others() => self.leave()?,
                None => break,
            }
        }
        Ok(())
    }

    /// The next subdirectory of the present directory.
    fn next(&mut self) -> Option<CString> {
        match &mut self.branch.last_mut()?.pending {
            Pending::Own(names) => names.pop(),
            Pending::Shared(ticket) => self.crew.next(*ticket),
        }
    }

    /// Lets other threads take what waits near the root of this walk.
    fn share(&mut self) {
        let last = self.branch.len().saturating_sub(1);
        for depth in 0..self.branch.len().min(SHARED_LEVELS) {
            // The one that this walk enters next is no work for others.
            let enough = if depth == last { 2 } else { 1 };
            let found = match self.branch.get_mut(depth) {
                Some(Level { fd: Some(fd), pending: Pending::Own(names), .. })
                    if names.len() >= enough =>
                {
                    (Arc::clone(fd), std::mem::take(names))
                }
                _ => continue,
            };
            let ticket = self.crew.share(found.0, self.path_of(depth), found.1);
            if let Some(level) = self.branch.get_mut(depth) {
                level.pending = Pending::Shared(ticket);
            }
        }
    }

    /// Waits until nobody is at a subdirectory of the present directory; `false` if the removal has failed elsewhere.
    fn wait_for_others(&mut self) -> bool {
        let Some(Level { pending, .. }) = self.branch.last_mut() else { return true };
        let Pending::Shared(ticket) = *pending else { return !self.crew.has_failed() };
        *pending = Pending::Own(Vec::new());
        // No two threads wait for one another: what a thread waits for, and what it does meanwhile, was begun later.
        let (crew, tree, nested) = (self.crew, self.tree, self.nested + 1);
        let meanwhile = |job: Job| work(crew, tree, job, nested);
        crew.close(ticket, (nested <= MAX_NESTED).then_some(&meanwhile))
    }

    /// The path of a level of the branch, for messages.
    fn path_of(&self, depth: usize) -> PathBuf {
        self.branch.iter().take(depth + 1).fold(self.above_path.clone(), |path, level| {
            path.join(OsStr::from_bytes(level.name.to_bytes()))
        })
    }

    /// The descriptor of the directory that the walk is in.
    fn here(&self) -> Result<BorrowedFd<'_>> {
        match self.branch.last() {
            None => Ok(self.above.as_fd()),
            Some(Level { fd: Some(fd), .. }) => Ok(fd.as_fd()),
            Some(_) => Err(Error::new(ErrorKind::Internal, "removing").path(self.tree)),
        }
    }

    fn failure(&self, name: &CStr, e: Errno) -> Error {
        let here = match self.branch.len().checked_sub(1) {
            Some(last) => self.path_of(last),
            None => self.above_path.clone(),
        };
        Error::io("removing", here.join(OsStr::from_bytes(name.to_bytes())), e)
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
        let (fd, pending) = (Some(Arc::new(fd)), Pending::Own(Vec::new()));
        self.branch.push(Level { name, fd, identity, pending, returns: 0 });
        self.scan()
    }

    /// Reads the present directory: removes what is no directory, notes what is one.
    fn scan(&mut self) -> Result<()> {
        let mut pending = Vec::new();
        let mut met = 0;
        let mut entries = Dir::read_from(self.here()?).map_err(|e| self.failure(c".", e))?;
        while let Some(entry) = entries.read() {
            let entry = entry.map_err(|e| self.failure(c".", e))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            met += 1;
            if entry.file_type() == FileType::Directory
                || matches!(self.unlink(name)?, Outcome::Directory)
            {
                pending.push(name.to_owned());
            }
        }
        if let Some(level) = self.branch.last_mut() {
            level.pending = Pending::Own(pending);
        }
        self.met += met;
        Ok(())
    }

    /// Goes up from the present directory, whose subdirectories are gone, and removes it.
    fn leave(&mut self) -> Result<()> {
        let Some(mut level) = self.branch.pop() else { return Ok(()) };
        if let (Some(Level { fd: fd @ None, identity, name, .. }), Some(child)) =
            (self.branch.last_mut(), &level.fd)
        {
            let up = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(&**child, c"..", up, Mode::empty())
                .and_then(|up| identity_of(&up).map(|found| (up, found)));
            match opened {
                Ok((up, found)) if found == *identity => *fd = Some(Arc::new(up)),
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
                    if !matches!(detach_below(self.tree), Ok(true)) {
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
    let opened = rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve);
    #[cfg(test)]
    let opened = refused::check(Call::Openat2).and(opened);
    match opened {
        // Kernels before 5.6, and the seccomp profiles of containers.
        Err(Errno::NOSYS | Errno::PERM) => {}
        outcome => return outcome,
    }
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let (outer, inner) = (mount_of(dir)?, mount_of(fd.as_fd())?);
    if outer == inner { Ok(fd) } else { Err(Errno::XDEV) }
}

/// The mount's id where the kernel tells (statx(2) from Linux 5.8, /proc before), else the device, which a bind mount shares with what
/// it shows.
fn mount_of(fd: BorrowedFd<'_>) -> std::result::Result<(bool, u64), Errno> {
    let asked = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    #[cfg(test)]
    let asked = refused::check(Call::Statx).and(asked);
    let told = match asked {
        Ok(stat) if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 => Some(stat.stx_mnt_id),
        _ => mount_in_proc(fd),
    };
    Ok(match told {
        Some(id) => (true, id),
        None => (false, rustix::fs::fstat(fd)?.st_dev),
    })
}

/// The mount's id in /proc/PID/fdinfo (proc_pid_fdinfo(5), Linux 3.15).
fn mount_in_proc(fd: BorrowedFd<'_>) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
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
