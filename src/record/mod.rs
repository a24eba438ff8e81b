//! The JSON records of a store, byte for byte as the Go library writes them (`store-format.md` 2-7, 9, 10).
//!
//! Knows how records and lock files look, not what they mean together: that is the store's business.

pub mod big_data;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod image;
pub mod json;
mod model;
mod read;
mod schema;
mod time;
mod write;

pub use model::{Container, Extra, Flags, Image, Layer, MountPoint, Timestamp};
pub use schema::{containers, images, layers, mountpoints};
