//! Mounting and unmounting layers, counted per process (`overlay-driver.md` 6, 7; DEF-16).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Overlay;
use super::chain::{Heal, LayerDir, Place};
use super::layout::{self, DirLook, LinkId};
use super::mount::{Lower, Plan, Upper};
use super::probe::METACOPY;
use super::program::{self, More};
use crate::driver::{MountOptions, refuse_id_maps};
use crate::sys::mount::{detach, is_dead_mount, is_fuse_mount, is_overlay_mount};
use crate::sys::remove::remove_tree;
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

/// How a layer is mounted: what a second request is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct How {
    words: Vec<String>,
    label: String,
    volatile: bool,
    /// How a program is to show the layers' ids.
    maps: Option<IdMaps>,
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

    fn read_only(&self) -> bool {
        self.words.iter().any(|w| w == "ro")
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the options {:?}", self.words.join(","))?;
        if !self.label.is_empty() {
            write!(f, ", the label {:?}", self.label)?;
        }
        if let Some(maps) = &self.maps {
            write!(f, ", the id maps {:?} and {:?}", maps.uids, maps.gids)?;
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
        let maps = options.maps();
        // A program maps ids by itself; the layers' owners stay.
        if !maps.is_empty() && self.wanted_program()?.is_none() {
            refuse_id_maps(&maps, &format!("layer {id}"))?;
        }
        let layer = self.locate(id)?;
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
            maps: Some(options.maps()).filter(|maps| !maps.is_empty()),
        })
    }

    /// The layer's tree for reading: the mount that there is, whatever its options, or a read-only one, to which `more`
    /// words are given.
    pub(super) fn view(&self, id: &LayerId, more: &[&str]) -> Result<View<'_>> {
        let layer = self.locate(id)?;
        self.ready()?;
        let mut words = self.effective_words(&["ro".to_owned()])?;
        words.extend(more.iter().map(|&w| w.to_owned()));
        let how = How { words, label: String::new(), volatile: false, maps: None };
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
    fn refresh(&self, uses: &mut Uses, merged: &Path) {
        match (uses.count, is_overlay_mount(merged)) {
            (0, true) => *uses = Uses { count: 1, how: None },
            (_, false) => *uses = Uses::default(),
            _ => {}
        }
    }

    /// The words of a mount: the caller's, else the configured ones (GET-15 to GET-17).
    fn effective_words(&self, asked: &[String]) -> Result<Vec<String>> {
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
        let plan = self.plan(layer, merged, how, Heal::OnDisk)?;
        if is_dead_mount(merged) {
            tracing::warn!(path = ?merged, "the program that had mounted this has died; it is unmounted");
            detach(merged).map_err(|e| Error::io("unmounting", merged, e))?;
        }
        layout::ensure_own_dir(merged, DirLook::root(0o700))?;
        match self.program() {
            Some(program) => {
                let modes_apart = self.force_mask().is_some();
                plan.mount_by(program, &More { maps: how.maps.as_ref(), modes_apart })
            }
            None => plan.mount(),
        }
        .map_err(|e| e.id(layer.id.as_str()))
    }

    /// What a mount of the layer is made of. With [`Heal::OnDisk`], for a layer that is not mounted, what a crash has taken from it is
    /// made again, and its work directory is made ready; else nothing on the disk changes.
    pub(super) fn plan(
        &self,
        layer: &LayerDir,
        merged: &Path,
        how: &How,
        heal: Heal,
    ) -> Result<Plan> {
        let own = layer.place == Place::Home;
        let dir = layer.path();
        let heal = if own { heal } else { Heal::No };
        let lower_layers = self.lowers(layer, heal)?;
        let older_of_lowers =
            lower_layers.iter().map(LayerDir::check_content).collect::<Result<Vec<_>>>()?;
        let links = Self::listed_links(layer, &lower_layers);
        if heal == Heal::OnDisk {
            self.restore_diff(layer, lower_layers.first())?;
        }
        let older = layer.check_content()?;

        let read_only = !own || how.read_only();
        let mut lowers = Vec::new();
        if read_only {
            lowers.push(self.lower(layer, 0, None));
        }
        lowers.extend((1..=older).map(|n| {
            let path = dir.join(format!("diff{n}"));
            Lower { short: self.shorten(&path), absolute: path }
        }));
        for (n, (lower, older)) in lower_layers.iter().zip(older_of_lowers).enumerate() {
            let link = match links.get(n) {
                Some(listed) if listed.leads_to(lower) => Some(listed.clone()),
                _ => self.short_link(lower, heal)?,
            };
            let link = link.as_ref().map(|l| match lower.place {
                Place::Home => PathBuf::from(l.relative()),
                Place::ImageStore | Place::Additional => l.path(&lower.home),
            });
            lowers.extend((0..=older).map(|n| self.lower(lower, n, link.as_deref())));
        }
        if lower_layers.is_empty() && older == 0 && !read_only {
            lowers.push(self.empty_lower(layer, heal)?);
        } else if lowers.len() == 1 && read_only {
            // Two lowers at least make a read-only overlay; N names the empty directory as well.
            lowers.push(self.empty_lower(layer, heal)?);
        }

        let mut words = how.words.clone();
        words.extend(self.own_words());
        if how.volatile && !words.iter().any(|w| w == "volatile") && self.supports_volatile()? {
            words.push("volatile".to_owned());
        }
        let upper = (!read_only).then(|| {
            let side = |name: &str| {
                let path = dir.join(name);
                Lower { short: self.shorten(&path), absolute: path }
            };
            Upper { diff: side("diff"), work: side("work") }
        });
        if !read_only && heal == Heal::OnDisk {
            layout::ensure_own_dir(&dir.join("work"), DirLook::root(0o700))?;
            // The kernel refuses a second volatile mount as long as this marker stands (GET-42).
            remove_tree(&dir.join("work/work/incompat/volatile"))?;
        }
        Ok(Plan {
            home: self.home.clone(),
            target: merged.to_path_buf(),
            lowers,
            upper,
            words,
            label: how.label.clone(),
        })
    }

    /// The words that every mount by the kernel has: without the rights of the first user namespace's root, overlay's marks are in user
    /// xattrs (GET-20).
    fn own_words(&self) -> Option<String> {
        (self.rootless && self.program().is_none()).then(|| "userxattr".to_owned())
    }

    /// The short links of the layers below as the layer itself lists them, which spares a look into each; none if the list is
    /// another one.
    fn listed_links(layer: &LayerDir, lowers: &[LayerDir]) -> Vec<LinkId> {
        let listed = layout::read_lower(&layer.path()).ok().flatten().unwrap_or_default();
        if listed.len() == lowers.len() { listed } else { Vec::new() }
    }

    /// One directory of a lower layer, `n` 0 for `diff`, as N writes it and as short as can be.
    fn lower(&self, layer: &LayerDir, n: usize, link: Option<&Path>) -> Lower {
        let diff = layer.diff();
        let absolute = match n {
            0 => diff,
            _ => diff.join("..").join(format!("diff{n}")),
        };
        let direct = match n {
            0 => self.shorten(&absolute),
            _ => self.shorten(&layer.path().join(format!("diff{n}"))),
        };
        let by_link = link.map(|l| match n {
            0 => l.to_path_buf(),
            _ => l.join("..").join(format!("diff{n}")),
        });
        let short = match by_link {
            Some(link) if link.as_os_str().len() < direct.as_os_str().len() => link,
            _ => direct,
        };
        Lower { absolute, short }
    }

    /// A path as seen from the home.
    fn shorten(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.home).unwrap_or(path).to_path_buf()
    }

    /// The directory that stands below a layer without parent.
    fn empty_lower(&self, layer: &LayerDir, heal: Heal) -> Result<Lower> {
        let path = layer.path().join("empty");
        if heal == Heal::OnDisk {
            layout::ensure_own_dir(&path, DirLook::root(0o700))?;
        }
        Ok(Lower { short: self.shorten(&path), absolute: path })
    }

    /// Makes a lost `diff` again (GET-7), with the mode of what lies below; an existing one keeps its owner (DEF-22).
    fn restore_diff(&self, layer: &LayerDir, below: Option<&LayerDir>) -> Result<()> {
        let diff = layer.diff();
        match diff.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            _ => return Ok(()),
        }
        let look = DirLook::of(&layer.path().join("diff1"))
            .ok()
            .or_else(|| below.and_then(|b| DirLook::of(&b.diff()).ok()))
            .unwrap_or(DirLook::root(0o555));
        layout::make_dir(&diff, DirLook::root(look.mode)).map(drop)
    }

    /// Gives one use back; the last one unmounts (PUT-1 to PUT-9).
    pub(super) fn unmount_layer(&self, id: &LayerId) -> Result<()> {
        let layer = self.locate(id)?;
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
        if is_fuse_mount(merged) && program::unmount(merged) {
            tracing::debug!(path = ?merged, "unmounted by a program");
        } else {
            self.detach_merged(layer, merged)?;
        }
        if layer.place != Place::Home {
            return remove_tree(&self.run.join(&layer.id));
        }
        // A fresh directory in place of the mount point drops the copies of the mount in other mount namespaces.
        let look = match DirLook::of(merged) {
            Ok(look) => DirLook { mode: 0o700, ..look },
            Err(_) => DirLook::root(0o700),
        };
        let fresh = layer.path().join("merged.1");
        remove_tree(&fresh)?;
        layout::make_dir(&fresh, look)?;
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
        self.given_back = true;
        self.driver.unmount_layer(&self.id)
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
