//! What a driver is given: to create a layer with, to mount, to unpack and to compare it; and how it describes a mount.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::archive::{CompareOptions, Compat};
use crate::{IdMap, IdMaps};

/// What a layer is created with.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// SELinux label.
    pub mount_label: String,
    /// Per-layer storage options (`size`, `inodes`).
    pub storage_opt: BTreeMap<String, String>,
    /// User id map; refused by name by a driver that cannot apply it.
    pub uid_map: Vec<IdMap>,
    /// Group id map.
    pub gid_map: Vec<IdMap>,
}

/// What a layer is mounted with.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// SELinux label.
    pub mount_label: String,
    /// User id map.
    pub uid_map: Vec<IdMap>,
    /// Group id map.
    pub gid_map: Vec<IdMap>,
    /// Mount words; `ro` asks for a read-only mount.
    pub options: Vec<String>,
    /// The container does not need to survive a crash.
    pub volatile: bool,
}

impl CreateOptions {
    /// Both id maps.
    pub fn maps(&self) -> IdMaps {
        IdMaps::new(&self.uid_map, &self.gid_map)
    }
}

impl MountOptions {
    /// Both id maps.
    pub fn maps(&self) -> IdMaps {
        IdMaps::new(&self.uid_map, &self.gid_map)
    }

    /// A read-only mount without anything else.
    pub fn read_only() -> Self {
        Self { options: vec!["ro".to_owned()], ..Self::default() }
    }

    /// Whether the word `ro` is among the options.
    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|o| o == "ro")
    }
}

/// What a mount of a layer consists of, for a program that makes it itself: in another mount namespace, or in a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountDescription {
    /// The layer is a plain directory, which can be bind-mounted.
    Directory(PathBuf),
    /// An overlay.
    Overlay {
        /// The lower directories, uppermost first; of a read-only mount, the layer's own is the first.
        lowers: Vec<PathBuf>,
        /// The upper directory; `None` for a read-only mount.
        upper: Option<PathBuf>,
        /// The work directory; `None` for a read-only mount.
        work: Option<PathBuf>,
        /// The words of `mount(8)`, flags such as `nodev` among them.
        options: Vec<String>,
        /// SELinux label for `context=`, or empty.
        label: String,
    },
}

/// What content is unpacked with, beside what the driver is configured with.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// From the owners in the archive to those on disk.
    pub maps: IdMaps,
    /// Those of the parent, where the content begins as a copy of it.
    pub parent_maps: IdMaps,
    /// SELinux label; the files get what the file system gives them, as with Go's overlay.
    pub mount_label: String,
    /// Go on when an owner cannot be set, also if the driver is not configured so (ADD-8).
    pub ignore_chown_errors: bool,
    /// The mode of everything on disk, in place of the driver's `force_mask` (ADD-8, FMK-2).
    pub force_mask: Option<u32>,
}

/// How a layer is compared with its parent.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// Of the layer: from the owners on disk to those in the archive.
    pub maps: IdMaps,
    /// Of the parent.
    pub parent_maps: IdMaps,
    /// SELinux label of the mounts that a comparison may need.
    pub mount_label: String,
    /// Whose tar is written.
    pub compat: Compat,
}

impl DiffOptions {
    /// How to compare the layer's tree with its parent's, by the notes of a forced mode or by what is on the disk.
    pub(crate) fn comparison(&self, override_stat: bool) -> CompareOptions<'_> {
        CompareOptions { maps: (&self.maps, &self.parent_maps), override_stat }
    }
}
