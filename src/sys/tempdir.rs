//! Temp dirs.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

pub(crate) struct TempDir {
    path: PathBuf,
    lock: PathBuf,
    next: u32,
}

impl TempDir {
    pub(crate) fn create(root: &Path) -> Result<TempDir> {
        let n: u32 = rand::random();
        let path = root.join(format!("temp-dir-{n}"));
        let lock = root.join(format!("lock-{n}"));
        std::fs::create_dir_all(root).map_err(|e| Error::io("creating", root, e))?;
        std::fs::write(&lock, b"").map_err(|e| Error::io("creating", &lock, e))?;
        std::fs::create_dir(&path).map_err(|e| Error::io("creating", &path, e))?;
        Ok(TempDir { path, lock, next: 0 })
    }
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
    pub(crate) fn addition(&mut self) -> PathBuf {
        let p = self.path.join(format!("{}-addition", self.next));
        self.next += 1;
        p
    }
    pub(crate) fn take(&mut self, path: &Path) -> Result<bool> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let to = self.path.join(format!("{}-{name}", self.next));
        match std::fs::rename(path, to) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("moving aside", path, e)),
            Ok(()) => {
                self.next += 1;
                Ok(true)
            }
        }
    }
    pub(crate) fn cleanup(self) -> Result<()> {
        crate::sys::remove::remove_tree(&self.path)?;
        crate::sys::remove::remove_tree(&self.lock)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = crate::sys::remove::remove_tree(&self.path);
        let _ = crate::sys::remove::remove_tree(&self.lock);
    }
}
