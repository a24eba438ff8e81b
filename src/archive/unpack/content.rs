//! The bytes of regular files, holes kept as holes (DEF-9).

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use tar_split_rs::{Disassembler, Extent, Member};

use super::failed;
use crate::archive::channel::BUFFER;
use crate::archive::names::show;
use crate::{Error, ErrorKind, Result};

/// Files from this size on must fit the file system before they are begun (ARC-5).
const ASK_FOR_ROOM: u64 = 16 << 20;

/// So many zeros in a row are not written: fewer are not worth the system call, nor the piece more that the file then is in.
const HOLE: usize = 16 * 1024;

/// What content is compared with, piece by piece.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Where the bytes of a member come from.
pub(crate) trait Content: Read {
    /// Passes over the hole that comes next, as far as the source knows of one; returns its length.
    fn skip_hole(&mut self) -> u64 {
        0
    }
}

impl<R: Read, W: Write> Content for Disassembler<R, W> {
    fn skip_hole(&mut self) -> u64 {
        Disassembler::skip_hole(self)
    }
}

impl Content for std::fs::File {}

/// Writes the member's payload to a new, empty file; returns how many bytes of content it has.
pub(super) fn write(
    file: &impl AsFd,
    name: &[u8],
    member: &Member,
    content: &mut dyn Content,
    buffer: &mut Vec<u8>,
) -> Result<u64> {
    if member.size == 0 {
        return Ok(0);
    }
    buffer.resize(BUFFER, 0);
    let data = member.sparse.as_ref().map_or(member.size, |extents| {
        extents.iter().fold(0, |sum: u64, e| sum.saturating_add(e.length))
    });
    if data >= ASK_FOR_ROOM {
        ask_for_room(file.as_fd(), name, data)?;
    }
    let mut copy = Copy { file: file.as_fd(), name, content, buffer };
    match &member.sparse {
        None => {
            if copy.run(member.size)? {
                rustix::fs::ftruncate(file, member.size).map_err(|e| failed("writing", name, e))?;
            }
        }
        Some(extents) => copy.sparse(extents, member.size)?,
    }
    Ok(member.size)
}

fn ask_for_room(file: BorrowedFd<'_>, name: &[u8], data: u64) -> Result<()> {
    let stat =
        rustix::fs::fstatvfs(file).map_err(|e| failed("asking for the room for", name, e))?;
    let room = stat.f_bfree.saturating_mul(stat.f_frsize);
    // Some file systems do not count their blocks.
    if stat.f_blocks > 0 && data > room {
        return Err(failed("unpacking", name, Errno::NOSPC)
            .detail(format!("the file has {data} bytes, the file system room for {room}")));
    }
    Ok(())
}

struct Copy<'a> {
    file: BorrowedFd<'a>,
    name: &'a [u8],
    content: &'a mut dyn Content,
    buffer: &'a mut Vec<u8>,
}

impl Copy<'_> {
    /// Writes what comes, long runs of zeros as holes: most writers of tars fill the holes of sparse files. Tells whether there is a
    /// hole at the end.
    fn run(&mut self, mut left: u64) -> Result<bool> {
        let mut at_hole = false;
        while left > 0 {
            let n = self.read(left)?;
            left -= n as u64;
            let mut rest = self.buffer.get(..n).unwrap_or_default();
            while !rest.is_empty() {
                // A piece that the end of the buffer has cut short counts as well.
                let is_hole = |piece: &[u8]| piece.len() >= HOLE && ZEROS.starts_with(piece);
                let pieces = || rest.chunks(ZEROS.len());
                let holes: usize =
                    pieces().take_while(|piece| is_hole(piece)).map(<[u8]>::len).sum();
                let data = pieces().take_while(|piece| !is_hole(piece)).map(<[u8]>::len).sum();
                at_hole = holes > 0;
                if at_hole {
                    rustix::fs::seek(self.file, SeekFrom::Current(holes as i64))
                        .map_err(|e| failed("writing", self.name, e))?;
                } else {
                    write_all(self.file, self.name, rest.get(..data).unwrap_or_default())?;
                }
                rest = rest.get(holes.max(data)..).unwrap_or_default();
            }
        }
        Ok(at_hole)
    }

    fn sparse(&mut self, extents: &[Extent], size: u64) -> Result<()> {
        // At once, for a size that the file system cannot have.
        rustix::fs::ftruncate(self.file, size).map_err(|e| failed("writing", self.name, e))?;
        let mut at = 0;
        for extent in extents {
            let end = extent.offset.checked_add(extent.length).filter(|end| *end <= size);
            let (Some(end), Some(hole)) = (end, extent.offset.checked_sub(at)) else {
                return Err(damaged(self.name, "its map of holes is out of order"));
            };
            self.skip(hole)?;
            rustix::fs::seek(self.file, SeekFrom::Start(extent.offset))
                .map_err(|e| failed("writing", self.name, e))?;
            // The file has its length already.
            let _ = self.run(extent.length)?;
            at = end;
        }
        self.skip(size - at)
    }

    fn skip(&mut self, mut left: u64) -> Result<()> {
        while left > 0 {
            left = match self.content.skip_hole() {
                0 => left - self.read(left)? as u64,
                hole => left
                    .checked_sub(hole)
                    .ok_or_else(|| damaged(self.name, "its holes overlap its data"))?,
            };
        }
        Ok(())
    }

    fn read(&mut self, most: u64) -> Result<usize> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.buffer.len());
        read(self.name, self.content, self.buffer.get_mut(..most).unwrap_or_default())
    }
}

/// Appends the whole content, which is so long, to `bytes`.
pub(super) fn read_all(
    name: &[u8],
    content: &mut dyn Content,
    size: u64,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let mut at = bytes.len();
    bytes.resize(at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)), 0);
    while let Some(room) = bytes.get_mut(at..).filter(|room| !room.is_empty()) {
        at += read(name, content, room)?;
    }
    Ok(())
}

pub(super) fn write_all(file: BorrowedFd<'_>, name: &[u8], mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(failed("writing", name, Errno::IO)),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(e) => return Err(failed("writing", name, e)),
        }
    }
    Ok(())
}

fn read(name: &[u8], content: &mut dyn Content, room: &mut [u8]) -> Result<usize> {
    loop {
        match content.read(room) {
            Ok(0) => return Err(damaged(name, "its content ends early")),
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(name, e)),
        }
    }
}

/// An error of the stream, or of what the stream says.
fn unreadable(name: &[u8], e: io::Error) -> Error {
    let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<tar_split_rs::Error>());
    let kind = match inner {
        Some(tar_split_rs::Error::Io { .. }) => ErrorKind::Io,
        _ => ErrorKind::InvalidArchive,
    };
    Error::new(kind, format!("reading the content of {}", show(name))).caused_by(e)
}

fn damaged(name: &[u8], why: &str) -> Error {
    Error::new(ErrorKind::InvalidArchive, format!("unpacking {}", show(name))).detail(why)
}
