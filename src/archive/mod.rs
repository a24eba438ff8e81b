//! Tar stream to directory tree and back: compression, digests, whiteouts, unpack, pack, changes.
//!
//! Knows nothing of stores or drivers: it works on streams and directory descriptors.

mod types;

pub use types::{
    Change, ChangeKind, Compression, DiskUsage, FileSource, LayerFacts, UnpackOptions, Whiteouts,
};
