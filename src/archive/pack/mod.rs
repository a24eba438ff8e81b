//! Trees and changes become tar streams, byte for byte those that the Go library writes (`overlay-driver.md` 10).
//!
//! Other than there, a file that cannot be read ends the stream with an error that names it (DEF-29): an archive never
//! looks complete without being so. Only what vanishes meanwhile is left out.

mod changes;
mod elsewhere;
mod header;
mod host_names;
mod member;
mod owner;
mod tree;

pub use changes::pack_changes;
pub use elsewhere::has_content_elsewhere;
pub(crate) use header::Header;
pub(super) use member::is_whiteout;
pub use tree::{pack_tree, pack_upper};

use rustix::io::Errno;

use super::names::show;
use crate::{Error, ErrorKind};

fn failed(path: &[u8], e: impl Into<std::io::Error>) -> Error {
    Error::new(ErrorKind::Io, format!("packing {}", show(path))).caused_by(e.into())
}

fn write_failed(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "writing a layer's tar").caused_by(e)
}

/// Whether a file is gone since its name was read.
fn vanished(e: &Errno) -> bool {
    *e == Errno::NOENT
}
