//! Mounting and unmounting, counted across processes in `mountpoints.json` (`store-format.md` 6, 9.7).

use std::path::{Path, PathBuf};

use super::lookup::{find, find_container};
use super::order::{Held, Layers};
use super::table::{Edit, unknown};
use super::{MountRequest, Store};
use crate::driver::{Brought, MountOptions};
use crate::record::Layer;
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

impl Store {
    /// Mounts a layer, or a container's layer with the container's label, options and volatility; returns where. Mounting what
    /// is mounted counts it once more.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`]; [`ErrorKind::ReadOnly`] for a layer of an additional store; what the driver says.
    pub fn mount(&self, id: &str, request: &MountRequest) -> Result<PathBuf> {
        let mut options = driver_options(request);
        let layer = match find_container(&*self.containers_now()?, id) {
            Ok(container) => {
                let flag = |name: &str| container.flags.get(name);
                if options.mount_label.is_empty()
                    && let Some(label) = flag("MountLabel").and_then(|v| v.as_str())
                {
                    options.mount_label = label.to_owned();
                }
                if let Some(words) = flag("MountOpts").and_then(|v| v.as_array()) {
                    let words = words.iter().filter_map(|w| w.as_str()).map(str::to_owned);
                    options.options.extend(words);
                }
                options.volatile = !self.options.disable_volatile
                    && flag("Volatile") == Some(&serde_json::Value::Bool(true));
                options.uid_map.clone_from(&container.uid_map);
                options.gid_map.clone_from(&container.gid_map);
                container.layer.clone()
            }
            Err(_) => id.to_owned(),
        };
        self.mount_layer(&layer, options)
    }

    /// Mounts an image's top layer, read-only.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`]; as [`Store::mount`].
    pub fn mount_image(&self, id: &str, request: &MountRequest) -> Result<PathBuf> {
        let (image, _) = find(&self.images_everywhere()?, id)?;
        let mut options = driver_options(request);
        if !options.is_read_only() {
            options.options.push("ro".to_owned());
        }
        self.mount_layer(&image.layer, options)
    }

    fn mount_layer(&self, key: &str, mut options: MountOptions) -> Result<PathBuf> {
        // Outlives the locks: what is unmounted with it is no reason to wait either.
        let _brought = self.bring_for_mount(key)?;
        let (graph, guard) = self.lock_graph(&Held::nothing())?;
        let (held, layers) = self.write_layers(&graph)?;
        // Released before the layers are let go, and with them what waits to be deleted.
        let _guard = guard;
        let Some(layer) = layers.find(key) else {
            return Err(match self.find_foreign_layer(&held, key)? {
                Some((layer, root)) => {
                    Error::new(ErrorKind::ReadOnly, format!("mounting layer {:?}", layer.id))
                        .path(root)
                        .detail("mounting layers of a read-only store is not allowed")
                        .hint("create a container or a layer on top of it, and mount that")
                }
                None => unknown::<Layer>("mounting", key),
            });
        };
        if options.mount_label.is_empty() {
            options.mount_label.clone_from(&layer.mount_label);
        }
        let id = LayerId::new(layer.id.as_str())?;
        let maps = options.maps();
        let owners = layer.id_maps();
        if !maps.is_empty() {
            let below = self.maps_below(&held, &layers, layer)?;
            if below == maps {
                // A copy with these owners was made, where no mount could map them; to map them again would be too much.
                (options.uid_map, options.gid_map) = (Vec::new(), Vec::new());
            } else if !below.is_empty() {
                return Err(Error::new(ErrorKind::NotSupported, format!("mounting layer {id}"))
                    .id(&layer.parent)
                    .detail(format!(
                        "the files of layer {}, on which it lies, have owners by other id maps",
                        layer.parent
                    ))
                    .hint("restore the records of both, or create the container anew"));
            }
        }
        let mut mounts = self.mounts.write(&held)?;
        let count = mounts.get(id.as_str()).map_or(0, |p| p.count);
        let present = mounts
            .get(id.as_str())
            .map(|p| PathBuf::from(&p.path))
            .filter(|path| self.paths.holds(path, &id) && self.driver.is_mounted(path));
        let path = match present {
            Some(path) => path,
            None if !maps.is_empty() && maps != owners && !self.shifts(&maps)? => {
                return Err(Error::new(ErrorKind::NotSupported, format!("mounting layer {id}"))
                    .id(id.as_str())
                    .detail("its files belong to other ids, and this driver cannot map ids at the mount")
                    .hint("create a container with these id maps"));
            }
            None => self
                .driver
                .get(&id, &options)
                .map_err(|e| e.context(format!("mounting layer {id}")))?,
        };
        // A stale count of a killed mount is added to, as Go does; a forced unmount clears it.
        mounts.set(id.as_str(), &path, count.saturating_add(1));
        if let Err(error) = mounts.save() {
            if count == 0 {
                let _ = self.driver.put(&id);
            }
            return Err(error);
        }
        Ok(path)
    }

    /// Has mounted what a thin layer lies in, before any lock is taken that others wait for. What is not there, or not to be mounted, is
    /// for those to say who see it under the locks.
    fn bring_for_mount(&self, key: &str) -> Result<Option<Brought<'_>>> {
        let Some(thin) = self.driver.thin_layers() else { return Ok(None) };
        let Some(layer) = self.layers.look_up(&Held::nothing(), key)? else { return Ok(None) };
        let id = LayerId::new(layer.id.as_str())?;
        self.prepare()?;
        let brought = thin.bring_for_mount(&id);
        brought.map(Some).map_err(|e| e.context(format!("mounting layer {id}")))
    }

    /// By which maps the files of the layer below got their owners.
    fn maps_below(
        &self,
        held: &Held<Layers>,
        layers: &Edit<'_, Layer, Layers>,
        layer: &Layer,
    ) -> Result<IdMaps> {
        let parent = layer.parent.as_str();
        if parent.is_empty() {
            return Ok(IdMaps::default());
        }
        match layers.by_id(parent) {
            Some(parent) => Ok(parent.id_maps()),
            None => {
                let found = self.find_foreign_layer(held, parent)?;
                Ok(found.map_or_else(IdMaps::default, |(parent, _)| parent.id_maps()))
            }
        }
    }

    /// Gives one mount of a layer or container back, all of them with `force`; tells whether it is still mounted. What is not
    /// mounted stays so.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`]; when the kernel refuses to unmount.
    pub fn unmount(&self, id: &str, force: bool) -> Result<bool> {
        let layer = self.layer_of(id)?;
        let (held, layers) = self.write_layers(&Held::nothing())?;
        self.unmount_layer(&held, &layers, &layer, force)
    }

    /// As [`Store::unmount`], of an image's top layer.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`]; as [`Store::unmount`].
    pub fn unmount_image(&self, id: &str, force: bool) -> Result<bool> {
        let (image, _) = find(&self.images_everywhere()?, id)?;
        let (held, layers) = self.write_layers(&Held::nothing())?;
        self.unmount_layer(&held, &layers, &image.layer, force)
    }

    pub(super) fn unmount_layer(
        &self,
        held: &Held<Layers>,
        layers: &Edit<'_, Layer, Layers>,
        key: &str,
        force: bool,
    ) -> Result<bool> {
        let layer = layers.find(key).ok_or_else(|| unknown::<Layer>("unmounting", key))?;
        let id = LayerId::new(layer.id.as_str())?;
        let mut mounts = self.mounts.write(held)?;
        let (path, count) = match mounts.get(id.as_str()) {
            Some(point) => (PathBuf::from(&point.path), point.count),
            None => (PathBuf::new(), 0),
        };
        if count > 1 && !force {
            mounts.set(id.as_str(), &path, count - 1);
            mounts.save()?;
            return Ok(true);
        }
        self.driver.put(&id).map_err(|e| e.context(format!("unmounting layer {id}")))?;
        mounts.set(id.as_str(), Path::new(""), 0);
        mounts.save()?;
        Ok(false)
    }

    /// How many mounts of a layer or container have been asked for and not given back.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`].
    pub fn mounted(&self, id: &str) -> Result<i64> {
        Ok(self.layer(&self.layer_of(id)?)?.mount_count)
    }

    /// The layer that a container's id or name stands for, else the key itself.
    pub(super) fn layer_of(&self, id: &str) -> Result<String> {
        let containers = self.containers_now()?;
        Ok(find_container(&containers, id).map_or_else(|_| id.to_owned(), |c| c.layer.clone()))
    }
}

fn driver_options(request: &MountRequest) -> MountOptions {
    let mut options = MountOptions {
        mount_label: request.mount_label.clone(),
        options: request.options.clone(),
        ..MountOptions::default()
    };
    if request.read_only && !options.is_read_only() {
        options.options.push("ro".to_owned());
    }
    options
}
