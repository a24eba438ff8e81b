//! Layers whose content the caller writes itself, file by file (`overlay-driver.md` APL-5 to APL-7): an image library that fetches only
//! the parts of a layer that it has not got yet.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::ApplyOptions;
use crate::archive::UnpackOptions;
use crate::{LayerId, Result};

/// A layer's content in the making, outside any layer and any lock.
///
/// It stays until [`PartialPulls::commit`] or [`PartialPulls::discard`]; what a killed process leaves goes with the next
/// [`PartialPulls::begin`] or [`super::Driver::cleanup`].
#[derive(Debug, Clone)]
pub struct Partial {
    /// The directory to fill. Its parent, on the same file system, is free for what the caller needs beside it, but for the names
    /// `dir`, `image` and `staging.lock`.
    pub target: PathBuf,
    /// How files, owners and whiteouts are to be written into it.
    pub unpack: UnpackOptions,
    /// Whether the content of regular files alone is to be written, at `ab/cdef…` by its SHA-256, and the rest told to
    /// [`PartialPulls::commit_image`]: with `use_composefs`.
    pub by_digest: bool,
}

/// A driver that takes content as a directory, which it names.
pub trait PartialPulls {
    /// Begins a layer's content (APL-5). No lock is needed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotSupported`] with `use_composefs` where no composefs layer can be made; when a system call fails.
    fn begin(&self, options: &ApplyOptions) -> Result<Partial>;

    /// Makes `target`, which [`PartialPulls::begin`] has given to this process, the content of the freshly created layer `id` (APL-6);
    /// what that had before goes. With `keeps_mode` the directory keeps its mode, else it takes that of the parent's root. The
    /// staging directory is this process's no more, whatever the outcome. The caller holds the layer store's write lock.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidArgument`] for any other directory, which is left as it is; [`crate::ErrorKind::LayerUnknown`].
    fn commit(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        target: &Path,
        keeps_mode: bool,
    ) -> Result<()>;

    /// As [`PartialPulls::commit`], for content by digests, which becomes a composefs layer. `dump` lists its files, a line for each
    /// in the form of composefs-dump(5), the root first; a name that begins with `.wh.`, or a character device 0:0, deletes what is
    /// below; a layer that deletes becomes an ordinary one.
    ///
    /// # Errors
    /// As [`PartialPulls::commit`]; [`crate::ErrorKind::InvalidArgument`] for a dump that is malformed, or names content that is not
    /// there; [`crate::ErrorKind::NotSupported`] without the program mkcomposefs. The layer is as it was then.
    fn commit_image(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        target: &Path,
        keeps_mode: bool,
        dump: &mut dyn Read,
    ) -> Result<()>;

    /// Deletes what [`PartialPulls::begin`] has made (APL-7); what is committed or gone is fine.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidArgument`] for any other directory; [`crate::ErrorKind::Busy`] for one that another process fills.
    fn discard(&self, target: &Path) -> Result<()>;

    /// The directory with the layer's own files, where a partial pull finds those that it need not fetch.
    ///
    /// # Errors
    /// When the layer is missing or damaged.
    fn content_path(&self, id: &LayerId) -> Result<PathBuf>;
}
