//! Opening a store, and making what writing to it needs.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::mounts::Mounts;
use super::order::{Graph, Held, Nothing};
use super::paths::Paths;
use super::table::{RecordFile, Table};
use super::{OtherStore, Store};
use crate::config::StoreOptions;
use crate::sys::lock::{LockAccess, LockFile, WriteGuard};
use crate::sys::remove::remove_tree;
use crate::{Error, Result, driver};

impl Store {
    /// Opens the store that `options` describe; relative roots are taken from the working directory. Touches nothing on disk.
    ///
    /// # Errors
    /// [`crate::ErrorKind::IncompleteOptions`] for a missing root, [`crate::ErrorKind::Config`] for one that is both graph root and
    /// image store; what the driver says of its options.
    pub fn open(mut options: StoreOptions) -> Result<Self> {
        options.make_roots_absolute()?;
        let driver = driver::of(&options)?;
        options.driver = driver.name().to_owned();
        let paths = Paths::new(&options, driver.name());
        let others =
            driver.additional_image_stores().iter().map(|root| other_store(&paths, root)).collect();
        Ok(Self {
            layers: Table::new(paths.layer_locks(), paths.layer_files(), false),
            mounts: Mounts::new(paths.mount_points()),
            images: images_table(&paths.images(), false),
            split_images: paths.split_images().map(|dir| images_table(&dir, false)),
            containers: Table::new(vec![paths.container_lock()], paths.container_files(), false),
            others,
            prepared: Mutex::new(None),
            options,
            driver,
            paths,
        })
    }

    /// Makes the directories and the driver's state, once; every operation that writes begins with it.
    pub(super) fn prepare(&self) -> Result<()> {
        let done = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !done {
            drop(self.lock_graph(&Held::nothing())?);
        }
        Ok(())
    }

    /// Takes `storage.lock` and makes sure that the driver is prepared as of now: another process's shutdown undoes it
    /// (`store-format.md` 9.3).
    pub(super) fn lock_graph(&self, _: &Held<Nothing>) -> Result<(Held<Graph>, WriteGuard)> {
        if self.prepared.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            // Before anything is made: where the driver cannot serve, nothing is left behind.
            self.driver.check()?;
            self.make_directories()?;
        }
        let guard = LockFile::open(&self.paths.graph_lock(), LockAccess::ReadWrite)?.write()?;
        let token = guard.file().token()?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if *prepared != Some(token) {
            if prepared.is_some() {
                self.make_directories()?;
            }
            self.driver.prepare()?;
            *prepared = Some(token);
        }
        drop(prepared);
        Ok((Held::taken(), guard))
    }

    fn make_directories(&self) -> Result<()> {
        self.paths.directories().iter().try_for_each(|dir| make_directory(dir))
    }
}

fn images_table<Rank>(dir: &Path, read_only: bool) -> Table<crate::record::Image, Rank> {
    let file = RecordFile { path: dir.join("images.json"), durable: true };
    Table::new(vec![dir.join("images.lock")], vec![file], read_only)
}

fn other_store(paths: &Paths, root: &Path) -> OtherStore {
    let layers = paths.foreign(root, "layers");
    let files = ["layers.json", "volatile-layers.json"]
        .map(|name| RecordFile { path: layers.join(name), durable: false });
    OtherStore {
        root: root.to_path_buf(),
        layers: Table::new(vec![layers.join("layers.lock")], files.into(), true),
        images: images_table(&paths.foreign(root, "images"), true),
    }
}

/// A directory of mode 0700, parents too, unless it is there.
pub(super) fn make_directory(dir: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| Error::io("creating the directory", dir, e))
}

/// Removes the directory of a record that is not there, with all in it. What is no directory was made by somebody else, and stays.
pub(super) fn remove_directory(dir: &Path) -> Result<()> {
    if dir.symlink_metadata().is_ok_and(|m| m.is_dir()) { remove_tree(dir) } else { Ok(()) }
}
