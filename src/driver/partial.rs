//! Layers whose content the caller writes itself, file by file (`overlay-driver.md` APL-5 to APL-7): an image library that fetches only
//! the parts of a layer that it has not got yet.

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
    /// `dir` and `staging.lock`.
    pub target: PathBuf,
    /// How files, owners and whiteouts are to be written into it.
    pub unpack: UnpackOptions,
}

/// A driver that takes content as a directory, which it names.
pub trait PartialPulls {
    /// Begins a layer's content (APL-5). No lock is needed.
    ///
    /// # Errors
    /// With `use_composefs`, whose layers cannot be made; when a system call fails.
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
