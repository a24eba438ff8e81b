//! The plain values that archives and drivers speak in.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use crate::{Digest, IdMaps};

/// Whose tar of a directory tree is written: those of different versions of the Go library are not the same bytes
/// (`overlay-driver.md` 22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compat {
    /// That of the present one, go.podman.io/storage 1.64.
    #[default]
    Current,
    /// That of github.com/containers/storage 1.24: the mode has the bits of the file's kind (TAR-4), owners have names too (TAR-5),
    /// whiteouts the mode 0600.
    V1_24,
    /// That of Docker 20.10, which was the former's model: as that, and of all extended attributes it has capabilities alone (MOB-27).
    Moby,
}

impl Compat {
    /// Whether modes have the bits of the file's kind, and owners names.
    pub(super) fn has_kinds_and_names(self) -> bool {
        matches!(self, Self::V1_24 | Self::Moby)
    }
}

/// How a stream is compressed; the numbers are those of the layer records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// A plain tar.
    #[default]
    None,
    /// bzip2.
    Bzip2,
    /// gzip, one member or many.
    Gzip,
    /// xz.
    Xz,
    /// zstd, one frame or many, skippable ones included.
    Zstd,
}

impl Compression {
    /// The number in a layer's record (`store-format.md` 3).
    pub fn number(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Bzip2 => 1,
            Self::Gzip => 2,
            Self::Xz => 3,
            Self::Zstd => 4,
        }
    }

    /// The compression of that number; an unknown one counts as none.
    pub fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Bzip2,
            2 => Self::Gzip,
            3 => Self::Xz,
            4 => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// What happens to whiteouts while a layer is unpacked (`overlay-driver.md` 11.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whiteouts {
    /// As the kernel's overlay has them: 0:0 character devices, and opaque directories by an xattr of this prefix
    /// (`trusted.overlay.` or `user.overlay.`).
    Overlay(&'static str),
    /// Kept as the files they are (a mount program understands them).
    Keep,
    /// Carried out as deletions in a full tree.
    #[default]
    Execute,
}

/// How to unpack.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// What to do with whiteouts.
    pub whiteouts: Whiteouts,
    /// Inside a user namespace: device nodes are skipped, EPERM for xattrs is tolerated.
    pub in_user_namespace: bool,
    /// Go on when an owner cannot be set.
    pub ignore_chown_errors: bool,
    /// From the owners of the headers to those on disk (UNP-10).
    pub maps: IdMaps,
    /// What the tree has already is shared with another tree by hard links (LEG-9): a link to such a file that would change its
    /// attributes gets a copy. Only where whiteouts are carried out.
    pub shares_files: bool,
    /// The mode of everything on disk, where owners and modes of the headers go to an xattr (FMK-2).
    pub force_mask: Option<u32>,
}

/// How to pack.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// From the owners on disk to those of the headers (TAR-5). A file whose owner is not mapped is left out, which the log says; a
    /// whiteout is never.
    pub maps: IdMaps,
    /// Owner, mode and type of a file are what its `user.containers.override_stat` says, as where a `force_mask` was in force (FMK-3).
    pub override_stat: bool,
    /// Which version's form the tar has.
    pub compat: Compat,
    /// Each opaque directory of an upper gets its marker, also one that hides nothing, as Docker's driver does it (MOB-24).
    pub each_opaque: bool,
}

/// How to compare two trees.
#[derive(Debug, Clone, Copy)]
pub struct CompareOptions<'a> {
    /// Those of the new tree and of the old one: owners are compared as they are inside.
    pub maps: (&'a IdMaps, &'a IdMaps),
    /// Owner, mode and type of a file are what its note says, as in [`PackOptions::override_stat`].
    pub override_stat: bool,
}

/// What was learnt of a layer while it went by.
#[derive(Debug, Clone)]
pub struct LayerFacts {
    /// How the stream was compressed, from its magic bytes.
    pub compression: Compression,
    /// Digest of the stream as it came.
    pub compressed_digest: Digest,
    /// Bytes of the stream as it came.
    pub compressed_size: u64,
    /// Digest of the uncompressed tar.
    pub diff_digest: Digest,
    /// Bytes of the uncompressed tar.
    pub diff_size: u64,
    /// User ids of the headers, whiteouts excepted.
    pub uids: BTreeSet<u32>,
    /// Group ids of the headers, whiteouts excepted.
    pub gids: BTreeSet<u32>,
    /// Bytes of file content written.
    pub unpacked_size: u64,
    /// Whether an entry stands for the root itself and has set its owner and mode.
    pub root_entry: bool,
}

/// What happened to a path between two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// Modified (Go's number 0).
    Modify = 0,
    /// Added (1).
    Add = 1,
    /// Deleted (2).
    Delete = 2,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Absolute in the layer, `/` first; bytes as on disk.
    pub path: Vec<u8>,
    /// What happened.
    pub kind: ChangeKind,
}

/// Bytes and inodes of a tree (REM-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUsage {
    /// Sum of the sizes of non-directories, hard links once.
    pub size: u64,
    /// Distinct inodes, directories included.
    pub inodes: u64,
}

/// Where the content of the members of a tar-split comes from: a layer's files, by the name in the tar.
pub trait FileSource: Send + Sync {
    /// Opens the regular file of that (uncleaned) member name for reading, close-on-exec.
    ///
    /// # Errors
    /// When no such file can be had below the layer's root.
    fn open_file(&self, name: &[u8]) -> io::Result<File>;
}
