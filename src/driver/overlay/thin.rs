//! What layers stand for, brought into place before anybody locks them (CVM-11, ADD-11).

use super::Overlay;
use super::chain::{Heal, LayerDir};
use super::dialect::LayerView;
use crate::driver::{Brought, ThinLayers};
use crate::sys::mount::is_overlay_mount;
use crate::{LayerId, Result};

impl ThinLayers for Overlay {
    fn bring_for_mount(&self, id: &LayerId) -> Result<Brought<'_>> {
        self.bring(id, self.lowers_to_mount(id))
            .map_err(|e| e.context(format!("mounting layer {id}")))
    }

    fn bring_for_diff(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<Brought<'_>> {
        self.bring(id, self.lowers_to_compare(id, parent))
    }
}

impl Overlay {
    fn bring(&self, id: &LayerId, lowers: Result<Vec<LayerDir>>) -> Result<Brought<'_>> {
        match lowers {
            Ok(lowers) => {
                let in_use = self.rules.bring(self, &lowers);
                in_use.map(Brought::new).map_err(|e| e.id(id.as_str()))
            }
            // It may be half made, or half deleted, by who has it locked. Whoever locks it next sees whether that is so.
            Err(error) => {
                tracing::debug!(layer = %id, %error, "its layers below are not known yet");
                Ok(Brought::new(None))
            }
        }
    }

    /// The layers that a mount of this one would lie on; none where there is nothing to mount.
    fn lowers_to_mount(&self, id: &LayerId) -> Result<Vec<LayerDir>> {
        let layer = self.locate(id)?;
        let plain = matches!(self.rules.view(self, &layer)?, LayerView::Plain(_));
        if plain || is_overlay_mount(&self.merged(&layer)) {
            return Ok(Vec::new());
        }
        self.lowers(&layer, Heal::No)
    }

    /// Those whose content a comparison reads, be it of the layers themselves or of mounts.
    fn lowers_to_compare(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<Vec<LayerDir>> {
        let lowers = self.lowers(&self.locate(id)?, Heal::No)?;
        if Self::is_parent(&lowers, parent) {
            return Ok(lowers);
        }
        let mut lowers = self.lowers_to_mount(id)?;
        if let Some(parent) = parent {
            lowers.extend(self.lowers_to_mount(parent)?);
        }
        Ok(lowers)
    }
}
