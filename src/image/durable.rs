//! Saved images that a loss of power leaves whole: the bytes go to the disk before the name, the name before the call returns.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::sys::atomic::sync_dir;
use crate::{Error, Result};

/// Whether to wait for the disk, as the store's `sync` says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Durable(pub(super) bool);

impl Durable {
    /// The bytes of an open file; what is no regular file has none that stay.
    ///
    /// # Errors
    /// A failed system call.
    pub(super) fn content(self, file: &File, path: &Path) -> Result<()> {
        let sync = || {
            if self.0 && file.metadata()?.is_file() { file.sync_all() } else { Ok(()) }
        };
        sync().map_err(|e| Error::io("writing the image file to disk", path, e))
    }

    /// A new directory with all that is in it.
    ///
    /// # Errors
    /// A failed system call.
    pub(super) fn tree(self, dir: &Path) -> Result<()> {
        let failed = |e: io::Error| Error::io("writing the image directory to disk", dir, e);
        let mut dirs = vec![dir.to_path_buf()];
        while let Some(dir) = dirs.pop().filter(|_| self.0) {
            for entry in fs::read_dir(&dir).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if entry.file_type().map_err(failed)?.is_dir() {
                    dirs.push(entry.path());
                } else {
                    File::open(entry.path()).and_then(|file| file.sync_all()).map_err(failed)?;
                }
            }
            sync_dir(&dir)?;
        }
        Ok(())
    }

    /// The name of what is at `path`.
    ///
    /// # Errors
    /// A failed system call.
    pub(super) fn name(self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(dir) if self.0 => {
                sync_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })
            }
            _ => Ok(()),
        }
    }
}
