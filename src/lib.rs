//! Container storage: layers, images and containers on disk, in stores shared with podman, buildah, skopeo and CRI-O.
//!
//! The rooms of the house, and the one direction in which they may use each other, are described in `docs/design.md`; the
//! on-disk formats and the driver's behaviour in `docs/spec/`.

#![deny(unsafe_code)]

pub mod archive;
pub mod config;
mod dialect;
pub mod docker;
pub mod driver;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod id_map;
pub mod image;
pub mod progress;
pub mod record;
pub mod store;
pub(crate) mod sys;
pub mod thin;

pub use dialect::Dialect;
pub use error::{Error, ErrorKind, Result};
pub use id::{Digest, LayerId};
pub use id_map::{IdMap, IdMaps};

/// The version of the library, as in its manifest.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the library was built from, 12 hexadecimal digits, or `unknown` outside a checkout.
pub const COMMIT: &str = env!("ORLOP_COMMIT");
