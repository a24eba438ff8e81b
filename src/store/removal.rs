//! Taking layers out: flagged, moved aside, forgotten under the lock; the bytes deleted after it is released.

use super::Store;
use super::order::{Held, Layers};
use super::table::{Edit, INCOMPLETE};
use crate::driver::Trash;
use crate::record::Layer;
use crate::sys::tempdir::TempDir;
use crate::{LayerId, Result};

/// What a removal leaves to delete once the locks are released.
#[must_use = "the bytes are only deleted by empty()"]
pub(super) struct Removed {
    trash: Vec<Box<dyn Trash>>,
    dirs: Vec<TempDir>,
}

impl Removed {
    /// Deletes the bytes. What resists stays in its temp dir, and the next operation that writes tries again.
    pub(super) fn empty(self) {
        let results = self
            .trash
            .into_iter()
            .map(Trash::empty)
            .chain(self.dirs.into_iter().map(TempDir::cleanup));
        for error in results.filter_map(Result::err) {
            tracing::warn!("a removed layer could not be deleted from the disk yet: {error}");
        }
    }
}

impl Store {
    /// Removes layers of the primary store, in the given order (10.2): unmount, flag and save, move aside, drop the records and
    /// save. An id without a record is skipped.
    pub(super) fn remove_layers(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        ids: &[String],
    ) -> Result<Removed> {
        let mut removed = Removed { trash: Vec::new(), dirs: Vec::new() };
        let ids: Vec<&String> =
            ids.iter().filter(|id| layers.iter_all().any(|l| l.id == **id)).collect();
        if ids.is_empty() {
            return Ok(removed);
        }
        for id in &ids {
            self.unmount_for_removal(held, id)?;
            layers.get_mut(id)?.flags.insert(INCOMPLETE.to_owned(), serde_json::Value::Bool(true));
        }
        layers.save()?;
        for id in ids {
            // A record whose id is no path component never had files.
            if let Ok(valid) = LayerId::new(id.as_str()) {
                self.move_files_aside(&valid, &mut removed)?;
            }
            layers.remove(id);
        }
        layers.save()?;
        Ok(removed)
    }

    fn move_files_aside(&self, id: &LayerId, removed: &mut Removed) -> Result<()> {
        removed.trash.push(self.driver.deferred_remove(id)?);
        let files = [self.paths.tar_split(id), self.paths.layer_data(id)];
        if files.iter().any(|f| f.symlink_metadata().is_ok()) {
            let mut dir = TempDir::create(&self.paths.layer_temp())?;
            for file in &files {
                dir.take(file)?;
            }
            removed.dirs.push(dir);
        }
        Ok(())
    }

    fn unmount_for_removal(&self, held: &Held<Layers>, id: &str) -> Result<()> {
        let mut mounts = self.mounts.write(held)?;
        if let Some(point) = mounts.get(id).cloned() {
            if let Ok(valid) = LayerId::new(id)
                && self.driver.exists(&valid)
            {
                self.driver.put(&valid)?;
            }
            mounts.set(id, point.path.as_ref(), 0);
            mounts.save()?;
        }
        Ok(())
    }
}
