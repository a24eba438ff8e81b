//! The content of the present member: read, summed, expanded, skipped.

use std::io::{self, BufRead, Read, Write};

use crc_fast::Digest;

use super::{Disassembler, SEGMENT};
use crate::error::Error;
use crate::sparse::{Expansion, Piece};

/// What is left of the present member's payload.
#[derive(Debug)]
pub(super) enum Payload {
    None,
    Plain { name: Vec<u8>, size: u64, left: u64, digest: Option<Box<Digest>> },
    Sparse(Box<Expansion>),
}

impl<R: Read, W: Write> Disassembler<R, W> {
    /// How many bytes of the stream are left of the payload.
    pub(crate) fn stored(&self) -> u64 {
        match &self.payload {
            Payload::None => 0,
            Payload::Plain { left, .. } => *left,
            Payload::Sparse(expansion) => expansion.stored,
        }
    }

    /// Skips and logs what is left of the payload.
    pub(super) fn end_payload(&mut self) -> Result<(), Error> {
        loop {
            match &mut self.payload {
                Payload::None => return Ok(()),
                Payload::Plain { name, size, left: 0, digest } => {
                    let checksum = digest.as_ref().map_or(0, |digest| digest.finalize());
                    self.log.file(name, *size, checksum)?;
                    self.payload = Payload::None;
                }
                Payload::Plain { .. } => {
                    // The read buffer's own bytes are summed where they lie.
                    let available = self.tar.fill_buf();
                    let available = match available {
                        Ok(available) => available,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                        Err(e) => return Err(Error::reading(e)),
                    };
                    if available.is_empty() {
                        return Err(self.truncated("the content of a member"));
                    }
                    if let Payload::Plain { left, digest, .. } = &mut self.payload {
                        let count =
                            available.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                        if let Some(digest) = digest {
                            digest.update(available.get(..count).unwrap_or_default());
                        }
                        *left -= count as u64;
                        self.offset += count as u64;
                        self.tar.consume(count);
                    }
                }
                Payload::Sparse(expansion) => match expansion.stored {
                    0 => self.payload = Payload::None,
                    stored => {
                        let count = stored.min(SEGMENT as u64);
                        expansion.stored -= count;
                        if self.append(count)? < count {
                            return Err(self.truncated("the content of a member"));
                        }
                        self.flush()?;
                    }
                },
            }
        }
    }

    fn read_payload(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        match &mut self.payload {
            Payload::None => Ok(0),
            Payload::Plain { left, digest, .. } => {
                let buffer = upto(buffer, *left);
                if buffer.is_empty() {
                    return Ok(0);
                }
                let count = read(&mut self.tar, buffer)?;
                if let Some(digest) = digest {
                    digest.update(buffer.get(..count).unwrap_or_default());
                }
                *left -= count as u64;
                self.offset += count as u64;
                if count == 0 {
                    return Err(self.truncated("the content of a member"));
                }
                Ok(count)
            }
            Payload::Sparse(expansion) => match expansion.piece() {
                Piece::End => Ok(0),
                Piece::Hole(length) => {
                    let buffer = upto(buffer, length);
                    buffer.fill(0);
                    expansion.advance(buffer.len() as u64);
                    Ok(buffer.len())
                }
                Piece::Data(length) => {
                    let buffer = upto(buffer, length);
                    if buffer.is_empty() {
                        return Ok(0);
                    }
                    let count = read(&mut self.tar, buffer)?;
                    expansion.advance(count as u64);
                    self.offset += count as u64;
                    if count == 0 {
                        return Err(self.truncated("the content of a member"));
                    }
                    self.raw.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    if self.raw.len() >= SEGMENT {
                        self.flush()?;
                    }
                    Ok(count)
                }
            },
        }
    }
}

/// Reads the present member's payload: for a sparse member the expanded content.
///
/// The errors hold an [`Error`](enum@Error).
impl<R: Read, W: Write> Disassembler<R, W> {
    /// Passes over the hole of a sparse payload that would be read next, and returns its length; 0 where data is next.
    ///
    /// For readers that keep holes: a member of a few bytes may have a hole of any length.
    pub fn skip_hole(&mut self) -> u64 {
        let Payload::Sparse(expansion) = &mut self.payload else { return 0 };
        let Piece::Hole(length) = expansion.piece() else { return 0 };
        expansion.advance(length);
        length
    }
}

impl<R: Read, W: Write> Read for Disassembler<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.guard(|this| this.read_payload(buffer))?)
    }
}

fn read(tar: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Error> {
    loop {
        match tar.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(Error::reading),
        }
    }
}

fn upto(buffer: &mut [u8], limit: u64) -> &mut [u8] {
    let length = buffer.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
    buffer.get_mut(..length).unwrap_or_default()
}
