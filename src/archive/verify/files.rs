//! One member and the file at its path.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Stat, Timespec};
use tar_split_rs::{Member, MemberKind};

use super::{Check, is_absence};
use crate::archive::names::{clean, show, split};
use crate::archive::unpack::{clamped, timespec};
use crate::sys::beneath::Identity;

/// An entry of a directory, and its path below the root.
pub(super) struct Place<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) base: &'a [u8],
    pub(super) path: &'a [u8],
}

/// What came of a comparison.
pub(super) struct Seen {
    /// The file, if it has several names and is of the right kind.
    pub(super) shared: Option<Identity>,
    /// What is different.
    pub(super) difference: Option<String>,
}

impl Seen {
    pub(super) fn same() -> Self {
        Self { shared: None, difference: None }
    }

    pub(super) fn other(why: &str) -> Self {
        Self { shared: None, difference: Some(why.to_owned()) }
    }
}

impl Check<'_> {
    /// Compares a file with a member that is no whiteout.
    pub(super) fn compare(
        &mut self,
        member: &Member,
        place: &Place<'_>,
        stat: &Stat,
    ) -> rustix::io::Result<Seen> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let wanted = match member.kind {
            MemberKind::File | MemberKind::Contiguous | MemberKind::Sparse => FileType::RegularFile,
            MemberKind::Directory => FileType::Directory,
            MemberKind::Symlink => FileType::Symlink,
            MemberKind::CharDevice => FileType::CharacterDevice,
            MemberKind::BlockDevice => FileType::BlockDevice,
            MemberKind::Fifo => FileType::Fifo,
            MemberKind::HardLink => match self.link_differs(member, stat)? {
                Some(why) => return Ok(Seen::other(&why)),
                None => kind,
            },
            MemberKind::Global | MemberKind::Other(_) => {
                return Ok(Seen::other("the tar has a member there of an unknown kind"));
            }
        };
        if kind != wanted {
            let (is, should) = (word(kind), word(wanted));
            return Ok(Seen::other(&format!("it is {is}, in the tar {should}")));
        }
        if let Some(why) = content_differs(member, kind, place, stat)? {
            return Ok(Seen::other(&why));
        }
        let several = stat.st_nlink > 1 && kind != FileType::Directory;
        let shared = several.then(|| Identity::from(stat));
        let difference = match fields_differ(member, kind, stat) {
            Some(why) => Some(why),
            None => self.attributes_differ(&member.xattrs, place, kind, Identity::from(stat))?,
        };
        Ok(Seen { shared, difference })
    }

    fn link_differs(&mut self, member: &Member, stat: &Stat) -> rustix::io::Result<Option<String>> {
        let target = clean(&member.link_name);
        let (parent, base) = split(&target);
        let found = self
            .parents
            .get(parent, false)
            .and_then(|dir| rustix::fs::statat(dir.fd.as_fd(), base, AtFlags::SYMLINK_NOFOLLOW));
        match found {
            Ok(found) if Identity::from(&found) == Identity::from(stat) => Ok(None),
            Err(e) if !is_absence(e) => Err(e),
            _ => Ok(Some(format!(
                "it is a file of its own, in the tar the same as {}",
                show(&member.link_name)
            ))),
        }
    }
}

/// What no other name of the file excuses: a hard link's member tells nothing of content.
fn content_differs(
    member: &Member,
    kind: FileType,
    place: &Place<'_>,
    stat: &Stat,
) -> rustix::io::Result<Option<String>> {
    let linked = member.kind == MemberKind::HardLink;
    if kind == FileType::RegularFile && !linked && u64::try_from(stat.st_size) != Ok(member.size) {
        return Ok(Some(format!("it has {} bytes, in the tar {}", stat.st_size, member.size)));
    }
    let device = matches!(member.kind, MemberKind::CharDevice | MemberKind::BlockDevice);
    if device && stat.st_rdev != rustix::fs::makedev(member.dev_major, member.dev_minor) {
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let (wanted_major, wanted_minor) = (member.dev_major, member.dev_minor);
        return Ok(Some(format!(
            "it is the device {major}:{minor}, in the tar {wanted_major}:{wanted_minor}"
        )));
    }
    match member.kind {
        MemberKind::Symlink => target_differs(member, place),
        _ => Ok(None),
    }
}

/// What the last of a file's names decides.
fn fields_differ(member: &Member, kind: FileType, stat: &Stat) -> Option<String> {
    let (mode, wanted) = (stat.st_mode & 0o7777, member.mode & 0o7777);
    // A link's own mode means nothing.
    if kind != FileType::Symlink && mode != wanted {
        return Some(format!("its mode is {mode:04o}, in the tar {wanted:04o}"));
    }
    if (u64::from(stat.st_uid), u64::from(stat.st_gid)) != (member.uid, member.gid) {
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        return Some(format!("its owner is {uid}:{gid}, in the tar {}:{}", member.uid, member.gid));
    }
    if member.kind == MemberKind::HardLink && kind == FileType::Symlink {
        // One more name of a symbolic link leaves its times alone (UNP-16).
        return None;
    }
    let wanted = timespec(member.mtime);
    let found = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    };
    // What docker has unpacked has no time before the epoch, but what its builder left may.
    let same = same_time(&found, &wanted) || same_time(&found, &clamped(member.mtime));
    (!same).then(|| {
        let show = |time: &Timespec| format!("{}.{:09}", time.tv_sec, time.tv_nsec);
        format!("its time is {}, in the tar {}", show(&found), show(&wanted))
    })
}

/// As far as headers, which docker cuts to seconds, and file systems can tell.
fn same_time(found: &Timespec, wanted: &Timespec) -> bool {
    if i32::try_from(wanted.tv_sec).is_err() {
        return true;
    }
    found.tv_sec == wanted.tv_sec
        && (found.tv_nsec == wanted.tv_nsec || found.tv_nsec == 0 || wanted.tv_nsec == 0)
}

fn target_differs(member: &Member, place: &Place<'_>) -> rustix::io::Result<Option<String>> {
    let target = rustix::fs::readlinkat(place.dir, place.base, Vec::new())?;
    let (found, wanted) = (target.to_bytes(), member.link_name.as_slice());
    Ok((found != wanted)
        .then(|| format!("it leads to {}, in the tar to {}", show(found), show(wanted))))
}

/// The kind for a message.
pub(super) fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::Unknown => "of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_compared_as_far_as_both_tell() {
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        for (found, wanted, same) in [
            (time(5, 7), time(5, 7), true),
            (time(5, 7), time(5, 0), true),
            (time(5, 0), time(5, 7), true),
            (time(5, 8), time(5, 7), false),
            (time(6, 0), time(5, 0), false),
            (time(i64::from(i32::MAX), 0), time(1 << 33, 0), true),
        ] {
            assert_eq!(same_time(&found, &wanted), same, "{found:?} {wanted:?}");
        }
    }
}
