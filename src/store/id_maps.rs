//! Which id maps the files of new layers have (`store-format.md` 3, 11).

use super::order::{Before, Held, Layers, Userns};
use super::paths::Paths;
use super::table::{Edit, unknown};
use super::{NewContainer, NewLayer, Store};
use crate::record::{Image, Layer};
use crate::sys::lock::{LockAccess, LockFile, WriteGuard};
use crate::{IdMap, IdMaps, Result};

impl Layer {
    /// The maps by which the files in the layer's own directories got their owners.
    pub fn id_maps(&self) -> IdMaps {
        IdMaps::new(&self.uid_map, &self.gid_map)
    }
}

/// What is asked of the maps of a container or layer.
pub(super) struct Wish<'a> {
    /// The host's user ids, whatever else would be taken.
    pub(super) host_uids: bool,
    /// The host's group ids.
    pub(super) host_gids: bool,
    pub(super) uids: &'a [IdMap],
    pub(super) gids: &'a [IdMap],
}

impl<'a> Wish<'a> {
    pub(super) fn of_layer(new: &'a NewLayer) -> Self {
        Self::new(new.host_uids, new.host_gids, &new.uid_map, &new.gid_map)
    }

    pub(super) fn of_container(new: &'a NewContainer) -> Self {
        Self::new(new.host_uids, new.host_gids, &new.uid_map, &new.gid_map)
    }

    /// Nothing in particular.
    pub(super) fn none() -> Self {
        Self::new(false, false, &[], &[])
    }

    fn new(host_uids: bool, host_gids: bool, uids: &'a [IdMap], gids: &'a [IdMap]) -> Self {
        // As in Go, a map beside the flag does not count.
        let uids = if host_uids { &[] } else { uids };
        let gids = if host_gids { &[] } else { gids };
        Self { host_uids, host_gids, uids, gids }
    }

    /// The maps that were asked for, without those that would be inherited.
    pub(super) fn given(&self) -> IdMaps {
        IdMaps::new(self.uids, self.gids)
    }

    /// With what is left open taken from `inherited`.
    pub(super) fn over(&self, inherited: &IdMaps) -> IdMaps {
        let one = |host: bool, given: &[IdMap], inherited: &[IdMap]| match (host, given) {
            (false, []) => inherited.to_vec(),
            _ => given.to_vec(),
        };
        IdMaps {
            uids: one(self.host_uids, self.uids, &inherited.uids),
            gids: one(self.host_gids, self.gids, &inherited.gids),
        }
    }
}

/// What a container's layer lies on.
pub(super) enum TopLayer {
    /// A layer that fits.
    Fits(Box<Layer>),
    /// None fits; a copy of this one will, with other owners.
    Copy(Box<Layer>),
}

impl TopLayer {
    pub(super) fn into_layer(self) -> Layer {
        match self {
            Self::Fits(layer) | Self::Copy(layer) => *layer,
        }
    }
}

impl Paths {
    /// `userns.lock`, around the making of containers with id maps.
    fn userns_lock(&self) -> std::path::PathBuf {
        self.graph_root().join("userns.lock")
    }
}

impl Store {
    /// Waits for others that make containers with id maps, as Go does for the sake of those who look for free ids.
    pub(super) fn lock_user_namespaces(
        &self,
        _: &Held<super::order::Nothing>,
    ) -> Result<(Held<Userns>, WriteGuard)> {
        let file = LockFile::open(&self.paths.userns_lock(), LockAccess::ReadWrite)?;
        Ok((Held::taken(), file.write()?))
    }

    /// Whether mounts map these ids by themselves, so that no file needs another owner.
    pub(super) fn shifts(&self, maps: &IdMaps) -> Result<bool> {
        // Without maps there is nothing to try the kernel out for.
        Ok(!maps.is_empty() && self.driver.supports_shifting(maps)?)
    }

    /// The maps of the store's configuration, which layers without a parent get.
    pub(super) fn default_maps(&self) -> IdMaps {
        IdMaps::new(&self.options.uid_map, &self.options.gid_map)
    }

    /// The maps of a new layer on one that has `parent`'s.
    pub(super) fn maps_of_new(&self, wish: &Wish<'_>, parent: Option<&IdMaps>) -> Result<IdMaps> {
        let maps = match parent {
            Some(parent) => wish.over(parent),
            None => wish.over(&self.default_maps()),
        };
        Ok(if self.shifts(&maps)? { IdMaps::default() } else { maps })
    }

    /// The maps of a layer that is there, be it in an additional store; none of one that is not.
    pub(super) fn maps_of_present<Outer>(&self, outer: &Held<Outer>, id: &str) -> Result<IdMaps>
    where
        Outer: Before<Layers>,
    {
        let (held, layers) = self.layers.read(outer)?;
        let found = match layers.by_id(id) {
            Some(layer) => Some(layer.clone()),
            None => self.find_foreign_layer(&held, id)?.map(|(layer, _)| layer),
        };
        Ok(found.map_or_else(IdMaps::default, |layer| layer.id_maps()))
    }

    /// The top layer of `image` for a container that wants such maps: the first that fits, else the first there is. `own` images
    /// can get a copy that fits, unless the layer is another store's.
    pub(super) fn top_layer(
        &self,
        held: &Held<Layers>,
        layers: &Edit<'_, Layer, Layers>,
        image: &Image,
        own: bool,
        wish: &Wish<'_>,
    ) -> Result<TopLayer> {
        let wanted = wish.given();
        let shifts = self.shifts(&wanted)?;
        let fits = |layer: &Layer| {
            let plain = layer.uid_map.is_empty() && layer.gid_map.is_empty();
            plain && (shifts || wanted.is_empty()) || layer.id_maps() == wanted
        };
        let mut first = None;
        let candidates = || std::iter::once(&image.layer).chain(&image.mapped_layers);
        for id in candidates() {
            if let Some(layer) = layers.by_id(id) {
                if fits(layer) {
                    return Ok(TopLayer::Fits(Box::new(layer.clone())));
                }
                first.get_or_insert_with(|| (layer.clone(), own));
            }
        }
        for id in candidates() {
            if layers.by_id(id).is_some() {
                continue;
            }
            if let Some((layer, _)) = self.find_foreign_layer(held, id)? {
                if fits(&layer) {
                    return Ok(TopLayer::Fits(Box::new(layer)));
                }
                first.get_or_insert((layer, false));
            }
        }
        match first {
            None => Err(unknown::<Layer>("creating a container on", &image.layer)),
            Some((layer, true)) => Ok(TopLayer::Copy(Box::new(layer))),
            Some((layer, false)) => Ok(TopLayer::Fits(Box::new(layer))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_inherited() {
        let map = |host_id| vec![IdMap { container_id: 0, host_id, size: 10 }];
        let parent = IdMaps { uids: map(1), gids: map(2) };
        let (three, four) = (map(3), map(4));
        assert_eq!(Wish::none().over(&parent), parent);
        let wish = Wish::new(false, true, &three, &four);
        assert_eq!(wish.over(&parent), IdMaps { uids: map(3), gids: Vec::new() });
        assert_eq!(wish.given(), IdMaps { uids: map(3), gids: Vec::new() });
        let host = Wish::new(true, true, &[], &[]);
        assert_eq!(host.over(&parent), IdMaps::default());
    }
}
