//! The pipeline that takes a layer in: one pass over the stream, a thread for each stage.
//!
//! ```text
//! source → [sha256] ═ pipe ═ decompress ═ pipe ═ [sha256] ═ pipe ═ tar → tar-split, unpack
//! ```
//!
//! The two stages in the middle are only there where the stream is compressed.
//!
//! The first stage that fails puts its error in a slot before it lets go of its pipes; whatever the others meet because of
//! that comes too late for the slot, so the cause is what the caller gets.

use std::io::{self, BufRead, Cursor, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

use flate2::GzBuilder;
use tar_split_rs::Disassembler;

use super::channel::{BUFFER, Sender, Source, Stopped, fill, pipe};
use super::compression::{decode, sniff};
use super::digest::Hasher;
use super::unpack::{Unpacked, Unpacker};
use super::{Compression, LayerFacts, UnpackOptions};
use crate::{Error, ErrorKind, Result};

/// The time stamp in the header of every tar-split file that Go writes (`store-format.md` 8).
const TAR_SPLIT_MTIME: u32 = 0x886e_0900;

/// "Unknown" in a gzip header.
const GZIP_OS_UNKNOWN: u8 = 255;

/// Reads a layer in whatever compression, unpacks it below `root` and writes its tar-split, gzip-compressed, to
/// `tar_split_gz`.
///
/// # Errors
/// [`ErrorKind::InvalidArchive`] when the stream or the tar is malformed, names the member concerned; [`ErrorKind::Io`]
/// when reading `source` or writing below `root` fails. What was unpacked until then stays.
pub fn import(
    source: &mut (dyn Read + Send),
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
    tar_split_gz: Option<&mut (dyn Write + Send)>,
) -> Result<LayerFacts> {
    let (compression, magic) = sniff(&mut *source).map_err(unreadable)?;
    let mut source = Cursor::new(magic).chain(source);
    let failure = Failure::default();
    let results = scope(|s| {
        let (to_next, read) = pipe();
        let reader = spawn(s, "orlop-read", || read_stage(&mut source, to_next, &failure))?;
        let (plain, between) = if compression == Compression::None {
            (read, None)
        } else {
            let (to_digest, decoded) = pipe();
            let (to_tar, plain) = pipe();
            let decode = || decode_stage(compression, read, to_digest, &failure);
            let decoder = spawn(s, "orlop-decode", decode)?;
            let digester = spawn(s, "orlop-digest", || digest_stage(decoded, to_tar))?;
            (plain, Some((decoder, digester)))
        };
        let unpacked = unpack_stage(plain, root, options, tar_split_gz, &failure);
        let digested = between.map(|(decoder, digester)| join(decoder).and(join(digester)));
        Ok::<_, Error>((join(reader), digested.transpose(), unpacked))
    });
    if let Some(error) = failure.0.into_inner().unwrap_or_else(|e| e.into_inner()) {
        return Err(error);
    }
    let (read, digested, unpacked) = results?;
    let unpacked = unpacked?;
    let (compressed_digest, compressed_size) = read?.finish();
    let (diff_digest, diff_size) = match digested? {
        Some(hasher) => hasher.finish(),
        None => (compressed_digest.clone(), compressed_size),
    };
    Ok(LayerFacts {
        compression,
        compressed_digest,
        compressed_size,
        diff_digest,
        diff_size,
        uids: unpacked.uids,
        gids: unpacked.gids,
        unpacked_size: unpacked.size,
        root_entry: unpacked.root,
    })
}

/// The first error of any stage.
#[derive(Default)]
struct Failure(Mutex<Option<Error>>);

impl Failure {
    /// Keeps the error if it is the first; the stage itself ends with an error that nobody looks at.
    fn keep<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| {
            let mut slot = self.0.lock().unwrap_or_else(|e| e.into_inner());
            slot.get_or_insert(e);
            stopped()
        })
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Internal, "importing a layer").caused_by(Stopped)
}

fn spawn<'scope, T: Send + 'scope>(
    s: &'scope Scope<'scope, '_>,
    name: &str,
    stage: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Builder::new()
        .name(name.to_owned())
        .spawn_scoped(s, stage)
        .map_err(|e| Error::new(ErrorKind::Io, "starting a thread").caused_by(e))
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Internal, "importing a layer").detail("a stage has panicked"))
    })
}

fn unreadable(e: io::Error) -> Error {
    Error::new(ErrorKind::Io, "reading the stream of a layer").caused_by(e)
}

fn read_stage(source: &mut (dyn Read + Send), out: Sender, failure: &Failure) -> Result<Hasher> {
    let mut hasher = Hasher::default();
    loop {
        // Only a stage that has failed stops before its input ends.
        let Ok(mut buffer) = out.buffer() else { return Err(stopped()) };
        failure.keep(fill(source, &mut buffer).map_err(unreadable))?;
        if buffer.is_empty() {
            return out.finish().map(|()| hasher).map_err(|_| stopped());
        }
        hasher.update(&buffer);
        if out.send(buffer).is_err() {
            return Err(stopped());
        }
    }
}

fn decode_stage(
    compression: Compression,
    mut source: Source,
    out: Sender,
    failure: &Failure,
) -> Result<()> {
    let broken = |e: io::Error| {
        Error::new(ErrorKind::InvalidArchive, "decompressing a layer")
            .hint("the stream is truncated or damaged: fetch it again")
            .caused_by(e)
    };
    let mut plain = failure.keep(decode(compression, &mut source).map_err(broken))?;
    loop {
        let Ok(mut buffer) = out.buffer() else { return Err(stopped()) };
        failure.keep(fill(&mut plain, &mut buffer).map_err(broken))?;
        if buffer.is_empty() {
            break;
        }
        if out.send(buffer).is_err() {
            return Err(stopped());
        }
    }
    drop(plain);
    failure.keep(drain(&mut source).map_err(broken))?;
    out.finish().map_err(|_| stopped())
}

/// Fails only where a stage beside it has failed.
fn digest_stage(mut source: Source, out: Sender) -> Result<Hasher> {
    let mut hasher = Hasher::default();
    loop {
        let Ok(empty) = out.buffer() else { return Err(stopped()) };
        let Some(piece) = source.exchange(empty).map_err(|_| stopped())? else { break };
        hasher.update(&piece);
        if out.send(piece).is_err() {
            return Err(stopped());
        }
    }
    out.finish().map(|()| hasher).map_err(|_| stopped())
}

/// A codec may know its end before the stream's.
fn drain(source: &mut Source) -> io::Result<()> {
    loop {
        match source.fill_buf()?.len() {
            0 => return Ok(()),
            n => source.consume(n),
        }
    }
}

fn unpack_stage(
    plain: Source,
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
    tar_split_gz: Option<&mut (dyn Write + Send)>,
    failure: &Failure,
) -> Result<Unpacked> {
    // The pipe is a reference so that it outlives the error: its sender must not see it go before the slot is filled.
    let mut plain = plain;
    let result = match tar_split_gz {
        None => take_apart(&mut plain, io::sink(), root, options).map(|(facts, _)| facts),
        Some(out) => {
            let gzip = GzBuilder::new()
                .mtime(TAR_SPLIT_MTIME)
                .operating_system(GZIP_OS_UNKNOWN)
                .write(out, flate2::Compression::fast());
            let log = io::BufWriter::with_capacity(BUFFER, gzip);
            take_apart(&mut plain, log, root, options).and_then(|(facts, log)| {
                let written = log.into_inner().map_err(io::IntoInnerError::into_error);
                written.and_then(flate2::write::GzEncoder::finish).map(|_| facts).map_err(|e| {
                    Error::new(ErrorKind::Io, "writing the tar-split of a layer").caused_by(e)
                })
            })
        }
    };
    failure.keep(result)
}

fn take_apart<R: Read, W: Write>(
    tar: R,
    log: W,
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
) -> Result<(Unpacked, W)> {
    let mut disassembler = Disassembler::new(tar, log);
    let mut unpacker = Unpacker::new(root, options)?;
    while let Some(member) = disassembler.next_member().map_err(super::tar_error)? {
        unpacker.member(&member, &mut disassembler)?;
    }
    let (_, log) = disassembler.finish().map_err(super::tar_error)?;
    Ok((unpacker.finish()?, log))
}

/// Unpacks an uncompressed tar below `root`; returns the bytes of file content.
///
/// # Errors
/// As [`import`].
pub fn unpack(
    tar: &mut (dyn Read + Send),
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
) -> Result<u64> {
    let tar = io::BufReader::with_capacity(BUFFER, tar);
    take_apart(tar, io::sink(), root, options).map(|(facts, _)| facts.size)
}
