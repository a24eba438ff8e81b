//! Writing the tars of archives: plain members with fixed owner, mode and time, so that equal images give equal bytes.

use std::io::{self, Write};

use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

use crate::{Error, ErrorKind, Result};

const BLOCK: u64 = 512;

/// Writes a tar to `W`.
pub(super) struct TarWriter<W: Write> {
    out: W,
}

impl<W: Write + Send> TarWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes a file of exactly `size` bytes, which `write` puts out.
    pub(super) fn member(
        &mut self,
        name: &str,
        size: u64,
        write: &mut dyn FnMut(&mut (dyn Write + Send)) -> Result<()>,
    ) -> Result<()> {
        self.header(name, EntryType::Regular, size, None)?;
        let mut payload = Payload { out: &mut self.out, left: size };
        write(&mut payload)?;
        if payload.left != 0 {
            return Err(Error::new(ErrorKind::Corrupt, format!("writing {name:?}"))
                .detail(format!("{} of its {size} bytes are missing", payload.left)));
        }
        let padding = (BLOCK - size % BLOCK) % BLOCK;
        self.zeros(padding).map_err(|e| failed(name, e))
    }

    /// Writes a small file.
    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.member(name, size, &mut |out| out.write_all(bytes).map_err(|e| failed(name, e)))
    }

    /// Writes a symbolic link.
    pub(super) fn symlink(&mut self, name: &str, target: &str) -> Result<()> {
        self.header(name, EntryType::Symlink, 0, Some(target))
    }

    /// Writes the end of the archive.
    pub(super) fn finish(mut self) -> Result<W> {
        self.zeros(2 * BLOCK)
            .and_then(|()| self.out.flush())
            .map_err(|e| failed("the end of the archive", e))?;
        Ok(self.out)
    }

    fn header(
        &mut self,
        name: &str,
        kind: EntryType,
        size: u64,
        target: Option<&str>,
    ) -> Result<()> {
        let internal = |e: tar_core::HeaderError| {
            Error::new(ErrorKind::Internal, format!("writing the header of {name:?}")).caused_by(e)
        };
        let mut entry = EntryBuilder::new_ustar();
        entry.path(name).entry_type(kind);
        // What the Go library writes: readable files, links without any permission.
        let mode = if target.is_some() { 0 } else { 0o444 };
        entry.mode(mode).map_err(internal)?;
        entry.uid(0).map_err(internal)?;
        entry.gid(0).map_err(internal)?;
        entry.mtime(0).map_err(internal)?;
        entry.size(size).map_err(internal)?;
        if let Some(target) = target {
            entry.link_name(target);
        }
        self.out.write_all(&entry.finish_bytes()).map_err(|e| failed(name, e))
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::Read::take(io::repeat(0), count), &mut self.out).map(|_| ())
    }
}

fn failed(name: &str, e: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("writing {name:?} to the archive")).caused_by(e)
}

/// Takes the announced number of bytes and no more.
struct Payload<W> {
    out: W,
    left: u64,
}

impl<W: Write> Write for Payload<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        if length > self.left {
            return Err(io::Error::other("there is more content than was announced"));
        }
        let n = self.out.write(buf)?;
        self.left = self.left.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn members_are_read_back() {
        let mut w = TarWriter::new(Vec::new());
        w.bytes("a.json", b"{}").unwrap();
        w.symlink("x/layer.tar", "../a.tar").unwrap();
        w.member("a.tar", 600, &mut |out| out.write_all(&[1; 600]).map_err(|e| failed("a", e)))
            .unwrap();
        let bytes = w.finish().unwrap();
        assert_eq!(bytes.len() % 512, 0);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!(header.mtime().unwrap(), 0);
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            seen.push((
                entry.path().unwrap().display().to_string(),
                header.mode().unwrap(),
                data.len(),
            ));
        }
        assert_eq!(
            seen,
            [
                ("a.json".into(), 0o444, 2),
                ("x/layer.tar".into(), 0, 0),
                ("a.tar".into(), 0o444, 600)
            ]
        );
    }

    #[test]
    fn content_of_another_size_is_refused() {
        let mut w = TarWriter::new(Vec::new());
        assert!(
            w.member("a", 3, &mut |out| out.write_all(b"ab").map_err(|e| failed("a", e))).is_err()
        );
        assert!(
            w.member("a", 1, &mut |out| out.write_all(b"ab").map_err(|e| failed("a", e))).is_err()
        );
    }

    // Ustar's own field ends at 8 GiB.
    #[test]
    fn layers_of_any_size_have_a_header() {
        for size in [8 << 30, 1 << 40] {
            let mut w = TarWriter::new(Vec::new());
            w.header("layer.tar", EntryType::Regular, size, None).unwrap();
            let bytes = w.out;
            let mut archive = tar::Archive::new(bytes.as_slice());
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!((entry.path().unwrap().to_str(), entry.size()), (Some("layer.tar"), size));
        }
    }
}
