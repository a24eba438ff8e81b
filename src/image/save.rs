//! Images out: the request, and where the bytes go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::durable::Durable;
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
    /// A path, at which there may be no file or directory with content. It appears when it is complete, and when the call returns
    /// a loss of power takes nothing of it, unless `sync = "none"` is configured. An empty file or directory, a pipe or a device is
    /// written to as it is, and keeps its owner and mode.
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
    let durable = Durable(store.syncs());
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
        (SaveFormat::OciDir, Output::Path(path)) => to_directory(&path, durable, |dir| {
            save_oci::write(store, &wanted, &mut Layout::Directory(dir), options.progress)
        }),
        (_, Output::Writer(out)) => archive(out),
        (_, Output::Path(path)) => to_file(&path, durable, archive),
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

/// The open files of this process by number.
const OPEN_FILES: &str = "/proc/self/fd";

/// Writes to a new file, which takes its name when it is complete.
pub(super) fn to_file(
    path: &Path,
    durable: Durable,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>,
) -> Result<()> {
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
            let made = made.and_then(|()| durable.content(&file, path));
            if made.is_err() && meta.is_file() {
                let _ = file.set_len(0);
            }
            return made;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    if path.is_symlink() {
        return Err(exists(path, "a link that leads nowhere is there"));
    }
    let (file, name) = new_file(path).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let made = write(&mut out)
        .and_then(|()| out.flush().map_err(failed))
        .and_then(|()| durable.content(out.get_ref(), path))
        .and_then(|()| give_name(out.get_ref(), name.as_deref(), path));
    if let (Err(_), Some(name)) = (&made, &name) {
        let _ = fs::remove_file(name);
    }
    made?;
    durable.name(path).inspect_err(|_| drop(fs::remove_file(path)))
}

/// Opens a new file in the directory of `path`: one without a name, of which nothing stays if this process dies, or where the file
/// system knows no such files one with the name that is given back.
fn new_file(path: &Path) -> io::Result<(File, Option<PathBuf>)> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut options = OpenOptions::new();
    options.write(true).mode(0o644);
    if Path::new(OPEN_FILES).is_dir()
        && let Ok(file) = options.clone().custom_flags(libc::O_TMPFILE).open(dir)
    {
        return Ok((file, None));
    }
    let beside = sibling(path);
    options.create_new(true).open(&beside).map(|file| (file, Some(beside)))
}

/// Gives a complete file its name, unless something else has taken it meanwhile.
fn give_name(file: &File, name: Option<&Path>, path: &Path) -> Result<()> {
    use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with};
    use rustix::io::Errno;
    let done = match name {
        None => {
            let open = format!("{OPEN_FILES}/{}", file.as_raw_fd());
            linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW)
        }
        Some(name) => match renameat_with(CWD, name, CWD, path, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::rename(name, path),
            done => done,
        },
    };
    done.map_err(|e| match e {
        Errno::EXIST => exists(path, "a file has come there meanwhile"),
        e => Error::io("naming the image file", path, e),
    })
}

pub(super) fn to_directory(
    path: &Path,
    durable: Durable,
    write: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let failed = |e: io::Error| Error::io("writing the image directory", path, e);
    match fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(exists(path, "the directory is not empty")),
        Ok(false) => return into_directory(path, durable, write),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let beside = sibling(path);
    fs::create_dir(&beside).map_err(failed)?;
    let made = write(&beside)
        .and_then(|()| durable.tree(&beside))
        .and_then(|()| fs::rename(&beside, path).map_err(failed));
    if made.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    made?;
    durable.name(path).inspect_err(|_| drop(fs::remove_dir_all(path)))
}

/// Fills an empty directory, which keeps owner and mode and may be a mount point. The layout is complete in a directory inside
/// before it moves out, `index.json` last: without that it is no layout.
fn into_directory(
    path: &Path,
    durable: Durable,
    write: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    const LAST: &str = "index.json";
    let failed = |e: io::Error| Error::io("writing the image directory", path, e);
    let inside = sibling(&path.join("new"));
    fs::create_dir(&inside).map_err(failed)?;
    let mut moved = Vec::new();
    let made = write(&inside).and_then(|()| durable.tree(&inside)).and_then(|()| {
        let mut names = fs::read_dir(&inside)
            .and_then(|entries| entries.map(|e| e.map(|e| e.file_name())).collect())
            .map_err(failed)
            .map(|names: Vec<_>| names)?;
        names.sort_by_key(|name| name == LAST);
        for name in names {
            let target = path.join(&name);
            fs::rename(inside.join(&name), &target).map_err(failed)?;
            moved.push(target);
        }
        fs::remove_dir(&inside).map_err(failed)?;
        durable.name(&path.join(LAST))
    });
    if made.is_err() {
        for target in moved.iter().rev() {
            let _ =
                if target.is_dir() { fs::remove_dir_all(target) } else { fs::remove_file(target) };
        }
        let _ = fs::remove_dir_all(&inside);
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
