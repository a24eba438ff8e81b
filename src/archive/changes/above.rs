//! What the layers above a tree name: an overlay over it shows everything else as the tree does.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::archive::walk::read_names;
use crate::archive::xattrs;

/// Directories of these layers that one thread keeps open.
pub(super) const OPEN: usize = 64;

/// The contents of the layers that an overlay has above a tree that is its lower part.
#[derive(Debug, Clone, Copy)]
pub struct Above<'a> {
    /// The root directories of the contents.
    pub dirs: &'a [BorrowedFd<'a>],
    /// In which attributes the kernel keeps its marks: `trusted.overlay.` or `user.overlay.`.
    pub prefix: &'a str,
}

impl Above<'_> {
    /// The roots, opened anew; `None` where they do not tell what can differ.
    pub(super) fn roots(&self) -> Option<Vec<OwnedFd>> {
        if self.dirs.len() > OPEN {
            return None;
        }
        let marks = Marks::of(self.prefix);
        let open = |dir: &BorrowedFd<'_>| match marks.open(*dir, b".") {
            Found::Plain(fd) => Some(fd),
            Found::Missing | Found::Hiding => None,
        };
        self.dirs.iter().map(open).collect()
    }
}

/// The kernel's marks of a directory below which the lower part is not seen, or another one.
#[derive(Default)]
pub(super) struct Marks(Vec<Vec<u8>>);

/// What a layer has under a name.
enum Found {
    Missing,
    /// A directory that is merged with those of its name below.
    Plain(OwnedFd),
    /// Anything else.
    Hiding,
}

impl Marks {
    pub(super) fn of(prefix: &str) -> Self {
        Self(["opaque", "redirect"].map(|key| format!("{prefix}{key}").into_bytes()).into())
    }

    /// The directory `name` of each of the layers that has it; `None` where one of them hides something, so that all of the lower
    /// part has to be looked at.
    pub(super) fn within(&self, dirs: &[OwnedFd], name: &[u8]) -> Option<Vec<OwnedFd>> {
        let mut found = Vec::new();
        for dir in dirs {
            match self.open(dir.as_fd(), name) {
                Found::Plain(fd) => found.push(fd),
                Found::Missing => {}
                Found::Hiding => return None,
            }
        }
        Some(found)
    }

    fn open(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Found {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Found::Missing,
            // A file or a whiteout; or it cannot be told.
            Err(_) => return Found::Hiding,
        };
        let is_plain = |key: &Vec<u8>| matches!(xattrs::get(fd.as_fd(), b".", key), Ok(None));
        if self.0.iter().all(is_plain) { Found::Plain(fd) } else { Found::Hiding }
    }
}

/// All names in these directories, sorted, each once.
pub(super) fn named_in(dirs: &[OwnedFd]) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for dir in dirs {
        names.extend(read_names(dir.as_fd())?.into_iter().map(|name| name.bytes));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
