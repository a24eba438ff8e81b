//! One member becomes one file.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use tar_split_rs::{Member, MemberKind};

use super::attributes::{self, Owner, Target, Wanted};
use super::content::Content;
use super::parents::Dir;
use super::{Unpacker, content, failed, remove};
use crate::archive::names::{clean, show, split};
use crate::{Error, ErrorKind, Result};

/// A member and where it goes.
pub(super) struct Entry<'a> {
    /// Cleaned, not empty.
    pub(super) name: &'a [u8],
    pub(super) parent: &'a [u8],
    pub(super) base: &'a [u8],
    pub(super) owner: Owner,
    pub(super) member: &'a Member,
}

impl<'a> Entry<'a> {
    pub(super) fn wanted(&self) -> Wanted<'a> {
        Wanted::of(self.member, self.owner, self.name)
    }
}

impl Unpacker<'_> {
    /// Makes the file in `dir`, in place of whatever has its name (UNP-9, UNP-11).
    pub(super) fn make(
        &mut self,
        dir: &Dir,
        entry: &Entry<'_>,
        content: &mut dyn Content,
    ) -> Result<()> {
        let member = entry.member;
        match member.kind {
            MemberKind::Directory => self.make_directory(dir, entry),
            MemberKind::File | MemberKind::Contiguous | MemberKind::Sparse => {
                self.make_file(dir, entry, content)
            }
            MemberKind::Symlink => {
                self.replacing(dir, entry, |dir, base| {
                    rustix::fs::symlinkat(member.link_name.as_slice(), &dir.fd, base)
                })?;
                self.dress(dir, entry)
            }
            MemberKind::HardLink => self.make_hard_link(dir, entry),
            MemberKind::CharDevice | MemberKind::BlockDevice if self.options.in_user_namespace => {
                tracing::debug!(name = %show(entry.name), "device node skipped in a user namespace");
                self.clear(dir, entry)
            }
            MemberKind::CharDevice => self.make_node(dir, entry, FileType::CharacterDevice),
            MemberKind::BlockDevice => self.make_node(dir, entry, FileType::BlockDevice),
            MemberKind::Fifo => self.make_node(dir, entry, FileType::Fifo),
            MemberKind::Global => Ok(()),
            MemberKind::Other(kind) => Err(Error::new(
                ErrorKind::InvalidArchive,
                format!("unpacking {}", show(entry.name)),
            )
            .detail(format!("unhandled tar header type {kind}"))),
        }
    }

    fn make_directory(&mut self, dir: &Dir, entry: &Entry<'_>) -> Result<()> {
        let call = |e| failed("making the directory", entry.name, e);
        let mode = Mode::from_raw_mode(entry.member.mode & 0o777 | 0o700);
        match rustix::fs::mkdirat(&dir.fd, entry.base, mode) {
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(&dir.fd, entry.base, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(call)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    self.clear(dir, entry)?;
                    rustix::fs::mkdirat(&dir.fd, entry.base, mode).map_err(call)?;
                }
                // What new files in it get may change.
                self.parents.forget();
            }
            other => other.map_err(call)?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir.fd, entry.base, flags, Mode::empty()).map_err(call)?;
        let (id, mode) = attributes::apply_to_directory(fd.as_fd(), &entry.wanted(), self.options)?;
        let mode = mode.map(|mode| (mode, id));
        self.directories.push(entry.name, attributes::directory_times(entry.member), mode);
        self.parents.put(entry.name, fd, id);
        Ok(())
    }

    fn make_file(&mut self, dir: &Dir, entry: &Entry<'_>, payload: &mut dyn Content) -> Result<()> {
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.member.mode & 0o777);
        let file =
            self.replacing(dir, entry, |dir, base| rustix::fs::openat(&dir.fd, base, flags, mode))?;
        let present =
            dir.look_at_new(&file, mode).map_err(|e| failed("looking at", entry.name, e))?;
        let (member, wanted) = (entry.member, entry.wanted());
        self.facts.size = self.facts.size.saturating_add(member.size);
        match &mut self.writers {
            Some(writers) if writers.take(member, &file) => {
                writers.add(file, present, &wanted, member.size, payload)
            }
            _ => {
                content::write(&file, entry.name, member, payload, &mut self.buffer)?;
                attributes::apply_to_file(file.as_fd(), present, &wanted, self.options)
            }
        }
    }

    fn make_node(&mut self, dir: &Dir, entry: &Entry<'_>, kind: FileType) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.member.mode & 0o777);
        let dev = rustix::fs::makedev(entry.member.dev_major, entry.member.dev_minor);
        self.replacing(dir, entry, |dir, base| {
            rustix::fs::mknodat(&dir.fd, base, kind, mode, dev)
        })?;
        self.dress(dir, entry)
    }

    /// The target is looked up below the root, its last component is not followed (UNP-12).
    fn make_hard_link(&mut self, dir: &Dir, entry: &Entry<'_>) -> Result<()> {
        let target = clean(&entry.member.link_name);
        let (parent, base) = split(&target);
        let call = |e| {
            failed("linking", entry.name, e)
                .detail(format!("the link's target is {}", show(&entry.member.link_name)))
        };
        if base.is_empty() {
            return Err(call(Errno::ISDIR));
        }
        let from = self.parents.get(parent, false).map_err(call)?;
        let link = |dir: &Dir, name: &[u8]| {
            rustix::fs::linkat(&from.fd, base, &dir.fd, name, AtFlags::empty())
        };
        let dressed = self.unshare(&from, base, entry).map_err(call)?;
        match link(dir, entry.base) {
            Err(Errno::EXIST) => {
                self.clear(dir, entry)?;
                link(dir, entry.base).map_err(call)?;
            }
            other => other.map_err(call)?,
        }
        if !dressed {
            return Ok(());
        }
        // The file's attributes become those of the link.
        self.wait()?;
        self.dress(dir, entry)
    }

    /// Sets the attributes of what has no descriptor.
    fn dress(&mut self, dir: &Dir, entry: &Entry<'_>) -> Result<()> {
        let target = Target::Named(dir.fd.as_fd(), entry.base);
        attributes::apply(&target, entry.member.kind, &entry.wanted(), self.options)
    }

    /// Runs `create`, a second time if something had to be cleared out of its way.
    fn replacing<T>(
        &mut self,
        dir: &Dir,
        entry: &Entry<'_>,
        create: impl Fn(&Dir, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match create(dir, entry.base) {
            Err(Errno::EXIST) => {
                self.clear(dir, entry)?;
                create(dir, entry.base)
            }
            other => other,
        }
        .map_err(|e| failed("creating", entry.name, e))
    }

    /// Removes what has the entry's name.
    pub(super) fn clear(&mut self, dir: &Dir, entry: &Entry<'_>) -> Result<()> {
        self.remove(dir, entry.base, entry.name)
    }

    /// Removes `base` from `dir`, with all that is in it.
    pub(super) fn remove(&mut self, dir: &Dir, base: &[u8], name: &[u8]) -> Result<()> {
        match remove::remove(dir.fd.as_fd(), base) {
            Ok(FileType::Directory | FileType::Symlink) => self.parents.forget(),
            // A whiteout's own name may be too long where the name that it hides is not.
            Ok(_) | Err(Errno::NOENT | Errno::NAMETOOLONG) => {}
            Err(e) => return Err(failed("removing what is in the way of", name, e)),
        }
        Ok(())
    }
}
