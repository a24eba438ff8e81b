//! Copies of whole trees: for drivers without mounts, and for layers that are taken over from another store. Where nobody writes to the
//! files of either tree in place, the copy shares them (`overlay-driver.md` LEG-10).

mod content;
mod helpers;
mod one;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use content::{ELSEWHERE, Files, UNSHARED};
use helpers::{Ends, Helpers};
use one::Late;
pub(super) use one::{Place, attributes, copy_one, link};

use super::names::{show, split};
use super::unpack::{Directories, Implied, Parents};
use super::walk::{Item, Walk};
use crate::progress::{self, ProgressItem, Silent};
use crate::sys::beneath::Identity;
use crate::{Error, ErrorKind, Result};

/// How the content of files gets to a copy of their tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyMethod {
    /// The copy shares the blocks where the file system can; else they are copied.
    #[default]
    Either,
    /// The copy shares the blocks (reflinks), or is refused.
    Reflink,
    /// The blocks are copied.
    Copy,
    /// The files get a second name; where that cannot be, as `Either`. Who changes a file through one name changes it under the other.
    Link,
}

/// How to copy a tree.
pub struct CopyOptions<'a> {
    /// How content is copied.
    pub method: CopyMethod,
    /// The prefix of overlay's marks (`trusted.overlay.`), for a tree that is to hold all of its content: one in which a mark says that
    /// a part is elsewhere is refused (DEF-2).
    pub whole: Option<&'a str>,
    /// Who is told of the bytes, and may end the copying.
    pub progress: &'a dyn ProgressItem,
}

impl Default for CopyOptions<'_> {
    fn default() -> Self {
        Self { method: CopyMethod::Either, whole: None, progress: &Silent }
    }
}

impl CopyOptions<'_> {
    /// Refuses an attribute that says that content is elsewhere.
    fn check_mark(&self, key: &[u8]) -> rustix::io::Result<()> {
        match self.whole.and_then(|prefix| key.strip_prefix(prefix.as_bytes())) {
            Some(b"metacopy" | b"redirect") => Err(ELSEWHERE),
            _ => Ok(()),
        }
    }
}

/// What was learnt of a tree while it was copied.
#[derive(Debug, Clone, Default)]
pub struct Copied {
    /// Bytes of file content, hard links once.
    pub bytes: u64,
    /// How many files have got another name.
    pub linked: u64,
    /// How many share their blocks with what they were copied from.
    pub reflinked: u64,
    /// How many were copied; empty ones are neither.
    pub copied: u64,
}

/// Copies what is below `from` to the empty directory `to`, and gives `to` the attributes of `from`: owners, modes, times,
/// extended attributes, hard links, devices, holes.
///
/// # Errors
/// [`ErrorKind::Io`] when something cannot be read or made, which it names; what was copied until then stays.
pub fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    copy_tree_as(from, to, &CopyOptions::default()).map(drop)
}

/// As [`copy_tree`], but all that is no directory is the same file in both trees, by hard links: whoever changes one of them must
/// replace the file, not write to it. A file that can have no more links, or is on another file system, is copied.
///
/// # Errors
/// As [`copy_tree`].
pub fn link_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let options = CopyOptions { method: CopyMethod::Link, ..CopyOptions::default() };
    copy_tree_as(from, to, &options).map(drop)
}

/// As [`copy_tree`], in that way.
///
/// # Errors
/// As [`copy_tree`]; [`ErrorKind::NotSupported`] for reflinks that the file system does not make, and for a tree that is not whole;
/// [`ErrorKind::Cancelled`].
pub fn copy_tree_as(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    options: &CopyOptions<'_>,
) -> Result<Copied> {
    let mut walk = Walk::new(from).map_err(|e| failed(b".", e))?;
    let files = Files::new(options);
    let mut copy = Copy {
        parents: Parents::new(to, Implied::default()).map_err(|e| failed(b".", e))?,
        directories: Directories::default(),
        links: HashMap::new(),
        options,
        files: &files,
        buffer: Vec::new(),
        done: Copied::default(),
    };
    let root = rustix::fs::fstat(from).map_err(|e| failed(b".", e))?;
    let (mode, list) =
        copy.attributes((from, b"."), (to, b"."), &root).map_err(|e| explain(b".", e))?;
    copy.directories.push_with_list(b"", times(&root), mode, list);
    let outcome = std::thread::scope(|scope| {
        let mut helpers = Helpers::start(scope, &files);
        let walked = copy.walk(&mut walk, &mut helpers);
        let outcome = helpers.finish();
        walked.map(|()| outcome)
    })?;
    outcome()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(to, ".", flags, Mode::empty()).map_err(|e| failed(b".", e))?;
    copy.directories.finish(&mut copy.parents, root.as_fd())?;
    copy.done.linked = files.linked.load(Ordering::Relaxed);
    copy.done.reflinked = files.reflinked.load(Ordering::Relaxed);
    copy.done.copied = files.copied.load(Ordering::Relaxed);
    Ok(copy.done)
}

/// What a failure means.
fn explain(path: &[u8], e: Errno) -> Error {
    let refused = |why: &str| {
        Error::new(ErrorKind::NotSupported, format!("copying {}", show(path))).detail(why)
    };
    match e {
        ELSEWHERE => refused("an overlay left a part of its content in a lower layer"),
        UNSHARED => refused("the file system cannot share its blocks with a copy")
            .hint("copy the blocks, or keep both trees in one file system such as xfs or btrfs"),
        Errno::CANCELED => Error::new(ErrorKind::Cancelled, "going on"),
        e => failed(path, e),
    }
}

fn failed(path: &[u8], e: Errno) -> Error {
    Error::new(ErrorKind::Io, format!("copying {}", show(path))).caused_by(std::io::Error::from(e))
}

pub(super) fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, nanos: u64| Timespec { tv_sec, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

struct Copy<'a> {
    parents: Parents<'a>,
    directories: Directories,
    /// The first copy of each file with several names.
    links: HashMap<Identity, Vec<u8>>,
    options: &'a CopyOptions<'a>,
    files: &'a Files<'a>,
    buffer: Vec<u8>,
    done: Copied,
}

impl Copy<'_> {
    fn walk(&mut self, walk: &mut Walk, helpers: &mut Helpers<'_>) -> Result<()> {
        let mut parent = None;
        while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
            progress::check(self.options.progress)?;
            if helpers.failed() {
                return Ok(());
            }
            let here = split(walk.path()).0;
            if parent.as_deref() != Some(here) {
                helpers.flush();
                parent = Some(here.to_vec());
            }
            match self.entry(walk, &item, helpers) {
                // Gone since its name was read.
                Ok(()) | Err(Errno::STALE) => {}
                Err(e) => return Err(explain(walk.path(), e)),
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        walk: &Walk,
        item: &Item,
        helpers: &mut Helpers<'_>,
    ) -> rustix::io::Result<()> {
        let (path, stat, kind) = (walk.path(), &item.stat, item.kind());
        let (parent, name) = split(path);
        let to = self.parents.get(parent, false)?;
        let target: Place<'_> = (to.fd.as_fd(), name);
        let linked = stat.st_nlink > 1 && kind != FileType::Directory;
        if let Some(first) = self.links.get(&Identity::from(stat)).filter(|_| linked) {
            let (dir, base) = split(first);
            let dir = self.parents.get(dir, false)?;
            return rustix::fs::linkat(&dir.fd, base, &to.fd, name, AtFlags::empty());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if kind == FileType::RegularFile {
            self.done.bytes = self.done.bytes.saturating_add(size);
        }
        // Files with one name are the helpers'.
        let apart = kind == FileType::Directory || kind == FileType::RegularFile && !linked;
        if !apart && self.files.link((walk.dir()?, name), to.fd.as_fd(), stat)? {
            if linked {
                self.links.insert(Identity::from(stat), path.to_vec());
            }
            return Ok(());
        }
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
        match kind {
            FileType::Directory => {
                rustix::fs::mkdirat(&to.fd, name, Mode::from_raw_mode(0o700))?;
            }
            // A file with several names has to be there before the next one.
            FileType::RegularFile if linked => {
                self.files.copy((walk.dir()?, name), to.fd.as_fd(), stat, &mut self.buffer)?;
                self.links.insert(Identity::from(stat), path.to_vec());
                return Ok(());
            }
            FileType::RegularFile => {
                if helpers.needs_ends() {
                    let from = rustix::io::fcntl_dupfd_cloexec(walk.dir()?, 0)?;
                    let to = rustix::io::fcntl_dupfd_cloexec(&to.fd, 0)?;
                    helpers.begin(Ends { path: parent.to_vec(), from, to });
                }
                helpers.add(name, *stat);
                return Ok(());
            }
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(walk.dir()?, name, Vec::new())?;
                rustix::fs::symlinkat(text.as_c_str(), &to.fd, name)?;
            }
            _ => rustix::fs::mknodat(&to.fd, name, kind, mode, stat.st_rdev)?,
        }
        let (mode, list) = self.attributes((walk.dir()?, name), target, stat)?;
        if kind == FileType::Directory {
            self.directories.push_with_list(path, times(stat), mode, list);
        } else {
            rustix::fs::utimensat(&to.fd, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if linked {
            self.links.insert(Identity::from(stat), path.to_vec());
        }
        Ok(())
    }

    fn attributes(&self, from: Place<'_>, to: Place<'_>, stat: &Stat) -> rustix::io::Result<Late> {
        // A copy is labelled by its place, unless files beside it keep their labels.
        let keep = |key: &[u8]| self.files.can_link() || key != b"security.selinux";
        attributes(from, to, stat, keep, |key| self.options.check_mark(key))
    }
}
