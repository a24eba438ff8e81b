//! The files of a layer as the source of a tar's content.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags};

use super::FileSource;
use super::channel::BUFFER;
use super::names::clean;
use crate::sys::beneath::Beneath;
use crate::{Error, ErrorKind, Result};

/// The files below some directories: a layer's own, then those of the layers below it (REM-15).
pub struct TreeFiles {
    roots: Vec<OwnedFd>,
}

impl TreeFiles {
    /// Files are looked for below `roots` in this order.
    pub fn new(roots: Vec<OwnedFd>) -> Self {
        Self { roots }
    }
}

impl FileSource for TreeFiles {
    fn open(&self, name: &[u8]) -> io::Result<Box<dyn Read + Send + '_>> {
        let path = clean(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut first = None;
        for root in &self.roots {
            match Beneath::new(root.as_fd()).open(&path, flags) {
                Ok(fd) => {
                    let stat = rustix::fs::fstat(&fd)?;
                    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                        return Ok(Box::new(File::from(fd)));
                    }
                }
                Err(e) => {
                    first.get_or_insert(e);
                }
            }
        }
        Err(first.map_or_else(
            || io::Error::new(io::ErrorKind::NotFound, "no such regular file in the layer"),
            io::Error::from,
        ))
    }
}

/// Puts the tar together from its gzip-compressed tar-split and the layer's files; returns its length.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when the tar-split is malformed, [`ErrorKind::DigestMismatch`] when a file is not what the
/// tar-split says, [`ErrorKind::Io`] when a file cannot be read or `out` fails.
pub fn reassemble(
    tar_split_gz: &mut dyn Read,
    files: &dyn FileSource,
    out: &mut dyn Write,
) -> Result<u64> {
    let log = io::BufReader::with_capacity(BUFFER, flate2::read::MultiGzDecoder::new(tar_split_gz));
    let open = |name: &[u8]| files.open(name).map(|file| file as Box<dyn Read + '_>);
    tar_split_rs::assemble(log, &open, out).map_err(|e| {
        use tar_split_rs::Error as E;
        let kind = match &e {
            E::Checksum { .. } | E::Length { .. } => ErrorKind::DigestMismatch,
            E::Content { .. } => ErrorKind::Io,
            // What the decompressor says of damaged bytes.
            E::Io { source, .. } if !is_damage(source.kind()) => ErrorKind::Io,
            _ => ErrorKind::Corrupt,
        };
        Error::new(kind, "putting a layer's tar together").caused_by(e)
    })
}

fn is_damage(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(kind, InvalidData | InvalidInput | UnexpectedEof)
}
