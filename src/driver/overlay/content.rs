//! Where a layer's own content lies, and what it can be used for.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::Overlay;
use super::chain::LayerDir;
use super::layout;
use crate::{Error, ErrorKind, Result};

impl Overlay {
    /// The directory of the layer's own content: its `diff`, or what that leads to in an additional layer store.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is missing, or no directory; [`ErrorKind::NotSupported`] for a link to anywhere else.
    pub(super) fn content_of(&self, layer: &LayerDir) -> Result<PathBuf> {
        let diff = layer.diff();
        match diff.symlink_metadata() {
            Ok(m) if m.is_dir() => Ok(diff),
            Ok(m) if m.is_symlink() => self.linked_content(layer),
            Ok(_) => Err(layout::damaged(&diff, "it is not a directory")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(layout::damaged(&diff, "the layer's content is missing").caused_by(e))
            }
            Err(e) => Err(Error::io("examining", &diff, e)),
        }
    }

    /// The layer's own content as directories, newest first.
    pub(super) fn contents(&self, layer: &LayerDir) -> Result<Vec<PathBuf>> {
        let older = layer.older()?.into_iter().map(|n| layer.older_dir(n));
        Ok(std::iter::once(self.content_of(layer)?).chain(older).collect())
    }

    /// The content directories of layers, newest first, open.
    pub(super) fn open_contents(&self, layers: &[LayerDir]) -> Result<Vec<OwnedFd>> {
        let mut open = Vec::new();
        for layer in layers {
            for dir in self.contents(layer)? {
                open.push(layout::open_dir(&dir)?);
            }
        }
        Ok(open)
    }

    /// The content of the layers below `layer` as it is seen from there, newest first, open: it stays readable whatever is unmounted.
    pub(super) fn open_lowers(
        &self,
        layer: &LayerDir,
        lowers: &[LayerDir],
    ) -> Result<Vec<OwnedFd>> {
        let user = format!("{}: its changes", layer.id);
        let held = self.rules.acquire(self, &user, lowers)?;
        let outcome = lowers.iter().try_fold(Vec::new(), |mut open, lower| {
            match self.rules.nested(self, lower)? {
                None => open.extend(self.open_contents(std::slice::from_ref(lower))?),
                Some(nested) => {
                    for dir in nested {
                        open.push(layout::open_dir(&dir.absolute)?);
                    }
                }
            }
            Ok(open)
        });
        if held.is_some() {
            drop(held);
            self.rules.release(self, &user, lowers);
        }
        outcome
    }

    /// Refuses content that this version cannot show truly; returns the numbers of the older directories beside `diff`.
    pub(super) fn check_content(&self, layer: &LayerDir) -> Result<Vec<usize>> {
        self.content_of(layer)?;
        layer.older()
    }

    /// Refuses a layer whose content only a mount shows, or is another's: nothing can be written into it (GET-39).
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`]
    pub(super) fn check_writable(&self, layer: &LayerDir) -> Result<()> {
        let why = if layer.diff().is_symlink() {
            "its content lies in an additional layer store"
        } else if layer.has_image() {
            "it is a composefs layer"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::ReadOnly, format!("writing to layer {}", layer.id))
            .id(layer.id.as_str())
            .path(layer.path())
            .detail(why)
            .hint("mount it read-only, or create a layer on it"))
    }
}
