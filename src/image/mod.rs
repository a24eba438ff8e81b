//! Images in and out of a store: OCI layouts, OCI archives, docker archives, and commits of containers.
//!
//! What is recorded of a loaded image is what the Go library `go.podman.io/image` (v5.41.2) records of the same file, so that
//! the engines on it take the image for one of theirs (`store-format.md` 3.2, 4).
//!
//! ```no_run
//! use orlop::config::StoreOptions;
//! use orlop::image::{CommitOptions, LoadOptions, Output, SaveFormat, SaveOptions, Source, commit, load, save};
//! use orlop::store::{MountRequest, NewContainer, Store};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open(StoreOptions {
//!     graph_root: "/srv/graph".into(),
//!     run_root: "/run/graph".into(),
//!     ..StoreOptions::default()
//! })?;
//! for image in load(&store, Source::Path("image.tar".into()), &LoadOptions::default())? {
//!     let image = Some(image.image_id);
//!     let container = store.create_container(NewContainer { image, ..NewContainer::default() })?;
//!     let root = store.mount(&container.id, &MountRequest::default())?;
//!     std::fs::write(root.join("note"), "below deck")?;
//!     store.unmount(&container.id, false)?;
//!     commit(&store, &container.id, "localhost/noted:1", &CommitOptions::default())?;
//! }
//! let (images, output) = (["localhost/noted:1".to_owned()], Output::Path("noted.tar".into()));
//! save(&store, &images, SaveFormat::OciArchive, output, &SaveOptions::default())?;
//! # Ok(())
//! # }
//! ```

mod adopt;
mod changes;
mod commit;
mod docker_archive;
mod durable;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lenient;
mod load;
mod model;
mod oci;
mod plan;
mod platform;
mod policy;
mod record;
mod reference;
mod resolve;
mod save;
mod save_docker;
mod save_oci;
mod source;
mod spool;
mod stored;
mod tar_index;
mod tar_write;
#[cfg(test)]
mod tests;
mod thin;
mod unpack;
mod verify;

pub(crate) use adopt::adopt;
pub use commit::{CommitFormat, CommitOptions, commit};
pub use load::{LoadOptions, Loaded, load};
pub(crate) use model::layer_id;
pub(crate) use plan::read_config;
pub use platform::Platform;
pub use policy::find_policy;
pub use reference::Reference;
pub(crate) use resolve::layer_of_id;
pub use save::{Output, SaveFormat, SaveOptions, save};
pub use spool::Source;
pub(crate) use spool::{TEMP_DIR, rewind};
pub use thin::{ThinOptions, make_thin};
