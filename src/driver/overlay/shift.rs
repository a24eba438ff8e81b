//! Lower layers seen with mapped owners while an overlay is mounted on them (`overlay-driver.md` 4.6, 6.6, MAP-7).

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::Overlay;
use super::chain::LayerDir;
use super::layout::{self, DirLook};
use super::mount::{Lower, Plan};
use super::probe::Answer;
use crate::sys::idmapped::IdMappedMount;
use crate::sys::mount::{detach, is_mount_point};
use crate::sys::userns::user_namespace;
use crate::{Error, IdMaps, Result};

/// The probe's name among what is remembered.
pub(super) const FEATURE: &str = "idmapped-lower-dir";

/// The homes of a mount's lower layers, each at `mapped/<n>` with mapped owners. The overlay that is mounted upon them keeps what it
/// needs: they go when this is dropped.
pub(super) struct Mapped {
    dir: PathBuf,
    homes: Vec<(PathBuf, IdMappedMount)>,
}

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

    /// Where the homes of a layer's lowers are seen while it is mounted.
    fn mapped_dir(&self, layer: &LayerDir) -> PathBuf {
        self.merged(layer).with_file_name("mapped")
    }

    /// Shows the homes of the lowers with the owners that `maps` give, and leads the lowers there (GET-35): one mount for each home in
    /// place of one for each layer, so that the kernel is told short names. What the layer itself has in `diff` keeps its owners
    /// (GET-36), also where it is the first of the lowers.
    pub(super) fn map_plan(
        &self,
        layer: &LayerDir,
        maps: &IdMaps,
        read_only: bool,
        plan: &mut Plan,
    ) -> Result<Mapped> {
        self.clear_mapped(layer)?;
        let dir = self.mapped_dir(layer);
        layout::ensure_own_dir(&dir, DirLook::root(0o700))?;
        let namespace = user_namespace(maps)?;
        let mut mapped = Mapped { dir, homes: Vec::new() };
        plan.home.clone_from(&mapped.dir);
        let own = plan.upper.iter_mut().flat_map(|u| [&mut u.diff, &mut u.work]);
        let (kept, below) = plan.lowers.split_at_mut(usize::from(read_only));
        for side in own.chain(kept) {
            side.short.clone_from(&side.absolute);
        }
        for lower in below {
            let Some((home, _)) = self.homes().find(|(home, _)| lower.absolute.starts_with(home))
            else {
                continue;
            };
            let n = match mapped.homes.iter().position(|(seen, _)| seen == home) {
                Some(n) => n,
                None => {
                    let target = mapped.dir.join(mapped.homes.len().to_string());
                    layout::ensure_own_dir(&target, DirLook::root(0o700))?;
                    let mount =
                        IdMappedMount::attach(home, &target, namespace.as_fd()).map_err(|e| {
                            Error::io("mapping the owners of", home, e).id(layer.id.as_str())
                        })?;
                    mapped.homes.push((home.to_path_buf(), mount));
                    mapped.homes.len() - 1
                }
            };
            lower.lead_to(home, Path::new(&n.to_string()), &mapped.dir);
        }
        Ok(mapped)
    }

    /// Detaches what a process that was killed while it mounted the layer has left (GET-37).
    pub(super) fn clear_mapped(&self, layer: &LayerDir) -> Result<()> {
        let dir = self.mapped_dir(layer);
        let entries = match std::fs::read_dir(&dir) {
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return Ok(());
            }
            Err(e) => return Err(Error::io("listing", &dir, e)),
            Ok(entries) => entries,
        };
        for entry in entries {
            let path = entry.map_err(|e| Error::io("listing", &dir, e))?.path();
            while is_mount_point(&path)? {
                detach(&path).map_err(|e| Error::io("unmounting", &path, e))?;
            }
        }
        Ok(())
    }
}

impl Lower {
    /// Leads from `home` to its other place, `name` in `dir`; `dir` is where the short name will be seen from.
    fn lead_to(&mut self, home: &Path, name: &Path, dir: &Path) {
        let lead = |path: &Path| name.join(path.strip_prefix(home).unwrap_or(path));
        self.absolute = dir.join(lead(&self.absolute));
        self.short = lead(&self.short);
    }
}
