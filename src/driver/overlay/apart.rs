//! A layer's mount for those who place it themselves: as a description, or as a mount that stands nowhere in the tree.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::Overlay;
use super::chain::Heal;
use super::dialect::LayerView;
use super::get::lock;
use super::mount::Plan;
use super::places::Places;
use crate::driver::{MountDescription, MountOptions};
use crate::sys::mount::is_overlay_mount;
use crate::{Error, ErrorKind, LayerId, Result};

impl Overlay {
    pub(super) fn describe(
        &self,
        id: &LayerId,
        options: &MountOptions,
    ) -> Result<MountDescription> {
        self.plan_apart(
            id,
            options,
            |dir| Ok(MountDescription::Directory(dir)),
            |plan, _, composed| {
                if composed {
                    return Err(Error::new(
                    ErrorKind::NotSupported,
                    format!("describing the mount of layer {id}"),
                )
                .id(id.as_str())
                .detail(
                    "it has composefs layers, whose images are mounted only while a mount is made",
                )
                .hint("mount the layer instead"));
                }
                Ok(MountDescription::Overlay {
                    lowers: plan.lowers.into_iter().map(|l| l.absolute).collect(),
                    upper: plan.upper.as_ref().map(|u| u.diff.absolute.clone()),
                    work: plan.upper.map(|u| u.work.absolute),
                    options: plan.words,
                    label: plan.label,
                })
            },
        )
    }

    pub(super) fn mount_apart(&self, id: &LayerId, options: &MountOptions) -> Result<OwnedFd> {
        let plain = |dir: PathBuf| {
            Err(Error::new(ErrorKind::NotSupported, format!("mounting layer {id} without a place"))
                .id(id.as_str())
                .path(dir)
                .detail("the layer is a plain directory")
                .hint("use the directory as it is"))
        };
        let made = self.plan_apart(id, options, plain, |plan, mounted, _| {
            // Two mounts of one upper directory would not see each other's changes.
            let made = if mounted && plan.upper.is_some() {
                Err(Error::new(ErrorKind::Busy, format!("mounting layer {id}"))
                    .path(&plan.target)
                    .detail("it is mounted already, and two mounts of one layer do not see each other's changes")
                    .hint("unmount it first, or ask for a read-only mount"))
            } else {
                plan.mount_detached()
            };
            made.map_err(|e| e.id(id.as_str()))
        })?;
        let layer = self.locate(id)?;
        if !is_overlay_mount(&self.merged(&layer)) {
            // The mount that was made needs no other one.
            self.release_nested(&layer);
        }
        Ok(made)
    }

    /// Plans a mount and uses the plan, which is told whether the layer is mounted now and whether there are composefs layers in it,
    /// while this process neither mounts nor unmounts it. Nothing of a mounted layer is changed: the kernel's marks in its work
    /// directory are those of the mount that runs.
    fn plan_apart<T>(
        &self,
        id: &LayerId,
        options: &MountOptions,
        plain: impl FnOnce(PathBuf) -> Result<T>,
        then: impl FnOnce(Plan, bool, bool) -> Result<T>,
    ) -> Result<T> {
        if !options.maps().is_empty() {
            return Err(Error::new(
                ErrorKind::NotSupported,
                format!("mounting layer {id} elsewhere"),
            )
            .id(id.as_str())
            .detail("owners are mapped only where the layer is mounted at its own place")
            .hint("leave the id maps out, and map the mount yourself (mount_setattr(2))"));
        }
        let layer = self.locate(id)?;
        if let LayerView::Plain(dir) = self.rules.view(self, &layer)? {
            return plain(dir);
        }
        self.ready()?;
        if let Some(program) = self.program() {
            return Err(Error::new(ErrorKind::NotSupported, format!("mounting layer {id} elsewhere"))
                .id(id.as_str())
                .detail(format!("{program:?} mounts this store's layers, and the kernel would not show what they are"))
                .hint("mount the layer at its own place instead"));
        }
        let how = self.how(options)?;
        let merged = self.merged(&layer);
        let slot = self.counts.slot(id);
        let uses = lock(&slot);
        let mounted = is_overlay_mount(&merged);
        let heal = if mounted { Heal::No } else { Heal::OnDisk };
        let mut places = Places::of(&self.home, None);
        // A description is of no use without what it names, which stays until the layer is unmounted, or the driver shut down.
        let held = self.acquire_nested(&layer)?;
        let plan = self.plan(&layer, &merged, &how, heal, &mut places);
        let done = plan.and_then(|plan| then(plan, mounted, !places.is_empty()));
        drop(held);
        if done.is_err() && !mounted {
            self.release_nested(&layer);
        }
        drop(places);
        drop(uses);
        self.counts.tidy(id, slot);
        done
    }
}
