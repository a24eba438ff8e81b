//! The layers of an overlay, seen as the kernel merges them, without a mount.
//!
//! With `metacopy=on` the kernel copies a file up without its data, and with `redirect_dir=on` it renames a directory by a note
//! of where its lower part is. Such an upper cannot be read on its own: its files would come out as zeros, its directories
//! empty (DEF-2).

mod data;
mod marks;
mod place;
mod search;
mod walk;

use std::os::fd::BorrowedFd;

pub(super) use self::walk::{Item, MergedWalk};
use super::names::show;
use crate::{Error, ErrorKind};

/// A layer of an overlay and what it lies on.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    /// Its own content.
    pub own: BorrowedFd<'a>,
    /// The content of the layers below it, the nearest first.
    pub lowers: &'a [BorrowedFd<'a>],
    /// In which attributes the kernel keeps its marks: `trusted.overlay.` or `user.overlay.`.
    pub prefix: &'a str,
}

fn failed(path: &[u8], e: impl Into<std::io::Error>) -> Error {
    Error::new(ErrorKind::Io, format!("reading {} in a layer", show(path))).caused_by(e.into())
}

/// Refuses what would come out as something else than it is.
fn lost(path: &[u8], why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("reading {} in a layer", show(path)))
        .detail(why)
        .hint("nothing was changed; the layer can be read where the layers below it are whole")
}
