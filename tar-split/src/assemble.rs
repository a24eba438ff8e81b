//! Puts a tar stream together again.

use std::io::{self, BufRead, Read, Write};

use crc_fast::{CrcAlgorithm, Digest};

use crate::error::Error;
use crate::parts::{Part, Parts};

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
    log: impl BufRead,
    files: &OpenContent<'f>,
    out: &mut dyn Write,
) -> Result<u64, Error> {
    let mut parts = Parts::new(log);
    let mut buffer = vec![0; COPY_BUFFER];
    let mut total = 0u64;
    while let Some(part) = parts.next()? {
        let bytes = match part {
            Part::Segment(bytes) => {
                out.write_all(bytes).map_err(writing)?;
                bytes.len().try_into().unwrap_or(u64::MAX)
            }
            Part::File { size: 0, .. } => 0,
            Part::File { name, size, checksum } => {
                copy(files, &name, size, checksum, &mut buffer, out)?;
                size
            }
        };
        total = total.saturating_add(bytes);
    }
    Ok(total)
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

fn writing(source: io::Error) -> Error {
    Error::Io { action: "writing the tar stream", source }
}
