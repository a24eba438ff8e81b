//! The files of a layer as the source of a tar's content.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};

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
        let mut first = None;
        for root in &self.roots {
            match open_regular(Beneath::new(root.as_fd()), &path) {
                Ok(Some(file)) => return Ok(Box::new(file)),
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

/// Opens a regular file; `None` if it is of another kind. Those are not opened at all: to open a device node can do things.
fn open_regular(root: Beneath<'_>, path: &[u8]) -> rustix::io::Result<Option<File>> {
    let found = root.open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let same = format!("/proc/self/fd/{}", found.as_raw_fd());
    rustix::fs::open(same, flags, Mode::empty()).map(|fd| Some(File::from(fd)))
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
                files.open(name.as_bytes()).and_then(|mut f| f.read_to_string(&mut text))?;
                Ok::<_, io::Error>(text)
            };
            for name in ["device", "fifo", "./d/f", "ln"] {
                assert_eq!(text(name).unwrap(), "below", "{name}");
            }
            assert_eq!(text("ln/g").unwrap(), "own");
            let alone = TreeFiles::new(vec![crate::archive::tests::open_dir(&roots[0])]);
            for name in ["device", "fifo", "d", "nothing"] {
                let e = alone.open(name.as_bytes()).err().unwrap();
                assert_eq!(e.kind(), io::ErrorKind::NotFound, "{name}: {e}");
            }
        });
    }
}
