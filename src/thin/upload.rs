//! The way of a new layer into a repository: packed, handed to whoever publishes, and waited for (CVM-15, CVM-20 to CVM-22).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::document::ThinLayer;
use super::url::{CvmfsUrl, Repository};
use crate::archive::{Compression, Compressor};
use crate::progress::{self, ProgressItem};
use crate::sys::unnamed::unnamed_file;
use crate::{Digest, Error, ErrorKind, Result};

/// The folder of a repository that published layers are in.
const FOLDER: &str = "layers";

/// Who takes layers and publishes them in a repository. The crate `orlop-s3` has one for buckets of the S3 protocol.
pub trait LayerUpload: Send + Sync {
    /// The repository that layers appear in.
    fn repository(&self) -> &Repository;

    /// Hands a layer over, under its digest. It may be there already. Tries again by itself where that can help; reads of
    /// [`PackedLayer::content`] fail once the operation is cancelled.
    ///
    /// # Errors
    /// When it has not been taken; nothing is published then.
    fn put(&self, layer: &PackedLayer, item: &dyn ProgressItem) -> Result<()>;

    /// How far the publishing of the layer with that digest is.
    ///
    /// # Errors
    /// When it cannot be learnt, or publishing has failed.
    fn status(&self, digest: &Digest) -> Result<Publication>;
}

/// What has become of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// It is on its way.
    Publishing,
    /// The repository has it.
    Done,
    /// Nobody there has heard of it.
    Unknown,
}

/// How long is waited for publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Between two questions.
    pub pause: Duration,
    /// In all.
    pub limit: Duration,
}

impl Default for Patience {
    /// A question each second, for an hour at most.
    fn default() -> Self {
        Self { pause: Duration::from_secs(1), limit: Duration::from_secs(3600) }
    }
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

/// Hands a layer to `upload` and waits until the repository has it. Nothing here is left of it if that fails; what is in the bucket by
/// then has the name of its content, and is what the next attempt would put there.
///
/// # Errors
/// Those of `upload`; [`ErrorKind::Io`] if publishing fails or takes longer than `patience` has; [`ErrorKind::Cancelled`].
pub fn publish(
    layer: &PackedLayer,
    upload: &dyn LayerUpload,
    patience: &Patience,
    item: &dyn ProgressItem,
) -> Result<ThinLayer> {
    let (digest, repository) = (layer.digest(), upload.repository());
    let failed = |why: String| {
        Error::new(ErrorKind::Io, format!("publishing the layer {digest} in {repository}"))
            .detail(why)
            .hint("what has been sent is not lost: trying again goes on from it")
    };
    let url = CvmfsUrl::new(repository.clone(), format!("{FOLDER}/{}", digest.hex()))?;
    upload.put(layer, item)?;
    let begin = Instant::now();
    loop {
        progress::check(item)?;
        match upload.status(digest)? {
            Publication::Done => break,
            Publication::Unknown => {
                return Err(failed(
                    "it was sent, and who publishes knows nothing of it".to_owned(),
                ));
            }
            Publication::Publishing if begin.elapsed() >= patience.limit => {
                let limit = patience.limit.as_secs();
                return Err(failed(format!("it is not published after {limit} s")));
            }
            Publication::Publishing => std::thread::sleep(patience.pause),
        }
    }
    Ok(ThinLayer { digest: digest.clone(), url: Some(url) })
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
    use std::sync::Mutex;

    use super::*;
    use crate::progress::Silent;

    const NOW: Patience = Patience { pause: Duration::ZERO, limit: Duration::from_secs(60) };

    /// Takes everything, and answers as it was told, the last answer for ever.
    struct Taker {
        repository: Repository,
        taken: Mutex<Vec<u8>>,
        answers: Mutex<Vec<Publication>>,
    }

    impl Taker {
        fn new(answers: &[Publication]) -> Self {
            Self {
                repository: Repository::new("r.example").unwrap(),
                taken: Mutex::default(),
                answers: Mutex::new(answers.iter().rev().copied().collect()),
            }
        }
    }

    impl LayerUpload for Taker {
        fn repository(&self) -> &Repository {
            &self.repository
        }
        fn put(&self, layer: &PackedLayer, item: &dyn ProgressItem) -> Result<()> {
            let failed = |e| Error::new(ErrorKind::Io, "taking").caused_by(e);
            layer.content(item).read_to_end(&mut self.taken.lock().unwrap()).map_err(failed)?;
            Ok(())
        }
        fn status(&self, _digest: &Digest) -> Result<Publication> {
            let mut answers = self.answers.lock().unwrap();
            Ok(if answers.len() > 1 { answers.pop().unwrap() } else { answers[0] })
        }
    }

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

    #[test]
    fn publishing_is_waited_for() {
        // CVM-21, CVM-22
        use Publication::{Done, Publishing, Unknown};
        let layer = layer();
        let taker = Taker::new(&[Publishing, Publishing, Done]);
        let published = publish(&layer, &taker, &NOW, &Silent).unwrap();
        assert_eq!(published.digest, *layer.digest());
        assert_eq!(
            published.url.unwrap().to_string(),
            format!("cvmfs://r.example/layers/{}", layer.digest().hex())
        );
        assert_eq!(Digest::sha256(&taker.taken.lock().unwrap()), *layer.digest());

        let e = publish(&layer, &Taker::new(&[Publishing, Unknown]), &NOW, &Silent).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io);
        assert!(e.to_string().contains("knows nothing of it"), "{e}");
        let short = Patience { limit: Duration::ZERO, ..NOW };
        let e = publish(&layer, &Taker::new(&[Publishing]), &short, &Silent).unwrap_err();
        assert!(e.to_string().contains("not published after 0 s"), "{e}");
        let e = publish(&layer, &Taker::new(&[Publishing]), &NOW, &Stopped).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled);
    }

    struct Stopped;

    impl ProgressItem for Stopped {
        fn advance(&self, _bytes: u64) {}
        fn finish(&self, _note: &str) {}
        fn is_cancelled(&self) -> bool {
            true
        }
    }
}
