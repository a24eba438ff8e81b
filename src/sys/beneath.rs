//! Opening what lies below a directory, whatever symbolic links an attacker has left there.
//!
//! Every path is looked up as if the directory were `/`: absolute links and `..` stop at it, magic links are not followed
//! (`overlay-driver.md` UNP-6, ARC-6). The kernel does it (`openat2(2)`, Linux 5.6); where it refuses, a walk of the
//! components with `O_PATH|O_NOFOLLOW` gives the same.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};

/// Links that one look-up may follow, as the kernel's own limit.
const MAX_LINKS: usize = 40;

/// The longest path, with its NUL, that a system call takes.
const PATH_MAX: usize = 4096;

/// A fact about the kernel, found once: `openat2` is missing or forbidden.
static REFUSED: AtomicBool = AtomicBool::new(false);

const DIR_PATH: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The device and inode number of a file: what it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// Device.
    pub(crate) dev: u64,
    /// Inode number.
    pub(crate) ino: u64,
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self { dev: stat.st_dev, ino: stat.st_ino }
    }
}

/// Makes a directory that a look-up misses, in that parent.
pub(crate) type MakeDir<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &[u8]) -> Result<()>;

/// What a layer has at a path when no symbolic link is followed on the way.
pub(crate) enum Found {
    /// Nothing, and nothing in the way.
    Missing,
    /// A whiteout, a symbolic link or another file stands where a parent directory should be.
    Hidden,
    /// This file (the last component is not followed either).
    File(Box<Stat>),
}

/// As [`Found`], with what was found held by a descriptor (`O_PATH`).
pub(crate) enum Held {
    /// Nothing, and nothing in the way.
    Missing,
    /// What stands where a parent directory should be is none.
    Hidden,
    /// This file.
    File(OwnedFd, Box<Stat>),
}

/// A directory that is the root of every look-up.
#[derive(Clone, Copy)]
pub(crate) struct Beneath<'fd> {
    root: BorrowedFd<'fd>,
    walk: bool,
}

impl<'fd> Beneath<'fd> {
    /// Look-ups below `root`, which may be an `O_PATH` descriptor.
    pub(crate) fn new(root: BorrowedFd<'fd>) -> Self {
        Self { root, walk: walk_is_forced() }
    }

    /// Opens an existing path. With `O_NOFOLLOW` a symbolic link as the last component is `ELOOP` (with `O_PATH` it is
    /// opened itself).
    pub(crate) fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let path = if path.iter().all(|b| *b == b'/') { b".".as_slice() } else { path };
        match self.by_kernel(path, flags, ResolveFlags::IN_ROOT) {
            Some(result) => result,
            None => Walk::new(self.root)?.run(path, Some(flags), None),
        }
    }

    /// Opens the directory at `path` as a place to work in (`O_PATH`); what is missing on the way is made by `make`.
    pub(crate) fn directory(&self, path: &[u8], make: Option<MakeDir<'_>>) -> Result<OwnedFd> {
        let path = if path.iter().all(|b| *b == b'/') { b".".as_slice() } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self.by_kernel(path, flags, ResolveFlags::IN_ROOT) {
            Some(Err(Errno::NOENT)) if make.is_some() => {}
            Some(result) => return result,
            None => {}
        }
        Walk::new(self.root)?.run(path, None, make)
    }

    /// What is at `path` when symbolic links are not followed at all (DEF-30).
    pub(crate) fn look(&self, path: &[u8]) -> Result<Found> {
        self.find(path).map(|found| match found {
            Held::Missing => Found::Missing,
            Held::Hidden => Found::Hidden,
            Held::File(_, stat) => Found::File(stat),
        })
    }

    /// As [`Beneath::look`], of a file that is to be read or looked at more closely.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Held> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let trimmed = path.iter().position(|b| *b != b'/').map_or(&b""[..], |n| &path[n..]);
        if trimmed.is_empty() {
            return hold(rustix::fs::openat(self.root, ".", flags, Mode::empty())?);
        }
        let kernel =
            self.by_kernel(trimmed, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS);
        match kernel {
            Some(Ok(fd)) => hold(fd),
            Some(Err(Errno::NOENT)) => Ok(Held::Missing),
            Some(Err(Errno::NOTDIR)) => Ok(Held::Hidden),
            // NO_SYMLINKS says ELOOP for a parent and for the last component alike.
            Some(Err(Errno::LOOP)) | None => self.find_by_walk(trimmed),
            Some(Err(e)) => Err(e),
        }
    }

    fn find_by_walk(&self, path: &[u8]) -> Result<Held> {
        let mut at = rustix::io::fcntl_dupfd_cloexec(self.root, 0)?;
        let mut components = path.split(|b| *b == b'/').filter(|c| !c.is_empty()).peekable();
        while let Some(name) = components.next() {
            if name == b".." {
                return Err(Errno::INVAL);
            }
            let is_last = components.peek().is_none();
            let last = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let flags = if is_last { last } else { DIR_PATH };
            at = match rustix::fs::openat(&at, name, flags, Mode::empty()) {
                Ok(fd) if is_last => return hold(fd),
                Ok(fd) => fd,
                Err(Errno::NOENT) => return Ok(Held::Missing),
                Err(Errno::NOTDIR | Errno::LOOP) if !is_last => return Ok(Held::Hidden),
                Err(e) => return Err(e),
            };
        }
        Ok(Held::Missing)
    }

    /// `None` where the kernel cannot be asked.
    fn by_kernel(&self, path: &[u8], flags: OFlags, how: ResolveFlags) -> Option<Result<OwnedFd>> {
        if self.walk || path.len() >= PATH_MAX || REFUSED.load(Ordering::Relaxed) {
            return None;
        }
        let resolve = how | ResolveFlags::NO_MAGICLINKS;
        // EAGAIN: a rename elsewhere made `..` uncertain; the walk decides if it goes on.
        for _ in 0..16 {
            match rustix::fs::openat2(self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS | Errno::PERM) => {
                    REFUSED.store(self.kernel_refuses(), Ordering::Relaxed);
                    return None;
                }
                result => return Some(result),
            }
        }
        None
    }

    /// EPERM may also be about one file: only a look-up that cannot fail otherwise tells.
    fn kernel_refuses(&self) -> bool {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let probe =
            rustix::fs::openat2(self.root, ".", flags, Mode::empty(), ResolveFlags::IN_ROOT);
        matches!(probe, Err(Errno::NOSYS | Errno::PERM))
    }
}

fn hold(fd: OwnedFd) -> Result<Held> {
    let stat = rustix::fs::fstat(&fd)?;
    Ok(Held::File(fd, Box::new(stat)))
}

/// One look-up, component by component.
struct Walk<'fd> {
    root: BorrowedFd<'fd>,
    at: OwnedFd,
    /// Who every directory between the root and `at` is, the root first: `..` must lead back to them.
    trail: Vec<Identity>,
    /// Directories that are missing below `at`.
    missing: Vec<Vec<u8>>,
    links: usize,
}

impl<'fd> Walk<'fd> {
    fn new(root: BorrowedFd<'fd>) -> Result<Self> {
        let at = rustix::fs::openat(root, ".", DIR_PATH, Mode::empty())?;
        let trail = vec![Identity::from(&rustix::fs::fstat(&at)?)];
        Ok(Self { root, at, trail, missing: Vec::new(), links: 0 })
    }

    /// With `last` opens the file at the end with these flags, else the directory.
    fn run(
        mut self,
        path: &[u8],
        last: Option<OFlags>,
        mut make: Option<MakeDir<'_>>,
    ) -> Result<OwnedFd> {
        // The path and, above it, the texts of the links on the way, each with what is done of it.
        let mut texts: Vec<(Vec<u8>, usize)> = vec![(path.to_vec(), 0)];
        while let Some(name) = next_component(&mut texts) {
            let is_last = texts.iter().all(|(text, at)| {
                text.get(*at..).is_none_or(|rest| rest.iter().all(|b| *b == b'/'))
            });
            if name == b".." {
                self.up()?;
                continue;
            }
            if !self.missing.is_empty() {
                self.missing.push(name);
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = match rustix::fs::openat(&self.at, name.as_slice(), flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if make.is_some() => {
                    self.missing.push(name);
                    continue;
                }
                Err(e) => return Err(e),
            };
            let stat = rustix::fs::fstat(&fd)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    let stop = last.filter(|flags| is_last && flags.contains(OFlags::NOFOLLOW));
                    if let Some(flags) = stop {
                        return if flags.contains(OFlags::PATH) {
                            Ok(fd)
                        } else {
                            Err(Errno::LOOP)
                        };
                    }
                    self.links += 1;
                    if self.links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let text = rustix::fs::readlinkat(&fd, "", Vec::new())?.into_bytes();
                    if text.first() == Some(&b'/') {
                        self.at = rustix::fs::openat(self.root, ".", DIR_PATH, Mode::empty())?;
                        self.trail.truncate(1);
                    }
                    texts.push((text, 0));
                }
                FileType::Directory => {
                    self.at = fd;
                    self.trail.push(Identity::from(&stat));
                }
                _ => {
                    let Some(flags) = last.filter(|_| is_last) else { return Err(Errno::NOTDIR) };
                    return rustix::fs::openat(
                        &self.at,
                        name.as_slice(),
                        flags | OFlags::NOFOLLOW,
                        Mode::empty(),
                    );
                }
            }
        }
        for name in std::mem::take(&mut self.missing) {
            let Some(make) = make.as_mut() else { return Err(Errno::NOENT) };
            make(self.at.as_fd(), &name)?;
            self.at = rustix::fs::openat(&self.at, name.as_slice(), DIR_PATH, Mode::empty())?;
        }
        match last {
            Some(flags) => rustix::fs::openat(&self.at, ".", flags, Mode::empty()),
            None => Ok(self.at),
        }
    }

    fn up(&mut self) -> Result<()> {
        if self.missing.pop().is_some() || self.trail.len() < 2 {
            return Ok(());
        }
        self.trail.pop();
        self.at = open_parent(self.at.as_fd(), self.trail.last().copied())?;
        Ok(())
    }
}

/// Opens `..` of a directory, and only if it is the directory expected: another one means that somebody moved it, perhaps
/// out of the root.
pub(crate) fn open_parent(at: BorrowedFd<'_>, expected: Option<Identity>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(at, "..", flags, Mode::empty())
        .or_else(|_| rustix::fs::openat(at, "..", DIR_PATH, Mode::empty()))?;
    if Some(Identity::from(&rustix::fs::fstat(&parent)?)) != expected {
        return Err(Errno::AGAIN);
    }
    Ok(parent)
}

fn next_component(texts: &mut Vec<(Vec<u8>, usize)>) -> Option<Vec<u8>> {
    while let Some((text, at)) = texts.last_mut() {
        let rest = text.get(*at..).unwrap_or_default();
        let Some(start) = rest.iter().position(|b| *b != b'/') else {
            texts.pop();
            continue;
        };
        let rest = rest.get(start..).unwrap_or_default();
        let length = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        let name = rest.get(..length).unwrap_or_default().to_vec();
        *at += start + length;
        if name != b"." {
            return Some(name);
        }
    }
    None
}

#[cfg(not(test))]
fn walk_is_forced() -> bool {
    false
}

#[cfg(test)]
fn walk_is_forced() -> bool {
    testing::FORCED.with(std::cell::Cell::get)
}

/// The switch by which every archive test runs in both modes (ARC-6).
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::Cell;

    thread_local! {
        pub(super) static FORCED: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs `test` once with `openat2` and once with the walk.
    pub(crate) fn in_both_modes(test: impl Fn()) {
        for walk in [false, true] {
            FORCED.with(|f| f.set(walk));
            test();
        }
        FORCED.with(|f| f.set(false));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::testing::in_both_modes;
    use super::*;

    fn open_dir(path: &std::path::Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn text(fd: OwnedFd) -> String {
        let mut s = String::new();
        fs::File::from(fd).read_to_string(&mut s).unwrap();
        s
    }

    // ARC-6, UNP-6: links of every shape stay below the root.
    #[test]
    fn links_stay_below() {
        in_both_modes(|| {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("root");
            fs::create_dir_all(root.join("a/b")).unwrap();
            fs::write(dir.path().join("canary"), "outside").unwrap();
            fs::write(root.join("canary"), "inside").unwrap();
            symlink("../../canary", root.join("rel")).unwrap();
            symlink("/canary", root.join("abs")).unwrap();
            symlink("../../../../..", root.join("a/up")).unwrap();
            symlink("loop", root.join("loop")).unwrap();
            let fd = open_dir(&root);
            let b = Beneath::new(fd.as_fd());
            for path in ["rel", "/abs", "a/up/canary", "a/b/../../canary", "../canary"] {
                let file = b.open(path.as_bytes(), OFlags::RDONLY).unwrap();
                assert_eq!(text(file), "inside", "{path}");
            }
            assert_eq!(b.open(b"loop", OFlags::RDONLY).unwrap_err(), Errno::LOOP);
            let err = b.open(b"abs", OFlags::RDONLY | OFlags::NOFOLLOW).unwrap_err();
            assert_eq!(err, Errno::LOOP);
            assert_eq!(b.open(b"canary/x", OFlags::RDONLY).unwrap_err(), Errno::NOTDIR);
        });
    }

    #[test]
    fn missing_directories_are_made_inside() {
        in_both_modes(|| {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("root");
            fs::create_dir_all(&root).unwrap();
            symlink("/x/y/../z", root.join("ln")).unwrap();
            let fd = open_dir(&root);
            let mut make = |at: BorrowedFd<'_>, name: &[u8]| {
                rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755))
            };
            Beneath::new(fd.as_fd()).directory(b"ln/q", Some(&mut make)).unwrap();
            assert!(root.join("x/z/q").is_dir());
            assert!(!root.join("x/y").exists());
            assert!(!dir.path().join("x").exists());
        });
    }

    // DEF-30
    #[test]
    fn look_follows_nothing() {
        in_both_modes(|| {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("d/e")).unwrap();
            symlink("d", dir.path().join("ln")).unwrap();
            fs::write(dir.path().join("f"), "").unwrap();
            let fd = open_dir(dir.path());
            let b = Beneath::new(fd.as_fd());
            assert!(matches!(b.look(b"/d/e").unwrap(), Found::File(_)));
            assert!(matches!(b.look(b"d/x").unwrap(), Found::Missing));
            assert!(matches!(b.look(b"ln/e").unwrap(), Found::Hidden));
            assert!(matches!(b.look(b"f/e").unwrap(), Found::Hidden));
            assert!(matches!(b.look(b"ln").unwrap(), Found::File(_)));
        });
    }

    // ARC-6: whatever the links, the walk comes to the same file or the same refusal as the kernel.
    #[test]
    fn the_walk_is_the_kernels() {
        let pick = |from: &[&'static str]| from[rand::random::<u32>() as usize % from.len()];
        let path = |most: u32| {
            let start = pick(&["", "", "/", "//"]).to_owned();
            let parts: Vec<_> = (0..=rand::random::<u32>() % most)
                .map(|_| pick(&["a", "b", "c", "l", "m", "f", "..", "."]))
                .collect();
            start + &parts.join(pick(&["/", "/", "//"]))
        };
        for _ in 0..40 {
            let dir = tempfile::tempdir_in("/var/tmp").unwrap();
            let root = dir.path().join("x/root");
            fs::create_dir_all(&root).unwrap();
            for name in ["a", "b", "f"] {
                fs::write(dir.path().join("x").join(name), "outside").unwrap();
            }
            for _ in 0..25 {
                let parts: Vec<_> =
                    (0..=rand::random::<u32>() % 3).map(|_| pick(&["a", "b", "c"])).collect();
                let at = root.join(parts.join("/"));
                match rand::random::<u32>() % 3 {
                    0 => drop(fs::create_dir_all(&at)),
                    1 => drop(fs::write(at.join("f"), "")),
                    _ => drop(symlink(path(4), at.join(pick(&["l", "m"])))),
                }
            }
            let fd = open_dir(&root);
            for _ in 0..200 {
                let path = path(6);
                let about = |found: Result<OwnedFd>| {
                    found.map(|fd| Identity::from(&rustix::fs::fstat(fd).unwrap()))
                };
                let answers = [false, true].map(|walk| {
                    let b = Beneath { root: fd.as_fd(), walk };
                    let plain = !path.contains("..");
                    let look = plain.then(|| match b.look(path.as_bytes()) {
                        Ok(Found::File(stat)) => format!("{:?}", Identity::from(&*stat)),
                        Ok(Found::Missing) => "missing".into(),
                        Ok(Found::Hidden) => "hidden".into(),
                        Err(e) => format!("{e:?}"),
                    });
                    (
                        about(b.open(path.as_bytes(), OFlags::PATH)),
                        about(b.open(path.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW)),
                        about(b.open(path.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW)),
                        about(b.directory(path.as_bytes(), None)),
                        look,
                    )
                });
                assert_eq!(answers[0], answers[1], "{path:?} in {:?}", dir.keep());
            }
        }
    }
}
