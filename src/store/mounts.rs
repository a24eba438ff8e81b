//! Which layers are mounted where, and how often (`store-format.md` 6).

use std::path::{Path, PathBuf};

use super::order::{Held, Layers};
use crate::record::{self, MountPoint};
use crate::sys::atomic;
use crate::sys::lock::{LockAccess, LockFile, WriteGuard};
use crate::{Error, Result};

/// `mountpoints.json` under `mountpoints.lock`, both in the run root.
pub(crate) struct Mounts {
    lock: PathBuf,
    file: PathBuf,
}

impl Mounts {
    pub(crate) fn new((lock, file): (PathBuf, PathBuf)) -> Self {
        Self { lock, file }
    }

    /// What is mounted now. Creates nothing. The layers lock may be held or not.
    pub(crate) fn read(&self) -> Result<Vec<MountPoint>> {
        let _guard = LockFile::open(&self.lock, LockAccess::ReadOnly)?.read()?;
        self.parse()
    }

    /// Takes the lock for writing, inside the layers lock.
    pub(crate) fn write(&self, _: &Held<Layers>) -> Result<MountEdit> {
        let guard = LockFile::open(&self.lock, LockAccess::ReadWrite)?.write()?;
        atomic::discard_leftover(&self.file);
        let saved = self.parse()?;
        Ok(MountEdit { points: saved.clone(), saved, file: self.file.clone(), guard })
    }

    fn parse(&self) -> Result<Vec<MountPoint>> {
        match std::fs::read(&self.file) {
            Ok(bytes) => record::mountpoints::parse(&bytes).map_err(|e| e.path(&self.file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Error::io("reading the mount points", &self.file, e)),
        }
    }
}

/// The mount points under their write lock.
pub(crate) struct MountEdit {
    points: Vec<MountPoint>,
    saved: Vec<MountPoint>,
    file: PathBuf,
    guard: WriteGuard,
}

impl MountEdit {
    /// The entry of a layer.
    pub(crate) fn get(&self, id: &str) -> Option<&MountPoint> {
        self.points.iter().find(|p| p.id == id && p.count > 0 && !p.path.is_empty())
    }

    /// Sets where and how often a layer is mounted; a count of 0 takes the entry out.
    pub(crate) fn set(&mut self, id: &str, path: &Path, count: i64) {
        let point =
            MountPoint { id: id.to_owned(), path: path.to_string_lossy().into_owned(), count };
        match self.points.iter_mut().find(|p| p.id == id) {
            Some(present) => *present = point,
            None => self.points.push(point),
        }
        self.points.retain(|p| p.count > 0);
    }

    /// Writes the file, in the run root: never synced, and not at all when nothing has changed.
    pub(crate) fn save(&mut self) -> Result<()> {
        if self.points == self.saved {
            return Ok(());
        }
        self.guard.touch()?;
        atomic::replace(&self.file, &record::mountpoints::write(&self.points), 0o600, false)?;
        self.saved.clone_from(&self.points);
        Ok(())
    }
}
