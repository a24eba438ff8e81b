//! Opening what an image comes from: a file or stream becomes a seekable, uncompressed tar; a directory a layout.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tar_index::Region;
use crate::archive::{Compression, decompressor};
use crate::progress::{Counted, Progress};
use crate::sys::unnamed::unnamed_file;
use crate::{Error, ErrorKind, Result};

/// Where large temporary files go unless the caller says otherwise, as in the Go image library.
pub(crate) const TEMP_DIR: &str = "/var/tmp";

/// Where images are loaded from.
pub enum Source<'a> {
    /// A docker archive, an OCI archive (each plain or compressed), or an OCI layout directory; what it is, its content tells.
    Path(PathBuf),
    /// One of the archives as a stream, standard input for example. It is copied to an unnamed temporary file first.
    Stream(Box<dyn Read + Send + 'a>),
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// An opened source.
pub(super) enum Opened {
    /// An uncompressed tar.
    Tar(Arc<File>),
    /// A directory.
    Directory(PathBuf),
}

pub(super) fn open(source: Source<'_>, temp_dir: &Path, progress: &dyn Progress) -> Result<Opened> {
    let path = match source {
        Source::Stream(stream) => {
            return spool(stream, "the stream", temp_dir, progress).map(Opened::Tar);
        }
        Source::Path(path) => path,
    };
    let action = || format!("opening the image file {path:?}");
    // Without O_NONBLOCK a named pipe waits here for its writer, as it should.
    let file = File::open(&path).map_err(|e| Error::io(action(), &path, e))?;
    let meta = file.metadata().map_err(|e| Error::io(action(), &path, e))?;
    if meta.is_dir() {
        return Ok(Opened::Directory(path));
    }
    let name = format!("{path:?}");
    if !meta.is_file() {
        return spool(Box::new(file), &name, temp_dir, progress).map(Opened::Tar);
    }
    let file = Arc::new(file);
    let whole = Region::new(Arc::clone(&file), 0, meta.len());
    let (kind, _) = decompressor(Box::new(whole.clone())).map_err(|e| e.context(action()))?;
    match kind {
        Compression::None => Ok(Opened::Tar(file)),
        _ => spool(Box::new(whole), &name, temp_dir, progress).map(Opened::Tar),
    }
}

/// Copies a stream, decompressed, to an unnamed file.
fn spool<'a>(
    stream: Box<dyn Read + Send + 'a>,
    name: &str,
    temp_dir: &Path,
    progress: &dyn Progress,
) -> Result<Arc<File>> {
    let action = || format!("copying {name} to a temporary file");
    let item = progress.start(&format!("Reading {name}"), None);
    let mut out = unnamed_file(temp_dir)?;
    {
        let (_, mut plain) = decompressor(stream).map_err(|e| e.context(action()))?;
        let mut counted = Counted::new(&mut plain, &*item);
        io::copy(&mut counted, &mut out).map_err(|e| {
            Error::io(action(), temp_dir, e)
                .hint("is the file complete, and is there room for the copy?")
        })?;
    }
    item.finish("done");
    Ok(Arc::new(out))
}

/// Goes back to the beginning of a temporary file and tells its length.
pub(crate) fn rewind(file: &mut File, dir: &Path) -> Result<u64> {
    let failed = |e| Error::io("reading a temporary file", dir, e);
    let length = file.stream_position().map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(length)
}

/// Reads at most `limit` bytes; more is an error that names `what`.
pub(super) fn read_limited(reader: &mut dyn Read, limit: u64, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| {
        Error::new(ErrorKind::InvalidArchive, format!("reading {what}")).caused_by(e)
    })?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(Error::new(ErrorKind::InvalidArchive, format!("reading {what}"))
            .detail(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}
