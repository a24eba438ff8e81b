//! Whether a tree is what unpacking a tar gives: each member with its type, owner, mode, size, time, target and attributes, and nothing
//! that no member names. The tar's headers come from its tar-split file. What the files hold is for the tar's digest, for which each of
//! them is read, but for sparse ones: their content may be in the tar-split file, and is compared with that (`held`).
//!
//! What is allowed to differ is what unpacking, and the making of a tar from an overlay's upper directory, change on purpose:
//!
//! - Parents that no member names may have any mode; they are root's.
//! - Whiteouts have no owner, mode or time that means something; opaque directories have overlay's mark.
//! - The nanoseconds of a time count where the header and the file system both have some; a time that needs more than 32 bits, which not
//!   every file system keeps, does not count at all. A time before the epoch may have become the epoch.
//! - A file with several names has the attributes of one of the members that name it.
//! - Overlay's notes on where a copy came from, and labels that the machine gives (SELinux, IMA, EVM), are in no header.
//! - Sockets are in no tar.
//!
//! A member counts as it is in the end: what a later one replaces needs not be there (`doubts`).

mod attributes;
mod doubts;
mod facts;
mod files;
mod held;
mod unnamed;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use tar_split_rs::{Headers, Member, MemberKind};

pub(crate) use facts::{HeaderFacts, read_headers};

use super::names::{clean, show, split};
use super::unpack::{Dir, Implied, Made, Parents, WHITEOUT_OPAQUE, WHITEOUT_PREFIX};
use super::xattrs;
use crate::progress::{self, ProgressItem};
use crate::sys::beneath::Identity;
use crate::{Error, ErrorKind, Result};
use doubts::Doubts;
use files::{Place, Seen};

/// Compares what is below `root` with the headers in a gzip-compressed tar-split file; overlay's marks begin with `marks`.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for the first entry that differs, and for a tar-split that is malformed; [`ErrorKind::Io`] for what cannot be
/// looked at; [`ErrorKind::Cancelled`].
pub(crate) fn check_tree(
    root: BorrowedFd<'_>,
    tar_split_gz: impl Read,
    marks: &str,
    progress: &dyn ProgressItem,
) -> Result<HeaderFacts> {
    let mut check = Check {
        root,
        marks,
        progress,
        parents: Parents::new(root, Implied::default()).map_err(|e| failed(b".", e))?,
        named: Made::default(),
        firsts: HashMap::new(),
        marked: HashSet::new(),
        opaque: HashMap::new(),
        doubts: Doubts::default(),
    };
    let facts = read_headers(tar_split_gz, &mut |member, headers| {
        progress::check(progress)?;
        check.member(member, headers)
    })?;
    check.finish(&facts)?;
    Ok(facts)
}

struct Check<'a> {
    root: BorrowedFd<'a>,
    marks: &'a str,
    progress: &'a dyn ProgressItem,
    parents: Parents<'a>,
    /// What members name, by directory and name.
    named: Made,
    /// Of files with several names, which member made it.
    firsts: HashMap<Identity, u128>,
    /// The directories that members make opaque.
    marked: HashSet<Identity>,
    /// The directories that are, with their paths.
    opaque: HashMap<Identity, Vec<u8>>,
    doubts: Doubts,
}

impl Check<'_> {
    fn member(&mut self, member: &Member, headers: &mut Headers<impl BufRead>) -> Result<()> {
        if member.kind == MemberKind::Global {
            return Ok(());
        }
        let name = clean(&member.name);
        if name.is_empty() {
            let stat = rustix::fs::fstat(self.root).map_err(|e| failed(b".", e))?;
            let place = Place { dir: self.root, base: b".", path: b"." };
            let seen = self.compare(member, &place, &stat).map_err(|e| failed(b".", e))?;
            return seen.difference.map_or(Ok(()), |why| Err(differs(b".", &why)));
        }
        let (parent, base) = split(&name);
        if base == WHITEOUT_OPAQUE {
            return self.marker(parent);
        }
        let hidden = base.strip_prefix(WHITEOUT_PREFIX);
        let path = match hidden {
            Some(b"" | b"." | b"..") => {
                return Err(differs(&name, "the tar has a whiteout that hides nothing"));
            }
            Some(hidden) if parent.is_empty() => hidden.to_vec(),
            Some(hidden) => [parent, b"/", hidden].concat(),
            None => name.clone(),
        };
        let mut seen = self.look(member, &path, hidden.is_some()).map_err(|e| failed(&path, e))?;
        // Another name excuses other fields, and never other content.
        let has_content = hidden.is_none() && (seen.difference.is_none() || seen.shared.is_some());
        if headers.holds_content()
            && has_content
            && let Some(why) = self.held_content_differs(member, &path, headers)?
        {
            seen = Seen::other(&why);
        }
        match seen.difference {
            None => {
                self.doubts.settle(&path, seen.shared, member.kind == MemberKind::Directory);
                Ok(())
            }
            Some(why) => self.doubts.add(path, seen.shared, why),
        }
    }

    /// Compares a file's content with what the tar-split file holds of it.
    fn held_content_differs(
        &mut self,
        member: &Member,
        path: &[u8],
        headers: &mut Headers<impl BufRead>,
    ) -> Result<Option<String>> {
        let (parent, base) = split(path);
        let dir = self.parents.get(parent, false).map_err(|e| failed(path, e))?;
        let place = Place { dir: dir.fd.as_fd(), base, path };
        held::content_differs(&place, member.size, headers, self.progress)
    }

    /// Compares what is at the path with the member, or with a whiteout.
    fn look(&mut self, member: &Member, path: &[u8], whiteout: bool) -> rustix::io::Result<Seen> {
        let (parent, base) = split(path);
        let dir = match self.parents.get(parent, false) {
            Ok(dir) => dir,
            // The parent is whited out itself: nothing of it is left to hide.
            Err(Errno::NOTDIR) if whiteout => return Ok(Seen::same()),
            Err(e) if is_absence(e) => return Ok(Seen::other("it is missing")),
            Err(e) => return Err(e),
        };
        let stat = match rustix::fs::statat(&dir.fd, base, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(e) if is_absence(e) => return Ok(Seen::other("it is missing")),
            Err(e) => return Err(e),
        };
        self.named.insert(dir.id, base);
        if whiteout {
            let kind = FileType::from_raw_mode(stat.st_mode);
            return Ok(match kind == FileType::CharacterDevice && stat.st_rdev == 0 {
                true => Seen::same(),
                false => {
                    Seen::other(&format!("it is {}, in the tar a whiteout", files::word(kind)))
                }
            });
        }
        let seen = self.compare(member, &Place { dir: dir.fd.as_fd(), base, path }, &stat)?;
        if seen.difference.is_none() && seen.shared.is_some() && member.kind != MemberKind::HardLink
        {
            return Ok(self.alone(seen, &dir, base));
        }
        Ok(seen)
    }

    /// A member that is no link has a file of its own.
    fn alone(&mut self, seen: Seen, dir: &Dir, base: &[u8]) -> Seen {
        let Some(id) = seen.shared else { return seen };
        let key = self.named.key(dir.id, base);
        match *self.firsts.entry(id).or_insert(key) == key {
            true => seen,
            false => {
                Seen::other("it is the same file as another member's, in the tar one of its own")
            }
        }
    }

    /// What hides all that lower layers have in a directory.
    fn marker(&mut self, parent: &[u8]) -> Result<()> {
        let absent = || Err(differs(parent, "it is missing, in the tar an opaque directory"));
        let dir = match self.parents.get(parent, false) {
            Ok(dir) => dir,
            Err(e) if is_absence(e) => return absent(),
            Err(e) => return Err(failed(parent, e)),
        };
        let key = [self.marks, "opaque"].concat();
        let mark = xattrs::get(dir.fd.as_fd(), b".", key.as_bytes());
        if mark.map_err(|e| failed(parent, e))?.as_deref() != Some(b"y") {
            return Err(differs(parent, "it is not opaque, in the tar it is"));
        }
        self.marked.insert(dir.id);
        Ok(())
    }

    fn finish(mut self, facts: &HeaderFacts) -> Result<()> {
        std::mem::take(&mut self.doubts).into_outcome()?;
        if !facts.root {
            // Its owner and mode come from elsewhere.
            let seen = self.unnamed_attributes(&Place { dir: self.root, base: b".", path: b"." });
            if let Some(why) = seen.map_err(|e| failed(b".", e))? {
                return Err(differs(b".", &why));
            }
        }
        self.walk()?;
        let unmarked = self.opaque.iter().filter(|(id, _)| !self.marked.contains(id));
        match unmarked.map(|(_, path)| path).min() {
            Some(path) => Err(differs(path, "it is opaque, in the tar it is not")),
            None => Ok(()),
        }
    }
}

fn is_absence(e: Errno) -> bool {
    matches!(e, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
}

fn action(path: &[u8]) -> String {
    format!("comparing {} with the layer's tar", show(if path.is_empty() { b"." } else { path }))
}

fn differs(path: &[u8], why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, action(path)).detail(why)
}

fn failed(path: &[u8], e: Errno) -> Error {
    Error::new(ErrorKind::Io, action(path)).caused_by(std::io::Error::from(e))
}
