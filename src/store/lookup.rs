//! Listing, and finding by id, name, prefix or digest: the primary store first, then the additional ones in order.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::kind::Record;
use super::order::Held;
use super::table::{Lists, unknown};
use super::{ImageInfo, LayerInfo, Object, Store};
use crate::record::{Container, Image, Layer, MountPoint};
use crate::{Digest, Error, ErrorKind, Result};

/// The records of one kind of all stores, locks released: each store's with whether it is read-only.
pub(super) type Everywhere<T> = Vec<(Arc<Lists<T>>, bool)>;

impl Store {
    pub(super) fn layers_everywhere(&self) -> Result<Everywhere<Layer>> {
        let held = Held::nothing();
        let mut all = vec![(self.layers.read(&held)?.1.release(), false)];
        for other in &self.others {
            all.push((other.layers.read(&held)?.1.release(), true));
        }
        Ok(all)
    }

    pub(super) fn images_everywhere(&self) -> Result<Everywhere<Image>> {
        let held = Held::nothing();
        let mut all = vec![(self.images.read(&held)?.1.release(), false)];
        if let Some(split) = &self.split_images {
            all.push((split.read(&held)?.1.release(), false));
        }
        for other in &self.others {
            all.push((other.images.read(&held)?.1.release(), true));
        }
        Ok(all)
    }

    pub(super) fn containers_now(&self) -> Result<Arc<Lists<Container>>> {
        Ok(self.containers.read(&Held::nothing())?.1.release())
    }

    fn with_mounts(&self, found: Vec<(Layer, bool)>) -> Result<Vec<LayerInfo>> {
        let mounts = if found.is_empty() { Vec::new() } else { self.mounts.read()? };
        let mounts = by_layer(&mounts);
        Ok(found.into_iter().map(|(record, ro)| layer_info(record, ro, &mounts)).collect())
    }

    fn layers_where(&self, wanted: impl Fn(&Layer) -> bool) -> Result<Vec<LayerInfo>> {
        self.with_mounts(select(&self.layers_everywhere()?, wanted))
    }

    fn images_where(&self, wanted: impl Fn(&Image) -> bool) -> Result<Vec<ImageInfo>> {
        let found = select(&self.images_everywhere()?, wanted);
        Ok(found.into_iter().map(|(record, read_only)| ImageInfo { record, read_only }).collect())
    }

    /// The ids of the layers that the driver has in the store's own home, whether or not there is a record of them.
    ///
    /// # Errors
    /// When the home cannot be read.
    pub fn driver_layers(&self) -> Result<Vec<String>> {
        let _layers = self.layers.read(&Held::nothing())?;
        self.driver.list_layers()
    }

    /// All layers, those of additional stores last. Layers that a cut-short operation left incomplete are not among them.
    ///
    /// # Errors
    /// When a record file cannot be read or parsed.
    pub fn layers(&self) -> Result<Vec<LayerInfo>> {
        self.layers_where(|_| true)
    }

    /// All images, those of additional stores last.
    ///
    /// # Errors
    /// When a record file cannot be read or parsed.
    pub fn images(&self) -> Result<Vec<ImageInfo>> {
        self.images_where(|_| true)
    }

    /// All containers.
    ///
    /// # Errors
    /// When a record file cannot be read or parsed.
    pub fn containers(&self) -> Result<Vec<Container>> {
        Ok(self.containers_now()?.iter().cloned().collect())
    }

    /// A layer by id, name, or unique id prefix.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`]; as [`Store::layers`].
    pub fn layer(&self, id: &str) -> Result<LayerInfo> {
        let held = Held::nothing();
        let mut found = self.layers.look_up(&held, id)?.map(|layer| (layer, false));
        for other in &self.others {
            let (_, theirs) = other.layers.read(&held)?;
            found = found.or_else(|| theirs.find(id).map(|layer| (layer.clone(), true)));
        }
        self.with_mount(found.ok_or_else(|| unknown::<Layer>("looking up", id))?)
    }

    fn with_mount(&self, (layer, read_only): (Layer, bool)) -> Result<LayerInfo> {
        let mounts = self.mounts.read()?;
        Ok(layer_info(layer, read_only, &by_layer(&mounts)))
    }

    /// An image by id, name, or unique id prefix.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`]; as [`Store::images`].
    pub fn image(&self, id: &str) -> Result<ImageInfo> {
        let (record, read_only) = find(&self.images_everywhere()?, id)?;
        Ok(ImageInfo { record, read_only })
    }

    /// A container by id, name, layer id, or unique id prefix.
    ///
    /// # Errors
    /// [`ErrorKind::ContainerUnknown`]; as [`Store::containers`].
    pub fn container(&self, id: &str) -> Result<Container> {
        find_container(&*self.containers_now()?, id).cloned()
    }

    /// Whether a layer, an image or a container has that id, name or unique id prefix, or a container that layer, in this order; as the Go
    /// library's `Exists`, but that it says no where this fails. While nobody changes the store, the records are not read again.
    ///
    /// # Errors
    /// When a record file cannot be read or parsed.
    pub fn exists(&self, id: &str) -> Result<bool> {
        let held = Held::nothing();
        if self.layers.read(&held)?.1.has(id) {
            return Ok(true);
        }
        for other in &self.others {
            if other.layers.read(&held)?.1.has(id) {
                return Ok(true);
            }
        }
        if self.images.read(&held)?.1.has(id) {
            return Ok(true);
        }
        if let Some(split) = &self.split_images
            && split.read(&held)?.1.has(id)
        {
            return Ok(true);
        }
        for other in &self.others {
            if other.images.read(&held)?.1.has(id) {
                return Ok(true);
            }
        }
        let (_, containers) = self.containers.read(&held)?;
        Ok(containers.has(id) || containers.iter().any(|c| c.layer == id))
    }

    /// What `id` is: looked for among the layers, then the images, then the containers.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; as the three.
    pub fn lookup(&self, id: &str) -> Result<Object> {
        // Not by the quick way of `layer`: who looks up what may be anything is often about to change it, in the whole list.
        match find(&self.layers_everywhere()?, id).and_then(|found| self.with_mount(found)) {
            Err(e) if e.kind() == ErrorKind::LayerUnknown => {}
            other => return other.map(|layer| Object::Layer(Box::new(layer))),
        }
        match self.image(id) {
            Err(e) if e.kind() == ErrorKind::ImageUnknown => {}
            other => return other.map(|image| Object::Image(Box::new(image))),
        }
        match self.container(id) {
            Err(e) if e.kind() == ErrorKind::ContainerUnknown => {
                Err(Error::new(ErrorKind::NotFound, format!("looking up {id:?}")).id(id).hint(
                    "`orlop layers`, `orlop images` and `orlop containers` list what there is",
                ))
            }
            other => other.map(|container| Object::Container(Box::new(container))),
        }
    }

    /// The layers with that uncompressed digest, in list order.
    ///
    /// # Errors
    /// As [`Store::layers`].
    pub fn layers_by_diff_digest(&self, digest: &Digest) -> Result<Vec<LayerInfo>> {
        self.layers_where(|l| l.diff_digest == digest.as_str())
    }

    /// The layers whose blob, as it came, has that digest, in list order.
    ///
    /// # Errors
    /// As [`Store::layers`].
    pub fn layers_by_compressed_digest(&self, digest: &Digest) -> Result<Vec<LayerInfo>> {
        self.layers_where(|l| l.compressed_digest == digest.as_str())
    }

    /// The images with that digest, be it their own or that of any of their manifests.
    ///
    /// # Errors
    /// As [`Store::images`].
    pub fn images_by_digest(&self, digest: &Digest) -> Result<Vec<ImageInfo>> {
        // Malformed ones were refused when the records were read.
        self.images_where(|i| i.digests().is_ok_and(|all| all.contains(digest)))
    }

    /// The images with that top layer, mapped ones included.
    ///
    /// # Errors
    /// As [`Store::images`].
    pub fn images_by_top_layer(&self, layer: &str) -> Result<Vec<ImageInfo>> {
        self.images_where(|i| i.layer == layer || i.mapped_layers.iter().any(|l| l == layer))
    }
}

fn select<T: Record>(stores: &Everywhere<T>, wanted: impl Fn(&T) -> bool) -> Vec<(T, bool)> {
    let all = stores.iter().flat_map(|(lists, ro)| lists.iter().map(move |r| (r, *ro)));
    all.filter(|(r, _)| wanted(r)).map(|(r, ro)| (r.clone(), ro)).collect()
}

pub(super) fn find<T: Record>(stores: &Everywhere<T>, id: &str) -> Result<(T, bool)> {
    stores
        .iter()
        .find_map(|(lists, ro)| lists.find(id).map(|r| (r.clone(), *ro)))
        .ok_or_else(|| unknown::<T>("looking up", id))
}

/// By exact id, name, exact layer id, then unique prefix (`store-format.md` 11).
pub(super) fn find_container<'l>(lists: &'l Lists<Container>, id: &str) -> Result<&'l Container> {
    lists
        .by_id(id)
        .or_else(|| lists.iter().find(|c| c.names.iter().any(|n| n == id)))
        .or_else(|| lists.iter().find(|c| c.layer == id))
        .or_else(|| lists.by_prefix(id))
        .ok_or_else(|| unknown::<Container>("looking up", id))
}

/// The mount points in use; of several of one layer the first counts.
fn by_layer(points: &[MountPoint]) -> HashMap<&str, &MountPoint> {
    points.iter().rev().filter(|p| p.count > 0).map(|p| (p.id.as_str(), p)).collect()
}

fn layer_info(record: Layer, read_only: bool, mounts: &HashMap<&str, &MountPoint>) -> LayerInfo {
    let point = mounts.get(record.id.as_str()).filter(|_| !read_only);
    LayerInfo {
        mount_point: point.map(|p| PathBuf::from(&p.path)),
        mount_count: point.map_or(0, |p| p.count),
        record,
        read_only,
    }
}
