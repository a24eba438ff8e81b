//! The records as Rust values, in the field order of the files.
//!
//! As in Go, an empty string, zero or empty list stands for a field that is absent.

use std::collections::BTreeMap;

use crate::IdMap;

/// The caller's flags of a record; `incomplete`, `MountLabel` and some others are reserved (`store-format.md` 3, 5).
pub type Flags = BTreeMap<String, serde_json::Value>;

/// The fields of a record that this version does not know, kept in their order for the next writing.
pub type Extra = serde_json::Map<String, serde_json::Value>;

/// A layer's record (`store-format.md` 3).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layer {
    /// Not validated on load; see [`crate::LayerId`].
    pub id: String,
    /// Unique over all layers.
    pub names: Vec<String>,
    /// Id of the parent, empty for a base layer; may be in another store.
    pub parent: String,
    /// Opaque to the store.
    pub metadata: String,
    /// SELinux label of the mount.
    pub mount_label: String,
    /// When the layer was created.
    pub created: Timestamp,
    /// Digest of the blob as received.
    pub compressed_digest: String,
    /// Bytes of the blob as received.
    pub compressed_size: i64,
    /// Digest of the uncompressed tar ("DiffID").
    pub diff_digest: String,
    /// Digest of the table of contents of a partial pull.
    pub toc_digest: String,
    /// Bytes of the uncompressed tar; -1 if unknown for a layer of a partial pull.
    pub diff_size: i64,
    /// 0 none, 1 bzip2, 2 gzip, 3 xz, 4 zstd.
    pub compression: i64,
    /// Sorted user ids of the tar's headers.
    pub uid_set: Vec<u32>,
    /// Sorted group ids of the tar's headers.
    pub gid_set: Vec<u32>,
    /// `incomplete: true` is reserved; the rest is the caller's.
    pub flags: Flags,
    /// Shift of the user ids of the files in this layer's own directories.
    pub uid_map: Vec<IdMap>,
    /// Shift of the group ids of the files in this layer's own directories.
    pub gid_map: Vec<IdMap>,
    /// Keys of the big data items, in order of arrival.
    pub big_data_names: Vec<String>,
    /// Unknown fields.
    pub extra: Extra,
}

/// An image's record (`store-format.md` 4).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Image {
    /// By convention the hexadecimal digest of the config.
    pub id: String,
    /// The preferred digest.
    pub digest: String,
    /// Unique over all images.
    pub names: Vec<String>,
    /// Names of now and before, newest first.
    pub names_history: Vec<String>,
    /// Id of the top layer.
    pub layer: String,
    /// Ids of top layers with the same content under other id maps.
    pub mapped_layers: Vec<String>,
    /// Opaque to the store; JSON for the image library.
    pub metadata: String,
    /// Keys of the big data items, in order of arrival.
    pub big_data_names: Vec<String>,
    /// Size of each item.
    pub big_data_sizes: BTreeMap<String, i64>,
    /// Digest of each item.
    pub big_data_digests: BTreeMap<String, String>,
    /// When the image was created.
    pub created: Timestamp,
    /// The caller's flags.
    pub flags: Flags,
    /// Unknown fields.
    pub extra: Extra,
}

/// A container's record (`store-format.md` 5).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Container {
    /// The container's id.
    pub id: String,
    /// Unique over all containers.
    pub names: Vec<String>,
    /// Id of its image, empty for one made from nothing.
    pub image: String,
    /// Id of its read-write layer.
    pub layer: String,
    /// Opaque to the store.
    pub metadata: String,
    /// Keys of the big data items, in order of arrival.
    pub big_data_names: Vec<String>,
    /// Size of each item.
    pub big_data_sizes: BTreeMap<String, i64>,
    /// Digest of each item.
    pub big_data_digests: BTreeMap<String, String>,
    /// When the container was created.
    pub created: Timestamp,
    /// The user id map asked for, used at mount time.
    pub uid_map: Vec<IdMap>,
    /// The group id map asked for, used at mount time.
    pub gid_map: Vec<IdMap>,
    /// `ProcessLabel`, `MountLabel`, `MountOpts` and `Volatile` are reserved.
    pub flags: Flags,
    /// Unknown fields.
    pub extra: Extra,
}

/// One entry of `mountpoints.json` (`store-format.md` 6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountPoint {
    /// Id of the layer.
    pub id: String,
    /// Where it is mounted.
    pub path: String,
    /// How many mounts of it have been asked for and not given back.
    pub count: i64,
}

/// A point in time with nanoseconds and the offset it was written with; the zero value is Go's zero time,
/// `0001-01-01T00:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(crate) seconds: i64,
    /// 0 to 999,999,999.
    pub(crate) nanos: u32,
    /// Offset from UTC in minutes; `None` writes `Z`.
    pub(crate) offset: Option<i16>,
}

impl Default for Timestamp {
    fn default() -> Self {
        Self { seconds: -62_135_596_800, nanos: 0, offset: None }
    }
}
