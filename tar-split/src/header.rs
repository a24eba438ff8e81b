//! One 512-byte header block, read as Go's `archive/tar` reads it.
//!
//! The field layout is `tar_core`'s. The rules are Go's, as names, sizes and what counts as a header must agree with it
//! to the byte, and differ from `tar_core`'s parser: signed checksums (Sun), headers without a magic, the `star` prefix,
//! negative and base-256 numbers, and the prefix that early Go wrote into GNU headers.

use crate::member::Time;
use crate::number::{field, octal, text};

/// The size of a header, and what everything in a tar stream is padded to.
pub(crate) const BLOCK: usize = 512;

/// A block of the stream.
pub(crate) type Block = [u8; BLOCK];

/// The fields of a header block.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) type_flag: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) link_name: Vec<u8>,
    pub(crate) size: i64,
    pub(crate) mode: i64,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    pub(crate) mtime: Time,
    pub(crate) atime: Option<Time>,
    pub(crate) dev_major: i64,
    pub(crate) dev_minor: i64,
    pub(crate) is_gnu: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Header {
    /// Reads a block that is not all zeros; the error says why it is no header.
    pub(crate) fn parse(block: &Block) -> Result<Self, &'static str> {
        let layout = tar_core::Header::from_bytes(block);
        let v7 = layout.as_old();
        verify_checksum(block, &v7.cksum)?;
        let format = format(layout);
        let mut header = Self {
            type_flag: v7.linkflag.first().copied().unwrap_or_default(),
            name: text(&v7.name).to_vec(),
            link_name: text(&v7.linkname).to_vec(),
            size: field(&v7.size)?,
            mode: field(&v7.mode)?,
            uid: field(&v7.uid)?,
            gid: field(&v7.gid)?,
            mtime: Time::from_seconds(field(&v7.mtime)?),
            atime: None,
            dev_major: 0,
            dev_minor: 0,
            is_gnu: format == Format::Gnu,
        };
        if format == Format::V7 {
            return Ok(header);
        }
        let ustar = layout.as_ustar();
        header.dev_major = field(&ustar.dev_major)?;
        header.dev_minor = field(&ustar.dev_minor)?;
        let prefix = match format {
            Format::V7 => &[][..],
            Format::Ustar => text(&ustar.prefix),
            Format::Star => {
                let (prefix, times) = ustar.prefix.split_at(131);
                let (atime, ctime) = times.split_at(12);
                header.atime = Some(Time::from_seconds(field(atime)?));
                field(ctime)?;
                text(prefix)
            }
            Format::Gnu => match gnu_times(layout.as_gnu()) {
                Ok(atime) => {
                    header.atime = atime;
                    &[]
                }
                Err(_) => Some(text(&ustar.prefix)).filter(|p| p.is_ascii()).unwrap_or_default(),
            },
        };
        if !prefix.is_empty() {
            header.name = [prefix, b"/", &header.name].concat();
        }
        Ok(header)
    }
}

fn format(layout: &tar_core::Header) -> Format {
    let ustar = layout.as_ustar();
    if &ustar.magic == b"ustar\0" {
        if ustar.pad.ends_with(b"tar\0") { Format::Star } else { Format::Ustar }
    } else if &ustar.magic == b"ustar " && &ustar.version == b" \0" {
        Format::Gnu
    } else {
        Format::V7
    }
}

/// The access time of a GNU header; an error where the two time fields hold something else.
fn gnu_times(gnu: &tar_core::GnuHeader) -> Result<Option<Time>, &'static str> {
    let time = |bytes: &[u8]| match bytes.first() {
        None | Some(0) => Ok(None),
        Some(_) => field(bytes).map(|seconds| Some(Time::from_seconds(seconds))),
    };
    let atime = time(&gnu.atime)?;
    time(&gnu.ctime)?;
    Ok(atime)
}

/// The checksum is the sum of all bytes with the checksum itself as spaces; Sun's tar took the bytes for signed.
fn verify_checksum(block: &Block, stored: &[u8]) -> Result<(), &'static str> {
    const BAD: &str = "the checksum is wrong, this is not a tar header";
    let stored = octal(stored).map_err(|_| BAD)?;
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (i, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&i) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    if stored == unsigned || stored == signed { Ok(()) } else { Err(BAD) }
}
