//! A new layer for a repository: packed, and handed to whoever publishes (CVM-15, CVM-20).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::publish::Publication;
use super::url::Repository;
use crate::archive::{Compression, Compressor};
use crate::progress::{self, ProgressItem};
use crate::sys::unnamed::unnamed_file;
use crate::{Digest, Result};

/// Who takes layers and publishes them in a repository. The crate `orlop-s3` has one for buckets of the S3 protocol.
pub trait LayerUpload: Send + Sync {
    /// The repository that layers appear in.
    fn repository(&self) -> &Repository;

    /// Whether all of a layer's bytes are already where [`Self::put`] sends them. Where that cannot be told, they are not.
    fn holds(&self, layer: &PackedLayer) -> bool {
        let _ = layer;
        false
    }

    /// Hands a layer over, under its digest. It may be there already. Tries again by itself where that can help; reads of
    /// [`PackedLayer::content`] fail once the operation is cancelled.
    ///
    /// # Errors
    /// When it has not been taken; nothing is published then.
    fn put(&self, layer: &PackedLayer, item: &dyn ProgressItem) -> Result<()>;

    /// How far the publishing of the layer with that digest is. Answers at once, and does not ask twice: [`publish`](super::publish()) does.
    ///
    /// # Errors
    /// When it cannot be learnt, and asking again would not help, or publishing has failed.
    fn status(&self, digest: &Digest) -> Result<Publication>;
}

/// A layer as a gzip-compressed tar, in a file that has no name and goes with this value, or with the process.
#[derive(Debug)]
pub struct PackedLayer {
    digest: Digest,
    size: u64,
    file: File,
}

impl PackedLayer {
    /// Packs what `write` puts out. The file is made in `temp_dir`.
    ///
    /// # Errors
    /// Those of `write`, and when the file cannot be written.
    pub fn pack(
        temp_dir: &Path,
        write: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>,
    ) -> Result<Self> {
        let out = Digesting { file: unnamed_file(temp_dir)?, digest: Digester::default(), size: 0 };
        let mut compressor = Compressor::new(Compression::Gzip, out)?;
        write(&mut compressor)?;
        let done = compressor
            .finish()
            .map_err(|e| e.context("packing a layer").hint("is there room for the copy?"))?;
        Ok(Self { digest: done.digest.finish(), size: done.size, file: done.file })
    }

    /// The sha256 of the compressed bytes, which is the layer's name.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The number of compressed bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The compressed bytes from the first one on, as often as they are asked for.
    pub fn content<'a>(&'a self, item: &'a dyn ProgressItem) -> impl Read + 'a {
        progress::Counted::new(Positioned { file: &self.file, at: 0 }, item)
    }
}

/// The file with the compressed bytes, for who can send files. Where it stands is nobody's but the caller's.
impl AsFd for PackedLayer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
/// A file that is written to from its beginning, with the digest and number of its bytes.
struct Digesting {
    file: File,
    digest: Digester,
    size: u64,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.digest.update(bytes.get(..n).unwrap_or_default());
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// SHA-256, piece by piece.
#[derive(Default)]
struct Digester(sha2::Sha256);

impl Digester {
    fn update(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.0.update(bytes);
    }

    fn finish(self) -> Digest {
        use sha2::Digest as _;
        Digest::from_sha256(self.0.finalize().as_slice())
    }
}

/// Reads a file without moving its own position.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::{Error, ErrorKind};

    fn layer() -> PackedLayer {
        PackedLayer::pack(&std::env::temp_dir(), |out| {
            out.write_all(b"a layer").map_err(|e| Error::new(ErrorKind::Io, "").caused_by(e))
        })
        .unwrap()
    }

    #[test]
    fn a_layer_is_named_by_its_compressed_bytes() {
        // CVM-20
        let layer = layer();
        for _ in 0..2 {
            let mut bytes = Vec::new();
            layer.content(&Silent).read_to_end(&mut bytes).unwrap();
            assert_eq!(Digest::sha256(&bytes), *layer.digest());
            assert_eq!(bytes.len() as u64, layer.size());
            let mut plain = String::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, "a layer");
        }
    }

    #[test]
    fn nothing_is_left_of_what_cannot_be_packed() {
        // CVM-20, 18.3: temporary files
        let dir = tempfile::tempdir().unwrap();
        let e = PackedLayer::pack(dir.path(), |_| Err(Error::new(ErrorKind::Busy, "reading")));
        assert_eq!(e.unwrap_err().kind(), ErrorKind::Busy);
        let layer = PackedLayer::pack(dir.path(), |_| Ok(())).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "not even meanwhile");
        drop(layer);
        assert!(PackedLayer::pack(&dir.path().join("missing"), |_| Ok(())).is_err());
    }
}
