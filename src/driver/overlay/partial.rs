//! Layers whose content the caller puts in place itself, file by file: partial pulls (`overlay-driver.md` APL-5 to APL-7).

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use super::Overlay;
use super::chain::LayerDir;
use super::create::BASE_MODE;
use super::image::Made;
use super::layout::{self, DirLook, make_dir, open_dir};
use crate::driver::{ApplyOptions, Partial, PartialPulls};
use crate::sys::relocate::relocate;
use crate::sys::staged_dir::{self, StagedDir};
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

/// Where in a staging directory the parts of a composefs layer are made.
const IMAGE: &str = "image";

impl PartialPulls for Overlay {
    /// What killed processes have left goes first: nothing else comes by so often.
    fn begin(&self, options: &ApplyOptions) -> Result<Partial> {
        let unpack = self.unpack_options(options)?;
        let by_digest = self.options.use_composefs;
        if by_digest {
            // Before anything is fetched.
            self.image_maker()?;
        }
        self.prune_partials();
        let staged = StagedDir::create(&self.partials())?;
        let target = staged.content();
        let mode = unpack.force_mask.unwrap_or(BASE_MODE);
        if let Err(e) = make_dir(&target, DirLook::root(mode)) {
            if let Err(e) = staged.discard() {
                tracing::warn!(error = %e, "removing a staging directory that was not used");
            }
            return Err(e);
        }
        Ok(Partial { target, unpack, by_digest })
    }

    /// What the layer had goes with the staging directory.
    fn commit(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        target: &Path,
        keeps_mode: bool,
    ) -> Result<()> {
        self.commit_staged_dir(id, parent, target, keeps_mode, None)
    }

    fn commit_image(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        target: &Path,
        keeps_mode: bool,
        dump: &mut dyn Read,
    ) -> Result<()> {
        self.commit_staged_dir(id, parent, target, keeps_mode, Some(dump))
    }

    fn discard(&self, target: &Path) -> Result<()> {
        StagedDir::of_content(&self.partials(), target)?.discard()
    }

    fn content_path(&self, id: &LayerId) -> Result<PathBuf> {
        self.content_of(&self.locate(id)?)
    }
}

impl Overlay {
    fn partials(&self) -> PathBuf {
        self.image_layer_home().join(layout::STAGING)
    }

    /// Makes what is staged the layer's; with a dump, beside an image of it.
    fn commit_staged_dir(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        target: &Path,
        keeps_mode: bool,
        dump: Option<&mut dyn Read>,
    ) -> Result<()> {
        let staged = StagedDir::of_content(&self.partials(), target)?;
        if !staged.is_held_here() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("committing content to layer {id}"),
            )
            .id(id.as_str())
            .path(target)
            .detail("this process has not begun a partial pull there"));
        }
        let outcome = self.put_in_place(id, parent, &staged.content(), keeps_mode, dump);
        match &outcome {
            // The content is in place: the rest is for the next one who prunes, and no failure.
            Ok(()) => {
                if let Err(e) = staged.discard() {
                    tracing::warn!(error = %e, "removing a staging directory whose content was committed");
                }
            }
            Err(_) => staged.release(),
        }
        outcome
    }

    fn put_in_place(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        content: &Path,
        keeps_mode: bool,
        dump: Option<&mut dyn Read>,
    ) -> Result<()> {
        self.ready()?;
        let layer = self.locate_own(id)?;
        self.check_writable(&layer)?;
        let root = open_dir(content)?;
        let examined =
            || DirLook::of_open(root.as_fd()).map_err(|e| Error::io("examining", content, e));
        if !keeps_mode
            && self.force_mask().is_none()
            && let Some(parent) = parent
        {
            let mode = self.root_look(Some(parent), &IdMaps::default())?.mode;
            DirLook { mode, ..examined()? }.apply(root.as_fd(), content)?;
        }
        let Some(dump) = dump else {
            self.adopt_content(root.as_fd(), &layer)?;
            return move_content(content, &layer);
        };
        let beside = content.with_file_name(IMAGE);
        make_dir(&beside, DirLook::root(0o700))?;
        // A layer that says nothing of its root has the parent's mode.
        let root_mode = if keeps_mode { None } else { Some(examined()?.mode) };
        match self.make_image(&beside, root.as_fd(), root_mode, dump)? {
            Made::Tree(tree) => {
                self.adopt_content(open_dir(&tree)?.as_fd(), &layer)?;
                move_content(&tree, &layer)
            }
            Made::Image(data) => {
                self.adopt_content(root.as_fd(), &layer)?;
                self.put_image(&data, &layer)?;
                move_content(content, &layer).inspect_err(|_| self.withdraw_image(&layer))
            }
        }
    }

    /// Removes the staged partial pulls whose owner is gone, as its lock tells, and says whether any stays.
    pub(super) fn prune_partials(&self) -> bool {
        staged_dir::prune(&self.partials())
    }
}

/// Makes a staged directory the layer's `diff`; what that was is where the staged one was then.
fn move_content(content: &Path, layer: &LayerDir) -> Result<()> {
    let diff = layer.diff();
    let failed = |e| Error::io("moving staged content to", &diff, e).id(layer.id.as_str());
    match relocate(content, &diff, RenameFlags::empty()) {
        // xfs says that the directory exists.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
            ) =>
        {
            relocate(content, &diff, RenameFlags::EXCHANGE).map_err(failed)
        }
        done => done.map_err(failed),
    }
}
