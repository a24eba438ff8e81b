//! Where the parts of a mount stand while it is made: images, and directories seen with mapped owners (`overlay-driver.md` GET-35a,
//! GET-38a).
//!
//! Each mount has a temp dir of its own, so that processes that mount the same layer at once do not meet, and what a killed one leaves is
//! told from what a living one needs. The overlay that is mounted upon the parts keeps them itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::layout::{self, DirLook};
use crate::sys::mount::{attach, detach, mounts_below};
use crate::sys::tempdir::{self, TempDir};
use crate::{Error, Result};

/// The parts of one mount, until this is dropped.
pub(super) struct Places {
    /// The home's temp dirs.
    root: PathBuf,
    /// The maps of the owners that lower layers are seen with, if they are mapped.
    owners: Option<OwnedFd>,
    temp: Option<TempDir>,
    taken: Vec<PathBuf>,
}

impl Places {
    /// None taken yet.
    pub(super) fn of(home: &Path, owners: Option<OwnedFd>) -> Self {
        Self { root: home.join(layout::TEMP_DIRS), owners, temp: None, taken: Vec::new() }
    }

    /// The user namespace whose maps the lower layers are seen with.
    pub(super) fn owners(&self) -> Option<BorrowedFd<'_>> {
        self.owners.as_ref().map(AsFd::as_fd)
    }

    /// Whether no mount stands anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// As [`Places::owners`], for the last part that is mapped.
    pub(super) fn take_owners(&mut self) -> Option<OwnedFd> {
        self.owners.take()
    }

    /// Puts a mount at a place of its own.
    ///
    /// # Errors
    /// When the place cannot be made or the kernel refuses.
    pub(super) fn put(&mut self, mount: &OwnedFd) -> Result<PathBuf> {
        let name = self.taken.len().to_string();
        let place = self.dir()?.join(name);
        layout::ensure_own_dir(&place, DirLook::root(0o700))?;
        attach(mount, &place)
            .map_err(|e| Error::io("attaching a part of a mount at", &place, e))?;
        self.taken.push(place.clone());
        Ok(place)
    }

    /// The directory that all places are in.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn dir(&mut self) -> Result<&Path> {
        let temp = match self.temp.take() {
            Some(temp) => temp,
            None => {
                unmount_stale(&self.root);
                TempDir::create(&self.root)?
            }
        };
        Ok(self.temp.insert(temp).path())
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for place in &self.taken {
            if let Err(e) = detach(place) {
                tracing::warn!(path = ?place, error = %e, "detaching a part of a mount");
            }
        }
    }
}

/// Detaches what is mounted in temp dirs in `root` of killed processes: images hold their layers' files, and once the home is a mount of
/// itself, a mount made before is out of reach below it. The dirs wait for those who delete after the locks are released.
pub(super) fn unmount_stale(root: &Path) {
    // The mount table is long, and the directory is nearly always empty.
    let empty = std::fs::read_dir(root).map_or(true, |mut entries| entries.next().is_none());
    if empty {
        return;
    }
    let warn = |e: &dyn std::fmt::Display| {
        tracing::warn!(path = ?root, error = %e, "unmounting what a killed process has left");
    };
    let detach_stale = || {
        if mounts_below(root)?.is_empty() {
            return Ok(());
        }
        tempdir::adopt(root, |dir| {
            // Anew: what its owner did last was not seen before its lock was free.
            match mounts_below(dir.path()) {
                Ok(mounts) => mounts.iter().for_each(|place| {
                    if let Err(e) = detach(place) {
                        warn(&e);
                    }
                }),
                Err(e) => warn(&e),
            }
            dir.leave();
        })
    };
    if let Err(e) = detach_stale() {
        warn(&e);
    }
}
