//! Thin images: an image whose one layer holds `thin.json`, a list of layers that lie unpacked in CernVM-FS repositories
//! (`overlay-driver.md` 18).
//!
//! The document and the archive that it travels in, the repositories' mounts, and the way of a new layer into a repository. Knows
//! nothing of drivers or stores.

mod archive;
mod client;
mod document;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod publish;
mod repositories;
#[cfg(test)]
pub(crate) mod stand_in;
mod upload;
mod url;

pub use archive::write_archive;
pub(crate) use client::Client;
pub use document::{FILE_NAME, MAX_LAYERS, ThinImage, ThinLayer};
pub use publish::{Patience, Publication, publish};
pub(crate) use repositories::{Held, InUse, Method, Repositories};
pub use upload::{LayerUpload, PackedLayer};
pub use url::{CvmfsUrl, Repository};
