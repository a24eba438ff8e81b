//! The home: what must be there before the first writing operation, and what is let go at the end (`overlay-driver.md` 4).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::chain::list_layers;
use super::layout::{self, DirLook};
use super::probe::{Answer, is_unhindered};
use super::program::usual_program;
use super::{Overlay, detect, shift, traces};
use crate::driver::file_systems::NETWORK;
use crate::sys::mount::{
    NewOverlay, bind_private, detach, fs_magic, is_mount_point, mounts_below, real_path,
};
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

/// The mode of everything on such a file system, where a program mounts (4.1).
const NETWORK_MASK: u32 = 0o700;

impl Overlay {
    /// Whether this kernel or a program, this user and this file system serve, without touching the disk.
    pub(super) fn check_host(&self) -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Err(self
                .unfit(
                    ErrorKind::NotSupported,
                    "without root, overlay works in a user namespace only",
                )
                .hint("run it within `podman unshare`, or set driver = \"vfs\" in storage.conf"));
        }
        if self.wanted_program()?.is_some() {
            return Ok(());
        }
        match self.check_kernel() {
            Err(e) if self.may_fall_back(&e)? && usual_program().is_some() => Ok(()),
            done => done,
        }
    }

    fn unfit(&self, kind: ErrorKind, why: impl Into<String>) -> Error {
        Error::new(kind, format!("using overlay at {:?}", self.home)).path(&self.home).detail(why)
    }

    /// Whether the kernel's overlay may be tried here.
    fn check_kernel(&self) -> Result<()> {
        match self.begin_overlay() {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {
                return Err(self
                    .unfit(
                        ErrorKind::NotSupported,
                        "'overlay' not found as a supported filesystem on this host",
                    )
                    .hint("load the kernel module overlay"));
            }
            // In a user namespace without a mount namespace of its own, too.
            Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
                return Err(self
                    .unfit(ErrorKind::NotSupported, "mounting is not permitted")
                    .caused_by(e)
                    .hint(
                        "run with CAP_SYS_ADMIN, within `podman unshare`, or set driver = \"vfs\" in storage.conf",
                    ));
            }
            _ => {}
        }
        let Some(magic) = self.backing_magic() else { return Ok(()) };
        let named = |table: &[(u64, &'static str)]| {
            table.iter().find(|(m, _)| *m == magic).map(|(_, name)| *name)
        };
        if let Some(name) = named(&REFUSED) {
            return Err(self.unfit(
                ErrorKind::IncompatibleFs,
                format!("'overlay' is not supported over {name}, a mount_program is required"),
            ));
        }
        if self.rootless
            && let Some(name) = named(&NETWORK)
        {
            return Err(self.unfit(
                ErrorKind::IncompatibleFs,
                format!("{name}, a network file system, does not serve in a user namespace: a mount_program is required"),
            ));
        }
        Ok(())
    }

    /// Whether a program may take the kernel's place because of this error: it is a verdict on what the kernel can do here, and not on
    /// what this process may, and the home has no layers yet. Layers that the kernel has mounted are not handed over without a word
    /// (DEF-7, INI-12).
    fn may_fall_back(&self, error: &Error) -> Result<bool> {
        let verdict = matches!(error.kind(), ErrorKind::NotSupported | ErrorKind::IncompatibleFs)
            && error.raw_os_error() != Some(libc::EPERM);
        Ok(verdict && is_unhindered() && list_layers(&self.home)?.is_empty())
    }

    /// Who mounts this home's layers, with what is written down about it.
    fn choose_mounter(&self) -> Result<Option<PathBuf>> {
        if !self.rules.shape().programs {
            return self.check_kernel().and_then(|()| self.check_overlay()).map(|()| None);
        }
        let flag = layout::read_mount_program_flag(&self.home)?;
        let mut program = self.wanted_program()?;
        if program.is_none()
            && flag.is_none()
            && let Some(trace) = traces::of_program(&self.home)?
        {
            tracing::warn!(path = ?trace, "the layers belong to a mount program, as this shows");
            layout::write_mount_program_flag(&self.home, true)?;
            program = Some(self.needed_program()?);
        }
        if program.is_none() {
            let native = self.check_kernel().and_then(|()| self.check_overlay());
            program = match native {
                Ok(()) => None,
                Err(e) if self.may_fall_back(&e)? => match usual_program() {
                    Some(found) => {
                        tracing::warn!(program = ?found, reason = %e, "a program mounts in the kernel's place");
                        Some(found)
                    }
                    None => {
                        return Err(e.hint(
                            "install fuse-overlayfs, which mounts where the kernel does not",
                        ));
                    }
                },
                Err(e) => return Err(e),
            };
        }
        if flag != Some(program.is_some()) {
            layout::write_mount_program_flag(&self.home, program.is_some())?;
        }
        Ok(program)
    }

    /// The mode of everything on disk: the configured one, or that of a network file system, where only a program serves.
    pub(super) fn force_mask(&self) -> Option<u32> {
        let forced = || {
            let magic = self.backing_magic()?;
            let name = NETWORK.iter().find(|(m, _)| *m == magic).map(|(_, name)| *name)?;
            tracing::warn!(
                "layers are kept on {name}, a network file system, as with force_mask = \"{NETWORK_MASK:o}\"; set it in storage.conf"
            );
            Some(NETWORK_MASK)
        };
        self.options
            .force_mask
            .or_else(|| if self.rootless && self.program().is_some() { forced() } else { None })
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
    pub(super) fn backing_magic(&self) -> Option<u64> {
        // A foreign home may be a mount of somebody's; today's is one of the driver's own.
        let place = match self.rules.shape().private_home {
            true => self.home.parent()?,
            false => &self.home,
        };
        place.ancestors().find_map(|dir| fs_magic(dir).ok())
    }

    pub(super) fn backing_name(&self) -> &'static str {
        let Some(magic) = self.backing_magic() else { return "<unknown>" };
        REFUSED.iter().chain(&NAMED).find(|(m, _)| *m == magic).map_or("<unknown>", |(_, n)| n)
    }

    /// Leaves no directory in a home whose engine has none of that kind.
    pub(super) fn tidy_temp_dirs(&self) {
        if self.rules.shape().keeps_temp_dirs {
            return;
        }
        let dir = self.home.join(layout::TEMP_DIRS);
        if let Err(e) = std::fs::remove_dir(&dir) {
            tracing::debug!(path = ?dir, error = %e, "the directory of temp dirs stays");
        }
    }

    /// Whether the home is made a private mount.
    fn mounts_home(&self) -> bool {
        self.rules.shape().private_home && !self.options.skip_mount_home
    }

    /// Refuses to write in the layout of the home as it was opened, if it was migrated to another one since.
    fn check_not_migrated(&self) -> Result<()> {
        let own = self.rules.dialect();
        if !self.rules.shape().may_be_migrated || detect(&self.home)?.is_none_or(|now| now == own) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Busy, format!("writing to {:?}", self.home))
            .path(&self.home)
            .detail("its layers were migrated to another layout since it was opened")
            .hint("open the store anew, or run the command again"))
    }

    /// Makes the home ready, and private again if another process's shutdown has let its mount go.
    pub(super) fn ready_again(&self) -> Result<()> {
        self.check_not_migrated()?;
        self.ready()?;
        if self.mounts_home() { bind_private(&self.home) } else { Ok(()) }
    }

    /// Makes the home ready, once.
    pub(super) fn ready(&self) -> Result<()> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if *prepared {
            return Ok(());
        }
        self.check_host()?;
        let shape = self.rules.shape();
        let new = layout::ensure_dir(&self.home, DirLook::root(shape.home_mode), 0o700)?;
        self.check_default_limits().inspect_err(|_| {
            if new {
                self.unmake();
            }
        })?;
        self.stop_inheriting_projects()?;
        for home in [&self.home].into_iter().chain(&self.image_home) {
            if let Some(mode) = shape.links_mode {
                layout::ensure_own_dir(&home.join(layout::LINKS), DirLook::root(mode))?;
            }
        }
        layout::ensure_dir(&self.run, DirLook::root(0o700), 0o700)?;
        let program = self.choose_mounter().inspect_err(|_| {
            if new {
                self.unmake();
            }
        })?;
        // Set before, after another process's shutdown: a home does not change hands meanwhile.
        let _ = self.mounter.set(program);
        if self.mounts_home() {
            bind_private(&self.home)?;
        }
        self.tidy_temp_dirs();
        *prepared = true;
        Ok(())
    }

    /// Takes back the directories of a home that turned out not to serve (INI-11), as far as they are empty.
    fn unmake(&self) {
        let node = self.home.join(layout::BACKING_DEVICE);
        if let Err(e) = std::fs::remove_file(&node) {
            tracing::debug!(path = ?node, error = %e, "an unusable home has no node to take back");
        }
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
        self.tidy_temp_dirs();
        if !self.mounts_home() || !is_self_bind(&self.home)? {
            return Ok(());
        }
        if self.prune_partials() {
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

    /// REM-11. What cannot be told without a probe that fails is told as `false`.
    pub(super) fn status_rows(&self) -> Vec<(String, String)> {
        let usable = self.ready();
        let row = |name: &str, value: String| (name.to_owned(), value);
        // Where nothing can be probed, as on a read-only medium, the cache may still know.
        let ask = |feature: &str, probe: &dyn Fn() -> Result<bool>| {
            let answer = match &usable {
                // A program tells the types, maps ids itself, and needs no notes of the kernel's (4.1, MAP-7).
                Ok(()) if self.program().is_some() => {
                    ["overlay", shift::FEATURE, "volatile"].contains(&feature)
                }
                Ok(()) => probe().unwrap_or(false),
                Err(_) => self.recall(feature) == Some(Answer::Yes),
            };
            answer.to_string()
        };
        let words = &self.options.mountopt;
        let no = || "false".to_owned();
        let shifting = match self.options.disable_idmap {
            true => no(),
            false => ask(shift::FEATURE, &|| self.shifts(&IdMaps::default())),
        };
        // As in Go, which compares trees in such a store (4.5).
        let native = match self.options.use_composefs {
            true => no(),
            false => ask(&format!("native-diff({words})"), &|| self.native_diff()),
        };
        self.rules.status(vec![
            row("Backing Filesystem", self.backing_name().to_owned()),
            row("Supports d_type", ask("overlay", &|| self.check_overlay().map(|()| true))),
            row("Native Overlay Diff", native),
            row("Using metacopy", ask(&format!("metacopy({words})"), &|| self.using_metacopy())),
            row("Supports shifting", shifting),
            row("Supports volatile", ask("volatile", &|| self.supports_volatile())),
        ])
    }
}

pub(super) fn may_mount() -> bool {
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
