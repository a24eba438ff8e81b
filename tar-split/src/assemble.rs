//! Puts a tar stream together again.

use std::io::{self, BufRead, Read, Write};

use crc_fast::{CrcAlgorithm, Digest};

use crate::error::Error;
use crate::header::BLOCK;
use crate::member::MemberKind;
use crate::names::Names;
use crate::record::Record;

/// The longest line that is read. Lines are longer than 1.4 MiB, which a segment of 1 MiB takes, only for a long row of extension
/// headers.
const LINE_LIMIT: u64 = 64 << 20;

const COPY_BUFFER: usize = 128 << 10;

/// Opens the content of the member of that name.
///
/// What it opens may borrow from what the function itself borrows.
pub type OpenContent<'f> = dyn Fn(&[u8]) -> io::Result<Box<dyn Read + 'f>> + 'f;

/// Writes the tar stream that a tar-split file describes to `out`; the result is its length in bytes.
///
/// `log` gives the uncompressed lines. `files` opens the content of the member of that name, as it stands in the
/// stream; it is asked for files with content only, each once, in order. `out` gets many small writes, and wants a
/// buffer if it is a file or a pipe; it is not flushed.
///
/// A line holds one JSON object; unknown keys, positions and where one segment ends and the next begins do not matter.
///
/// # Errors
///
/// [`Error::Checksum`] or [`Error::Length`] for a file whose content has changed, [`Error::Content`] for one that cannot be
/// read, [`Error::DuplicateName`], [`Error::Record`] and [`Error::LimitExceeded`] for a malformed log, [`Error::Io`] for a
/// failure of `log` or `out`. Part of the stream may have been written by then.
pub fn assemble<'f>(
    mut log: impl BufRead,
    files: &OpenContent<'f>,
    out: &mut dyn Write,
) -> Result<u64, Error> {
    let mut line = Vec::new();
    let mut line_number = 0u64;
    let mut payload = Vec::new();
    let mut names = Names::default();
    let mut buffer = vec![0; COPY_BUFFER];
    let mut last_type_flag = None;
    let mut total = 0u64;
    while read_line(&mut log, &mut line)? {
        line_number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let malformed = |reason| Error::Record { line: line_number, reason };
        let record = Record::parse(&line).map_err(malformed)?;
        match record.kind {
            Record::SEGMENT => {
                record.payload(&mut payload).map_err(malformed)?;
                out.write_all(&payload).map_err(writing)?;
                total = total.saturating_add(payload.len().try_into().unwrap_or(u64::MAX));
                last_type_flag = type_flag(&payload);
            }
            Record::FILE => {
                let name = record.name().map_err(malformed)?;
                if !names.insert(&name) {
                    return Err(Error::DuplicateName { name });
                }
                let size = u64::try_from(record.size)
                    .map_err(|_| malformed("the size is negative".into()))?;
                if size == 0 {
                    continue;
                }
                record.payload(&mut payload).map_err(malformed)?;
                let checksum = <[u8; 8]>::try_from(&payload[..]).map_err(|_| {
                    malformed("the payload of a file entry is not a checksum of 8 bytes".into())
                })?;
                // Go takes the size field of a link or directory at its word, and logs it with the checksum of nothing.
                let bare = |flag| MemberKind::of(flag, &name).is_header_only();
                if checksum == [0; 8] && last_type_flag.is_some_and(bare) {
                    continue;
                }
                copy(files, &name, size, u64::from_be_bytes(checksum), &mut buffer, out)?;
                total = total.saturating_add(size);
            }
            _ => return Err(malformed(format!("unknown entry type {}", record.kind).into())),
        }
    }
    Ok(total)
}

/// The type flag of the header that a segment ends with, if it is one that stands before a file entry.
fn type_flag(segment: &[u8]) -> Option<u8> {
    let header = segment.len().checked_sub(BLOCK)?;
    segment.get(header + 156).copied()
}

fn copy<'f>(
    files: &OpenContent<'f>,
    name: &[u8],
    size: u64,
    checksum: u64,
    buffer: &mut [u8],
    out: &mut dyn Write,
) -> Result<(), Error> {
    let content = |source| Error::Content { name: name.to_vec(), source };
    let length = |longer| Error::Length { name: name.to_vec(), expected: size, longer };
    let mut file = files(name).map_err(content)?;
    let mut digest = Digest::new(CrcAlgorithm::Crc64GoIso);
    let mut left = size;
    loop {
        let read = match file.read(buffer) {
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(content(e)),
        };
        if read == 0 {
            break;
        }
        let read = buffer.get(..read).unwrap_or_default();
        left = u64::try_from(read.len())
            .ok()
            .and_then(|read| left.checked_sub(read))
            .ok_or_else(|| length(true))?;
        digest.update(read);
        out.write_all(read).map_err(writing)?;
    }
    if left != 0 {
        return Err(length(false));
    }
    if digest.finalize() != checksum {
        return Err(Error::Checksum { name: name.to_vec() });
    }
    Ok(())
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

fn writing(source: io::Error) -> Error {
    Error::Io { action: "writing the tar stream", source }
}
