//! The store: layers, images and containers, their names, digests and mounts, under the locks shared with the Go library.
//!
//! The order in which locks are taken lives here only.

mod requests;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

pub use requests::{
    BigDataItem, ImageInfo, LayerInfo, MountRequest, NewContainer, NewImage, NewLayer, Object,
};

use crate::archive::{Change, Compression, LayerFacts};
use crate::config::StoreOptions;
use crate::record::Container;
use crate::{Digest, Result};

/// A store of layers, images and containers.
///
/// Opening it touches nothing on disk; what must exist is made by the first operation that writes.
pub struct Store {
    options: StoreOptions,
}

/// A layer's content that has been unpacked but belongs to no layer yet; dropped, it vanishes.
pub struct StagedLayer {
    facts: LayerFacts,
}

impl StagedLayer {
    /// What was learnt of the stream.
    pub fn facts(&self) -> &LayerFacts {
        &self.facts
    }
}

#[allow(clippy::todo, unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Store {
    pub fn open(options: StoreOptions) -> Result<Self> {
        todo!()
    }
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }
    /// The driver's name (`overlay`, `vfs`).
    pub fn driver_name(&self) -> &str {
        todo!()
    }
    /// The driver's rows for `status`.
    pub fn driver_status(&self) -> Vec<(String, String)> {
        todo!()
    }

    // ---- listing and looking up: additional stores included, primary first ----
    pub fn layers(&self) -> Result<Vec<LayerInfo>> {
        todo!()
    }
    pub fn images(&self) -> Result<Vec<ImageInfo>> {
        todo!()
    }
    pub fn containers(&self) -> Result<Vec<Container>> {
        todo!()
    }
    /// By id, name, or unique id prefix.
    pub fn layer(&self, id: &str) -> Result<LayerInfo> {
        todo!()
    }
    /// By id, name, or unique id prefix.
    pub fn image(&self, id: &str) -> Result<ImageInfo> {
        todo!()
    }
    /// By id, name, layer id, or unique id prefix.
    pub fn container(&self, id: &str) -> Result<Container> {
        todo!()
    }
    /// Layers, then images, then containers.
    pub fn lookup(&self, id: &str) -> Result<Object> {
        todo!()
    }
    pub fn layers_by_diff_digest(&self, digest: &Digest) -> Result<Vec<LayerInfo>> {
        todo!()
    }
    pub fn layers_by_compressed_digest(&self, digest: &Digest) -> Result<Vec<LayerInfo>> {
        todo!()
    }
    pub fn images_by_digest(&self, digest: &Digest) -> Result<Vec<ImageInfo>> {
        todo!()
    }
    pub fn images_by_top_layer(&self, layer: &str) -> Result<Vec<ImageInfo>> {
        todo!()
    }

    // ---- creating ----
    pub fn create_layer(&self, layer: NewLayer) -> Result<LayerInfo> {
        todo!()
    }
    /// Creates a layer from a tar stream, compressed or not. On any error nothing is left.
    pub fn import_layer(&self, layer: NewLayer, stream: &mut (dyn Read + Send)) -> Result<LayerInfo> {
        todo!()
    }
    /// Unpacks a stream outside of every lock; `parent` is a layer's id. Several may be staged at once.
    pub fn stage_layer(&self, parent: Option<&str>, stream: &mut (dyn Read + Send)) -> Result<StagedLayer> {
        todo!()
    }
    /// Makes staged content a layer. With an id that is taken already: `ErrorKind::DuplicateId`.
    pub fn commit_layer(&self, layer: NewLayer, staged: StagedLayer) -> Result<LayerInfo> {
        todo!()
    }
    /// Creates an image; its big data is in place before its record.
    pub fn create_image(&self, image: NewImage) -> Result<ImageInfo> {
        todo!()
    }
    pub fn create_container(&self, container: NewContainer) -> Result<Container> {
        todo!()
    }

    // ---- names and metadata; `id` may be of any kind, looked up in the order layers, images, containers ----
    pub fn set_names(&self, id: &str, names: &[String]) -> Result<()> {
        todo!()
    }
    pub fn add_names(&self, id: &str, names: &[String]) -> Result<()> {
        todo!()
    }
    pub fn remove_names(&self, id: &str, names: &[String]) -> Result<()> {
        todo!()
    }
    /// As `add_names`, for an image only.
    pub fn add_image_names(&self, id: &str, names: &[String]) -> Result<()> {
        todo!()
    }
    pub fn set_metadata(&self, id: &str, metadata: &str) -> Result<()> {
        todo!()
    }
    pub fn set_image_metadata(&self, id: &str, metadata: &str) -> Result<()> {
        todo!()
    }

    // ---- big data; names, sizes and digests are in the records ----
    pub fn image_big_data(&self, id: &str, key: &str) -> Result<Vec<u8>> {
        todo!()
    }
    pub fn set_image_big_data(&self, id: &str, item: BigDataItem) -> Result<()> {
        todo!()
    }
    pub fn container_big_data(&self, id: &str, key: &str) -> Result<Vec<u8>> {
        todo!()
    }
    pub fn set_container_big_data(&self, id: &str, key: &str, data: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn layer_big_data(&self, id: &str, key: &str) -> Result<Box<dyn Read + Send>> {
        todo!()
    }
    pub fn set_layer_big_data(&self, id: &str, key: &str, data: &mut dyn Read) -> Result<()> {
        todo!()
    }

    // ---- mounting; `id` is a layer's or a container's ----
    pub fn mount(&self, id: &str, request: &MountRequest) -> Result<PathBuf> {
        todo!()
    }
    /// Mounts an image's top layer, read-only.
    pub fn mount_image(&self, id: &str, request: &MountRequest) -> Result<PathBuf> {
        todo!()
    }
    /// Gives one mount back (all with `force`); tells whether it is still mounted.
    pub fn unmount(&self, id: &str, force: bool) -> Result<bool> {
        todo!()
    }
    pub fn unmount_image(&self, id: &str, force: bool) -> Result<bool> {
        todo!()
    }
    /// How many mounts have been asked for and not given back.
    pub fn mounted(&self, id: &str) -> Result<i64> {
        todo!()
    }

    // ---- differences; `id` and `reference` are layers' or containers' ----
    /// Writes the layer's tar: the very bytes that came in where `reference` is its parent (or absent) and its tar-split is
    /// there. `compression` absent: as it came. Returns the bytes of the uncompressed tar.
    pub fn diff(&self, id: &str, reference: Option<&str>, compression: Option<Compression>, out: &mut (dyn Write + Send)) -> Result<u64> {
        todo!()
    }
    pub fn changes(&self, id: &str, reference: Option<&str>) -> Result<Vec<Change>> {
        todo!()
    }
    pub fn diff_size(&self, id: &str, reference: Option<&str>) -> Result<u64> {
        todo!()
    }
    /// Unpacks a stream over the layer's content; returns the bytes of content.
    pub fn apply_diff(&self, id: &str, stream: &mut (dyn Read + Send)) -> Result<u64> {
        todo!()
    }

    // ---- deleting ----
    /// Whatever it is, without checks.
    pub fn delete(&self, id: &str) -> Result<()> {
        todo!()
    }
    pub fn delete_layer(&self, id: &str) -> Result<()> {
        todo!()
    }
    /// The layers that nothing else needs go with the image; returns their ids, top first. With `test`, nothing is deleted.
    pub fn delete_image(&self, id: &str, test: bool) -> Result<Vec<String>> {
        todo!()
    }
    pub fn delete_container(&self, id: &str) -> Result<()> {
        todo!()
    }

    // ---- sizes and directories ----
    pub fn image_size(&self, id: &str) -> Result<i64> {
        todo!()
    }
    pub fn container_size(&self, id: &str) -> Result<i64> {
        todo!()
    }
    pub fn image_dir(&self, id: &str) -> Result<PathBuf> {
        todo!()
    }
    pub fn image_run_dir(&self, id: &str) -> Result<PathBuf> {
        todo!()
    }
    pub fn container_dir(&self, id: &str) -> Result<PathBuf> {
        todo!()
    }
    pub fn container_run_dir(&self, id: &str) -> Result<PathBuf> {
        todo!()
    }

    // ---- the whole store ----
    /// Deletes every container, image and layer.
    pub fn wipe(&self) -> Result<()> {
        todo!()
    }
    /// Releases the driver; returns the ids of layers still mounted, which make it fail (Busy) unless `force` unmounts them.
    pub fn shutdown(&self, force: bool) -> Result<Vec<String>> {
        todo!()
    }
    #[doc(hidden)]
    pub fn graph_root(&self) -> &Path {
        &self.options.graph_root
    }
}
