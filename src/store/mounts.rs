//! Which layers are mounted where, and how often (`store-format.md` 6).

use std::path::{Path, PathBuf};

use super::order::{Held, Layers};
use crate::Result;
use crate::record::{self, MountPoint};
use crate::sys::atomic;
use crate::sys::lock::{LockAccess, LockFile, WriteGuard};
use crate::sys::regular;

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
        Ok(self.parse()?.unwrap_or_default())
    }

    /// Takes the lock for writing, inside the layers lock.
    pub(crate) fn write(&self, _: &Held<Layers>) -> Result<MountEdit> {
        let guard = LockFile::open(&self.lock, LockAccess::ReadWrite)?.write()?;
        let saved = self.parse()?;
        let points = saved.clone().unwrap_or_default();
        Ok(MountEdit { points, saved, file: self.file.clone(), guard })
    }

    /// `None` for what is no list of mount points. The file lives no longer than the mounts of a boot, and of these the kernel
    /// knows more: no reason to refuse the whole store, as Go does.
    fn parse(&self) -> Result<Option<Vec<MountPoint>>> {
        let Some(bytes) = regular::read("reading the mount points", &self.file)? else {
            return Ok(Some(Vec::new()));
        };
        match record::mountpoints::parse(&bytes) {
            Ok(points) => Ok(Some(points)),
            Err(e) => {
                tracing::warn!("the mount points are counted anew: {}", e.path(&self.file));
                Ok(None)
            }
        }
    }
}

/// The mount points under their write lock.
pub(crate) struct MountEdit {
    points: Vec<MountPoint>,
    /// What the file says; `None` if that cannot be told.
    saved: Option<Vec<MountPoint>>,
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
        if self.saved.as_ref() == Some(&self.points) {
            return Ok(());
        }
        self.guard.touch()?;
        atomic::replace(&self.file, &record::mountpoints::write(&self.points), 0o600, false)?;
        self.saved = Some(self.points.clone());
        Ok(())
    }
}
