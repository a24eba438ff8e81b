//! What the lines of a tar-split file stand for, one after the other.

use std::io::{BufRead, Read};

use crate::error::Error;
use crate::header::BLOCK;
use crate::member::MemberKind;
use crate::names::Names;
use crate::record::Record;

/// The longest line that is read. Lines are longer than 1.4 MiB, which a segment of 1 MiB takes, only for a long row of extension
/// headers.
const LINE_LIMIT: u64 = 64 << 20;

/// A part of the stream.
pub(crate) enum Part<'a> {
    /// These bytes.
    Segment(&'a [u8]),
    /// The content of the member of that name, of so many bytes; none where the member has no content.
    File { name: Vec<u8>, size: u64, checksum: u64 },
}

/// Reads the parts.
#[derive(Debug)]
pub(crate) struct Parts<R> {
    log: R,
    line: Vec<u8>,
    line_number: u64,
    payload: Vec<u8>,
    names: Names,
    last_type_flag: Option<u8>,
}

impl<R: BufRead> Parts<R> {
    pub(crate) fn new(log: R) -> Self {
        Self {
            log,
            line: Vec::new(),
            line_number: 0,
            payload: Vec::new(),
            names: Names::default(),
            last_type_flag: None,
        }
    }

    /// The next part; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Part<'_>>, Error> {
        loop {
            if !read_line(&mut self.log, &mut self.line)? {
                return Ok(None);
            }
            self.line_number += 1;
            if !self.line.trim_ascii().is_empty() {
                return self.part().map(Some);
            }
        }
    }

    /// What is wrong with the last line.
    pub(crate) fn malformed(&self, reason: String) -> Error {
        Error::Record { line: self.line_number, reason: reason.into() }
    }

    /// The bytes of the last part, if that was a segment.
    pub(crate) fn segment(&self) -> &[u8] {
        &self.payload
    }

    fn part(&mut self) -> Result<Part<'_>, Error> {
        let line = self.line_number;
        let malformed = |reason| Error::Record { line, reason };
        let record = Record::parse(&self.line).map_err(malformed)?;
        match record.kind {
            Record::SEGMENT => {
                record.payload(&mut self.payload).map_err(malformed)?;
                self.last_type_flag = type_flag(&self.payload);
                Ok(Part::Segment(&self.payload))
            }
            Record::FILE => {
                let name = record.name().map_err(malformed)?;
                if !self.names.insert(&name) {
                    return Err(Error::DuplicateName { name });
                }
                let size = u64::try_from(record.size)
                    .map_err(|_| malformed("the size is negative".into()))?;
                if size == 0 {
                    return Ok(Part::File { name, size, checksum: 0 });
                }
                record.payload(&mut self.payload).map_err(malformed)?;
                let checksum = <[u8; 8]>::try_from(&self.payload[..]).map_err(|_| {
                    malformed("the payload of a file entry is not a checksum of 8 bytes".into())
                })?;
                let checksum = u64::from_be_bytes(checksum);
                // Go takes the size field of a link or directory at its word, and logs it with the checksum of nothing.
                let bare = |flag| MemberKind::of(flag, &name).is_header_only();
                let empty = checksum == 0 && self.last_type_flag.is_some_and(bare);
                Ok(Part::File { name, size: if empty { 0 } else { size }, checksum })
            }
            kind => Err(malformed(format!("unknown entry type {kind}").into())),
        }
    }
}

/// The type flag of the header that a segment ends with, if it is one that stands before a file entry.
fn type_flag(segment: &[u8]) -> Option<u8> {
    let header = segment.len().checked_sub(BLOCK)?;
    segment.get(header + 156).copied()
}

/// Reads a line, or what is left, into `line`; false at the end.
fn read_line(log: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, Error> {
    line.clear();
    let read = log
        .take(LINE_LIMIT + 1)
        .read_until(b'\n', line)
        .map_err(|source| Error::Io { action: "reading the tar-split file", source })?;
    if u64::try_from(read).is_ok_and(|read| read <= LINE_LIMIT) {
        Ok(read != 0)
    } else {
        let what = "the length of a line of the tar-split file in bytes";
        Err(Error::LimitExceeded { what, limit: LINE_LIMIT, name: Vec::new() })
    }
}
