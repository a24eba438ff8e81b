//! Takes a tar stream apart while it passes by.

mod payload;
mod sparse_map;

use std::io::{BufReader, Read, Sink, Write};

use crc_fast::{CrcAlgorithm, Digest};

use crate::error::Error;
use crate::header::{BLOCK, Block, Header};
use crate::member::{Member, MemberKind};
use crate::names::Names;
use crate::number;
use crate::pax::Pax;
use crate::record::Log;
use crate::sparse::{EXTENSION_LIMIT, Expansion};

use payload::Payload;

/// How much is read at a time where nothing else says.
const READ_BUFFER: usize = 64 << 10;

/// The largest segment of bytes that are not headers.
const SEGMENT: usize = 1 << 20;

/// Headers are kept together in one segment up to this size, more than any that is not made in ill will.
const HEADERS_SEGMENT: usize = 4 << 20;

/// Reads a tar stream member by member and writes its tar-split file on the way.
///
/// [`next_member`](Self::next_member) goes to the next member, whose payload is then read through [`Read`]; what is not read
/// is skipped, and logged nevertheless. [`finish`](Self::finish) must be called at the end: it logs the rest of the stream.
///
/// The memory needed is a fixed part below 32 MiB (of which ordinary streams use some 100 KiB), and up to 60 bytes a
/// member for the detection of duplicate names.
#[derive(Debug)]
pub struct Disassembler<R: Read, W: Write> {
    tar: BufReader<R>,
    /// Bytes taken from `tar`.
    offset: u64,
    /// Where the header that is being read begins.
    header_offset: u64,
    log: Log<W>,
    /// Bytes of the stream that are still to be logged.
    raw: Vec<u8>,
    names: Names,
    payload: Payload,
    /// How many bytes of padding follow the present payload.
    padding: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Members,
    Ended,
    Failed,
}

impl<R: Read> Disassembler<R, Sink> {
    /// A tar reader: nothing is logged.
    pub fn without_log(tar: R) -> Self {
        Self::with_log(tar, Log::discarding(std::io::sink()))
    }
}

impl<R: Read, W: Write> Disassembler<R, W> {
    /// Takes apart the uncompressed stream `tar`; `log` receives the lines of the tar-split file, uncompressed.
    ///
    /// `tar` needs no buffer of its own; `log` gets one write for each line.
    pub fn new(tar: R, log: W) -> Self {
        Self::with_log(tar, Log::new(log))
    }

    fn with_log(tar: R, log: Log<W>) -> Self {
        Self {
            tar: BufReader::with_capacity(READ_BUFFER, tar),
            offset: 0,
            header_offset: 0,
            log,
            raw: Vec::new(),
            names: Names::default(),
            payload: Payload::None,
            padding: 0,
            state: State::Members,
        }
    }

    /// Goes to the next member, past what is left of the present one's payload; `None` at the end marker, or at the end of
    /// a stream that has none.
    ///
    /// # Errors
    ///
    /// After an error the stream cannot be read on: all later calls give [`Error::GivenUp`].
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        self.guard(Self::advance)
    }

    /// Reads and logs everything to the end of the stream, whatever follows the end marker included.
    pub fn finish(mut self) -> Result<(R, W), Error> {
        while self.next_member()?.is_some() {}
        while self.append(SEGMENT as u64)? != 0 {
            self.flush()?;
        }
        Ok((self.tar.into_inner(), self.log.finish()?))
    }

    /// What the stream is read from, and whether all that it has given so far has been passed.
    pub(crate) fn source(&mut self) -> (&mut R, bool) {
        let has_passed_all = self.tar.buffer().is_empty();
        (self.tar.get_mut(), has_passed_all)
    }

    /// Runs a step, and gives the stream up if it fails.
    pub(crate) fn guard<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.state == State::Failed {
            return Err(Error::GivenUp);
        }
        let result = step(self);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    fn advance(&mut self) -> Result<Option<Member>, Error> {
        self.end_payload()?;
        if self.state == State::Ended {
            return Ok(None);
        }
        let mut pax = Pax::default();
        let mut long_name = Vec::new();
        let mut long_link = Vec::new();
        loop {
            if self.raw.len() >= HEADERS_SEGMENT {
                self.flush()?;
            }
            let Some((mut header, block)) = self.next_header()? else {
                self.state = State::Ended;
                self.flush()?;
                return Ok(None);
            };
            let kind = MemberKind::of(header.type_flag, b"");
            if header.size < 0 && !kind.is_header_only() {
                return Err(self.malformed("the size is negative"));
            }
            match header.type_flag {
                b'x' => pax = self.pax(&header)?,
                b'g' => {
                    let records = self.pax(&header)?;
                    records.apply(&mut header).map_err(|reason| self.malformed(reason))?;
                    return self.global(header.name).map(Some);
                }
                b'L' => long_name = self.extension(&header)?,
                b'K' => long_link = self.extension(&header)?,
                _ => {
                    pax.apply(&mut header).map_err(|reason| self.malformed(reason))?;
                    if !long_name.is_empty() {
                        header.name = long_name;
                    }
                    if !long_link.is_empty() {
                        header.link_name = long_link;
                    }
                    return self.member(header, &block, pax).map(Some);
                }
            }
        }
    }

    /// Reads the padding of what went before, and a header; `None` at the end.
    fn next_header(&mut self) -> Result<Option<(Header, Block)>, Error> {
        let padding = self.padding as u64;
        self.padding = 0;
        // Streams that end without their last padding are in use, and accepted by Go.
        if self.append(padding)? < padding {
            return Ok(None);
        }
        self.header_offset = self.offset;
        let Some(block) = self.block("a header")? else { return Ok(None) };
        if block != [0; BLOCK] {
            let header = Header::parse(&block).map_err(|reason| self.malformed(reason))?;
            return Ok(Some((header, block)));
        }
        match self.block("the end marker")? {
            Some(second) if second != [0; BLOCK] => {
                Err(self.malformed("a single block of zeros, where the end marker has two"))
            }
            _ => Ok(None),
        }
    }

    /// Makes the member that a header, with its extensions applied to it, describes.
    fn member(&mut self, header: Header, block: &Block, pax: Pax) -> Result<Member, Error> {
        let kind = MemberKind::of(header.type_flag, &header.name);
        let mut member = Member {
            kind,
            mode: low_bits(header.mode),
            uid: header.uid.cast_unsigned(),
            gid: header.gid.cast_unsigned(),
            size: 0,
            mtime: header.mtime,
            atime: header.atime,
            dev_major: low_bits(header.dev_major),
            dev_minor: low_bits(header.dev_minor),
            xattrs: pax.xattrs,
            sparse: None,
            name: header.name,
            link_name: header.link_name,
        };
        let stored = match u64::try_from(header.size) {
            _ if kind.is_header_only() => 0,
            Ok(size) => size,
            Err(_) => return Err(self.malformed("the size is negative")),
        };
        self.padding = (stored.wrapping_neg() % BLOCK as u64) as usize;
        let map = if kind == MemberKind::Sparse {
            Some(self.old_sparse(header.is_gnu, block, stored, &member.name)?)
        } else {
            self.pax_sparse(&pax.sparse, &mut member, stored)?
        };
        if !self.names.insert(&member.name) {
            return Err(Error::DuplicateName { name: member.name });
        }
        match map {
            Some((map, size, stored)) => {
                // Go's format has a place for the expanded content only, from which the stored bytes cannot be made
                // again. Without a file entry every reader reproduces them.
                self.payload = Payload::Sparse(Box::new(Expansion::new(map.clone(), size, stored)));
                member.size = size;
                member.sparse = Some(map);
            }
            None => {
                self.flush()?;
                member.size = stored;
                if stored == 0 {
                    self.log.file(&member.name, 0, 0)?;
                } else {
                    let digest = Digest::new(CrcAlgorithm::Crc64GoIso);
                    let digest = self.log.is_kept().then(|| Box::new(digest));
                    let name = member.name.clone();
                    self.payload = Payload::Plain { name, size: stored, left: stored, digest };
                }
            }
        }
        Ok(member)
    }

    fn global(&mut self, name: Vec<u8>) -> Result<Member, Error> {
        if !self.names.insert(&name) {
            return Err(Error::DuplicateName { name });
        }
        self.flush()?;
        self.log.file(&name, 0, 0)?;
        Ok(Member {
            name,
            kind: MemberKind::Global,
            link_name: Vec::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Default::default(),
            atime: None,
            dev_major: 0,
            dev_minor: 0,
            xattrs: Vec::new(),
            sparse: None,
        })
    }

    fn pax(&mut self, header: &Header) -> Result<Pax, Error> {
        let range = self.extension_range(header)?;
        Pax::parse(self.raw.get(range).unwrap_or_default()).map_err(|reason| self.malformed(reason))
    }

    /// The payload of a GNU long name or link, up to its NUL.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let range = self.extension_range(header)?;
        Ok(number::text(self.raw.get(range).unwrap_or_default()).to_vec())
    }

    /// Reads the payload of an extension header; it is then at that place in `raw`.
    fn extension_range(&mut self, header: &Header) -> Result<std::ops::Range<usize>, Error> {
        let size = header.size.cast_unsigned();
        if size > EXTENSION_LIMIT {
            return Err(Error::LimitExceeded {
                name: header.name.clone(),
                what: "the size of a PAX or GNU extension header in bytes",
                limit: EXTENSION_LIMIT,
            });
        }
        self.padding = (size.wrapping_neg() % BLOCK as u64) as usize;
        let start = self.raw.len();
        if self.append(size)? < size {
            return Err(self.truncated("an extension header"));
        }
        Ok(start..self.raw.len())
    }

    /// Reads a block of the stream into `raw`; `None` if the stream ends before it, an error if within.
    fn block(&mut self, inside: &'static str) -> Result<Option<Block>, Error> {
        let start = self.raw.len();
        if self.append(BLOCK as u64)? == 0 {
            return Ok(None);
        }
        let block = self.raw.get(start..).and_then(|bytes| Block::try_from(bytes).ok());
        block.map(Some).ok_or_else(|| self.truncated(inside))
    }

    /// Reads so many bytes of the stream into `raw`, fewer only at its end.
    fn append(&mut self, count: u64) -> Result<u64, Error> {
        let read =
            (&mut self.tar).take(count).read_to_end(&mut self.raw).map_err(Error::reading)?;
        self.offset += read as u64;
        Ok(read as u64)
    }

    /// Logs `raw`.
    fn flush(&mut self) -> Result<(), Error> {
        if !self.raw.is_empty() {
            self.log.segment(&self.raw)?;
            self.raw.clear();
        }
        Ok(())
    }

    fn truncated(&self, inside: &'static str) -> Error {
        Error::Truncated { offset: self.offset, inside }
    }

    fn malformed(&self, reason: &'static str) -> Error {
        Error::malformed(self.header_offset, reason)
    }
}

/// The lower half of a number, as the kernel's types for modes and device numbers take it.
fn low_bits(number: i64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(u32::MAX)
}
