//! The JSON records of a store, byte for byte as the Go library writes them (`store-format.md` 2-7, 9, 10).
//!
//! Knows how records and lock files look, not what they mean together: that is the store's business.

mod model;

pub use model::{Container, Extra, Flags, IdMap, Image, Layer, MountPoint, Timestamp};
