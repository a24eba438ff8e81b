//! What a member of a tar stream says of itself.

/// A member of a tar stream, with its extension headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name as it stands in the stream, not cleaned: `./etc/`, `a//b`, any bytes.
    pub name: Vec<u8>,
    /// What the member is.
    pub kind: MemberKind,
    /// The target of a hard or symbolic link; may be set, without a meaning, for other kinds.
    pub link_name: Vec<u8>,
    /// The mode field, as it stands: permissions, and with some writers file type bits.
    pub mode: u32,
    /// The owner. A negative number, which base-256 fields and PAX records can hold, appears as its two's complement.
    pub uid: u64,
    /// The group; see `uid`.
    pub gid: u64,
    /// How many bytes reading the payload gives: the expanded size of a sparse member, 0 for
    /// links, directories, devices and fifos whatever their size field says.
    pub size: u64,
    /// When the content was last changed.
    pub mtime: Time,
    /// When the content was last read, if the stream says so.
    pub atime: Option<Time>,
    /// The major number of a device.
    pub dev_major: u32,
    /// The minor number of a device.
    pub dev_minor: u32,
    /// The extended attributes of `SCHILY.xattr.` records, in the stream's order, each name once.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data of a sparse member lies, in ascending order; everything between is zeros.
    pub sparse: Option<Vec<Extent>>,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberKind {
    /// A regular file: type flag `0`, or NUL without a slash at the end of the name.
    File,
    /// A hard link to an earlier member: `1`.
    HardLink,
    /// A symbolic link: `2`.
    Symlink,
    /// A character device: `3`.
    CharDevice,
    /// A block device: `4`.
    BlockDevice,
    /// A directory: `5`, or NUL with a slash at the end of the name.
    Directory,
    /// A named pipe: `6`.
    Fifo,
    /// A "contiguous" file, read as a regular one: `7`.
    Contiguous,
    /// A sparse file in GNU's old format: `S`. Sparse files of the PAX formats are of kind `File`.
    Sparse,
    /// A global PAX header: `g`. It has no payload, and is not applied to the members after it, as in Go.
    Global,
    /// Any other type flag; its payload is read as a regular file's.
    Other(u8),
}

impl MemberKind {
    pub(crate) fn of(type_flag: u8, name: &[u8]) -> Self {
        match type_flag {
            0 if name.ends_with(b"/") => Self::Directory,
            0 | b'0' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            b'7' => Self::Contiguous,
            b'S' => Self::Sparse,
            b'g' => Self::Global,
            other => Self::Other(other),
        }
    }

    /// Whether members of this kind have no payload, whatever their size field says.
    pub(crate) fn is_header_only(self) -> bool {
        matches!(
            self,
            Self::HardLink
                | Self::Symlink
                | Self::CharDevice
                | Self::BlockDevice
                | Self::Directory
                | Self::Fifo
        )
    }
}

/// A point in time: seconds since 1970-01-01 00:00 UTC, and nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Whole seconds, rounded down: negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after the second, below 1,000,000,000.
    pub nanos: u32,
}

impl Time {
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }
}

/// A stretch of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Where it begins in the expanded file, in bytes.
    pub offset: u64,
    /// Its length in bytes, never 0.
    pub length: u64,
}
