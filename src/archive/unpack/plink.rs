//! AUFS kept the targets of hard links between layers in `/.wh..wh.plnk`; links to them become copies, as in the Go
//! library.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tar_split_rs::{Member, MemberKind};

use super::content::Content;
use super::entry::Entry;
use super::{Unpacker, failed};
use crate::archive::names::{clean, show, split};
use crate::{Error, ErrorKind, Result};

/// The directory, which stays while the archive is unpacked.
const DIRECTORY: &[u8] = b".wh..wh.plnk";

/// Bytes of names and attributes that are kept in memory (ARC-5).
const MOST: usize = 16 << 20;

impl Unpacker<'_> {
    /// Keeps a file of that directory aside; other AUFS metadata is skipped.
    pub(super) fn plink(&mut self, entry: &Entry<'_>, content: &mut dyn Content) -> Result<()> {
        if entry.parent != DIRECTORY || entry.member.kind != MemberKind::File {
            return Ok(());
        }
        let attributes = entry.member.xattrs.iter().map(|(key, value)| key.len() + value.len());
        self.plinks_size += entry.name.len() + attributes.sum::<usize>();
        if self.plinks_size > MOST {
            return Err(Error::new(
                ErrorKind::InvalidArchive,
                format!("unpacking {}", show(entry.name)),
            )
            .detail(format!(
                "the files of AUFS's links have more than {MOST} bytes of attributes"
            )));
        }
        let dir = self.parent(entry.name, DIRECTORY)?;
        let size = self.facts.size;
        self.make(&dir, entry, content)?;
        self.facts.size = size;
        self.plinks.insert(entry.base.to_vec(), entry.member.clone());
        Ok(())
    }

    /// Copies the file if the entry is a link to one of those.
    pub(super) fn link_to_plink(&mut self, entry: &Entry<'_>) -> Result<bool> {
        let target = clean(&entry.member.link_name);
        let (parent, base) = split(&target);
        if entry.member.kind != MemberKind::HardLink || parent != DIRECTORY {
            return Ok(false);
        }
        let call = |e| failed("linking", entry.name, e);
        let member: Member = self.plinks.get(base).cloned().ok_or_else(|| call(Errno::NOENT))?;
        self.wait()?;
        let from = self.parents.get(DIRECTORY, false).map_err(call)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&from.fd, base, flags, Mode::empty()).map_err(call)?;
        let owner = super::attributes::Owner::of(&member, entry.name)?
            .on_host(&self.options.maps, entry.name)?;
        let copy = Entry { owner, member: &member, ..*entry };
        let dir = self.parent(entry.name, entry.parent)?;
        self.make(&dir, &copy, &mut std::fs::File::from(file))?;
        self.remember(&dir, entry.base);
        Ok(true)
    }

    /// The directory goes when the archive ends.
    pub(super) fn remove_plinks(&mut self) -> Result<()> {
        if self.plinks.is_empty() {
            return Ok(());
        }
        match super::remove::remove(self.root.as_fd(), DIRECTORY) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(e) => return Err(failed("removing", DIRECTORY, e)),
        }
        self.parents.forget();
        Ok(())
    }
}
