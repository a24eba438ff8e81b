//! The files of a layer as the source of a tar's content.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::scope;

use rustix::fs::{AtFlags, FileType, OFlags};

use super::FileSource;
use super::channel::{PipeWriter, Sender, Source, fill, pipe};
use super::names::{clean, split};
use super::stage::{join, spawn};
use crate::sys::beneath::Beneath;
use crate::{Error, ErrorKind, Result};

/// The files below some directories: a layer's own, then those of the layers below it (REM-15).
pub struct TreeFiles {
    roots: Vec<Root>,
}

impl TreeFiles {
    /// Files are looked for below `roots` in this order.
    pub fn new(roots: Vec<OwnedFd>) -> Self {
        Self { roots: roots.into_iter().map(|fd| Root { fd, last: Mutex::default() }).collect() }
    }
}

impl FileSource for TreeFiles {
    fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let path = clean(name);
        let mut first = None;
        for root in &self.roots {
            match root.open_regular(&path) {
                Ok(Some(file)) => return Ok(file),
                Ok(None) => {}
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

struct Root {
    fd: OwnedFd,
    /// The directory of the last file, where most likely the next one is.
    last: Mutex<Option<(Vec<u8>, Arc<OwnedFd>)>>,
}

impl Root {
    /// Opens a regular file; `None` if it is of another kind. Those are not opened at all: to open a device node can do
    /// things.
    fn open_regular(&self, path: &[u8]) -> rustix::io::Result<Option<File>> {
        let (parent, base) = split(path);
        let dir = self.directory(parent)?;
        if base.is_empty() {
            return Ok(None);
        }
        let stat = rustix::fs::statat(&dir, base, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Beneath::new(dir.as_fd()).open(base, flags).map(|fd| Some(File::from(fd)))
    }

    fn directory(&self, path: &[u8]) -> rustix::io::Result<Arc<OwnedFd>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, dir)) = last.as_ref().filter(|(of, _)| of == path) {
            return Ok(Arc::clone(dir));
        }
        let dir = Arc::new(Beneath::new(self.fd.as_fd()).directory(path, None)?);
        *last = Some((path.to_vec(), Arc::clone(&dir)));
        Ok(dir)
    }
}

/// Puts the tar together from its gzip-compressed tar-split and the layer's files; returns its length.
///
/// The tar-split is decompressed, and the files are read and checked, by threads that run ahead of `out`.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when the tar-split is malformed, [`ErrorKind::DigestMismatch`] when a file is not what the
/// tar-split says, [`ErrorKind::Io`] when a file cannot be read or `out` fails.
pub fn reassemble(
    tar_split_gz: &mut (dyn Read + Send),
    files: &dyn FileSource,
    out: &mut dyn Write,
) -> Result<u64> {
    let (to_assembler, log) = pipe();
    let (to_out, mut tar) = pipe();
    scope(|s| {
        let gunzip = || decompress(tar_split_gz, to_assembler);
        let gunzip = spawn(s, "orlop-tar-split", gunzip)?;
        let assembler = spawn(s, "orlop-assemble", || assemble(log, files, to_out))?;
        let written = copy(&mut tar, out);
        // What still runs has nobody left to write for.
        drop(tar);
        let assembled = join(assembler)?;
        join(gunzip)?;
        match written {
            Err(source) => {
                Err(tar_split_rs::Error::Io { action: "writing the tar stream", source })
            }
            Ok(()) => assembled,
        }
        .map_err(failed)
    })
}

/// An error of the codec goes the way of the bytes.
fn decompress(tar_split_gz: &mut (dyn Read + Send), out: Sender) {
    let mut log = flate2::read::MultiGzDecoder::new(tar_split_gz);
    while let Ok(mut buffer) = out.buffer() {
        match fill(&mut log, &mut buffer) {
            Err(e) => return out.fail(e),
            Ok(()) if buffer.is_empty() => break,
            Ok(()) => {}
        }
        if out.send(buffer).is_err() {
            return;
        }
    }
    let _ = out.finish();
}

fn assemble(
    log: Source,
    files: &dyn FileSource,
    out: Sender,
) -> std::result::Result<u64, tar_split_rs::Error> {
    let open = |name: &[u8]| files.open_file(name).map(|file| Box::new(file) as Box<dyn Read + '_>);
    let mut out = PipeWriter::new(out);
    let bytes = tar_split_rs::assemble(log, &open, &mut out)?;
    // Where the other side has gone, its own error counts.
    let _ = out.finish();
    Ok(bytes)
}

/// Writes what comes, until the end or until the assembler stops, which says why.
fn copy(tar: &mut Source, out: &mut dyn Write) -> io::Result<()> {
    while let Ok(piece) = tar.fill_buf() {
        if piece.is_empty() {
            break;
        }
        let n = piece.len();
        out.write_all(piece)?;
        tar.consume(n);
    }
    Ok(())
}

fn failed(e: tar_split_rs::Error) -> Error {
    use tar_split_rs::Error as E;
    let kind = match &e {
        E::Checksum { .. } | E::Length { .. } => ErrorKind::DigestMismatch,
        E::Content { .. } => ErrorKind::Io,
        // What the decompressor says of damaged bytes.
        E::Io { source, .. } if !is_damage(source.kind()) => ErrorKind::Io,
        _ => ErrorKind::Corrupt,
    };
    Error::new(kind, "putting a layer's tar together").caused_by(e)
}

fn is_damage(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(kind, InvalidData | InvalidInput | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::beneath::testing::in_both_modes;

    // REM-15: what is not a regular file is passed over, and never opened.
    #[test]
    fn only_regular_files_are_opened() {
        in_both_modes(|| {
            let dir = tempfile::tempdir_in("/var/tmp").unwrap();
            for name in ["own/d", "below/d"] {
                std::fs::create_dir_all(dir.path().join(name)).unwrap();
            }
            let own = dir.path().join("own");
            // Nobody serves that number: to open it is ENXIO.
            let dev = rustix::fs::makedev(510, 77);
            crate::archive::tests::mknod(&own.join("device"), FileType::CharacterDevice, dev);
            crate::archive::tests::mknod(&own.join("fifo"), FileType::Fifo, 0);
            std::os::unix::fs::symlink("d", own.join("ln")).unwrap();
            for name in ["device", "fifo", "d/f", "ln"] {
                std::fs::write(dir.path().join("below").join(name), "below").unwrap();
            }
            std::fs::write(own.join("d/g"), "own").unwrap();
            let roots = [own, dir.path().join("below")];
            let files =
                TreeFiles::new(roots.iter().map(|r| crate::archive::tests::open_dir(r)).collect());
            let text = |name: &str| {
                let mut text = String::new();
                files.open_file(name.as_bytes()).and_then(|mut f| f.read_to_string(&mut text))?;
                Ok::<_, io::Error>(text)
            };
            for name in ["device", "fifo", "./d/f", "ln"] {
                assert_eq!(text(name).unwrap(), "below", "{name}");
            }
            assert_eq!(text("ln/g").unwrap(), "own");
            let alone = TreeFiles::new(vec![crate::archive::tests::open_dir(&roots[0])]);
            for name in ["device", "fifo", "d", "nothing"] {
                let e = alone.open_file(name.as_bytes()).err().unwrap();
                assert_eq!(e.kind(), io::ErrorKind::NotFound, "{name}: {e}");
            }
        });
    }
}
