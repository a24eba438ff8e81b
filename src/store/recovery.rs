//! What a crash leaves, cleared or finished by the next operation that writes (`store-format.md` 10.2, 10.3).

use std::collections::HashSet;

use super::Store;
use super::kind::{AWAITS_OWNER, INCOMPLETE};
use super::order::{Before, Held, Layers};
use super::table::Edit;
use super::waste::Waste;
use crate::record::{Image, Layer};
use crate::sys::{atomic, tempdir};
use crate::{LayerId, Result};

impl Store {
    /// Deals with what interrupted operations left, for a caller that has found nothing to write.
    ///
    /// # Errors
    /// When the layers cannot be locked, read or saved.
    pub(crate) fn recover(&self) -> Result<()> {
        self.prepare()?;
        self.write_layers(&Held::nothing()).map(drop)
    }

    /// Takes the layers lock for writing; half-written files, stale temp dirs and incomplete layers are dealt with first. Their bytes
    /// go with what is returned, after the lock is released.
    pub(super) fn write_layers<Outer>(
        &self,
        outer: &Held<Outer>,
    ) -> Result<(Held<Layers>, Edit<'_, Layer, Layers>)>
    where
        Outer: Before<Layers>,
    {
        let (held, mut layers) = self.layers.write(outer)?;
        self.paths.replaced_files().iter().for_each(|path| atomic::discard_leftover(path));
        self.recover_temp_dirs(&mut layers.waste);
        self.recover_incomplete(&held, &mut layers)?;
        // Names that two records had have been sorted out in memory.
        layers.save()?;
        Ok((held, layers))
    }

    /// A stale temp dir that resists is no reason to refuse work on the rest of the store.
    fn recover_temp_dirs(&self, waste: &mut Waste) {
        let mut roots = self.driver.temp_dir_roots();
        roots.push(self.paths.layer_temp());
        for root in roots {
            if let Err(error) = tempdir::adopt(&root, |dir| waste.add_dir(dir)) {
                tracing::warn!("a stale temp dir below {root:?} could not be taken over: {error}");
            }
        }
    }

    /// Finishes what was cut short. A container's layer is flagged until its container is recorded, and before the container is
    /// deleted: with the container on record and the layer's files in place, the flag goes; with the files gone, the container
    /// goes too. The flag of a mapped copy goes if its image has it on record. Every other flagged layer is deleted.
    ///
    /// What resists stays flagged and hidden: no reason to refuse work on the rest of the store.
    fn recover_incomplete(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
    ) -> Result<()> {
        let incomplete: Vec<String> =
            layers.iter_all().filter(|l| l.is_unfinished()).map(|l| l.id.clone()).collect();
        if incomplete.is_empty() {
            return Ok(());
        }
        let owned: Vec<(String, String)> = match self.containers.read(held) {
            Ok((_, containers)) => {
                containers.iter().map(|c| (c.layer.clone(), c.id.clone())).collect()
            }
            Err(error) => {
                tracing::warn!(
                    "incomplete layers stay, since the containers cannot be read: {error}"
                );
                return Ok(());
            }
        };
        let copies = self.layers_of_images(held);
        let owner = |layer: &str| owned.iter().find(|(l, _)| l == layer).map(|(_, id)| id);
        let mut unfinished = Vec::new();
        for id in incomplete {
            // What is incomplete as well is on its way out, whoever names it.
            let waits = layers.iter().any(|layer| layer.id == id);
            match &copies {
                Ok(copies) if waits && copies.contains(&id) => {
                    layers.get_mut(&id)?.flags.remove(AWAITS_OWNER);
                    continue;
                }
                Err(error) if waits && owner(&id).is_none() => {
                    tracing::warn!("layer {id} may be an image's, and stays: {error}");
                    continue;
                }
                _ => {}
            }
            let there = || LayerId::new(id.as_str()).is_ok_and(|id| self.driver.exists(&id));
            match owner(&id) {
                Some(_) if there() => {
                    let flags = &mut layers.get_mut(&id)?.flags;
                    flags.remove(INCOMPLETE);
                    flags.remove(AWAITS_OWNER);
                }
                Some(container) => {
                    tracing::warn!("finishing the interrupted deletion of container {container}");
                    if let Err(e) = self.remove_container(held, layers, container) {
                        tracing::warn!("container {container} could not be removed: {e}");
                    }
                }
                None => unfinished.push(id),
            }
        }
        layers.save()?;
        if unfinished.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            "removing the layers that interrupted operations left incomplete: {}",
            unfinished.join(" ")
        );
        if let Err(error) = self.remove_layers(held, layers, &unfinished) {
            tracing::warn!("an incomplete layer could not be removed: {error}");
        }
        Ok(())
    }

    fn layers_of_images(&self, held: &Held<Layers>) -> Result<HashSet<String>> {
        let (_, images) = self.images.read(held)?;
        let of = |image: &Image| {
            image.mapped_layers.iter().chain([&image.layer]).cloned().collect::<Vec<_>>()
        };
        Ok(images.iter().flat_map(of).collect())
    }
}
