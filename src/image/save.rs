//! Images out: the request, and where the bytes go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::reference::Reference;
use super::save_docker;
use super::save_oci::{self, Layout};
use super::spool::TEMP_DIR;
use super::stored::{self, StoredImage};
use super::tar_write::TarWriter;
use crate::progress::{Progress, Silent};
use crate::store::Store;
use crate::{Error, ErrorKind, Result};

/// What images are saved as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SaveFormat {
    /// The archive of `docker save`, layers uncompressed.
    #[default]
    DockerArchive,
    /// A tar of an OCI layout, layers compressed with gzip.
    OciArchive,
    /// An OCI layout directory, layers compressed with gzip.
    OciDir,
}

impl FromStr for SaveFormat {
    type Err = Error;

    /// Reads `docker-archive`, `oci-archive` or `oci-dir`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "docker-archive" => Ok(Self::DockerArchive),
            "oci-archive" => Ok(Self::OciArchive),
            "oci-dir" => Ok(Self::OciDir),
            _ => {
                Err(Error::new(ErrorKind::InvalidArgument, format!("reading the format {text:?}"))
                    .hint("images are saved as docker-archive, oci-archive or oci-dir"))
            }
        }
    }
}

/// Where a saved image goes.
pub enum Output<'a> {
    /// A path, at which there may be no file or directory with content. It appears when it is complete. An empty file, a pipe
    /// or a device is written to as it is, and keeps its owner and mode.
    Path(PathBuf),
    /// A stream; not for a directory.
    Writer(&'a mut (dyn Write + Send)),
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Writer(_) => f.write_str("Writer"),
        }
    }
}

/// How to save.
pub struct SaveOptions<'a> {
    /// Where large temporary files go; `/var/tmp` if absent.
    pub temp_dir: Option<PathBuf>,
    /// Who is told how far it is; one item for each layer.
    pub progress: &'a dyn Progress,
}

impl Default for SaveOptions<'_> {
    fn default() -> Self {
        Self { temp_dir: None, progress: &Silent }
    }
}

impl std::fmt::Debug for SaveOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SaveOptions").field("temp_dir", &self.temp_dir).finish_non_exhaustive()
    }
}

/// An image to save and the names that go with it: those by which it was asked for.
pub(super) struct Wanted {
    pub(super) image: StoredImage,
    pub(super) names: Vec<Reference>,
}

/// Saves images, given by id, prefix of an id or name, to one archive or layout; layers that they share are written once.
///
/// The config, and with it the image's id, stays as it is in each format. An image asked for by name is saved with that name.
///
/// # Errors
/// [`ErrorKind::ImageUnknown`], [`ErrorKind::DigestMismatch`] for a layer that is no longer what it was, and failures of writing.
/// An output path is then left as it was.
pub fn save(
    store: &Store,
    images: &[String],
    format: SaveFormat,
    output: Output<'_>,
    options: &SaveOptions<'_>,
) -> Result<()> {
    let wanted = collect(store, images)?;
    let temp_dir = options.temp_dir.clone().unwrap_or_else(|| TEMP_DIR.into());
    let archive = |out: &mut (dyn Write + Send)| -> Result<()> {
        match format {
            SaveFormat::DockerArchive => save_docker::write(store, &wanted, out, options.progress),
            SaveFormat::OciArchive | SaveFormat::OciDir => {
                let mut tar = TarWriter::new(out);
                save_oci::write(
                    store,
                    &wanted,
                    &mut Layout::Tar(&mut tar, &temp_dir),
                    options.progress,
                )?;
                tar.finish().map(|_| ())
            }
        }
    };
    match (format, output) {
        (SaveFormat::OciDir, Output::Writer(_)) => {
            Err(Error::new(ErrorKind::InvalidArgument, "saving an OCI layout directory")
                .detail("it cannot be written to a stream")
                .hint("name a directory, or save as oci-archive"))
        }
        (SaveFormat::OciDir, Output::Path(path)) => to_directory(&path, |dir| {
            save_oci::write(store, &wanted, &mut Layout::Directory(dir), options.progress)
        }),
        (_, Output::Writer(out)) => archive(out),
        (_, Output::Path(path)) => to_file(&path, archive),
    }
}

fn collect(store: &Store, images: &[String]) -> Result<Vec<Wanted>> {
    if images.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "saving images").detail("none is named"));
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    for text in images {
        let (image, name) = stored::find(store, text)?;
        let at = match wanted.iter_mut().find(|w| w.image.id == image.id) {
            Some(known) => known,
            None => {
                wanted.push(Wanted { image: stored::read(store, &image)?, names: Vec::new() });
                match wanted.last_mut() {
                    Some(last) => last,
                    None => continue,
                }
            }
        };
        at.names.extend(name.filter(|n| !at.names.contains(n)));
    }
    Ok(wanted)
}

/// Writes to a new file beside `path`, which takes its name when it is complete.
fn to_file(path: &Path, write: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>) -> Result<()> {
    let failed = |e: io::Error| Error::io("writing the image file", path, e);
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(exists(path, "it is a directory")),
        Ok(meta) if meta.is_file() && meta.len() > 0 => {
            return Err(exists(path, "a file is there already"));
        }
        Ok(meta) => {
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            let mut out = BufWriter::with_capacity(1 << 18, file);
            let made = write(&mut out).and_then(|()| out.flush().map_err(failed));
            let (file, _) = out.into_parts();
            if made.is_err() && meta.is_file() {
                let _ = file.set_len(0);
            }
            return made;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let beside = sibling(path);
    let made = (|| {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&beside)
            .map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 18, file);
        write(&mut out)?;
        out.flush().map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)
    })();
    if made.is_err() {
        let _ = fs::remove_file(&beside);
    }
    made
}

fn to_directory(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let failed = |e: io::Error| Error::io("writing the image directory", path, e);
    match fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(exists(path, "the directory is not empty")),
        Ok(false) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let beside = sibling(path);
    let made = (|| {
        fs::create_dir(&beside).map_err(failed)?;
        write(&beside)?;
        fs::rename(&beside, path).map_err(failed)
    })();
    if made.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    made
}

fn exists(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "saving images")
        .path(path)
        .detail(why.to_string())
        .hint("name a path that is not there yet")
}

/// A free name in the same directory, so that renaming is atomic.
fn sibling(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(crate::id::random_hex_id().get(..12).unwrap_or("new"));
    path.with_file_name(name)
}

/// Opens a new file of a layout directory.
pub(super) fn create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .map_err(|e| Error::io("creating the file", path, e))
}
