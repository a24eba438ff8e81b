//! One file becomes one member, or two.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::header::Header;
use super::host_names::HostNames;
use super::{failed, owner, vanished, write_failed};
use crate::Result;
use crate::archive::channel::BUFFER;
use crate::archive::names::{show, split};
use crate::archive::walk::is_change;
use crate::archive::xattrs;
use crate::archive::{Compat, PackOptions, capability};
use crate::sys::beneath::Identity;

const BLOCK: u64 = 512;

/// How often a file may be replaced while it is packed.
const ATTEMPTS: usize = 100;

/// A file to pack.
pub(super) struct Subject<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) name: &'a [u8],
    /// Its path in the tar, without a slash at either end.
    pub(super) path: &'a [u8],
    pub(super) stat: &'a Stat,
}

/// How whiteouts of the file system become members.
pub(super) trait Whiteouts {
    /// Whether the file stands for a deletion.
    fn is_one(&self, subject: &Subject<'_>) -> bool;

    /// Changes the member's header where the file is a whiteout; gives the marker to write after an opaque directory.
    fn convert(&self, subject: &Subject<'_>, header: &mut Header) -> Result<Option<Header>>;

    /// Whether an attribute of that name says that the data of a regular file are not in it (DEF-2).
    fn is_elsewhere(&self, key: &[u8]) -> bool;

    /// Opens those data, of that size.
    fn open_elsewhere(&self, subject: &Subject<'_>, size: u64) -> Result<File>;
}

/// For trees without whiteouts: every file is what it is.
pub(super) struct NoWhiteouts;

impl Whiteouts for NoWhiteouts {
    fn is_one(&self, _: &Subject<'_>) -> bool {
        false
    }

    fn convert(&self, _: &Subject<'_>, _: &mut Header) -> Result<Option<Header>> {
        Ok(None)
    }

    fn is_elsewhere(&self, _: &[u8]) -> bool {
        false
    }

    fn open_elsewhere(&self, subject: &Subject<'_>, _: u64) -> Result<File> {
        open(subject).map_err(|e| failed(subject.path, e))
    }
}

/// Writes members.
pub(super) struct Packer<'o> {
    out: &'o mut dyn Write,
    options: &'o PackOptions,
    /// The first name of each file with several (TAR-7), by device and inode number (DEF-14).
    links: HashMap<Identity, Vec<u8>>,
    buffer: Vec<u8>,
    owners: HostNames,
}

impl<'o> Packer<'o> {
    pub(super) fn new(out: &'o mut dyn Write, options: &'o PackOptions) -> Self {
        let owners = HostNames::default();
        Self { out, options, links: HashMap::new(), buffer: Vec::new(), owners }
    }

    /// Writes the file, unless it is of a kind that tars do not have, or has vanished. One that was replaced since it was
    /// looked at is looked at anew: the tree of a running container moves.
    pub(super) fn add(&mut self, subject: &Subject<'_>, whiteouts: &dyn Whiteouts) -> Result<()> {
        let mut stat = *subject.stat;
        for _ in 0..ATTEMPTS {
            let subject = Subject { stat: &stat, ..*subject };
            match self.try_add(&subject, whiteouts) {
                Ok(outcome) => return outcome,
                Err(e) if vanished(&e) => return Ok(()),
                Err(e) if is_change(e) => {}
                Err(e) => return Err(failed(subject.path, e)),
            }
            stat = match rustix::fs::statat(subject.dir, subject.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(e) if vanished(&e) => return Ok(()),
                Err(e) => return Err(failed(subject.path, e)),
            };
        }
        Err(failed(subject.path, Errno::STALE).detail("it is replaced faster than it can be read"))
    }

    /// The outer error is from before anything was written.
    fn try_add(
        &mut self,
        subject: &Subject<'_>,
        whiteouts: &dyn Whiteouts,
    ) -> rustix::io::Result<Result<()>> {
        let kind = FileType::from_raw_mode(subject.stat.st_mode);
        let elsewhere = Cell::new(false);
        let compat = self.options.compat;
        let wanted = |key: &[u8]| {
            let is_file = kind == FileType::RegularFile;
            elsewhere.set(elsewhere.get() || is_file && whiteouts.is_elsewhere(key));
            is_exported(key, compat)
        };
        let Some(mut header) = self.header(subject, kind, wanted)? else { return Ok(Ok(())) };
        let is_whiteout = whiteouts.is_one(subject);
        if !owner::translate(&mut header, subject.path, is_whiteout, self.options) {
            return Ok(Ok(()));
        }
        if compat.has_kinds_and_names() {
            // A note has none (TAR-4).
            header.mode |= subject.stat.st_mode & 0o170_000;
        }
        let marker = match whiteouts.convert(subject, &mut header) {
            Ok(marker) => marker,
            Err(e) => return Ok(Err(e)),
        };
        let content = match (header.kind == b'0' && header.size > 0, elsewhere.get()) {
            (false, _) => None,
            (true, false) => Some(open(subject)?),
            (true, true) => match whiteouts.open_elsewhere(subject, header.size) {
                Ok(file) => Some(file),
                Err(e) => return Ok(Err(e)),
            },
        };
        Ok(self.write(subject, header, marker, content))
    }

    fn write(
        &mut self,
        subject: &Subject<'_>,
        header: Header,
        marker: Option<Header>,
        content: Option<File>,
    ) -> Result<()> {
        self.add_header(subject.path, &header)?;
        if let Some(marker) = marker {
            self.add_header(subject.path, &marker)?;
        }
        if let Some(file) = content {
            self.write_content(subject, file, header.size)?;
        }
        if has_links(subject.stat) {
            let name = match self.options.compat {
                Compat::Current => header.name,
                Compat::V1_24 | Compat::Moby => subject.path.to_vec(),
            };
            self.links.entry(Identity::from(subject.stat)).or_insert(name);
        }
        Ok(())
    }

    /// Writes a header that stands for no file.
    pub(super) fn add_header(&mut self, path: &[u8], header: &Header) -> Result<()> {
        header.write(self.out).map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidInput => failed(path, e),
            _ => write_failed(e),
        })
    }

    /// Writes the end marker.
    pub(super) fn finish(self) -> Result<()> {
        self.out
            .write_all(&[0; 2 * BLOCK as usize])
            .and_then(|()| self.out.flush())
            .map_err(write_failed)
    }

    fn header(
        &mut self,
        subject: &Subject<'_>,
        kind: FileType,
        is_exported: impl Fn(&[u8]) -> bool,
    ) -> rustix::io::Result<Option<Header>> {
        let stat = subject.stat;
        let mut header = Header {
            name: subject.path.to_vec(),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            ..Header::default()
        };
        match kind {
            FileType::RegularFile => {
                header.kind = b'0';
                header.size = u64::try_from(stat.st_size).unwrap_or(0);
            }
            FileType::Directory => {
                header.kind = b'5';
                header.name.push(b'/');
            }
            FileType::Symlink => {
                header.kind = b'2';
                header.link_name =
                    rustix::fs::readlinkat(subject.dir, subject.name, Vec::new())?.into_bytes();
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                header.kind = if kind == FileType::CharacterDevice { b'3' } else { b'4' };
                header.dev_major = rustix::fs::major(stat.st_rdev);
                header.dev_minor = rustix::fs::minor(stat.st_rdev);
            }
            FileType::Fifo => header.kind = b'6',
            _ => {
                tracing::info!(path = %show(subject.path), "left out: tars have no sockets");
                return Ok(None);
            }
        }
        if self.options.compat.has_kinds_and_names() {
            header.mode = stat.st_mode;
            header.owner = self.owners.user(stat.st_uid);
            header.group = self.owners.group(stat.st_gid);
        }
        header.xattrs = xattrs::select(subject.dir, subject.name, is_exported)?;
        if let Some(first) = self.links.get(&Identity::from(stat)).filter(|_| has_links(stat)) {
            header.kind = b'1';
            header.link_name.clone_from(first);
            header.size = 0;
        }
        Ok(Some(header))
    }

    /// Writes as many bytes as the header says: what is appended meanwhile is left out, a file that has become shorter is
    /// an error.
    fn write_content(&mut self, subject: &Subject<'_>, mut file: File, size: u64) -> Result<()> {
        self.buffer.resize(BUFFER, 0);
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let room = self.buffer.get_mut(..most).unwrap_or_default();
            let n = match file.read(room) {
                Ok(0) => {
                    let e = std::io::Error::other("the file has become shorter while it was read");
                    return Err(failed(subject.path, e));
                }
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed(subject.path, e)),
            };
            self.out.write_all(self.buffer.get(..n).unwrap_or_default()).map_err(write_failed)?;
            left -= n as u64;
        }
        let padding = (size.wrapping_neg() % BLOCK) as usize;
        self.out
            .write_all([0; BLOCK as usize].get(..padding).unwrap_or_default())
            .map_err(write_failed)
    }
}

fn open(subject: &Subject<'_>) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(subject.dir, subject.name, flags, Mode::empty())?;
    // Replaced since it was looked at: the header would belong to another file.
    if Identity::from(&rustix::fs::fstat(&fd)?) != Identity::from(subject.stat) {
        return Err(Errno::STALE);
    }
    Ok(File::from(fd))
}

fn has_links(stat: &Stat) -> bool {
    stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) != FileType::Directory
}

/// TAR-9, MOB-27
fn is_exported(key: &[u8], compat: Compat) -> bool {
    if compat == Compat::Moby {
        return key == capability::KEY;
    }
    let is_mark = compat == Compat::Current && key.starts_with(b"user.overlay.");
    key == capability::KEY || key == b"security.ima" || key.starts_with(b"user.") && !is_mark
}

/// A whiteout of the overlay file system: a character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The name of the member that hides `path`.
pub(super) fn whiteout_name(path: &[u8]) -> Vec<u8> {
    let (parent, base) = split(path);
    let slash: &[u8] = if parent.is_empty() { b"" } else { b"/" };
    [parent, slash, crate::archive::unpack::WHITEOUT_PREFIX, base].concat()
}
