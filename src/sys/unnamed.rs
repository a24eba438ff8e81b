//! Temporary files that nobody has to remove.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::{Error, Result};

/// A file in `dir` that has no name and vanishes with its descriptor.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn unnamed_file(dir: &Path) -> Result<File> {
    let failed = |e: io::Error| {
        Error::io("creating a temporary file", dir, e).hint("is the directory there and writable?")
    };
    let tmpfile = OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_TMPFILE)
        .open(dir);
    match tmpfile {
        Ok(file) => return Ok(file),
        // File systems without O_TMPFILE say EOPNOTSUPP, old kernels EISDIR or ENOENT.
        Err(e)
            if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)) => {
        }
        Err(e) => return Err(failed(e)),
    }
    let path = dir.join(format!(".orlop-{}", crate::id::random_hex_id()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    std::fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}
