//! The home: what must be there before the first writing operation, and what is let go at the end (`overlay-driver.md` 4).

use std::io;
use std::path::Path;
use std::sync::PoisonError;

use super::layout::{self, DirLook};
use super::probe::Answer;
use super::{Overlay, shift};
use crate::sys::lock::{LockAccess, LockFile};
use crate::sys::mount::{
    NewOverlay, bind_private, detach, fs_magic, is_mount_point, mounts_below, real_path,
};
use crate::sys::remove::remove_tree;
use crate::{Error, ErrorKind, IdMaps, Result};

/// File systems on which the kernel's overlay does not work.
const REFUSED: [(u64, &str); 3] =
    [(0x6175_6673, "aufs"), (0x794c_7630, "overlayfs"), (0xf15f, "ecryptfs")];

/// Names of other file systems, for `status`.
const NAMED: [(u64, &str); 9] = [
    (0x9123_683e, "btrfs"),
    (0xef53, "extfs"),
    (0x5846_5342, "xfs"),
    (0x0102_1994, "tmpfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0xe0f5_e1e2, "erofs"),
    (0x7371_7368, "squashfs"),
    (0x6573_5546, "fuse"),
];

impl Overlay {
    /// Whether this kernel, user and file system serve, without touching the disk.
    pub(super) fn check_host(&self) -> Result<()> {
        let unfit = |kind, why: String| {
            Error::new(kind, format!("using overlay at {:?}", self.home))
                .path(&self.home)
                .detail(why)
        };
        if !rustix::process::geteuid().is_root() {
            return Err(unfit(
                ErrorKind::NotSupported,
                "overlay without root is not yet supported".to_owned(),
            )
            .hint("run as root, or set driver = \"vfs\" in storage.conf"));
        }
        match self.begin_overlay() {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {
                return Err(unfit(
                    ErrorKind::NotSupported,
                    "'overlay' not found as a supported filesystem on this host".to_owned(),
                )
                .hint("load the kernel module overlay"));
            }
            // In a user namespace fsopen works and trusted xattrs do not; without the right to mount, it fails.
            Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
                return Err(unfit(ErrorKind::NotSupported, "mounting is not permitted".to_owned())
                    .caused_by(e)
                    .hint("run with CAP_SYS_ADMIN, or set driver = \"vfs\" in storage.conf"));
            }
            _ => {}
        }
        if crate::driver::in_user_namespace() {
            return Err(unfit(
                ErrorKind::NotSupported,
                "overlay in a user namespace is not yet supported".to_owned(),
            )
            .hint("set driver = \"vfs\" in storage.conf"));
        }
        if let Some(magic) = self.backing_magic()
            && let Some((_, name)) = REFUSED.iter().find(|(m, _)| *m == magic)
        {
            return Err(unfit(
                ErrorKind::IncompatibleFs,
                format!("'overlay' is not supported over {name}, a mount_program is required"),
            ));
        }
        match layout::read_mount_program_flag(&self.home)? {
            Some(true) => {
                let flag = self.home.join(layout::MOUNT_PROGRAM_FLAG);
                Err(Error::new(ErrorKind::NotSupported, format!("using overlay at {:?}", self.home))
                    .path(&flag)
                    .detail("the layers belong to a mount program (fuse-overlayfs), which is not yet supported"))
            }
            Some(false) | None => Ok(()),
        }
    }

    /// Begins an overlay and lets it go, unless an earlier process found that overlays work and this one may mount: the kernel
    /// takes as long over it as over all else that a short command asks of it.
    fn begin_overlay(&self) -> io::Result<()> {
        if self.recall("overlay") == Some(Answer::Yes) && may_mount() {
            return Ok(());
        }
        NewOverlay::begin().map(drop)
    }

    /// The file system below the home, or below what will be its parent.
    fn backing_magic(&self) -> Option<u64> {
        let parent = self.home.parent()?;
        parent.ancestors().find_map(|dir| fs_magic(dir).ok())
    }

    fn backing_name(&self) -> &'static str {
        let Some(magic) = self.backing_magic() else { return "<unknown>" };
        REFUSED.iter().chain(&NAMED).find(|(m, _)| *m == magic).map_or("<unknown>", |(_, n)| n)
    }

    /// Makes the home ready, and private again if another process's shutdown has let its mount go.
    pub(super) fn ready_again(&self) -> Result<()> {
        self.ready()?;
        if self.options.skip_mount_home { Ok(()) } else { bind_private(&self.home) }
    }

    /// Makes the home ready, once.
    pub(super) fn ready(&self) -> Result<()> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if *prepared {
            return Ok(());
        }
        self.options.check_served()?;
        self.check_host()?;
        let (open, private) = (DirLook::root(0o755), DirLook::root(0o700));
        let new = layout::ensure_dir(&self.home, open, 0o700)?;
        layout::ensure_own_dir(&self.home.join(layout::LINKS), open)?;
        if let Some(home) = &self.image_home {
            layout::ensure_own_dir(&home.join(layout::LINKS), open)?;
        }
        layout::ensure_dir(&self.run, private, 0o700)?;
        let checked = self.check_overlay();
        if let Err(e) = checked {
            if new {
                self.unmake();
            }
            return Err(e);
        }
        if new {
            let flag = self.home.join(layout::MOUNT_PROGRAM_FLAG);
            match layout::write_new(&flag, 0o600, b"false") {
                Err(e) if e.os_error() == Some(io::ErrorKind::AlreadyExists) => {}
                done => done?,
            }
        }
        if !self.options.skip_mount_home {
            bind_private(&self.home)?;
        }
        *prepared = true;
        Ok(())
    }

    /// Takes back the directories of a home that turned out not to serve (INI-11), as far as they are empty.
    fn unmake(&self) {
        let made = [layout::LINKS, layout::TEMP_DIRS].map(|name| self.home.join(name));
        for dir in made.iter().chain([&self.home]) {
            if let Err(e) = std::fs::remove_dir(dir) {
                tracing::debug!(path = ?dir, error = %e, "leaving a directory of an unusable home");
            }
        }
    }

    /// Lets the private mount of the home go (REM-6), unless it carries mounts, or partial pulls are at work.
    pub(super) fn release_home(&self) -> Result<()> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if self.options.skip_mount_home || !is_self_bind(&self.home)? {
            return Ok(());
        }
        if self.prune_staging() {
            tracing::debug!("a partial pull is staged; the home stays mounted");
            return Ok(());
        }
        let home = real_path(&self.home)?;
        if mounts_below(&self.home)?.iter().any(|m| Some(m) != home.as_ref()) {
            tracing::debug!("layers are mounted; the home stays mounted");
            return Ok(());
        }
        match detach(&self.home) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => {}
            done => done.map_err(|e| Error::io("unmounting", &self.home, e))?,
        }
        *prepared = false;
        Ok(())
    }

    /// Removes the staged partial pulls whose owner is gone, as its lock tells, and says whether any stays.
    fn prune_staging(&self) -> bool {
        let staging = self.image_layer_home().join(layout::STAGING);
        let mut stays = false;
        for entry in std::fs::read_dir(&staging).into_iter().flatten().flatten() {
            let dir = entry.path();
            let lock = LockFile::open(&dir.join("staging.lock"), LockAccess::ReadWrite);
            let removed = match lock.and_then(|lock| lock.try_write()) {
                Ok(Some(_held)) => remove_tree(&dir),
                Ok(None) => {
                    stays = true;
                    continue;
                }
                Err(e) => Err(e),
            };
            if let Err(e) = removed {
                tracing::warn!(path = ?dir, error = %e, "removing a stale partial pull");
                stays = true;
            }
        }
        stays
    }

    /// REM-11. What cannot be told without a probe that fails is told as `false`.
    pub(super) fn status_rows(&self) -> Vec<(String, String)> {
        let usable = self.ready();
        let row = |name: &str, value: String| (name.to_owned(), value);
        // Where nothing can be probed, as on a read-only medium, the cache may still know.
        let ask = |feature: &str, probe: &dyn Fn() -> Result<bool>| {
            let answer = match &usable {
                Ok(()) => probe().unwrap_or(false),
                Err(_) => self.recall(feature) == Some(Answer::Yes),
            };
            answer.to_string()
        };
        let words = &self.options.mountopt;
        let shifting = match self.options.disable_idmap {
            true => "false".to_owned(),
            false => ask(shift::FEATURE, &|| self.shifts(&IdMaps::default())),
        };
        vec![
            row("Backing Filesystem", self.backing_name().to_owned()),
            row("Supports d_type", ask("overlay", &|| self.check_overlay().map(|()| true))),
            row(
                "Native Overlay Diff",
                ask(&format!("native-diff({words})"), &|| self.native_diff()),
            ),
            row("Using metacopy", ask(&format!("metacopy({words})"), &|| self.using_metacopy())),
            row("Supports shifting", shifting),
            row("Supports volatile", ask("volatile", &|| self.supports_volatile())),
        ]
    }
}

fn may_mount() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Whether `path` is a mount of itself: of the file system that its parent lies on, too.
fn is_self_bind(path: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    if !is_mount_point(path)? {
        return Ok(false);
    }
    let device = |p: &Path| p.symlink_metadata().map(|m| m.dev()).ok();
    Ok(path.parent().and_then(device) == device(path))
}
