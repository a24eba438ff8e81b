//! Regular files: their content and everything that belongs to them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::one::open_file;
use super::{CopyMethod, CopyOptions, Place, times};
use crate::archive::xattrs;
use crate::progress::ProgressItem;

/// Bytes that one call copies: interruptible at reasonable intervals.
const PIECE: usize = 64 << 20;

/// Bytes of a file that is copied by hand: fewer calls than to ask the kernel.
const SMALL: u64 = 64 << 10;

/// Copies files, from as many threads as like to.
pub(super) struct Files<'a> {
    options: &'a CopyOptions<'a>,
    /// Until the file system says otherwise.
    can_share: AtomicBool,
    /// Until the file system, or the limits of a file's links, say otherwise.
    can_link: AtomicBool,
    pub(super) linked: AtomicU64,
    pub(super) reflinked: AtomicU64,
    pub(super) copied: AtomicU64,
}

impl<'a> Files<'a> {
    pub(super) fn new(options: &'a CopyOptions<'a>) -> Self {
        let can_share = AtomicBool::new(options.method != CopyMethod::Copy);
        let can_link = AtomicBool::new(options.method == CopyMethod::Link);
        let none = || AtomicU64::new(0);
        Self { options, can_share, can_link, linked: none(), reflinked: none(), copied: none() }
    }

    /// Whether files get another name.
    pub(super) fn can_link(&self) -> bool {
        self.can_link.load(Ordering::Relaxed)
    }

    /// Gives what is no directory another name; `false` where it cannot have one more.
    pub(super) fn link(
        &self,
        from: Place<'_>,
        to: BorrowedFd<'_>,
        stat: &Stat,
    ) -> rustix::io::Result<bool> {
        if !self.can_link() {
            return Ok(false);
        }
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if let Some(prefix) = self.options.whole.filter(|_| regular)
            && xattrs::get(from.0, from.1, [prefix, "metacopy"].concat().as_bytes())?.is_some()
        {
            return Err(ELSEWHERE);
        }
        match rustix::fs::linkat(from.0, from.1, to, from.1, AtFlags::empty()) {
            Ok(()) => {
                self.linked.fetch_add(1, Ordering::Relaxed);
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.options.progress.advance(if regular { size } else { 0 });
                Ok(true)
            }
            Err(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP) => {
                self.can_link.store(false, Ordering::Relaxed);
                Ok(false)
            }
            Err(Errno::MLINK) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Links or copies the file of that name from one directory to the other, with its attributes and times; `stat` is what was seen of it.
    pub(super) fn copy(
        &self,
        from: Place<'_>,
        to: BorrowedFd<'_>,
        stat: &Stat,
        buffer: &mut Vec<u8>,
    ) -> rustix::io::Result<()> {
        if self.link(from, to, stat)? {
            return Ok(());
        }
        let source = open_file(from, stat)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let asked = Mode::from_raw_mode(stat.st_mode & 0o777) | Mode::WUSR;
        let copy = rustix::fs::openat(to, from.1, flags, asked)?;
        self.content(&source, &copy, stat, buffer)?;
        self.attributes(&source, &copy, stat)?;
        rustix::fs::futimens(&copy, &times(stat))
    }

    fn attributes(&self, from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> rustix::io::Result<()> {
        let made = rustix::fs::fstat(to)?;
        if (made.st_uid, made.st_gid) != (stat.st_uid, stat.st_gid) {
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::fchown(to, Some(uid), Some(gid))?;
        }
        if (made.st_mode ^ stat.st_mode) & 0o7777 != 0 || stat.st_mode & 0o7000 != 0 {
            rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        }
        for (key, value) in xattrs::select_of(from.as_fd(), |key| key != b"security.selinux")? {
            self.options.check_mark(&key)?;
            match rustix::fs::fsetxattr(to, key.as_slice(), &value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn content(
        &self,
        from: &OwnedFd,
        to: &OwnedFd,
        stat: &Stat,
        buffer: &mut Vec<u8>,
    ) -> rustix::io::Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        // Nothing to share, nothing to copy.
        if size == 0 {
            return Ok(());
        }
        if self.can_share.load(Ordering::Relaxed) {
            match rustix::fs::ioctl_ficlone(to, from) {
                Ok(()) => {
                    self.reflinked.fetch_add(1, Ordering::Relaxed);
                    self.options.progress.advance(size);
                    return Ok(());
                }
                Err(e) if self.options.method == CopyMethod::Reflink => {
                    return Err(if cannot_share(e) { UNSHARED } else { e });
                }
                Err(e) if cannot_share(e) => self.can_share.store(false, Ordering::Relaxed),
                Err(_) => {}
            }
        }
        self.copied.fetch_add(1, Ordering::Relaxed);
        let holes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) < size;
        if size <= SMALL && !holes {
            buffer.resize(SMALL as usize, 0);
            copy_by_hand(from, to, 0, size, buffer)?;
            self.options.progress.advance(size);
            return Ok(());
        }
        let may_share = self.options.method != CopyMethod::Copy;
        copy_file(from, to, size, may_share, self.options.progress)
    }
}

/// Stands for a refusal that [`explain`](super::explain) puts into words; no call on a copied file fails with it.
pub(super) const ELSEWHERE: Errno = Errno::NOTUNIQ;

/// Likewise.
pub(super) const UNSHARED: Errno = Errno::MEDIUMTYPE;

fn cannot_share(e: Errno) -> bool {
    matches!(e, Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::NOTTY)
}

/// Copies the parts of a file that are no holes.
pub(super) fn copy_file(
    from: &OwnedFd,
    to: &OwnedFd,
    size: u64,
    may_share: bool,
    progress: &dyn ProgressItem,
) -> rustix::io::Result<()> {
    let mut at = 0;
    while at < size {
        // Without support for holes the whole file is data.
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        copy_range(from, to, start..end, may_share, progress)?;
        at = end.max(start + 1);
    }
    rustix::fs::ftruncate(to, size)
}

fn copy_range(
    from: &OwnedFd,
    to: &OwnedFd,
    range: std::ops::Range<u64>,
    may_share: bool,
    progress: &dyn ProgressItem,
) -> rustix::io::Result<()> {
    let (mut from_at, mut to_at, end) = (range.start, range.start, range.end);
    while from_at < end {
        if progress.is_cancelled() {
            return Err(Errno::CANCELED);
        }
        let before = from_at;
        let most = usize::try_from(end - from_at).unwrap_or(PIECE).min(PIECE);
        // It shares blocks where the file system can (copy_file_range(2)).
        let done = match may_share {
            true => {
                rustix::fs::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), most)
            }
            false => Err(Errno::OPNOTSUPP),
        };
        match done {
            Ok(0) => return Ok(()),
            Ok(_) => progress.advance(from_at.saturating_sub(before)),
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                let mut buffer = vec![0u8; crate::archive::channel::BUFFER];
                while from_at < end && !progress.is_cancelled() {
                    let next = end.min(from_at.saturating_add(PIECE as u64));
                    copy_by_hand(from, to, from_at, next, &mut buffer)?;
                    progress.advance(next - from_at);
                    from_at = next;
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn copy_by_hand(
    from: &OwnedFd,
    to: &OwnedFd,
    mut at: u64,
    end: u64,
    buffer: &mut [u8],
) -> rustix::io::Result<()> {
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let n = match rustix::io::pread(from, buffer.get_mut(..most).unwrap_or_default(), at) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e),
        };
        let mut rest = buffer.get(..n).unwrap_or_default();
        while !rest.is_empty() {
            match rustix::io::pwrite(to, rest, at) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => {
                    at += n as u64;
                    rest = rest.get(n..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}
