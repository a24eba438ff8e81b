//! The pipeline that takes a layer in: one pass over the stream, a thread for each stage.
//!
//! ```text
//! source → [sha256] ═ pipe ═ decompress ═ pipe ═ [sha256] ═ pipe ═ tar ═ pipe ═ gzip → tar-split
//!                                                                  ╚═ small files ═ write
//! ```
//!
//! Of a stream that is not compressed there is one digest only, and nothing to decompress.
//!
//! The first stage that fails puts its error in a slot before it lets go of its pipes; whatever the others meet because of
//! that comes too late for the slot, so the cause is what the caller gets.

use std::io::{self, BufRead, Cursor, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::thread::{ScopedJoinHandle, scope};

use flate2::GzBuilder;
use tar_split_rs::Disassembler;

use super::channel::{BUFFER, PipeWriter, Sender, Source, Stopped, fill, pipe};
use super::compression::{decode, sniff};
use super::digest::Hasher;
use super::stage::{join, spawn};
use super::unpack::{Unpacked, Unpacker, writers};
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
    import_with(writers(), source, root, options, tar_split_gz)
}

/// As [`import`], with so many threads that write small files.
pub(super) fn import_with(
    writers: usize,
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
        let is_plain = compression == Compression::None;
        let compressed = (!is_plain).then(Hasher::default);
        let reader =
            spawn(s, "orlop-read", || read_stage(&mut source, compressed, to_next, &failure))?;
        let (decoder, decoded) = if is_plain {
            (None, read)
        } else {
            let (to_digest, decoded) = pipe();
            let decode = || decode_stage(compression, read, to_digest, &failure);
            (Some(spawn(s, "orlop-decode", decode)?), decoded)
        };
        let (to_tar, plain) = pipe();
        let digester = spawn(s, "orlop-digest", || digest_stage(decoded, to_tar))?;
        let unpacked = unpack_stage(plain, root, options, writers, tar_split_gz, &failure);
        let decoded = decoder.map_or(Ok(()), flat);
        Ok::<_, Error>((flat(reader), decoded.and(flat(digester)), unpacked))
    });
    if let Some(error) = failure.0.into_inner().unwrap_or_else(|e| e.into_inner()) {
        return Err(error);
    }
    let (read, digested, unpacked) = results?;
    let unpacked = unpacked?;
    let (diff_digest, diff_size) = digested?.finish();
    let (compressed_digest, compressed_size) = match read? {
        Some(hasher) => hasher.finish(),
        None => (diff_digest.clone(), diff_size),
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

fn flat<T>(stage: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    join(stage).and_then(|result| result)
}

fn unreadable(e: io::Error) -> Error {
    Error::new(ErrorKind::Io, "reading the stream of a layer").caused_by(e)
}

fn read_stage(
    source: &mut (dyn Read + Send),
    mut hasher: Option<Hasher>,
    out: Sender,
    failure: &Failure,
) -> Result<Option<Hasher>> {
    loop {
        // Only a stage that has failed stops before its input ends.
        let Ok(mut buffer) = out.buffer() else { return Err(stopped()) };
        failure.keep(fill(source, &mut buffer).map_err(unreadable))?;
        if buffer.is_empty() {
            return out.finish().map(|()| hasher).map_err(|_| stopped());
        }
        if let Some(hasher) = &mut hasher {
            hasher.update(&buffer);
        }
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
    writers: usize,
    tar_split_gz: Option<&mut (dyn Write + Send)>,
    failure: &Failure,
) -> Result<Unpacked> {
    // The pipe is a reference so that it outlives the error: its sender must not see it go before the slot is filled.
    let mut plain = plain;
    let Some(out) = tar_split_gz else {
        let tar = Disassembler::without_log(&mut plain);
        return failure.keep(take_apart(tar, root, options, writers).map(|(facts, _)| facts));
    };
    let (to_gzip, log) = pipe();
    scope(|s| {
        let gzip = spawn(s, "orlop-tar-split", || {
            // References for the same reason, here and below.
            let mut log = log;
            failure.keep(gzip_stage(&mut log, out))
        })?;
        let mut log = PipeWriter::new(to_gzip);
        let tar = Disassembler::new(&mut plain, &mut log);
        let taken = take_apart(tar, root, options, writers).map(|(facts, _)| facts);
        let taken = failure.keep(taken);
        let ended = taken.and_then(|facts| log.finish().map(|()| facts).map_err(|_| stopped()));
        flat(gzip).and(ended)
    })
}

fn gzip_stage(log: &mut Source, out: &mut (dyn Write + Send)) -> Result<()> {
    let mut gzip = GzBuilder::new()
        .mtime(TAR_SPLIT_MTIME)
        .operating_system(GZIP_OS_UNKNOWN)
        .write(out, flate2::Compression::fast());
    io::copy(log, &mut gzip)
        .and_then(|_| gzip.finish())
        .map(|_| ())
        .map_err(|e| Error::new(ErrorKind::Io, "writing the tar-split of a layer").caused_by(e))
}

fn take_apart<R: Read, W: Write>(
    mut tar: Disassembler<R, W>,
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
    writers: usize,
) -> Result<(Unpacked, W)> {
    let mut unpacker = Unpacker::new(root, options, writers)?;
    let result = unpack_members(&mut tar, &mut unpacker);
    unpacker.wait()?;
    result?;
    let (_, log) = tar.finish().map_err(super::tar_error)?;
    Ok((unpacker.finish()?, log))
}

fn unpack_members<R: Read, W: Write>(
    tar: &mut Disassembler<R, W>,
    unpacker: &mut Unpacker<'_>,
) -> Result<()> {
    while let Some(member) = tar.next_member().map_err(super::tar_error)? {
        unpacker.member(&member, tar)?;
    }
    Ok(())
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
    unpack_content(tar, root, options).map(|(bytes, _)| bytes)
}

/// As [`unpack`]; says, too, whether an entry stands for the root itself and has set its owner and mode.
///
/// # Errors
/// As [`import`].
pub fn unpack_content(
    tar: &mut (dyn Read + Send),
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
) -> Result<(u64, bool)> {
    let tar = Disassembler::without_log(io::BufReader::with_capacity(BUFFER, tar));
    take_apart(tar, root, options, writers()).map(|(facts, _)| (facts.size, facts.root))
}
