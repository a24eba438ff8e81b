//! A layer that an additional layer store serves, as callers have it (`overlay-driver.md` 15).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::regular;
use crate::{Digest, Error, LayerId, Result};

/// A driver of layers that additional layer stores serve.
pub trait AdditionalLayers {
    /// The layer that a store serves under the digest of its table of contents; `reference` is that of the image, for a store that
    /// tells layers apart by it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::LayerUnknown`] when no store has it, or none is configured.
    fn look_up(&self, toc: &Digest, reference: &str) -> Result<AdditionalLayer>;

    /// The additional layer that the layer `id` was made of.
    ///
    /// # Errors
    /// [`crate::ErrorKind::LayerUnknown`] for a layer of its own content.
    fn of_layer(&self, id: &LayerId) -> Result<AdditionalLayer>;

    /// Creates a layer that has its content from an additional layer store, which counts it as a use until the layer is removed. The
    /// caller holds the layer store's write lock.
    ///
    /// # Errors
    /// Nothing is left behind.
    fn create_from(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        source: &AdditionalLayer,
    ) -> Result<()>;
}

/// A layer of an additional layer store. The store counts it as used as long as this lives, and beyond that for each layer that
/// [`AdditionalLayers::create_from`] makes of it.
#[derive(Debug)]
pub struct AdditionalLayer {
    path: PathBuf,
}

impl AdditionalLayer {
    /// One that the store is to count as used until it is dropped.
    pub(super) fn used(path: PathBuf) -> Self {
        let layer = Self { path };
        layer.notify_use();
        layer
    }

    /// Its directory in the store.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the store tells of the layer: the JSON of its record, as the store has made it.
    ///
    /// # Errors
    /// When the store does not give it.
    pub fn info(&self) -> Result<File> {
        self.open("info")
    }

    /// The layer as it was distributed, a compressed tar.
    ///
    /// # Errors
    /// When the store does not give it.
    pub fn blob(&self) -> Result<File> {
        self.open("blob")
    }

    fn open(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        let missing = || Error::io("opening", &path, io::ErrorKind::NotFound);
        regular::open("opening", &path)?.ok_or_else(missing)
    }

    /// Tells the store of a use: by making a file, to which a store that counts answers that there is no such name.
    pub(super) fn notify_use(&self) {
        let file = self.path.join("use");
        match File::create_new(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            made => {
                let outcome = made.and_then(|_| std::fs::remove_file(&file));
                tracing::warn!(path = ?self.path, ?outcome, "an additional layer store does not count uses");
            }
        }
    }
}

impl Drop for AdditionalLayer {
    fn drop(&mut self) {
        release(&self.path);
    }
}

/// Tells the store of the end of a use: by removing the directory, to which a store that counts gives the same answer.
pub(super) fn release(path: &Path) {
    match std::fs::remove_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        outcome => {
            tracing::warn!(?path, ?outcome, "an additional layer store does not count uses");
        }
    }
}
