//! Taking layers out: flagged, moved aside, forgotten under the lock; the bytes deleted after it is released.

use std::collections::HashSet;

use super::Store;
use super::kind::INCOMPLETE;
use super::order::{Held, Layers};
use super::table::Edit;
use crate::record::Layer;
use crate::sys::tempdir::TempDir;
use crate::{Error, LayerId, Result};

/// Layers that are flagged and whose files are out of the way; their records are still there.
#[must_use = "the records are only dropped by forget_layers()"]
pub(super) struct SetAside {
    ids: HashSet<String>,
    failure: Option<Error>,
}

impl SetAside {
    /// As it is if every layer could be set aside, else the first failure: the layer that resisted stays flagged, and the next
    /// operation that writes tries again or, if it is a container's, brings it back.
    pub(super) fn all(self) -> Result<Self> {
        match self.failure {
            None => Ok(self),
            Some(failure) => Err(failure),
        }
    }
}

impl Store {
    /// Removes layers of the primary store, in the given order (10.2): unmount, flag and save, move aside, drop the records and
    /// save. The bytes go when `layers` does. An id without a record is skipped; one that resists stays flagged, and the others go
    /// all the same.
    pub(super) fn remove_layers(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        ids: &[String],
    ) -> Result<()> {
        let aside = self.set_layers_aside(held, layers, ids)?;
        self.forget_layers(layers, aside)
    }

    /// The first half of a removal. A failure to unmount changes nothing; what else may fail is in the result.
    pub(super) fn set_layers_aside(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        ids: &[String],
    ) -> Result<SetAside> {
        let mut aside = SetAside { ids: HashSet::new(), failure: None };
        let known: HashSet<&str> = layers.iter_all().map(|l| l.id.as_str()).collect();
        let ids: Vec<&String> = ids.iter().filter(|id| known.contains(id.as_str())).collect();
        if ids.is_empty() {
            return Ok(aside);
        }
        self.unmount_for_removal(held, &ids)?;
        let wanted: HashSet<&str> = ids.iter().map(|id| id.as_str()).collect();
        layers.change_each(|layer| {
            let flag = serde_json::Value::Bool(true);
            wanted.contains(layer.id.as_str())
                && layer.flags.insert(INCOMPLETE.to_owned(), flag.clone()) != Some(flag)
        });
        layers.save()?;
        let mut data = None;
        for id in ids {
            // A record whose id is no path component never had files.
            let moved = match LayerId::new(id.as_str()) {
                Ok(valid) => self.move_files_aside(&valid, layers, &mut data),
                Err(_) => Ok(()),
            };
            match moved {
                Ok(()) => drop(aside.ids.insert(id.clone())),
                Err(error) => {
                    let error = error.context(format!("removing layer {id}"));
                    aside.failure.get_or_insert(error);
                }
            }
        }
        data.into_iter().for_each(|dir| layers.waste.add_dir(dir));
        Ok(aside)
    }

    /// The second half of a removal: drops the records of what was set aside.
    pub(super) fn forget_layers(
        &self,
        layers: &mut Edit<'_, Layer, Layers>,
        aside: SetAside,
    ) -> Result<()> {
        layers.remove_all(&aside.ids);
        layers.save()?;
        match aside.failure {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Moves what the driver has of a layer into a temp dir of its own, and the store's files of it into `data`, made on demand.
    pub(super) fn move_files_aside(
        &self,
        id: &LayerId,
        layers: &mut Edit<'_, Layer, Layers>,
        data: &mut Option<TempDir>,
    ) -> Result<()> {
        layers.waste.add(self.driver.deferred_remove(id)?);
        for file in [self.paths.tar_split(id), self.paths.layer_data(id)] {
            if file.symlink_metadata().is_ok() {
                let create = || TempDir::create(&self.paths.layer_temp());
                let dir = data.take().map_or_else(create, Ok)?;
                data.insert(dir).take(&file)?;
            }
        }
        Ok(())
    }

    fn unmount_for_removal(&self, held: &Held<Layers>, ids: &[&String]) -> Result<()> {
        let mut mounts = self.mounts.write(held)?;
        let outcome = ids.iter().try_for_each(|id| {
            let Some(point) = mounts.get(id).cloned() else { return Ok(()) };
            if let Ok(valid) = LayerId::new(id.as_str())
                && self.driver.exists(&valid)
            {
                self.driver
                    .put(&valid)
                    .map_err(|e| e.context(format!("unmounting layer {id} to remove it")))?;
            }
            mounts.set(id, point.path.as_ref(), 0);
            Ok(())
        });
        // Those that were unmounted before another one resisted.
        mounts.save()?;
        outcome
    }
}
