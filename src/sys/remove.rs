//! Removal of whole trees.

use std::path::Path;

use crate::{Error, Result};

pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let kind = match path.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("removing", path, e)),
        Ok(m) => m.file_type(),
    };
    let done =
        if kind.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    done.map_err(|e| Error::io("removing", path, e))
}
