//! Docker's data root: reading its databases, and taking images over from it into a store.
//!
//! What is read is what dockerd keeps with its driver `overlay2` and its own image store (`docs/dialects/docker.md`). A layer there holds
//! its own changes alone, with the whiteouts of the kernel's overlay, beside a tar-split file: what layers of a store are, too. So no tar
//! is made and unpacked; files are linked, reflinked or copied from the one tree to the other.
//!
//! ```no_run
//! use orlop::config::StoreOptions;
//! use orlop::docker::{DataRoot, MigrateOptions, migrate};
//! use orlop::store::Store;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open(StoreOptions {
//!     graph_root: "/srv/graph".into(),
//!     run_root: "/run/graph".into(),
//!     ..StoreOptions::default()
//! })?;
//! let docker = DataRoot::open("/var/lib/docker")?;
//! for image in docker.images()? {
//!     println!("{} {:?}", image.id, image.names);
//! }
//! let report = migrate(&store, &docker, &MigrateOptions::default())?;
//! for image in report.images {
//!     println!("{}: {}", image.id, image.error.as_deref().unwrap_or("done"));
//! }
//! # Ok(())
//! # }
//! ```

mod batches;
mod changes;
mod containers;
mod daemon;
mod data_root;
mod directory;
mod exclusive;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod images;
mod journal;
mod json;
mod layers;
mod migrate;
mod mounts;
mod names;
mod needed;
mod options;
mod parting;
mod remains;
mod report;
mod retire;
mod select;
mod stage;
#[cfg(test)]
mod tests;

pub use containers::ContainerRecord;
pub use data_root::{DEFAULT_DATA_ROOT, DataRoot};
pub use images::ImageRecord;
pub use layers::LayerRecord;
pub use migrate::migrate;
pub use options::{MigrateOptions, Transfer};
pub use report::{Finished, MigratedImage, MigratedLayer, Migration, Outcome};
