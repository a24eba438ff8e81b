//! Lower layers seen with mapped owners while an overlay is mounted on them (`overlay-driver.md` 4.6, 6.6, MAP-7).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::Overlay;
use super::chain::LayerDir;
use super::mount::{Lower, Plan};
use super::places::Places;
use super::probe::Answer;
use crate::sys::idmapped::mapped_clone;
use crate::sys::mount::{detach, is_mount_point};
use crate::sys::userns::user_namespace;
use crate::{Error, IdMaps, LayerId, Result};

/// The probe's name among what is remembered.
pub(super) const FEATURE: &str = "idmapped-lower-dir";

/// Where in a layer's directory upstream has what it mounts a layer of.
const PARTS: [&str; 2] = ["mapped", "composefs-layers"];

impl Overlay {
    /// MAP-7: whether mounts map ids, for these maps.
    ///
    /// # Errors
    /// When the kernel could not be tried out.
    pub(super) fn shifts(&self, maps: &IdMaps) -> Result<bool> {
        if self.options.disable_idmap || !self.rules.shape().shifts {
            return Ok(false);
        }
        if self.program().is_some() || self.wanted_program()?.is_some() {
            // It maps the upper as well, and by one range alone.
            return Ok(maps.is_contiguous());
        }
        if !rustix::process::geteuid().is_root() {
            return Ok(false);
        }
        match self.recall(FEATURE) {
            Some(answer) => Ok(answer == Answer::Yes),
            None => {
                self.ready()?;
                // A program may have been chosen just now.
                if self.program().is_some() { Ok(maps.is_contiguous()) } else { self.maps_lowers() }
            }
        }
    }

    /// The maps of a mount's lowers, where the mount asks for some and the kernel maps (GET-33).
    pub(super) fn owners_below(&self, maps: &IdMaps) -> Result<Option<OwnedFd>> {
        let both = !maps.uids.is_empty() && !maps.gids.is_empty();
        if self.program().is_some() || !both || !self.shifts(maps)? {
            return Ok(None);
        }
        user_namespace(maps).map(Some)
    }

    /// Shows what the lowers are in with the owners of `places`, and leads the lowers there (GET-35): one mount for each home in place of
    /// one for each layer, so that the kernel is told short names, and one for each layer of an additional layer store. What the layer
    /// itself has in `diff` keeps its owners (GET-36), also where it is the first of the lowers; the images of composefs layers are
    /// mapped already, and of what only holds data nobody sees the owners.
    pub(super) fn map_plan(
        &self,
        layer: &LayerDir,
        plan: &mut Plan,
        places: &mut Places,
    ) -> Result<()> {
        let Some(owners) = places.take_owners() else { return Ok(()) };
        let dir = places.dir()?.to_path_buf();
        let read_only = plan.upper.is_none();
        let own = plan.upper.iter_mut().flat_map(|u| [&mut u.diff, &mut u.work]);
        let (kept, below) = plan.lowers.split_at_mut(usize::from(read_only));
        for side in own.chain(kept).chain(&mut plan.data) {
            side.short.clone_from(&side.absolute);
        }
        let mut show = |source: &Path| {
            let tree = mapped_clone(source, owners.as_fd());
            places.put(&tree.map_err(|e| unmappable(source, e, &layer.id))?)
        };
        let mut homes: Vec<(&Path, PathBuf)> = Vec::new();
        for lower in below {
            if lower.absolute.starts_with(&dir) {
                *lower = Lower::at(lower.absolute.clone(), &dir);
            } else if lower.absolute.is_symlink() {
                // A layer of an additional layer store is a link there, which was looked at before.
                let real = lower.absolute.canonicalize();
                let real = real.map_err(|e| Error::io("examining", &lower.absolute, e))?;
                *lower = Lower::at(show(&real)?, &dir);
            } else if let Some((home, _)) =
                self.homes().find(|(home, _)| lower.absolute.starts_with(home))
            {
                let place = match homes.iter().find(|(shown, _)| *shown == home) {
                    Some((_, place)) => place.clone(),
                    None => {
                        let place = show(home)?;
                        homes.push((home, place.clone()));
                        place
                    }
                };
                *lower = lower.led(home, &place, &dir);
            }
        }
        plan.home = dir;
        Ok(())
    }

    /// Detaches what upstream leaves in the layer's directories when it is killed while it mounts the layer (GET-37).
    pub(super) fn clear_parts(&self, layer: &LayerDir) -> Result<()> {
        let merged = self.merged(layer);
        PARTS.iter().try_for_each(|name| detach_in(&merged.with_file_name(name)))
    }
}

/// Unmounts what is mounted at the entries of `dir`.
fn detach_in(dir: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(e) => return Err(Error::io("listing", dir, e)),
        Ok(entries) => entries,
    };
    for entry in entries {
        let path = entry.map_err(|e| Error::io("listing", dir, e))?.path();
        while is_mount_point(&path)? {
            detach(&path).map_err(|e| Error::io("unmounting", &path, e))?;
        }
    }
    Ok(())
}

/// The error for a directory or an image whose owners the kernel does not map.
pub(super) fn unmappable(source: &Path, e: io::Error, layer: &LayerId) -> Error {
    let lacks = match e.raw_os_error() {
        Some(libc::EINVAL) => {
            "its file system maps no owners on this kernel: EROFS does from Linux 5.19, file systems in user space from 6.12"
        }
        Some(libc::ENOSYS) => "Linux 5.12 maps owners",
        Some(libc::EPERM) => "CAP_SYS_ADMIN where that file system was mounted is needed",
        _ => "look into the kernel's log",
    };
    Error::io("mapping the owners of", source, e)
        .id(layer.as_str())
        .detail(lacks)
        .hint("set disable_idmap=true, so that layers are copied with other owners")
}

impl Lower {
    /// What stands at `place`, whose short name will be seen from `dir`.
    fn at(place: PathBuf, dir: &Path) -> Self {
        Self { short: place.strip_prefix(dir).unwrap_or(&place).to_path_buf(), absolute: place }
    }

    /// What this is where `home` is seen at `place`, whose short name will be seen from `dir`.
    fn led(&self, home: &Path, place: &Path, dir: &Path) -> Self {
        let name = place.strip_prefix(dir).unwrap_or(place);
        let lead = |path: &Path| name.join(path.strip_prefix(home).unwrap_or(path));
        Self { absolute: dir.join(lead(&self.absolute)), short: lead(&self.short) }
    }
}
