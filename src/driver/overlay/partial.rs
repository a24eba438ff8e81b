//! Layers whose content the caller puts in place itself, file by file: partial pulls (`overlay-driver.md` APL-5 to APL-7).

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use super::Overlay;
use super::create::BASE_MODE;
use super::layout::{self, DirLook, make_dir, open_dir};
use crate::driver::{ApplyOptions, Partial, PartialPulls};
use crate::sys::relocate::relocate;
use crate::sys::staged_dir::{self, StagedDir};
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

impl PartialPulls for Overlay {
    /// What killed processes have left goes first: nothing else comes by so often.
    fn begin(&self, options: &ApplyOptions) -> Result<Partial> {
        let unpack = self.unpack_options(options)?;
        if self.options.use_composefs {
            return Err(Error::new(ErrorKind::NotSupported, "staging a partial pull")
                .detail("use_composefs is set, and composefs layers cannot be made yet")
                .hint("remove use_composefs from storage.conf, or pull whole layers"));
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
        Ok(Partial { target, unpack })
    }

    /// What the layer had goes with the staging directory.
    fn commit(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        target: &Path,
        keeps_mode: bool,
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
        let outcome = self.put_in_place(id, parent, &staged.content(), keeps_mode);
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

    fn put_in_place(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        content: &Path,
        keeps_mode: bool,
    ) -> Result<()> {
        self.ready()?;
        let layer = self.locate_own(id)?;
        self.check_writable(&layer)?;
        let root = open_dir(content)?;
        if !keeps_mode
            && self.force_mask().is_none()
            && let Some(parent) = parent
        {
            let failed = |e| Error::io("examining", content, e);
            let own = DirLook::of_open(root.as_fd()).map_err(failed)?;
            let mode = self.root_look(Some(parent), &IdMaps::default())?.mode;
            DirLook { mode, ..own }.apply(root.as_fd(), content)?;
        }
        self.adopt_content(root.as_fd(), &layer)?;
        let diff = layer.diff();
        let failed = |e| Error::io("moving staged content to", &diff, e).id(id.as_str());
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

    /// Removes the staged partial pulls whose owner is gone, as its lock tells, and says whether any stays.
    pub(super) fn prune_partials(&self) -> bool {
        staged_dir::prune(&self.partials())
    }
}
