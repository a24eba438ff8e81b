//! From a legacy home to one of today's layout, which takes its place in one step.
//!
//! The new home is built beside the old one, `<home>.migrating`, and exchanged with it as a whole: until then the store is as it was,
//! and from then on it is migrated. The old one is called `<home>.legacy` after that. Which of the two `<home>.migrating` is, where a
//! migration was killed, its own layers tell.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use super::build::build;
use super::plan::{Source, Step, plan};
use super::{Survey, is_legacy};
use crate::archive::Difference;
use crate::driver::overlay::{Overlay, is_rootless};
use crate::driver::{Driver, overlay::layout};
use crate::sys::atomic::sync_dir;
use crate::sys::mount::{mounts_below, sync_mount};
use crate::sys::relocate::relocate;
use crate::sys::remove::remove_tree;
use crate::{Dialect, Error, ErrorKind, LayerId, Result};

/// A migration of the home of one store. The caller holds all locks of the store.
#[derive(Debug)]
pub(crate) struct Migration {
    /// `<graph root>/overlay`.
    home: PathBuf,
}

/// What a migration is going to do.
#[derive(Debug)]
pub(crate) struct Planned {
    steps: Vec<Step>,
}

impl Planned {
    /// How many layers of images there are, and how many of containers.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let containers = self.steps.iter().filter(|s| s.source == Source::Upper).count();
        (self.steps.len() - containers, containers)
    }

    /// What becomes of each layer, those below it first.
    #[cfg(test)]
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The layers, those below a layer before it.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &LayerId> {
        self.steps.iter().map(|step| &step.id)
    }
}

impl Migration {
    /// That of the home at `home`.
    pub(crate) fn new(home: &Path) -> Self {
        // Without a slash at the end, which would come between the name and what is added to it.
        Self { home: home.components().collect() }
    }

    /// Where the new home is built.
    fn workplace(&self) -> PathBuf {
        self.beside("migrating")
    }

    /// Where the old home is in the end.
    pub(crate) fn kept(&self) -> PathBuf {
        self.beside("legacy")
    }

    fn beside(&self, word: &str) -> PathBuf {
        let mut name = self.home.clone().into_os_string();
        name.push(".");
        name.push(word);
        name.into()
    }

    /// Finds out what is to be done: nothing if the home is of today's layout. `parents` are those of the records, `needed` the layers
    /// that they list.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a damaged layer and for one that is missing; [`ErrorKind::NotSupported`] for a home with layers of
    /// both layouts, and one whose owner is not root: its files have other owners than the records say.
    pub(crate) fn plan(
        &self,
        parents: &BTreeMap<LayerId, LayerId>,
        needed: &[LayerId],
    ) -> Result<Option<Planned>> {
        let refuse = |why: String| {
            Error::new(ErrorKind::NotSupported, "migrating a legacy store")
                .path(&self.home)
                .detail(why)
        };
        if is_rootless() {
            return Err(refuse("only root can make the whiteouts and marks of its layers".into())
                .hint("run it as root, outside of any user namespace"));
        }
        let survey = Survey::of(&self.home)?;
        if survey.legacy.is_empty() {
            return Ok(None);
        }
        if let Some(id) = survey.today.first() {
            return Err(refuse(format!("layer {id} is of today's layout, and others are not"))
                .hint("remove the layers of the one kind or of the other"));
        }
        let look =
            layout::DirLook::of(&self.home).map_err(|e| Error::io("examining", &self.home, e))?;
        if (look.uid, look.gid) != (0, 0) {
            return Err(refuse(format!("the store's root is {}:{}", look.uid, look.gid)).hint(
                "a store that was written with id maps cannot be migrated: export its images",
            ));
        }
        if let Some(id) = needed.iter().find(|id| !survey.legacy.contains_key(id)) {
            let dir = self.home.join(id);
            return Err(layout::damaged(&dir, "the layer is recorded, and its content is missing")
                .id(id.as_str())
                .hint("nothing was changed; delete the layer, with what was built on it, and try again"));
        }
        Ok(Some(Planned { steps: plan(&self.home, &survey, parents)? }))
    }

    /// Builds the new home beside the old one, and brings it to the disk. What an earlier attempt left goes first.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while something is mounted in the home; when a system call fails. The store is as it was.
    pub(crate) fn build(&self, planned: &Planned) -> Result<Difference> {
        self.check_unused(&self.home)?;
        let kept = self.kept();
        if kept.symlink_metadata().is_ok() {
            return Err(Error::new(ErrorKind::NotSupported, "migrating a legacy store")
                .path(&kept)
                .detail("an old home is kept there already, and the store has one again")
                .hint("move one of the two away"));
        }
        let workplace = self.workplace();
        // The home is a legacy one, so that this was never exchanged with it.
        remove_tree(&workplace)?;
        let made = build(&self.home, &workplace, &planned.steps).and_then(|made| {
            sync_mount(&workplace).map_err(|e| Error::io("syncing", &workplace, e))?;
            Ok(made)
        });
        made.inspect_err(|_| self.discard())
    }

    /// Gives up what [`Migration::build`] made, before it is switched to.
    pub(crate) fn discard(&self) {
        if let Err(e) = remove_tree(&self.workplace()) {
            tracing::warn!(error = %e, "removing the half of a migration; the next one tries again");
        }
    }

    /// The driver of the new home while it is built.
    ///
    /// # Errors
    /// None that depends on the store.
    pub(crate) fn driver(&self, run_root: &Path) -> Result<Box<dyn Driver>> {
        let workplace = self.workplace();
        let name = workplace.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let graph_root = workplace.parent().unwrap_or(Path::new("/"));
        Ok(Box::new(Overlay::open(
            name,
            graph_root,
            run_root,
            None,
            &[],
            Some(Dialect::Containers),
        )?))
    }

    /// Puts the new home in the old one's place: the one moment at which the store changes.
    ///
    /// # Errors
    /// The system call's; then the store is as it was.
    pub(crate) fn switch(&self) -> Result<()> {
        relocate(&self.workplace(), &self.home, RenameFlags::EXCHANGE).map_err(|e| {
            self.discard();
            Error::io("exchanging the old home with the new one, at", &self.home, e).hint(
                "the store is as it was; its file system must be able to exchange directories",
            )
        })?;
        self.sync_names()
    }

    /// Carries on where a migration was killed after the switch: the old home gets the name under which it is kept. Does nothing where
    /// there is nothing to do.
    ///
    /// # Errors
    /// When a system call fails; the store itself is migrated.
    pub(crate) fn settle(&self) -> Result<()> {
        let workplace = self.workplace();
        if workplace.symlink_metadata().is_err() || is_legacy(&self.home)? {
            return Ok(());
        }
        if !is_legacy(&workplace)? {
            return remove_tree(&workplace);
        }
        relocate(&workplace, &self.kept(), RenameFlags::NOREPLACE)
            .map_err(|e| Error::io("renaming the old home", &workplace, e))?;
        self.sync_names()
    }

    /// Removes the old home, of which the files that the new one needs have names there; tells whether there was one.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while something is mounted in it; [`ErrorKind::NotSupported`] while the store is still a legacy one; what
    /// cannot be removed.
    pub(crate) fn remove_kept(&self) -> Result<bool> {
        let kept = self.kept();
        match kept.symlink_metadata() {
            Ok(m) if m.is_dir() => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Ok(_) => return Err(layout::damaged(&kept, "it is not a directory")),
            Err(e) => return Err(Error::io("examining", &kept, e)),
        }
        if is_legacy(&self.home)? {
            return Err(Error::new(
                ErrorKind::NotSupported,
                "removing the old home of a migrated store",
            )
            .path(&kept)
            .detail("the store's own home is of the old layout again"));
        }
        self.check_unused(&kept)?;
        remove_tree(&kept).map(|()| true)
    }

    fn check_unused(&self, home: &Path) -> Result<()> {
        match mounts_below(home)?.into_iter().next() {
            None => Ok(()),
            Some(mount) => Err(Error::new(ErrorKind::Busy, "migrating a legacy store")
                .path(&mount)
                .detail("something is mounted there")
                .hint("stop the containers, unmount it, and run the migration again")),
        }
    }

    fn sync_names(&self) -> Result<()> {
        self.home.parent().map_or(Ok(()), sync_dir)
    }
}
