//! What a crash leaves, cleared or finished by the next operation that writes (`store-format.md` 10.2, 10.3).

use super::Store;
use super::order::{Before, Held, Layers};
use super::table::{Edit, INCOMPLETE, Record};
use crate::Result;
use crate::record::Layer;
use crate::sys::tempdir;

impl Store {
    /// Takes the layers lock for writing; stale temp dirs and incomplete layers are dealt with first.
    pub(super) fn write_layers<Outer>(
        &self,
        outer: &Held<Outer>,
    ) -> Result<(Held<Layers>, Edit<'_, Layer, Layers>)>
    where
        Outer: Before<Layers>,
    {
        let (held, mut layers) = self.layers.write(outer)?;
        self.recover_temp_dirs();
        self.recover_incomplete(&held, &mut layers)?;
        // Names that two records had have been sorted out in memory.
        layers.save()?;
        Ok((held, layers))
    }

    /// A stale temp dir that resists is no reason to refuse work on the rest of the store.
    fn recover_temp_dirs(&self) {
        let mut roots = self.driver.temp_dir_roots();
        roots.push(self.paths.layer_temp());
        for root in roots {
            if let Err(error) = tempdir::recover(&root) {
                tracing::warn!("a stale temp dir below {root:?} could not be removed: {error}");
            }
        }
    }

    /// Deletes incomplete layers. A container's layer is incomplete until its container is recorded: with the container on
    /// record only the last step is missing, and it is made up for.
    fn recover_incomplete(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
    ) -> Result<()> {
        let incomplete: Vec<String> =
            layers.iter_all().filter(|l| l.is_incomplete()).map(|l| l.id.clone()).collect();
        if incomplete.is_empty() {
            return Ok(());
        }
        let (_, containers) = self.containers.read(held)?;
        let (finished, unfinished): (Vec<_>, Vec<_>) = incomplete.into_iter().partition(|id| {
            containers.iter().any(|c| c.layer == *id)
                && crate::LayerId::new(id.as_str()).is_ok_and(|id| self.driver.exists(&id))
        });
        for id in &finished {
            layers.get_mut(id)?.flags.remove(INCOMPLETE);
        }
        layers.save()?;
        for id in unfinished {
            tracing::warn!(
                "layer {id} was left incomplete by an interrupted operation; removing it"
            );
            // One that resists stays flagged and hidden: no reason to refuse work on the rest of the store.
            match self.remove_layers(held, layers, std::slice::from_ref(&id)) {
                Ok(removed) => removed.empty(),
                Err(error) => {
                    tracing::warn!("the incomplete layer {id} could not be removed: {error}")
                }
            }
        }
        Ok(())
    }
}
