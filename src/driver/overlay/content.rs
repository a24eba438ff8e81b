//! Where a layer's own content lies, and what it can be used for.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::Overlay;
use super::chain::LayerDir;
use super::layout::DirLook;
use super::{ids, layout};
use crate::driver::ApplyOptions;
use crate::driver::staging::TempStaging;
use crate::sys::mount::is_mount_point;
use crate::{Error, ErrorKind, LayerId, Result};

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

    /// Begins the content of a layer that has none and is not mounted, as its directory is (DEF-26). A mark on that directory has its
    /// meaning without entries, too, and would be lost with it.
    pub(super) fn begin_filling(
        &self,
        id: &LayerId,
        options: &ApplyOptions,
    ) -> Result<Option<TempStaging>> {
        if self.rules.shape().whole_trees {
            return Ok(None);
        }
        let layer = self.locate_own(id)?;
        self.check_content(&layer)?;
        self.check_writable(&layer)?;
        let unpack = self.unpack_options(options)?;
        let diff = layer.diff();
        let mark = format!("{}opaque", self.xattr_prefix);
        let is_marked = rustix::fs::lgetxattr(&diff, mark, &mut [0u8; 1]).is_ok();
        if is_marked || ids::has_entries(&diff)? || is_mount_point(&self.merged(&layer))? {
            return Ok(None);
        }
        let look = DirLook::of(&diff).map_err(|e| Error::io("examining", &diff, e))?;
        let temp_root = layer.home.join(layout::TEMP_DIRS);
        TempStaging::new(&self.home, &temp_root, look, unpack).map(Some)
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
