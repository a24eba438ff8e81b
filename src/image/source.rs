//! The files of an image source by name, whether they are a tar's members or a directory's.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::model::{Index, MAX_JSON, parse};
use super::policy::Transport;
use super::spool::{self, Opened, Source, read_limited};
use super::tar_index::{Pick, TarIndex};
use crate::progress::Progress;
use crate::{Error, ErrorKind, Result};

/// The most that manifests, indexes and configs may have together, in bytes: each is bounded, but many images may name the same
/// one, and it is held for each of them.
const MAX_TOGETHER: u64 = 128 << 20;

/// An opened file of a source.
pub(super) struct Blob {
    pub(super) size: u64,
    pub(super) reader: Box<dyn Read + Send>,
}

enum Files {
    Tar(TarIndex, Pick),
    Directory(File),
}

/// The files that images are loaded from.
pub(super) struct ImageSource {
    files: Files,
    /// What it is.
    pub(super) transport: Transport,
    /// Where it is, absolute and without links; absent for a stream.
    pub(super) path: Option<PathBuf>,
    /// What to call it in errors.
    pub(super) name: String,
    /// How many bytes [`ImageSource::read_file`] may still read.
    left: AtomicU64,
}

impl ImageSource {
    /// Opens `source` and finds out what it is.
    pub(super) fn open(
        source: Source<'_>,
        temp_dir: &Path,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (source, path, shown) = match source {
            Source::Path(path) => {
                let shown = format!("{path:?}");
                let real = real_path(&path)?;
                // What is opened is what the policy judges, even if a link is turned meanwhile.
                (Source::Path(real.clone().unwrap_or(path)), real, shown)
            }
            stream @ Source::Stream(_) => (stream, None, "the stream".to_string()),
        };
        match spool::open(source, temp_dir, progress)? {
            Opened::Directory(dir) => Self::directory(&dir, path),
            Opened::Tar(file) => {
                let index = TarIndex::read(file, &format!("the archive {shown}")).map_err(|e| {
                    e.hint("docker archives, OCI archives and OCI layout directories can be loaded")
                })?;
                Self::archive(index, path, shown)
            }
        }
    }

    pub(super) fn archive(index: TarIndex, path: Option<PathBuf>, shown: String) -> Result<Self> {
        let docker = index.contains("manifest.json");
        let oci = index.contains("index.json") && (index.contains("oci-layout") || !docker);
        let mut source = Self {
            files: Files::Tar(index, Pick::Last),
            transport: Transport::OciArchive,
            path,
            name: format!("the OCI archive {shown}"),
            left: AtomicU64::new(MAX_TOGETHER),
        };
        // Newer dockers write archives that are both. Like podman, read those with one entry as OCI archives.
        let as_oci = match (oci, docker) {
            (true, true) => source.index()?.manifests.len() == 1,
            (oci, _) => oci,
        };
        if as_oci {
            return Ok(source);
        }
        if !docker {
            return Err(Error::new(ErrorKind::InvalidArchive, format!("opening {shown}"))
                .detail("it has neither manifest.json (a docker archive) nor index.json (an OCI archive)")
                .hint("an archive of a container's files alone is not an image"));
        }
        if let Files::Tar(_, pick) = &mut source.files {
            *pick = Pick::First;
        }
        source.transport = Transport::DockerArchive;
        source.name = format!("the docker archive {shown}");
        Ok(source)
    }

    fn directory(dir: &Path, path: Option<PathBuf>) -> Result<Self> {
        let handle = File::open(dir).map_err(|e| Error::io("opening the directory", dir, e))?;
        let source = Self {
            files: Files::Directory(handle),
            transport: Transport::OciDir,
            path,
            name: format!("the OCI layout {dir:?}"),
            left: AtomicU64::new(MAX_TOGETHER),
        };
        if source.open_file("index.json")?.is_none() {
            return Err(Error::new(ErrorKind::InvalidArchive, format!("opening {dir:?}"))
                .detail("the directory is no OCI layout: it has no index.json")
                .hint("give an OCI layout folder, or a docker or OCI archive"));
        }
        Ok(source)
    }

    /// Opens a regular file by its name in the source; `None` if there is none.
    pub(super) fn open_file(&self, name: &str) -> Result<Option<Blob>> {
        match &self.files {
            Files::Tar(index, pick) => Ok(index
                .open(name, *pick)
                .map_err(|e| e.context(format!("reading {}", self.name)))?
                .map(|region| Blob { size: region.len(), reader: Box::new(region) })),
            Files::Directory(dir) => {
                let failed = |e: std::io::Error| {
                    Error::io(format!("opening {name:?} of {}", self.name), name, e)
                };
                let Some(file) = open_below(dir, name).map_err(failed)? else { return Ok(None) };
                let meta = file.metadata().map_err(failed)?;
                if !meta.is_file() {
                    return Err(Error::new(
                        ErrorKind::InvalidArchive,
                        format!("opening {name:?} of {}", self.name),
                    )
                    .detail("it is not a regular file"));
                }
                Ok(Some(Blob { size: meta.len(), reader: Box::new(file) }))
            }
        }
    }

    /// Reads a small file that must be there.
    pub(super) fn read_file(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let what = format!("{name:?} of {}", self.name);
        let Some(mut blob) = self.open_file(name)? else { return Err(self.missing(name)) };
        let bytes = read_limited(&mut blob.reader, limit, &what)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let spend = |left: u64| left.checked_sub(length);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_err() {
            return Err(Error::new(ErrorKind::InvalidArchive, format!("reading {what}")).detail(
                format!(
                    "the manifests and configs have more than {} MiB together",
                    MAX_TOGETHER >> 20
                ),
            ));
        }
        Ok(bytes)
    }

    /// The error of a file that is not there.
    pub(super) fn missing(&self, name: &str) -> Error {
        Error::new(ErrorKind::InvalidArchive, format!("reading {}", self.name))
            .detail(format!("the file {name:?} is missing"))
            .hint("the image file is incomplete")
    }

    /// The `index.json` of a layout.
    pub(super) fn index(&self) -> Result<Index> {
        let bytes = self.read_file("index.json", MAX_JSON)?;
        parse(&bytes, &format!("index.json of {}", self.name))
    }
}

/// The path without links; `None` for a pipe without a name, such as `/dev/stdin` or a shell's `<(command)` may lead to.
fn real_path(path: &Path) -> Result<Option<PathBuf>> {
    let failed = |e| Error::io("opening the image file", path, e);
    let meta = path.metadata().map_err(failed)?;
    match path.canonicalize() {
        Ok(real) => Ok(Some(real)),
        Err(_) if !meta.is_file() && !meta.is_dir() => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

/// Opens a file below a directory; links are followed only as far as they stay below it.
fn open_below(dir: &File, name: &str) -> std::io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        Ok(fd) => return Ok(Some(File::from(fd))),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        // Kernels before 5.6, and sandboxes that do not know the call: walk, following no link at all.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    let mut at = dir.try_clone()?;
    for part in name.split('/') {
        match rustix::fs::openat(&at, part, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => at = File::from(fd),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Some(at))
}
