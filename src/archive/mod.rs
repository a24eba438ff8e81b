//! Tar stream to directory tree and back: compression, digests, whiteouts, unpack, pack, changes.
//!
//! Knows nothing of stores or drivers: it works on streams and directory descriptors.

mod ahead;
mod capability;
mod changes;
mod channel;
mod compression;
mod copy;
mod crew;
mod difference;
mod digest;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gzip;
mod import;
mod merged;
mod names;
pub(crate) mod override_stat;
mod owners;
mod pack;
mod pool;
mod stage;
#[cfg(test)]
mod tests;
mod types;
mod unpack;
mod usage;
mod verify;
pub(crate) mod walk;
mod xattrs;

pub use changes::{Above, changes_between, changes_by_layers, changes_in_upper};
pub use compression::{Compressor, decompressor};
pub use copy::{Copied, CopyMethod, CopyOptions, copy_tree, copy_tree_as, link_tree};
pub(crate) use difference::{Difference, link_difference};
pub(crate) use digest::Hasher;
pub use files::{TreeFiles, reassemble};
pub use import::{import, unpack, unpack_content};
pub use merged::Upper;
pub use owners::change_owners;
pub(crate) use pack::Header;
pub use pack::{has_content_elsewhere, pack_changes, pack_tree, pack_upper};
pub use types::{
    Change, ChangeKind, CompareOptions, Compat, Compression, DiskUsage, FileSource, LayerFacts,
    PackOptions, UnpackOptions, Whiteouts,
};
pub use usage::{disk_usage, upper_size};
pub(crate) use verify::{HeaderFacts, check_tree, read_headers};
pub(crate) use walk::each_file;

use crate::{Error, ErrorKind};

/// What a tar that cannot be taken apart is to the caller.
fn tar_error(e: tar_split_rs::Error) -> Error {
    let kind = match &e {
        tar_split_rs::Error::Io { .. } => ErrorKind::Io,
        _ => ErrorKind::InvalidArchive,
    };
    Error::new(kind, "reading a layer's tar").caused_by(e)
}
