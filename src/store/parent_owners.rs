//! Owners of the directories above a mount whom the mounted layer's id maps do not know: who works there as one of the mapped ids may
//! be kept out.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{LayerInfo, Store};
use crate::{Error, ErrorKind, IdMaps, Result};

/// Ids of the host, in order, that a layer's maps have no ids inside for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParentOwners {
    /// Of users.
    pub uids: Vec<u32>,
    /// Of groups.
    pub gids: Vec<u32>,
}

impl Store {
    /// The owners of the directories above the place where a layer is mounted whom its id maps do not know; none for a layer without maps,
    /// mounted or not. The root directory does not count. Of a symbolic link among them, its own owner does, and its target's.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`]; [`ErrorKind::InvalidArgument`] for a layer with maps that is not mounted; [`ErrorKind::ReadOnly`] for
    /// a layer of an additional store, whose mounts nobody counts.
    pub fn layer_parent_owners(&self, id: &str) -> Result<ParentOwners> {
        owners_above(&self.layer(id)?)
    }

    /// As [`Store::layer_parent_owners`], of a container's layer.
    ///
    /// # Errors
    /// [`ErrorKind::ContainerUnknown`]; as [`Store::layer_parent_owners`].
    pub fn container_parent_owners(&self, id: &str) -> Result<ParentOwners> {
        self.layer_parent_owners(&self.container(id)?.layer)
    }
}

fn owners_above(layer: &LayerInfo) -> Result<ParentOwners> {
    let refused = |kind| {
        let doing = format!("finding the owners above the mount point of layer {:?}", layer.id);
        Error::new(kind, doing).id(&layer.id)
    };
    let maps = layer.id_maps();
    if layer.read_only {
        return Err(refused(ErrorKind::ReadOnly)
            .detail("it is another store's, and not mounted by this one")
            .hint("create a container on top of it, and ask for that"));
    }
    if maps.is_empty() {
        return Ok(ParentOwners::default());
    }
    match layer.mount_point.as_deref() {
        Some(merged) if merged.symlink_metadata().is_ok() => unmapped_above(merged, &maps),
        _ => Err(refused(ErrorKind::InvalidArgument)
            .detail("layer is not mounted")
            .hint("mount it first")),
    }
}

fn unmapped_above(merged: &Path, maps: &IdMaps) -> Result<ParentOwners> {
    let root = maps.root()?;
    let (mut uids, mut gids) = (BTreeSet::new(), BTreeSet::new());
    for dir in merged.ancestors().skip(1).filter(|dir| dir.parent().is_some()) {
        for look in [dir.metadata(), dir.symlink_metadata()] {
            let look = look.map_err(|e| Error::io("reading the owner of", dir, e))?;
            // Each beside a root that is mapped, so that only one of the two can be missing.
            if maps.to_container(look.uid(), root.1).is_none() {
                uids.insert(look.uid());
            }
            if maps.to_container(root.0, look.gid()).is_none() {
                gids.insert(look.gid());
            }
        }
    }
    Ok(ParentOwners { uids: uids.into_iter().collect(), gids: gids.into_iter().collect() })
}
