//! Mounting and unmounting layers, counted per process (`overlay-driver.md` 6, 7; DEF-16).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Gid, Uid};

use super::Overlay;
use super::chain::{Heal, LayerDir, Place};
use super::dialect::{AfterUnmount, LayerView};
use super::layout::{self, DirLook};
use super::mount::Plan;
use super::places::Places;
use super::probe::METACOPY;
use super::program::{self, More};
use crate::driver::MountOptions;
use crate::sys::mount::{detach, is_dead_mount, is_fuse_mount, is_overlay_mount};
use crate::sys::remove::remove_tree;
use crate::thin::Held;
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

/// How a layer is mounted: what a second request is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct How {
    pub(super) words: Vec<String>,
    pub(super) label: String,
    pub(super) volatile: bool,
    pub(super) maps: IdMaps,
}

impl How {
    /// Whether the present mount will do for a request of this one (DEF-16).
    fn fits(&self, uses: &Uses, layer: &LayerDir, merged: &Path) -> Result<()> {
        let busy = |why: String| {
            Err(Error::new(ErrorKind::Busy, format!("mounting layer {}", layer.id))
                .id(layer.id.as_str())
                .path(merged)
                .detail(why))
        };
        match &uses.how {
            Some(present) if present == self => Ok(()),
            Some(present) => busy(format!("it is mounted with {present}, and {self} is asked for")),
            // Another process made the mount, and only the kernel can tell how.
            None if layer.place == Place::Home && !self.read_only() && is_read_only(merged) => {
                busy("another process has mounted it read-only".to_owned())
            }
            None => Ok(()),
        }
    }

    pub(super) fn read_only(&self) -> bool {
        self.words.iter().any(|w| w == "ro")
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the options {:?}", self.words.join(","))?;
        if !self.label.is_empty() {
            write!(f, ", the label {:?}", self.label)?;
        }
        if !self.maps.is_empty() {
            write!(f, ", the id maps {:?} and {:?}", self.maps.uids, self.maps.gids)?;
        }
        if self.volatile { f.write_str(", volatile") } else { Ok(()) }
    }
}

/// This process's uses of one layer's mount.
#[derive(Debug, Default)]
pub(super) struct Uses {
    count: u32,
    /// `None` if another process made the mount.
    how: Option<How>,
}

impl Uses {
    /// Whether the layer is mounted.
    pub(super) fn is_used(&self) -> bool {
        self.count > 0
    }

    /// Of a layer that is gone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// This process's uses of all mounts. Each layer has a lock of its own, held while it is mounted or unmounted.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<LayerId, Arc<Mutex<Uses>>>>);

impl Counts {
    pub(super) fn slot(&self, id: &LayerId) -> Arc<Mutex<Uses>> {
        Arc::clone(lock(&self.0).entry(id.clone()).or_default())
    }

    /// Forgets a layer that nobody uses, so that the table does not grow for ever.
    pub(super) fn tidy(&self, id: &LayerId, slot: Arc<Mutex<Uses>>) {
        let mut slots = lock(&self.0);
        // Two: the table's and this one. Nobody else can be about to use it.
        if Arc::strong_count(&slot) == 2 && lock(&slot).count == 0 {
            slots.remove(id);
        }
    }
}

/// A poisoned lock only means that a thread died while it held it; the counts are checked against the kernel anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Overlay {
    /// Where the layer is mounted: its own `merged`, or one below the run root if its store must not be written to.
    pub(super) fn merged(&self, layer: &LayerDir) -> PathBuf {
        match layer.place {
            Place::Home => layer.path().join("merged"),
            Place::ImageStore | Place::Additional => self.run.join(&layer.id).join("merged"),
        }
    }

    pub(super) fn mount_layer(&self, id: &LayerId, options: &MountOptions) -> Result<PathBuf> {
        let layer = self.locate(id)?;
        if let LayerView::Plain(dir) = self.rules.view(self, &layer)? {
            return Ok(dir);
        }
        self.ready()?;
        let how = self.how(options)?;
        let fits = |uses: &Uses, merged: &Path| how.fits(uses, &layer, merged);
        self.use_mount(&layer, fits, how.clone())
    }

    pub(super) fn how(&self, options: &MountOptions) -> Result<How> {
        Ok(How {
            words: self.effective_words(&options.options)?,
            label: options.mount_label.clone(),
            volatile: options.volatile,
            maps: options.maps(),
        })
    }

    /// The layer's tree for reading: the mount that there is, whatever its options, or a read-only one, to which `more`
    /// words are given.
    pub(super) fn view(&self, id: &LayerId, more: &[&str], maps: IdMaps) -> Result<View<'_>> {
        let layer = self.locate(id)?;
        if let LayerView::Plain(path) = self.rules.view(self, &layer)? {
            return Ok(View { driver: self, id: id.clone(), path, given_back: true });
        }
        self.ready()?;
        let mut words = self.effective_words(&["ro".to_owned()])?;
        words.extend(more.iter().map(|&w| w.to_owned()));
        let how = How { words, label: String::new(), volatile: false, maps };
        let path = self.use_mount(&layer, |_, _| Ok(()), how)?;
        Ok(View { driver: self, id: id.clone(), path, given_back: false })
    }

    /// Counts one use more; the first one mounts.
    fn use_mount(
        &self,
        layer: &LayerDir,
        fits: impl FnOnce(&Uses, &Path) -> Result<()>,
        how: How,
    ) -> Result<PathBuf> {
        let slot = self.counts.slot(&layer.id);
        let mut uses = lock(&slot);
        let merged = self.merged(layer);
        self.refresh(&mut uses, &merged);
        let outcome = if uses.count > 0 {
            fits(&uses, &merged).map(|()| uses.count += 1)
        } else {
            self.mount_new(layer, &merged, &how).map(|()| {
                uses.count = 1;
                uses.how = Some(how);
            })
        };
        drop(uses);
        self.counts.tidy(&layer.id, slot);
        outcome.map(|()| merged)
    }

    /// Brings a count in line with the kernel (GET-4): a mount that somebody else made counts as one use, and no use
    /// outlives its mount.
    pub(super) fn refresh(&self, uses: &mut Uses, merged: &Path) {
        match (uses.count, is_overlay_mount(merged)) {
            (0, true) => *uses = Uses { count: 1, how: None },
            (_, false) => *uses = Uses::default(),
            _ => {}
        }
    }

    /// The words of a mount: the caller's, else the configured ones (GET-15 to GET-17).
    pub(super) fn effective_words(&self, asked: &[String]) -> Result<Vec<String>> {
        let configured = || self.options.mountopt.split(',').filter(|w| !w.is_empty());
        let mut words: Vec<String> = if asked.is_empty() {
            configured().map(str::to_owned).collect()
        } else {
            asked
                .iter()
                .flat_map(|w| match w.contains('"') {
                    true => vec![w.as_str()],
                    false => w.split(',').collect(),
                })
                .filter(|w| !w.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let metacopy = |w: &str| w == METACOPY;
        if self.program().is_some() {
            words.retain(|w| !metacopy(w));
            return Ok(words);
        }
        let named = words.iter().any(|w| metacopy(w));
        if (named || configured().any(metacopy)) && self.using_metacopy()? {
            if !named {
                words.push(METACOPY.to_owned());
            }
        } else if named {
            tracing::warn!("metacopy=on is left out, since this kernel does not do it");
            words.retain(|w| !metacopy(w));
        }
        Ok(words)
    }

    fn mount_new(&self, layer: &LayerDir, merged: &Path, how: &How) -> Result<()> {
        let held = self.acquire_nested(layer)?;
        let outcome = self.mount_overlay(layer, merged, how);
        drop(held);
        if outcome.is_err() {
            self.release_nested(layer);
        }
        outcome
    }

    /// Whether a layer can stand for others. Where none does, the hundreds below one need not be looked up for that.
    pub(super) fn has_nested(&self) -> bool {
        self.rules.shape().stands_for_others
    }

    /// Makes sure of what the layers below stand for.
    pub(super) fn acquire_nested(&self, layer: &LayerDir) -> Result<Option<Held>> {
        if !self.has_nested() {
            return Ok(None);
        }
        let lowers = self.lowers(layer, Heal::No)?;
        self.rules
            .acquire(self, layer.id.as_str(), &lowers)
            .map_err(|e| e.context(format!("mounting layer {}", layer.id)).id(layer.id.as_str()))
    }

    /// Gives it back. A layer whose lists are damaged must still be unmounted.
    pub(super) fn release_nested(&self, layer: &LayerDir) {
        if !self.has_nested() {
            return;
        }
        match self.lowers(layer, Heal::No) {
            Ok(lowers) => self.rules.release(self, layer.id.as_str(), &lowers),
            Err(error) => {
                tracing::debug!(layer = %layer.id, %error, "its layers below are not known")
            }
        }
    }

    fn mount_overlay(&self, layer: &LayerDir, merged: &Path, how: &How) -> Result<()> {
        let mut places = Places::of(&self.home, self.owners_below(&how.maps)?);
        let mut plan = self.plan(layer, merged, how, Heal::OnDisk, &mut places)?;
        if is_dead_mount(merged) {
            tracing::warn!(path = ?merged, "the program that had mounted this has died; it is unmounted");
            detach(merged).map_err(|e| Error::io("unmounting", merged, e))?;
        }
        layout::ensure_own_dir(merged, DirLook::of_root(&how.maps, 0o700)?)?;
        match self.program() {
            Some(program) => {
                let maps = Some(&how.maps).filter(|maps| !maps.is_empty());
                plan.mount_by(program, &More { maps, modes_apart: self.force_mask().is_some() })
            }
            None => self
                .map_plan(layer, &mut plan, &mut places)
                .and_then(|()| plan.mount())
                .and_then(|()| self.dress_work(&plan, how).inspect_err(|_| drop(detach(merged)))),
        }
        .inspect_err(|_| {
            // Not where somebody else has mounted meanwhile.
            if self.rules.shape().after_unmount == AfterUnmount::Remove {
                drop(std::fs::remove_dir(merged));
            }
        })
        .map_err(|e| e.id(layer.id.as_str()))
    }

    /// Gives what the kernel has made in the work directory to the maps' root, where the dialect wants it so (MOB-18).
    fn dress_work(&self, plan: &Plan, how: &How) -> Result<()> {
        let Some(upper) = &plan.upper else { return Ok(()) };
        if !self.rules.shape().chowns_work {
            return Ok(());
        }
        let work = upper.work.absolute.join("work");
        let (uid, gid) = how.maps.root()?;
        let dir = layout::open_dir(&work)?;
        rustix::fs::fchown(dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|e| Error::io("setting the owner of", &work, e))
    }

    /// Gives one use back; the last one unmounts (PUT-1 to PUT-9).
    pub(super) fn unmount_layer(&self, id: &LayerId) -> Result<()> {
        let layer = self.locate(id)?;
        if let LayerView::Plain(_) = self.rules.view(self, &layer)? {
            return Ok(());
        }
        let slot = self.counts.slot(id);
        let mut uses = lock(&slot);
        let merged = self.merged(&layer);
        self.refresh(&mut uses, &merged);
        let outcome = if uses.count > 1 {
            uses.count -= 1;
            Ok(())
        } else {
            self.unmount(&layer, &merged).map(|()| *uses = Uses::default())
        };
        drop(uses);
        self.counts.tidy(id, slot);
        outcome
    }

    fn unmount(&self, layer: &LayerDir, merged: &Path) -> Result<()> {
        self.clear_parts(layer)?;
        if is_fuse_mount(merged) && program::unmount(merged) {
            tracing::debug!(path = ?merged, "unmounted by a program");
        } else {
            self.detach_merged(layer, merged)?;
        }
        self.release_nested(layer);
        if layer.place != Place::Home {
            return remove_tree(&self.run.join(&layer.id));
        }
        match self.rules.shape().after_unmount {
            AfterUnmount::Swap => {}
            AfterUnmount::Keep => return Ok(()),
            AfterUnmount::Remove => {
                return match std::fs::remove_dir(merged) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                    done => done.map_err(|e| {
                        Error::io("removing the mount point", merged, e).id(layer.id.as_str())
                    }),
                };
            }
        }
        // A fresh directory in place of the mount point drops the copies of the mount in other mount namespaces.
        let look = match DirLook::of(merged) {
            Ok(look) => DirLook { mode: 0o700, ..look },
            Err(_) => DirLook::root(0o700),
        };
        let fresh = layer.path().join("merged.1");
        let made = match layout::make_dir(&fresh, look) {
            // A killed process has left it.
            Err(e) if e.os_error() == Some(io::ErrorKind::AlreadyExists) => {
                remove_tree(&fresh)?;
                layout::make_dir(&fresh, look)
            }
            made => made,
        };
        match made {
            // A layer that has used up its limits keeps the one that it has: unmounting must not need room.
            Err(e) if is_full(&e) => return Ok(()),
            made => drop(made?),
        }
        std::fs::rename(&fresh, merged)
            .map_err(|e| Error::io("replacing the mount point", merged, e).id(layer.id.as_str()))
    }

    fn detach_merged(&self, layer: &LayerDir, merged: &Path) -> Result<()> {
        match detach(merged) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => Ok(()),
            done => done.map_err(|e| Error::io("unmounting", merged, e).id(layer.id.as_str())),
        }
    }
}

fn is_full(e: &Error) -> bool {
    matches!(e.os_error(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path)
        .is_ok_and(|s| s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// A layer's tree, mounted for reading until it is given back.
pub(super) struct View<'a> {
    driver: &'a Overlay,
    id: LayerId,
    path: PathBuf,
    given_back: bool,
}

impl View<'_> {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the mount back.
    ///
    /// # Errors
    /// When the kernel refuses to unmount.
    pub(super) fn close(mut self) -> Result<()> {
        match std::mem::replace(&mut self.given_back, true) {
            true => Ok(()),
            false => self.driver.unmount_layer(&self.id),
        }
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        if !self.given_back
            && let Err(e) = self.driver.unmount_layer(&self.id)
        {
            tracing::warn!(layer = %self.id, error = %e, "unmounting after a failure");
        }
    }
}
