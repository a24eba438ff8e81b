//! Staging a layer whose files lie on the disk already, in the layers of another store: no stream goes by.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;

use super::Store;
use super::id_maps::Wish;
use super::layers::{StagedFile, StagedLayer};
use crate::archive::{LayerFacts, Whiteouts};
use crate::driver::ApplyOptions;
use crate::sys::tempdir::TempDir;
use crate::{Error, ErrorKind, Result};

/// The marks of the kernel's overlay, in which both stores must keep what a layer deletes.
pub(crate) const MARKS: &str = "trusted.overlay.";

/// What is to be filled: the directory of the layer's content, and the file for its gzip-compressed tar-split.
pub(crate) struct Bed<'a> {
    pub(crate) root: BorrowedFd<'a>,
    pub(crate) tar_split: &'a mut File,
}

impl Store {
    /// Whether layers of this store have the form that those of docker's overlay2 have, so that files can go from there to here as they
    /// are: owners without maps, and deletions as the kernel's overlay keeps them.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`], which says what is in the way.
    pub(crate) fn check_transplant(&self) -> Result<()> {
        let refused = |why: &str| {
            Err(Error::new(ErrorKind::NotSupported, "taking layers over from another store")
                .detail(why)
                .hint("save the images there and load them here instead"))
        };
        if !self.driver.stages_apart() {
            return refused(
                "the driver of this store keeps whole trees, not a layer's own changes",
            );
        }
        self.prepare()?;
        if !self.maps_of_new(&Wish::none(), None)?.is_empty() {
            return refused("this store gives its layers mapped owners");
        }
        let staging = self.driver.stage(None, &ApplyOptions::default())?;
        let options = staging.unpack_options();
        if options.force_mask.is_some() {
            return refused("this store has a force_mask");
        }
        if options.in_user_namespace || options.whiteouts != Whiteouts::Overlay(MARKS) {
            return refused(
                "this store keeps deletions in another form than the kernel's overlay has for root",
            );
        }
        Ok(())
    }

    /// Stages a layer that `fill` makes, outside of every lock, in the form that [`Store::check_transplant`] asks for.
    ///
    /// # Errors
    /// Those of `fill`; nothing is left.
    pub(crate) fn stage_transplant(
        &self,
        fill: impl FnOnce(&mut Bed<'_>) -> Result<LayerFacts>,
    ) -> Result<StagedLayer> {
        self.prepare()?;
        let apply = ApplyOptions::default();
        let mut staging = self.driver.stage(None, &apply)?;
        let dir = TempDir::create(&self.paths.layer_temp())?;
        let (tar_split, mut file) = StagedFile::create(dir)?;
        let facts = fill(&mut Bed { root: staging.root(), tar_split: &mut file })?;
        if facts.root_entry {
            staging.keep_root();
        }
        Ok(StagedLayer::new(facts, staging, tar_split, apply.maps))
    }

    /// Brings all that was written to the store to the disk, whatever `sync` says: for a caller who is about to delete what it was made of.
    ///
    /// # Errors
    /// A failed system call.
    pub(crate) fn sync_everything(&self) -> Result<()> {
        let mut paths = self.paths.layer_dirs();
        paths.push(self.options().graph_root.clone());
        paths.push(self.driver.home().to_path_buf());
        // Mostly all of it is on one file system, which is asked once.
        let mut synced = HashSet::new();
        for path in paths {
            let failed = |e: std::io::Error| Error::io("syncing to disk", &path, e);
            match File::open(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                opened => {
                    let dir = opened.map_err(failed)?;
                    let device = dir.metadata().map_err(failed)?.dev();
                    if !synced.insert(device) {
                        continue;
                    }
                    rustix::fs::syncfs(&dir).map_err(|e| failed(e.into()))?;
                }
            }
        }
        Ok(())
    }
}
