//! Whiteouts of an archive: made into those of the kernel's overlay, or carried out (`overlay-driver.md` 11.3).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use tar_split_rs::MemberKind;

use super::attributes;
use super::content::Content;
use super::entry::Entry;
use super::parents::Dir;
use super::{Unpacker, failed, remove};
use crate::archive::names::show;
use crate::{Error, ErrorKind, Result};

/// Names that begin so are whiteouts.
pub(crate) const PREFIX: &[u8] = b".wh.";

/// Names of AUFS's own files.
pub(super) const META_PREFIX: &[u8] = b".wh..wh.";

/// Hides all that lower layers have in its directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a whiteout of that name hides. `None` for names that are no whiteouts.
fn hidden<'e>(entry: &Entry<'e>) -> Result<Option<&'e [u8]>> {
    match entry.base.strip_prefix(PREFIX) {
        None => Ok(None),
        Some(b"" | b"." | b"..") => Err(Error::new(ErrorKind::InvalidArchive, "unpacking a layer")
            .detail(format!("invalid whiteout path {}", show(entry.name)))),
        Some(name) => Ok(Some(name)),
    }
}

impl Unpacker<'_> {
    /// Makes an overlay whiteout or mark of the entry, if it is one.
    pub(super) fn overlay_whiteout(&mut self, entry: &Entry<'_>, prefix: &str) -> Result<bool> {
        if !entry.base.starts_with(PREFIX) {
            return Ok(false);
        }
        let opaque = entry.base == OPAQUE;
        let name = if opaque { None } else { hidden(entry)? };
        let dir = match self.parents.get(entry.parent, true) {
            Ok(dir) => dir,
            // The parent is whited out itself, by an entry before: nothing of it is left to hide.
            Err(Errno::NOTDIR) if !opaque => return Ok(true),
            Err(e) => return Err(failed("making the parent directories of", entry.name, e)),
        };
        // A directory's entry leaves a directory of that name as it is (UNP-9).
        if entry.member.kind != MemberKind::Directory || !is_directory(&dir, entry.base) {
            self.clear(&dir, entry)?;
        }
        let Some(name) = name else {
            return set_opaque(&dir, prefix)
                .map_err(|e| failed("making opaque the directory of", entry.name, e))
                .map(|()| true);
        };
        match rustix::fs::mknodat(&dir.fd, name, FileType::CharacterDevice, Mode::empty(), 0) {
            // Applied before, by a process that was killed perhaps.
            Err(Errno::EXIST) if is_whiteout(&dir, name) => {}
            made => made.map_err(|e| failed("making the whiteout", entry.name, e))?,
        }
        attributes::own_whiteout(dir.fd.as_fd(), name, &entry.wanted(), self.options)?;
        Ok(true)
    }

    /// Deletes what the entry hides, if it is a whiteout.
    pub(super) fn execute_whiteout(
        &mut self,
        entry: &Entry<'_>,
        content: &mut dyn Content,
    ) -> Result<bool> {
        if entry.name.starts_with(META_PREFIX) && entry.name != OPAQUE {
            self.plink(entry, content)?;
            return Ok(true);
        }
        if !entry.base.starts_with(PREFIX) {
            return self.link_to_plink(entry);
        }
        let name = if entry.base == OPAQUE { None } else { hidden(entry)? };
        let dir = match self.parents.get(entry.parent, false) {
            Ok(dir) => dir,
            // Where there is no directory, there is nothing to delete.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(true),
            Err(e) => return Err(failed("finding the directory of", entry.name, e)),
        };
        match name {
            Some(name) => self.remove(&dir, name, entry.name)?,
            None => {
                let made = &self.made;
                let result = reopen(&dir).and_then(|fd| {
                    remove::empty(fd, Some(&|parent, name: &[u8]| made.contains(parent, name)))
                });
                result.map_err(|e| failed("emptying the directory of", entry.name, e))?;
                self.parents.forget();
            }
        }
        Ok(true)
    }
}

fn is_whiteout(dir: &Dir, name: &[u8]) -> bool {
    rustix::fs::statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| {
        FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == 0
    })
}

fn is_directory(dir: &Dir, base: &[u8]) -> bool {
    rustix::fs::statat(&dir.fd, base, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn reopen(dir: &Dir) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&dir.fd, ".", flags, Mode::empty())
}

fn set_opaque(dir: &Dir, prefix: &str) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(reopen(dir)?, format!("{prefix}opaque"), b"y", XattrFlags::empty())
}
