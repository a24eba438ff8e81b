//! Taking layers away, at once or in two steps (`overlay-driver.md` 8, `store-format.md` 10.3).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::Overlay;
use super::chain::{LayerDir, Place, is_real_dir};
use super::get::{Uses, lock};
use super::layout;
use crate::driver::trash::TempTrash;
use crate::driver::{Trash, additional, is_there};
use crate::sys::mount::{detach, is_mount_point, mounts_below};
use crate::sys::remove::remove_tree;
use crate::sys::tempdir::TempDir;
use crate::{Error, LayerId, Result};

impl Overlay {
    /// Removes the layer `id` at once; a missing one is fine.
    pub(super) fn remove_by_id(&self, id: &LayerId) -> Result<()> {
        match self.removable(id)? {
            Some(layer) => self.remove_layer(&layer),
            None => Ok(()),
        }
    }

    /// The links that go with a layer.
    fn links_of(&self, layer: &LayerDir) -> Result<Vec<PathBuf>> {
        let mut links = short_links(layer)?;
        links.extend(self.rules.more_links(layer));
        Ok(links)
    }

    /// The layer to remove: in the home also what is no directory, a link or a file in the place of one.
    fn removable(&self, id: &LayerId) -> Result<Option<LayerDir>> {
        let layer = self.layer_dir(id.clone(), &self.home, Place::Home);
        if is_there(&layer.path(), id)? {
            return Ok(Some(layer));
        }
        if self.find(id).is_none() { Ok(None) } else { self.locate_own(id).map(Some) }
    }

    /// Removes a layer directory and its short link.
    pub(super) fn remove_layer(&self, layer: &LayerDir) -> Result<()> {
        let links = self.links_of(layer)?;
        let served = self.served(layer);
        let slot = self.counts.slot(&layer.id);
        let mut uses = self.release(layer, &slot)?;
        remove_all(&links)?;
        remove_tree(&layer.path()).map_err(|e| e.id(layer.id.as_str()))?;
        served.as_deref().inspect(|path| additional::release(path));
        uses.forget();
        drop(uses);
        self.counts.tidy(&layer.id, slot);
        Ok(())
    }

    /// Moves the layer aside: its directory first, so that a layer that a failure leaves there has its link, too.
    pub(super) fn remove_later(&self, id: &LayerId) -> Result<Box<dyn Trash>> {
        let Some(layer) = self.removable(id)? else { return self.remove_stray_links(id) };
        let links = self.links_of(&layer)?;
        let served = self.served(&layer);
        let slot = self.counts.slot(id);
        let mut uses = self.release(&layer, &slot)?;
        let mut temp = TempDir::create(&layer.home.join(layout::TEMP_DIRS))?;
        for path in [&layer.path()].into_iter().chain(&links) {
            temp.take(path).map_err(|e| e.id(id.as_str()))?;
        }
        served.as_deref().inspect(|path| additional::release(path));
        uses.forget();
        drop(uses);
        self.counts.tidy(id, slot);
        Ok(TempTrash::of(temp))
    }

    /// The additional layer that this one is a use of (REM-3). One whose store is not configured any more can still be removed.
    fn served(&self, layer: &LayerDir) -> Option<PathBuf> {
        self.pointer(layer).unwrap_or_else(|e| {
            tracing::warn!(layer = %layer.id, error = %e, "an additional layer store is not told of a removal");
            None
        })
    }

    /// What a removal leaves that is killed after it has moved the directory.
    fn remove_stray_links(&self, id: &LayerId) -> Result<Box<dyn Trash>> {
        let homes =
            [(Some(&self.home), Place::Home), (self.image_home.as_ref(), Place::ImageStore)];
        for (home, place) in homes {
            let Some(home) = home else { continue };
            remove_links(&self.layer_dir(id.clone(), home, place))?;
        }
        Ok(TempTrash::empty())
    }

    /// Unmounts what is mounted in the layer's directory, and nothing beside it (DEF-23). Until the guard goes, nobody mounts
    /// the layer.
    fn release<'a>(&self, layer: &LayerDir, slot: &'a Mutex<Uses>) -> Result<MutexGuard<'a, Uses>> {
        let uses = lock(slot);
        if !is_real_dir(&layer.path()) {
            // Nothing of ours is mounted in what a link in the layer's place leads to.
            return Ok(uses);
        }
        self.clear_parts(layer)?;
        let merged = self.merged(layer);
        if is_mount_point(&merged)? {
            self.release_nested(layer);
        }
        if layer.place == Place::ImageStore && is_mount_point(&merged)? {
            detach_all(&merged)?;
        }
        // The mount table is long; a look at the mount point is enough for the layers that are not mounted. What is
        // mounted elsewhere below is found when the removal meets it.
        if layer.place == Place::Home && is_mount_point(&merged)? {
            detach_all(&layer.path())?;
        }
        Ok(uses)
    }
}

/// Removes the short links of a layer; those that other processes' removals and crashes have left, if its directory is gone.
pub(super) fn remove_links(layer: &LayerDir) -> Result<()> {
    remove_all(&short_links(layer)?)
}

fn remove_all(links: &[PathBuf]) -> Result<()> {
    links.iter().try_for_each(|link| match std::fs::remove_file(link) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(|e| Error::io("removing the link", link, e)),
    })
}

fn detach_all(path: &Path) -> Result<()> {
    for target in mounts_below(path)? {
        match detach(&target) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => {}
            done => done.map_err(|e| Error::io("unmounting", &target, e))?,
        }
    }
    Ok(())
}

/// The short links of a layer: the one that its `link` file names if that leads to it; if the file is missing or damaged, as a
/// crash leaves it, all that do. A layer that cannot be used must still be removable.
fn short_links(layer: &LayerDir) -> Result<Vec<PathBuf>> {
    let leads_here = |link: &Path| {
        std::fs::read_link(link)
            .is_ok_and(|target| layout::layer_of_target(&target).as_ref() == Some(&layer.id))
    };
    let named = if is_real_dir(&layer.path()) {
        layout::read_link_file(&layer.path()).unwrap_or_else(|e| {
            tracing::warn!(layer = %layer.id, error = %e, "looking for the links of a damaged layer");
            None
        })
    } else {
        None
    };
    if let Some(link) = named {
        let path = link.path(&layer.home);
        return Ok(Some(path).filter(|p| leads_here(p)).into_iter().collect());
    }
    let links = layer.home.join(layout::LINKS);
    let entries = match std::fs::read_dir(&links) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("listing", &links, e)),
        Ok(entries) => entries,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("listing", &links, e))?.path();
        if leads_here(&path) {
            found.push(path);
        }
    }
    Ok(found)
}
