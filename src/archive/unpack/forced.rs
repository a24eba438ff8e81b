//! What members become where one mode is forced upon all files: directories, links or regular files of that mode, which note in an
//! attribute what they should be (FMK-2, DEF-25).

use std::borrow::Cow;
use std::os::fd::AsFd;

use rustix::fs::XattrFlags;
use tar_split_rs::{Member, MemberKind};

use super::attributes::Owner;
use super::{Unpacker, failed};
use crate::Result;
use crate::archive::override_stat::{KEY, Kind, OverrideStat};

/// The mode of a root that no entry stands for.
const ROOT_MODE: u32 = 0o755;

/// The member as it goes to the disk. Links note nothing: symbolic ones cannot, and the others are a file that has its note.
pub(super) fn on_disk<'m>(member: &'m Member, owner: Owner, mask: Option<u32>) -> Cow<'m, Member> {
    let Some(mask) = mask else { return Cow::Borrowed(member) };
    let (major, minor) = (member.dev_major, member.dev_minor);
    let kind = match member.kind {
        MemberKind::Directory => Some(Kind::Directory),
        MemberKind::File | MemberKind::Contiguous | MemberKind::Sparse => Some(Kind::File),
        MemberKind::Fifo => Some(Kind::Fifo),
        MemberKind::CharDevice => Some(Kind::Char(major, minor)),
        MemberKind::BlockDevice => Some(Kind::Block(major, minor)),
        MemberKind::HardLink => None,
        MemberKind::Symlink | MemberKind::Global | MemberKind::Other(_) => {
            return Cow::Borrowed(member);
        }
    };
    let mut forced = Member { mode: mask, ..member.clone() };
    forced.xattrs.retain(|(key, _)| key != KEY);
    if kind.is_some() {
        let Owner { uid, gid } = owner;
        let note = OverrideStat { uid, gid, mode: member.mode & 0o7777, kind };
        forced.xattrs.push((KEY.to_vec(), note.to_string().into_bytes()));
    }
    if matches!(kind, Some(Kind::Fifo | Kind::Char(..) | Kind::Block(..))) {
        forced.kind = MemberKind::File;
    }
    Cow::Owned(forced)
}

impl Unpacker<'_> {
    /// Notes what the root should be, unless an entry has said so.
    pub(super) fn note_root(&self) -> Result<()> {
        if self.options.force_mask.is_none() || self.facts.root {
            return Ok(());
        }
        let (uid, gid) = self.options.maps.root()?;
        let note = OverrideStat { uid, gid, mode: ROOT_MODE, kind: Some(Kind::Directory) };
        let value = note.to_string();
        rustix::fs::fsetxattr(self.root.as_fd(), KEY, value.as_bytes(), XattrFlags::empty())
            .map_err(|e| failed("noting owner and mode of", b".", e))
    }
}
