//! A layer's mount for those who place it themselves: as a description, or as a mount that stands nowhere in the tree.

use std::os::fd::OwnedFd;

use super::Overlay;
use super::chain::LayerDir;
use super::composefs::Images;
use super::get::lock;
use super::mount::Plan;
use crate::driver::{MountDescription, MountOptions, refuse_id_maps};
use crate::sys::mount::is_overlay_mount;
use crate::{Error, ErrorKind, LayerId, Result};

impl Overlay {
    pub(super) fn describe(
        &self,
        id: &LayerId,
        options: &MountOptions,
    ) -> Result<MountDescription> {
        let (_, plan, _images) = self.plan_apart(id, options)?;
        if !plan.data.is_empty() {
            return Err(Error::new(
                ErrorKind::NotSupported,
                format!("describing the mount of layer {id}"),
            )
            .id(id.as_str())
            .detail("it has composefs layers, whose images are mounted only while a mount is made")
            .hint("mount the layer instead"));
        }
        Ok(MountDescription::Overlay {
            lowers: plan.lowers.into_iter().map(|l| l.absolute).collect(),
            upper: plan.upper.as_ref().map(|u| u.diff.absolute.clone()),
            work: plan.upper.map(|u| u.work.absolute),
            options: plan.words,
            label: plan.label,
        })
    }

    pub(super) fn mount_apart(&self, id: &LayerId, options: &MountOptions) -> Result<OwnedFd> {
        let (layer, plan, _images) = self.plan_apart(id, options)?;
        let slot = self.counts.slot(id);
        let uses = lock(&slot);
        // Two mounts of one upper directory would not see each other's changes.
        let mounted = plan.upper.is_some() && is_overlay_mount(&plan.target);
        let made = if mounted {
            Err(Error::new(ErrorKind::Busy, format!("mounting layer {id}"))
                .path(&plan.target)
                .detail("it is mounted already, and two mounts of one layer do not see each other's changes")
                .hint("unmount it first, or ask for a read-only mount"))
        } else {
            plan.mount_detached()
        };
        drop(uses);
        self.counts.tidy(id, slot);
        made.map_err(|e| e.id(layer.id.as_str()))
    }

    fn plan_apart(&self, id: &LayerId, options: &MountOptions) -> Result<(LayerDir, Plan, Images)> {
        refuse_id_maps(&options.maps(), &format!("layer {id}"))?;
        let layer = self.locate(id)?;
        self.ready()?;
        if let Some(program) = self.program() {
            return Err(Error::new(ErrorKind::NotSupported, format!("mounting layer {id} elsewhere"))
                .id(id.as_str())
                .detail(format!("{program:?} mounts this store's layers, and the kernel would not show what they are"))
                .hint("mount the layer at its own place instead"));
        }
        let how = self.how(options)?;
        let merged = self.merged(&layer);
        let mut images = Images::beside(&merged);
        let plan = self.plan(&layer, &merged, &how, &mut images)?;
        Ok((layer, plan, images))
    }
}
