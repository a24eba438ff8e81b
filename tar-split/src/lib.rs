//! Takes a tar stream apart and puts the very same bytes together again, in the tar-split file format.
//!
//! A tar stream that has been unpacked cannot be made again from its files: the order of its members, its padding, the
//! writer's way with numbers and extension headers and whatever follows its end marker are gone, and with them the
//! stream's digest. A *tar-split file* keeps all that. [`Disassembler`] writes it while the stream is unpacked; [`assemble`]
//! makes the stream of it and of the files. The format is that of Go's `github.com/vbatts/tar-split`, in which
//! containers/storage (podman, buildah, skopeo, CRI-O) and moby keep the layers of images: both read what the other writes.
//!
//! # The format
//!
//! One JSON object a line, mostly in a gzip stream around the whole, which is the caller's business:
//!
//! | key | type | |
//! |---|---|---|
//! | `type` | integer | 1: a member of the stream, 2: a segment, that is raw bytes of it |
//! | `name` | string | the member's name, with PAX and GNU extensions applied, not cleaned; absent if empty |
//! | `name_raw` | base64 | instead of `name`, if that is not UTF-8 |
//! | `size` | integer | bytes of payload; absent if 0 |
//! | `payload` | base64 | the bytes of a segment; the payload's CRC-64, 8 bytes, big-endian, or `null` if there is none |
//! | `position` | integer | 0, 1, 2, … |
//!
//! ```text
//! {"type":2,"payload":"Li9ldGMvaGVsbG8AAAA…","position":0}
//! {"type":1,"name":"./etc/hello","size":6,"payload":"YUw+7uLYEAA=","position":1}
//! {"type":2,"payload":"AAAAAAAAAAAAAAAAAAA…","position":2}
//! ```
//!
//! Segments and payloads, one after the other, are the stream. There is one segment before each member, with the padding of
//! what went before, extension headers and the header; one with the end marker; and segments of up to 1 MiB with what
//! follows that. Readers must not depend on it. The checksum is CRC-64/GO-ISO (`123456789` has `b90956c775a41001`): it finds
//! damage, not forgery.
//!
//! # Where Go's files fall short
//!
//! What is a header, and a member's name and size, is decided as Go's reader does it, down to its tolerance for old and
//! damaged writers, and the lines are the same byte for byte, but for four things that Go logs in a way from which it
//! cannot make the stream again. Here they are logged so that both implementations can:
//!
//! * **Sparse members** (GNU's old format and PAX 0.0, 0.1 and 1.0) are segments only, without an entry for the member.
//! * **Links, directories and devices with a size** in their header have no payload, and get an entry of size 0. Entries
//!   with that size, by Go, are understood.
//! * **An incomplete padding** at the end of a stream is kept.
//! * Extension headers beyond 4 MiB before one member are spread over several segments.
//!
//! Two members with the same name, once `.`, `..` and needless slashes are gone from it, are refused on both ways, as Go does.
//!
//! # Example
//!
//! ```
//! use std::collections::HashMap;
//! use std::io::{Cursor, Read};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut builder = tar::Builder::new(Vec::new());
//! # let mut header = tar::Header::new_gnu();
//! # header.set_size(6);
//! # builder.append_data(&mut header, "etc/hello", &b"hello\n"[..])?;
//! # let tar = builder.into_inner()?;
//! // Apart: the files go where they belong, the rest to the log.
//! let mut files = HashMap::new();
//! let mut stream = tar_split_rs::Disassembler::new(&tar[..], Vec::new());
//! while let Some(member) = stream.next_member()? {
//!     let mut content = Vec::new();
//!     stream.read_to_end(&mut content)?;
//!     files.insert(member.name, content);
//! }
//! let (_, log) = stream.finish()?;
//!
//! // Together again.
//! let mut out = Vec::new();
//! let open = |name: &[u8]| match files.get(name) {
//!     Some(content) => Ok(Box::new(Cursor::new(content)) as Box<dyn Read>),
//!     None => Err(std::io::ErrorKind::NotFound.into()),
//! };
//! tar_split_rs::assemble(&log[..], &open, &mut out)?;
//! assert_eq!(out, tar);
//!
//! // A file that has changed is found out.
//! let open = |_: &[u8]| Ok(Box::new(&b"HELLO\n"[..]) as Box<dyn Read>);
//! let error = tar_split_rs::assemble(&log[..], &open, &mut std::io::sink()).unwrap_err();
//! assert_eq!(error.to_string(), r#"file integrity checksum failed for "etc/hello""#);
//! # Ok(())
//! # }
//! ```

mod assemble;
mod disassemble;
mod error;
mod header;
mod headers;
mod member;
mod names;
mod number;
mod parts;
mod pax;
mod record;
mod sparse;

pub use assemble::{OpenContent, assemble};
pub use disassemble::Disassembler;
pub use error::Error;
pub use headers::Headers;
pub use member::{Extent, Member, MemberKind, Time};
