//! The store: layers, images and containers, their names, digests and mounts, under the locks shared with the Go library.
//!
//! The order in which locks are taken lives here only (`order`).

mod containers;
mod copies;
mod data;
mod dedup;
mod delete;
mod diffs;
mod digest_locks;
mod garbage;
mod id_maps;
mod images;
mod kind;
mod layers;
mod lookup;
mod making;
mod migrate_legacy;
mod mounting;
mod mounts;
mod names;
mod open;
mod order;
mod parent_owners;
mod paths;
mod recovery;
mod removal;
mod rename;
mod requests;
mod seek;
mod sizes;
mod table;
mod transplant;
mod waste;
mod whole;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use layers::StagedLayer;
#[cfg(test)]
pub(crate) use making::SYNCS;
pub use migrate_legacy::{LegacyMigration, MigratedLegacy};
pub use parent_owners::ParentOwners;
pub use requests::{
    BigDataItem, ImageInfo, LayerInfo, MountRequest, NewContainer, NewImage, NewLayer, Object,
};
pub(crate) use transplant::MARKS;

use crate::Dialect;
use crate::config::StoreOptions;
use crate::driver::Driver;
use crate::record::{Container, Image, Layer};
use crate::sys::lock::Token;
use crate::thin::Repository;
use mounts::Mounts;
use order::{Containers, Images, Layers, OtherImages, OtherLayers, SplitImages};
use paths::Paths;
use table::Table;

/// A store of layers, images and containers, shared with other processes under the locks of `store-format.md` 9.
///
/// Opening it touches nothing on disk; what must exist is made by the first operation that writes. It may be used from any
/// number of threads at once, but not after `fork`.
///
/// ```no_run
/// use orlop::config::StoreOptions;
/// use orlop::store::Store;
/// # fn main() -> orlop::Result<()> {
/// let store = Store::open(StoreOptions {
///     graph_root: "/var/lib/containers/storage".into(),
///     run_root: "/run/containers/storage".into(),
///     ..StoreOptions::default()
/// })?;
/// for image in store.images()? {
///     println!("{} {:?}", image.id, image.names);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Store {
    options: StoreOptions,
    driver: Box<dyn Driver>,
    paths: Paths,
    layers: Table<Layer, Layers>,
    mounts: Mounts,
    images: Table<Image, Images>,
    /// With an image store: the images of the graph root, writable too.
    split_images: Option<Table<Image, SplitImages>>,
    containers: Table<Container, Containers>,
    others: Vec<OtherStore>,
    /// The last-writer record of `storage.lock` under which the driver was prepared for writing.
    prepared: Mutex<Option<Token>>,
}

/// An additional image store: read, never written.
struct OtherStore {
    root: PathBuf,
    layers: Table<Layer, OtherLayers>,
    images: Table<Image, OtherImages>,
}

impl Store {
    /// The options that the store was opened with, the driver's name filled in.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Where layers, images and containers live.
    pub fn graph_root(&self) -> &Path {
        &self.options.graph_root
    }

    /// Where volatile state lives.
    pub fn run_root(&self) -> &Path {
        &self.options.run_root
    }

    /// The driver's name (`overlay`, `vfs`).
    pub fn driver_name(&self) -> &str {
        self.driver.name()
    }

    /// Whose layout the driver's layers have; `None` where the driver is not overlay.
    pub fn dialect(&self) -> Option<Dialect> {
        self.driver.dialect()
    }

    /// Has the driver look for a layer that has just been published in that repository, if it uses it.
    pub(crate) fn layer_published(&self, repository: &Repository) -> crate::Result<()> {
        self.driver.layer_published(repository)
    }

    /// Whether what is written is brought to the disk before it counts; not with `sync = "none"`.
    pub(crate) fn syncs(&self) -> bool {
        self.driver.sync_filesystem()
    }

    /// The driver's rows for `status`, in the order in which the Go command prints them.
    pub fn driver_status(&self) -> Vec<(String, String)> {
        self.driver.status()
    }
}
