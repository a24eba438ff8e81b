//! The content of an image's layer: its parent's tree by hard links, which the layer's tar changes (`overlay-driver.md` LEG-8 to LEG-10).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Content, LOWER_ID, ROOT, UPPER, read_content};
use crate::archive::{self, UnpackOptions};
use crate::driver::overlay::Overlay;
use crate::driver::overlay::layout::{self, DirLook, open_dir};
use crate::driver::staging::TempStaging;
use crate::driver::{ApplyOptions, MountOptions};
use crate::sys::remove::remove_tree;
use crate::{Error, LayerId, Result};

impl Overlay {
    /// Begins the content of a layer on `parent`. Where that is a container, whose files are written to in place, it begins with a
    /// copy of what the container shows.
    pub(in crate::driver::overlay) fn stage_tree(
        &self,
        parent: Option<&LayerId>,
        look: DirLook,
        unpack: UnpackOptions,
    ) -> Result<TempStaging> {
        let staging = self.begin_tree(look, unpack)?;
        let Some(parent) = parent else { return Ok(staging) };
        let dir = self.locate(parent)?.path();
        match read_content(&dir)? {
            Some(Content::Image) => {
                archive::link_tree(open_dir(&dir.join(ROOT))?.as_fd(), staging_root(&staging))?;
            }
            _ => {
                let view = self.view(parent, &[], Default::default())?;
                let copied = open_dir(view.path())
                    .and_then(|tree| archive::copy_tree(tree.as_fd(), staging_root(&staging)));
                let closed = view.close();
                copied.and(closed)?;
            }
        }
        Ok(staging)
    }

    /// Begins the content of a layer on one that is staged itself, and complete.
    pub(in crate::driver::overlay) fn stage_tree_upon(
        &self,
        parent: BorrowedFd<'_>,
        unpack: UnpackOptions,
    ) -> Result<TempStaging> {
        let look = DirLook::of_open(parent)
            .map_err(|e| Error::io("examining a staged layer", "its root", e))?;
        let staging = self.begin_tree(look, unpack)?;
        archive::link_tree(parent, staging_root(&staging))?;
        Ok(staging)
    }

    fn begin_tree(&self, look: DirLook, unpack: UnpackOptions) -> Result<TempStaging> {
        TempStaging::new(&self.home, &self.home.join(layout::TEMP_DIRS), look, unpack)
    }

    /// Makes an image's layer of the fresh layer `id`. From the renaming on it is one, whatever else there is of it.
    pub(in crate::driver::overlay) fn commit_tree(
        &self,
        id: &LayerId,
        staging: TempStaging,
    ) -> Result<()> {
        let dir = self.locate_own(id)?.path();
        staging.commit(&dir.join(ROOT), id)?;
        for name in [UPPER, "work", "merged", LOWER_ID] {
            remove_tree(&dir.join(name))?;
        }
        self.tidy_temp_dirs();
        Ok(())
    }

    /// The tree that the layer shows, to be changed: an image's own, or a container's by a mount that ends with the descriptor.
    pub(in crate::driver::overlay) fn tree_to_change(
        &self,
        id: &LayerId,
        options: &ApplyOptions,
    ) -> Result<OwnedFd> {
        let dir = self.locate_own(id)?.path();
        match read_content(&dir)? {
            Some(Content::Image) => open_dir(&dir.join(ROOT)),
            _ => {
                let mount_label = options.mount_label.clone();
                self.mount_apart(id, &MountOptions { mount_label, ..MountOptions::default() })
            }
        }
    }
}

fn staging_root(staging: &TempStaging) -> BorrowedFd<'_> {
    crate::driver::Staging::root(staging)
}
