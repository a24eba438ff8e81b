//! A layer's content in the making: a directory in a temp dir, renamed into place at commit.

use std::any::Any;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use super::Staging;
use super::overlay::{DirLook, make_dir};
use crate::archive::UnpackOptions;
use crate::sys::relocate::relocate;
use crate::sys::tempdir::TempDir;
use crate::{Error, ErrorKind, LayerId, Result};

/// A staged addition of either driver.
pub(super) struct TempStaging {
    home: PathBuf,
    temp: TempDir,
    path: PathBuf,
    root: OwnedFd,
    options: UnpackOptions,
    keeps_root: bool,
}

impl TempStaging {
    /// Makes the directory, in a temp dir of `temp_root`, with the owner and mode that the layer's root is to have.
    ///
    /// # Errors
    /// When a system call fails.
    pub(super) fn new(
        home: &Path,
        temp_root: &Path,
        look: DirLook,
        options: UnpackOptions,
    ) -> Result<Self> {
        let mut temp = TempDir::create(temp_root)?;
        let path = temp.addition();
        let root = make_dir(&path, look)?;
        Ok(Self { home: home.to_path_buf(), temp, path, root, options, keeps_root: false })
    }

    /// Takes back what [`super::Driver::stage`] of the driver at `home` gave out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if another driver made it.
    pub(super) fn of(staging: Box<dyn Staging>, home: &Path, id: &LayerId) -> Result<Self> {
        let staging = staging.into_any().downcast::<Self>().ok();
        staging.filter(|s| s.home == home).map(|s| *s).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("committing content to layer {id}"))
                .id(id.as_str())
                .detail("the content was staged by another driver")
        })
    }

    /// Gives the root the owner and mode of the directory `target`, unless the content has brought its own.
    ///
    /// # Errors
    /// When a system call fails.
    pub(super) fn adopt_root(&self, target: &Path) -> Result<()> {
        if self.keeps_root {
            return Ok(());
        }
        let failed = |e| Error::io("examining", target, e);
        let wanted = DirLook::of(target).map_err(failed)?;
        if DirLook::of_open(self.root.as_fd()).map_err(failed)? == wanted {
            return Ok(());
        }
        wanted.apply(self.root.as_fd(), &self.path)
    }

    /// Refuses content of which another program may have deleted a part: to containers/storage before 1.59, whose collection runs
    /// under the layers' lock, the home's directory of temp dirs is a layer that nobody knows (`overlay-driver.md` REM-8).
    fn refuse_touched(&self) -> Result<()> {
        if self.temp.is_whole() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Busy, "unpacking a layer")
            .path(&self.path)
            .detail("another program has deleted the directory that it was unpacked in, as the garbage collection of older versions of podman and its kin does")
            .hint("try again"))
    }

    /// Renames the staged directory over the empty directory `target`, and lets the temp dir go.
    ///
    /// # Errors
    /// [`ErrorKind::DuplicateId`] if `target` has content; [`ErrorKind::Busy`] if another program has deleted the temp dir.
    pub(super) fn commit(self, target: &Path, id: &LayerId) -> Result<()> {
        self.refuse_touched()?;
        let Self { temp, path, .. } = self;
        relocate(&path, target, RenameFlags::empty()).map_err(|e| {
            use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
            // rename(2) may say either; xfs says the first.
            if matches!(e.kind(), AlreadyExists | DirectoryNotEmpty) {
                Error::new(ErrorKind::DuplicateId, format!("committing content to layer {id}"))
                    .id(id.as_str())
                    .path(target)
                    .detail("the layer already has content")
            } else {
                Error::io("moving staged content to", target, e).id(id.as_str())
            }
        })?;
        tidy(temp);
        Ok(())
    }

    /// Exchanges the staged directory with `target`, whatever that holds, and deletes what was there.
    ///
    /// # Errors
    /// When a system call fails; [`ErrorKind::Busy`] if another program has deleted the temp dir.
    pub(super) fn exchange(self, target: &Path, id: &LayerId) -> Result<()> {
        self.refuse_touched()?;
        let Self { temp, path, .. } = self;
        relocate(&path, target, RenameFlags::EXCHANGE)
            .map_err(|e| Error::io("moving staged content to", target, e).id(id.as_str()))?;
        tidy(temp);
        Ok(())
    }
}

/// The content is in place: what the temp dir leaves behind is for the next recovery, and no failure.
fn tidy(temp: TempDir) {
    if let Err(e) = temp.cleanup() {
        tracing::warn!(error = %e, "removing a temp dir whose content was committed");
    }
}

impl Staging for TempStaging {
    fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn unpack_options(&self) -> &UnpackOptions {
        &self.options
    }

    fn keep_root(&mut self) {
        self.keeps_root = true;
    }

    fn check(&self) -> Result<()> {
        self.refuse_touched()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
