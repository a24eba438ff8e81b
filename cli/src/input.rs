//! Where commands read from: a file, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use orlop::Error;

/// An open input, with its length where that is known beforehand.
pub(crate) struct Input {
    /// What to read.
    pub(crate) stream: File,
    /// Bytes, for a regular file.
    pub(crate) length: Option<u64>,
}

impl Input {
    /// What to call it in an error.
    pub(crate) fn describe(path: Option<&Path>) -> String {
        path.map_or_else(|| "standard input".to_owned(), |path| format!("{path:?}"))
    }

    /// Opens `path`, or standard input if there is none.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: Option<&Path>) -> orlop::Result<Self> {
        let (stream, what) = match path {
            Some(path) => (File::open(path), path),
            None => (stdin_file(), Path::new("/dev/stdin")),
        };
        let stream = stream.map_err(|e| Error::io("opening", what, e))?;
        let length = stream.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
        Ok(Self { stream, length })
    }
}

/// All of a file's bytes, or of standard input.
///
/// # Errors
/// It cannot be opened or read.
pub(crate) fn read_all(path: Option<&Path>) -> orlop::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut input = Input::open(path)?;
    input
        .stream
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("reading", path.unwrap_or(Path::new("/dev/stdin")), e))?;
    Ok(bytes)
}

/// Creates or empties a file to write to.
///
/// # Errors
/// The file cannot be created.
pub(crate) fn create(path: &Path) -> orlop::Result<File> {
    File::create(path).map_err(|e| Error::io("creating", path, e))
}

fn stdin_file() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}
