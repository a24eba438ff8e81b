//! Tar stream to directory tree and back: compression, digests, whiteouts, unpack, pack, changes.
//!
//! Knows nothing of stores or drivers: it works on streams and directory descriptors.

mod channel;
mod compression;
mod digest;
mod files;
mod import;
mod names;
mod types;
mod unpack;
mod walk;

pub use compression::{Compressor, decompressor};
pub use files::{TreeFiles, reassemble};
pub use import::{import, unpack};
pub use types::{
    Change, ChangeKind, Compression, DiskUsage, FileSource, LayerFacts, UnpackOptions, Whiteouts,
};

use crate::{Error, ErrorKind};

/// What a tar that cannot be taken apart is to the caller.
fn tar_error(e: tar_split_rs::Error) -> Error {
    Error::new(ErrorKind::InvalidArchive, "reading a layer's tar").caused_by(e)
}
