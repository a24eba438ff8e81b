//! Operations on the store as a whole.

use super::Store;
use super::kind::Record;
use super::order::Held;
use crate::{Error, ErrorKind, Result};

impl Store {
    /// Deletes every container, image and layer; the empty store stays.
    ///
    /// # Errors
    /// When something cannot be unmounted or removed; what is left is listed as before.
    pub fn wipe(&self) -> Result<()> {
        self.prepare()?;
        let (held, mut layers) = self.write_layers(&Held::nothing())?;
        let (image_held, mut images) = self.images.write(&held)?;
        let (_, mut containers) = self.containers.write(&image_held)?;
        let ids: Vec<String> = containers.iter().map(|c| c.id().to_owned()).collect();
        containers.clear();
        containers.save()?;
        for id in ids.iter().filter(|id| crate::id::check_component(id).is_ok()) {
            for dir in [self.paths.containers(), self.paths.run_containers()] {
                crate::sys::remove::remove_tree(&dir.join(id))?;
            }
        }
        let ids: Vec<String> = images.iter().map(|i| i.id().to_owned()).collect();
        images.clear();
        images.save()?;
        for id in &ids {
            self.remove_image_data(id)?;
        }
        // Children before parents, so that what a crash leaves has all that it stands on.
        let ids: Vec<String> = layers.iter_all().map(|l| l.id.clone()).rev().collect();
        self.remove_layers(&held, &mut layers, &ids)
    }

    /// Releases what the driver holds (the private mount of its home), if no layer is mounted; `force` unmounts those that are.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUsedByContainer`] if a layer was mounted, even if `force` has unmounted it (as in Go): the message lists
    /// the ids of all that were, and the error's id is the first. The first failure to unmount one, after the others have been
    /// tried as well. The driver is then left as it is.
    pub fn shutdown(&self, force: bool) -> Result<()> {
        let (graph, guard) = self.lock_graph(&Held::nothing())?;
        let (held, layers) = self.write_layers(&graph)?;
        // Released before the layers are let go, and with them what waits to be deleted.
        let guard = guard;
        let mounted: Vec<String> = self
            .mounts
            .read()?
            .into_iter()
            .filter(|p| p.count > 0 && layers.by_id(&p.id).is_some())
            .map(|p| p.id)
            .collect();
        if force {
            let tries = mounted.iter().map(|id| self.unmount_layer(&held, &layers, id, true));
            // All of them, before the first failure counts: one that cannot be unmounted keeps no other one mounted.
            let failures: Vec<Error> = tries.filter_map(Result::err).collect();
            if let Some(failure) = failures.into_iter().next() {
                return Err(failure);
            }
        }
        if let Some(id) = mounted.first() {
            return Err(Error::new(
                ErrorKind::LayerUsedByContainer,
                format!("shutting the store down: a layer is mounted: {}", mounted.join(" ")),
            )
            .id(id)
            .hint(if force {
                "it is unmounted now; shut down again"
            } else {
                "unmount it, or use --force"
            }));
        }
        // The record first: others must prepare the driver again, even if this process dies before it has cleaned up.
        guard.touch()?;
        *self.prepared.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        self.driver.cleanup()
    }
}
