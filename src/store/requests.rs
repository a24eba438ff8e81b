//! What callers hand to the store, and what it hands back.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;

use crate::Digest;
use crate::IdMap;
use crate::record::{Container, Flags, Image, Layer, Timestamp};

/// A layer to create. `Default` is an unnamed read-write layer without a parent.
#[derive(Debug, Clone, Default)]
pub struct NewLayer {
    /// The id; a random one if absent.
    pub id: Option<String>,
    /// Id or name of the parent.
    pub parent: Option<String>,
    /// Names; each must be free.
    pub names: Vec<String>,
    /// SELinux label of its mounts.
    pub mount_label: String,
    /// For image content (Go's "non-writeable").
    pub read_only: bool,
    /// User id map of its files; the parent's if empty, or the configured one without a parent. None is recorded, and the files have
    /// the ids of the archive, where the driver maps ids at the mount.
    pub uid_map: Vec<IdMap>,
    /// Group id map; likewise.
    pub gid_map: Vec<IdMap>,
    /// The host's user ids, whatever the parent has; a map beside it does not count.
    pub host_uids: bool,
    /// The host's group ids; likewise.
    pub host_gids: bool,
    /// The caller's metadata.
    pub metadata: String,
    /// The caller's flags.
    pub flags: Flags,
    /// Per-layer storage options (`size`).
    pub storage_opt: BTreeMap<String, String>,
    /// The digest that the stream, as it comes, must have; another one is refused.
    pub expected_compressed_digest: Option<Digest>,
    /// The digest that the uncompressed tar must have; another one is refused.
    pub expected_diff_digest: Option<Digest>,
    /// Recorded as the compressed digest and size instead of those of the stream that was read (a stream that was decompressed
    /// on the way to here).
    pub original_blob: Option<(Digest, u64)>,
}

/// A big data item to store together with a new image or container.
#[derive(Debug, Clone)]
pub struct BigDataItem {
    /// Its key, as `manifest`.
    pub key: String,
    /// Its content.
    pub data: Vec<u8>,
    /// The digest to record; sha256 of the data if absent.
    pub digest: Option<Digest>,
}

/// An image to create.
#[derive(Debug, Clone, Default)]
pub struct NewImage {
    /// The id; a random one if absent.
    pub id: Option<String>,
    /// Names; taken away from other images only if `take_names` is set, else they must be free.
    pub names: Vec<String>,
    /// Names that it has had, newest first; those it has now only if they are meant to be there (the image library puts them).
    pub names_history: Vec<String>,
    /// Take the names away from the images that have them (as `set_names` does), in the same save.
    pub take_names: bool,
    /// Id or name of the top layer, absent for an image without layers.
    pub layer: Option<String>,
    /// Opaque here; the image library parses it as JSON when it is not empty.
    pub metadata: String,
    /// The preferred digest.
    pub digest: Option<Digest>,
    /// When the image was created; now if absent.
    pub created: Option<Timestamp>,
    /// Items, in the order of their names in the record.
    pub big_data: Vec<BigDataItem>,
    /// The caller's flags.
    pub flags: Flags,
}

/// A container to create.
#[derive(Debug, Clone, Default)]
pub struct NewContainer {
    /// The id; a random one if absent.
    pub id: Option<String>,
    /// Names; each must be free.
    pub names: Vec<String>,
    /// Id, name or digest of the image; absent for a container made from nothing.
    pub image: Option<String>,
    /// The caller's metadata.
    pub metadata: String,
    /// Need not survive a crash.
    pub volatile: bool,
    /// SELinux label of the process; given together with `mount_label` or not at all.
    pub process_label: String,
    /// SELinux label of the mount.
    pub mount_label: String,
    /// Mount options, used at every mount.
    pub mount_options: Vec<String>,
    /// User id map, used at every mount. Where the driver cannot map ids at the mount, the container lies on a copy of the image's top
    /// layer with other owners, which is made with the first container of such maps.
    pub uid_map: Vec<IdMap>,
    /// Group id map; likewise.
    pub gid_map: Vec<IdMap>,
    /// The host's user ids, whatever the image's layer has; a map beside it does not count.
    pub host_uids: bool,
    /// The host's group ids; likewise.
    pub host_gids: bool,
    /// The caller's flags.
    pub flags: Flags,
    /// Per-layer storage options (`size`).
    pub storage_opt: BTreeMap<String, String>,
    /// Items, in the order of their names in the record.
    pub big_data: Vec<BigDataItem>,
}

/// How to mount.
#[derive(Debug, Clone, Default)]
pub struct MountRequest {
    /// SELinux label; the layer's own if empty.
    pub mount_label: String,
    /// Mount read-only.
    pub read_only: bool,
    /// Mount words for the driver, instead of the configured ones.
    pub options: Vec<String>,
}

/// A layer as the store knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerInfo {
    /// Its record.
    pub record: Layer,
    /// From an additional, read-only store.
    pub read_only: bool,
    /// Where it is mounted, if it is.
    pub mount_point: Option<PathBuf>,
    /// How many mounts of it have been asked for and not given back.
    pub mount_count: i64,
}

impl Deref for LayerInfo {
    type Target = Layer;
    fn deref(&self) -> &Layer {
        &self.record
    }
}

/// An image as the store knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageInfo {
    /// Its record.
    pub record: Image,
    /// From an additional, read-only store.
    pub read_only: bool,
}

impl Deref for ImageInfo {
    type Target = Image;
    fn deref(&self) -> &Image {
        &self.record
    }
}

/// What an id or a name turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A layer.
    Layer(Box<LayerInfo>),
    /// An image.
    Image(Box<ImageInfo>),
    /// A container.
    Container(Box<Container>),
}

impl Object {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Layer(layer) => &layer.id,
            Self::Image(image) => &image.id,
            Self::Container(container) => &container.id,
        }
    }

    /// Its names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Layer(layer) => &layer.names,
            Self::Image(image) => &image.names,
            Self::Container(container) => &container.names,
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &str {
        match self {
            Self::Layer(layer) => &layer.metadata,
            Self::Image(image) => &image.metadata,
            Self::Container(container) => &container.metadata,
        }
    }
}
