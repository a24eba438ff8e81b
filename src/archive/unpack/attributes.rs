//! Owner, mode, extended attributes and times of what was unpacked, in this order (UNP-14 to UNP-18).
//!
//! One `stat` tells which of the calls would change something; for most files that is the setting of times alone.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use tar_split_rs::{Member, MemberKind, Time};

use super::{UnpackOptions, failed};
use crate::archive::names::show;
use crate::archive::override_stat;
use crate::archive::xattrs::is_overlay_mark;
use crate::sys::beneath::Identity;
use crate::{Error, ErrorKind, IdMaps, Result};

/// The last second whose nanoseconds Go can count; later times become the epoch (UNP-16).
const LAST_SECOND: i64 = i64::MAX / 1_000_000_000;

/// Whom a file belongs to.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    /// The header's.
    pub(super) fn of(member: &Member, name: &[u8]) -> Result<Self> {
        // The highest number means "no change" to the kernel.
        let id = |n: u64| u32::try_from(n).ok().filter(|n| *n != u32::MAX);
        match (id(member.uid), id(member.gid)) {
            (Some(uid), Some(gid)) => Ok(Self { uid, gid }),
            _ => Err(Error::new(ErrorKind::InvalidArchive, format!("unpacking {}", show(name)))
                .detail(format!("no such owner: {}:{}", member.uid, member.gid))),
        }
    }

    /// That on the disk (UNP-10).
    pub(super) fn on_host(self, maps: &IdMaps, name: &[u8]) -> Result<Self> {
        let Self { uid, gid } = self;
        match maps.to_host(uid, gid) {
            Some((uid, gid)) if uid != u32::MAX && gid != u32::MAX => Ok(Self { uid, gid }),
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("unpacking {}", show(name)))
                .detail(format!("its owner {uid}:{gid} is not in the id maps"))
                .hint("map more ids; /etc/subuid and /etc/subgid say which ones a user has")),
        }
    }
}

/// What a file shall get.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a [u8],
    pub(super) owner: Owner,
    pub(super) mode: u32,
    pub(super) mtime: Time,
    pub(super) atime: Option<Time>,
    pub(super) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Wanted<'a> {
    pub(super) fn of(member: &'a Member, owner: Owner, name: &'a [u8]) -> Self {
        let Member { mode, mtime, atime, ref xattrs, .. } = *member;
        Self { name, owner, mode: mode & 0o7777, mtime, atime, xattrs }
    }
}

/// What a file has.
#[derive(Clone, Copy)]
pub(super) struct Present {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

impl From<&Stat> for Present {
    fn from(stat: &Stat) -> Self {
        Self { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 }
    }
}

/// A file by descriptor, or by name in a directory where it must not be opened (devices, fifos, links).
pub(super) enum Target<'a> {
    Open(BorrowedFd<'a>),
    Named(BorrowedFd<'a>, &'a [u8]),
}

impl Target<'_> {
    fn stat(&self) -> rustix::io::Result<Stat> {
        match self {
            Target::Open(fd) => rustix::fs::fstat(fd),
            Target::Named(dir, base) => rustix::fs::statat(dir, *base, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    fn chown(&self, owner: Owner) -> rustix::io::Result<()> {
        let uid = Some(Uid::from_raw(owner.uid));
        let gid = Some(Gid::from_raw(owner.gid));
        match self {
            Target::Open(fd) => rustix::fs::fchown(fd, uid, gid),
            Target::Named(dir, base) => {
                rustix::fs::chownat(dir, *base, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    fn chmod(&self, mode: u32) -> rustix::io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Target::Open(fd) => rustix::fs::fchmod(fd, mode),
            Target::Named(dir, base) => {
                // fchmodat follows links; an O_PATH descriptor cannot turn into one.
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(dir, *base, flags, Mode::empty())?;
                rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)
            }
        }
    }

    fn set_xattr(&self, key: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        match self {
            Target::Open(fd) => rustix::fs::fsetxattr(fd, key, value, XattrFlags::empty()),
            Target::Named(dir, base) => {
                let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
                path.extend_from_slice(base);
                rustix::fs::lsetxattr(path.as_slice(), key, value, XattrFlags::empty())
            }
        }
    }

    fn set_times(&self, times: &Timestamps) -> rustix::io::Result<()> {
        match self {
            Target::Open(fd) => rustix::fs::futimens(fd, times),
            Target::Named(dir, base) => {
                rustix::fs::utimensat(dir, *base, times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }
}

/// All attributes of a new file that is open; what it has is known.
pub(super) fn apply_to_file(
    file: BorrowedFd<'_>,
    present: Present,
    wanted: &Wanted<'_>,
    options: &UnpackOptions,
) -> Result<()> {
    let target = Target::Open(file);
    own_and_mode(&target, present, wanted, options)?;
    set_xattrs(&target, wanted, options)?;
    target
        .set_times(&file_times(wanted))
        .map_err(|e| failed("setting the times of", wanted.name, e))
}

/// All attributes of what has a name only: anything but a directory. `kind` is the member's, not that of what it links to.
pub(super) fn apply(
    target: &Target<'_>,
    kind: MemberKind,
    wanted: &Wanted<'_>,
    options: &UnpackOptions,
) -> Result<()> {
    let call = |action: &'static str| move |e| failed(action, wanted.name, e);
    let stat = target.stat().map_err(call("looking at"))?;
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    if is_link {
        own(target, Present::from(&stat), wanted, options)?;
    } else {
        own_and_mode(target, Present::from(&stat), wanted, options)?;
    }
    set_xattrs(target, wanted, options)?;
    if is_link && kind == MemberKind::HardLink {
        // One more name of a symbolic link leaves its times alone (UNP-16).
        return Ok(());
    }
    let times = if is_link { link_times(wanted) } else { file_times(wanted) };
    if !has_times(&stat, &times) {
        target.set_times(&times).map_err(call("setting the times of"))?;
    }
    Ok(())
}

fn own_and_mode(
    target: &Target<'_>,
    present: Present,
    wanted: &Wanted<'_>,
    options: &UnpackOptions,
) -> Result<()> {
    let moved = own(target, present, wanted, options)?;
    // A change of the owner takes the set-user-ID bit away.
    if present.mode != wanted.mode || moved && wanted.mode & 0o6000 != 0 {
        target.chmod(wanted.mode).map_err(|e| failed("setting the mode of", wanted.name, e))?;
    }
    Ok(())
}

/// All attributes of a directory but its times; returns the mode that has to wait because it would keep a user without
/// privileges from filling the directory.
pub(super) fn apply_to_directory(
    fd: BorrowedFd<'_>,
    wanted: &Wanted<'_>,
    options: &UnpackOptions,
) -> Result<(Identity, Option<u32>)> {
    let call = |action: &'static str| move |e| failed(action, wanted.name, e);
    let target = Target::Open(fd);
    let stat = target.stat().map_err(call("looking at"))?;
    own(&target, Present::from(&stat), wanted, options)?;
    let now = wanted.mode | 0o700;
    if stat.st_mode & 0o7777 != now {
        target.chmod(now).map_err(call("setting the mode of"))?;
    }
    set_xattrs(&target, wanted, options)?;
    Ok((Identity::from(&stat), (now != wanted.mode).then_some(wanted.mode)))
}

/// Sets the owner of a whiteout.
pub(super) fn own_whiteout(
    dir: BorrowedFd<'_>,
    base: &[u8],
    wanted: &Wanted<'_>,
    options: &UnpackOptions,
) -> Result<()> {
    let target = Target::Named(dir, base);
    let stat = target.stat().map_err(|e| failed("looking at", wanted.name, e))?;
    // As in Go also where a mode is forced upon files: a whiteout is none.
    chown(&target, Present::from(&stat), wanted, options).map(|_| ())
}

/// Returns whether the owner had to be changed. With a forced mode files are whose they are (UNP-14).
fn own(
    target: &Target<'_>,
    present: Present,
    wanted: &Wanted<'_>,
    options: &UnpackOptions,
) -> Result<bool> {
    if options.force_mask.is_some() {
        return Ok(false);
    }
    chown(target, present, wanted, options)
}

fn chown(
    target: &Target<'_>,
    present: Present,
    wanted: &Wanted<'_>,
    options: &UnpackOptions,
) -> Result<bool> {
    let Owner { uid, gid } = wanted.owner;
    if (present.uid, present.gid) == (uid, gid) {
        return Ok(false);
    }
    match target.chown(wanted.owner) {
        Ok(()) => Ok(true),
        Err(e) if options.ignore_chown_errors => {
            tracing::warn!(name = %show(wanted.name), uid, gid, error = %e, "owner not set");
            Ok(false)
        }
        Err(e) => {
            let error = Error::io(format!("giving {} to {uid}:{gid}", show(wanted.name)), "", e);
            Err(if e == Errno::INVAL || e == Errno::PERM {
                error.hint("are there enough ids in /etc/subuid and /etc/subgid?")
            } else {
                error
            })
        }
    }
}

fn set_xattrs(target: &Target<'_>, wanted: &Wanted<'_>, options: &UnpackOptions) -> Result<()> {
    for (key, value) in wanted.xattrs {
        if key == b"security.selinux" {
            continue;
        }
        if is_overlay_mark(key) {
            tracing::warn!(
                name = %show(wanted.name), xattr = %show(key),
                "dropped: attributes of the overlay file system are not taken from archives"
            );
            continue;
        }
        match target.set_xattr(key, value) {
            Ok(()) => {}
            // Without it nobody would know the owner any more.
            Err(e) if options.force_mask.is_some() && key == override_stat::KEY => {
                return Err(failed("noting owner and mode of", wanted.name, e)
                    .hint("force_mask needs a file system with user attributes"));
            }
            Err(Errno::OPNOTSUPP) => unsupported(wanted.name, key),
            Err(Errno::PERM) if options.in_user_namespace => unsupported(wanted.name, key),
            Err(e) => {
                let action = format!("setting the attribute {} of", show(key));
                return Err(failed(&action, wanted.name, e));
            }
        }
    }
    Ok(())
}

fn unsupported(name: &[u8], key: &[u8]) {
    tracing::warn!(name = %show(name), xattr = %show(key), "ignored: not supported by the file system");
}

pub(in crate::archive) fn timespec(time: Time) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos.min(999_999_999)) }
}

/// A time before or after what Unix clocks know becomes the epoch.
pub(in crate::archive) fn clamped(time: Time) -> Timespec {
    if time.seconds < 0 || time.seconds > LAST_SECOND {
        return Timespec { tv_sec: 0, tv_nsec: 0 };
    }
    timespec(time)
}

fn later(a: Option<Time>, b: Time) -> Time {
    match a {
        Some(a) if (a.seconds, a.nanos) > (b.seconds, b.nanos) => a,
        _ => b,
    }
}

fn file_times(wanted: &Wanted<'_>) -> Timestamps {
    Timestamps {
        last_access: clamped(later(wanted.atime, wanted.mtime)),
        last_modification: clamped(wanted.mtime),
    }
}

/// Links keep times before the epoch.
fn link_times(wanted: &Wanted<'_>) -> Timestamps {
    Timestamps {
        last_access: timespec(later(wanted.atime, wanted.mtime)),
        last_modification: timespec(wanted.mtime),
    }
}

/// Directories have the header's own access time, else the epoch (UNP-18).
pub(super) fn directory_times(member: &Member) -> Timestamps {
    Timestamps {
        last_access: member.atime.map_or(Timespec { tv_sec: 0, tv_nsec: 0 }, clamped),
        last_modification: clamped(member.mtime),
    }
}

fn has_times(stat: &Stat, times: &Timestamps) -> bool {
    let same =
        |seconds: i64, nanos: i64, time: &Timespec| seconds == time.tv_sec && nanos == time.tv_nsec;
    same(stat.st_mtime, stat.st_mtime_nsec as i64, &times.last_modification)
        && same(stat.st_atime, stat.st_atime_nsec as i64, &times.last_access)
}
