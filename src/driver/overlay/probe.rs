//! What this kernel and file system can do, found out when it is first asked, and remembered in the run home under the names
//! that other versions use (`overlay-driver.md` 2.3, 4.3 to 4.6; DEF-17).

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, XattrFlags};

use super::layout::{self, DirLook, ensure_dir, make_dir};
use super::mount::{Lower, Plan, Upper};
use super::places::unmount_stale;
use super::{Overlay, shift};
use crate::sys::idmapped::mapped_clone;
use crate::sys::mount::{attach, detach};
use crate::sys::tempdir::TempDir;
use crate::sys::userns::user_namespace;
use crate::sys::{atomic, regular};
use crate::{Error, ErrorKind, IdMap, IdMaps, Result};

/// An answer that may be remembered: yes, or no and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No(String),
}

/// The word by which files are copied up without their data.
pub(super) const METACOPY: &str = "metacopy=on";

impl Overlay {
    /// Whether directories tell their entries' types, and overlays of two lowers can be mounted.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] or [`ErrorKind::IncompatibleFs`] if not; the class is kept in the cache (ADD-5).
    pub(super) fn check_overlay(&self) -> Result<()> {
        const PREFIX: &str = "kernel does not support overlay fs: ";
        match self.remembered("overlay", true, |scratch| {
            let mut answer = probe_overlay(scratch)?;
            // Where the kernel lacks room or memory for its work it mounts read-only: only what repeats itself is its verdict.
            if answer != Answer::Yes {
                answer = probe_overlay(&Scratch::new(&self.home, self.xattr_prefix)?)?;
            }
            Ok(match answer {
                Answer::No(why) => Answer::No(format!("{PREFIX}{why}")),
                yes => yes,
            })
        })? {
            Answer::Yes => Ok(()),
            Answer::No(why) => {
                let kind = match why.contains("is not supported over") {
                    true => ErrorKind::IncompatibleFs,
                    false => ErrorKind::NotSupported,
                };
                Err(Error::new(kind, format!("probing overlay at {:?}", self.home))
                    .path(&self.home)
                    .detail(why)
                    .hint(format!("remove {:?} to probe again", self.run.join("overlay-false"))))
            }
        }
    }

    /// Whether files whose metadata alone change are copied without their data, with the configured mount words (4.4).
    pub(super) fn using_metacopy(&self) -> Result<bool> {
        let feature = format!("metacopy({})", self.options.mountopt);
        let answer = self.remembered(&feature, false, |s| self.probe_metacopy(s))?;
        Ok(answer == Answer::Yes)
    }

    /// Whether a layer's changes can be read from its own content (4.5).
    pub(super) fn native_diff(&self) -> Result<bool> {
        let feature = format!("native-diff({})", self.options.mountopt);
        let answer = self.remembered(&feature, true, |s| {
            let mut words = self.probe_words();
            // Mounts leave it out where the kernel does not do it, as without root: then it must not decide here.
            if words.iter().any(|w| w == METACOPY) && !self.using_metacopy()? {
                words.retain(|w| w != METACOPY);
            }
            self.probe_native_diff(s, &words)
        })?;
        Ok(answer == Answer::Yes)
    }

    /// Whether the kernel knows `volatile` (4.6). A no is not remembered.
    pub(super) fn supports_volatile(&self) -> Result<bool> {
        if self.recall("volatile") == Some(Answer::Yes) {
            return Ok(true);
        }
        if self.program().is_some() {
            return Ok(true);
        }
        let scratch = Scratch::new(&self.home, self.xattr_prefix)?;
        let supported = scratch.dirs(&["lower", "upper", "work", "merged"], 0o755).and_then(
            |()| match scratch.mount(&["lower"], "upper", &["volatile".to_owned()]) {
                Ok(()) => Ok(true),
                Err(e) if is_verdict(&e) => Ok(false),
                Err(e) => Err(e),
            },
        )?;
        if supported {
            self.remember("volatile", &Answer::Yes, false);
        }
        Ok(supported)
    }

    /// Whether a lower can be there for its data alone, which the mounted tree does not show (4.6; Linux 6.5).
    pub(super) fn supports_data_only(&self) -> Result<bool> {
        let answer = self.remembered("dataonly-layers", false, |scratch| {
            scratch.dirs(&["lower", "data", "upper", "work", "merged"], 0o755)?;
            match scratch.mount_over(&["lower"], &["data"], "upper", &["metacopy=on".to_owned()]) {
                Ok(()) => Ok(Answer::Yes),
                Err(e) if is_verdict(&e) => Ok(Answer::No(e.to_string())),
                Err(e) => Err(e),
            }
        })?;
        Ok(answer == Answer::Yes)
    }

    /// Whether an overlay can be mounted on a lower directory whose owners a mount maps (4.6).
    ///
    /// # Errors
    /// When the kernel could not be tried out.
    pub(super) fn maps_lowers(&self) -> Result<bool> {
        let answer = self.remembered(shift::FEATURE, true, probe_mapped_lower)?;
        Ok(answer == Answer::Yes)
    }

    /// The answer in the cache, else the probe's, which then goes there. A probe that fails for a passing reason leaves
    /// nothing.
    fn remembered(
        &self,
        feature: &str,
        with_text: bool,
        probe: impl FnOnce(&Scratch) -> Result<Answer>,
    ) -> Result<Answer> {
        if let Some(answer) = self.recall(feature) {
            return Ok(answer);
        }
        let answer = probe(&Scratch::new(&self.home, self.xattr_prefix)?)?;
        tracing::debug!(feature, ?answer, "probed");
        if answer == Answer::Yes || is_unhindered() {
            self.remember(feature, &answer, with_text);
        }
        Ok(answer)
    }

    /// What the cache says, without probing.
    pub(super) fn recall(&self, feature: &str) -> Option<Answer> {
        let file = |set: bool| self.run.join(format!("{feature}-{set}"));
        if file(true).symlink_metadata().is_ok() {
            return Some(Answer::Yes);
        }
        let text = regular::read("reading what was probed", &file(false)).ok()??;
        Some(Answer::No(String::from_utf8_lossy(&text).into_owned()))
    }

    fn remember(&self, feature: &str, answer: &Answer, with_text: bool) {
        if feature.contains('/') || feature.len() > 240 {
            tracing::debug!(feature, "not remembered: no file can have this name");
            return;
        }
        let (set, text) = match answer {
            Answer::Yes => (true, ""),
            Answer::No(why) => (false, if with_text { why.as_str() } else { "" }),
        };
        let path = self.run.join(format!("{feature}-{set}"));
        let written = ensure_dir(&self.run, DirLook::root(0o700), 0o700)
            .and_then(|_| atomic::replace(&path, text.as_bytes(), 0o644, false));
        if let Err(e) = written {
            tracing::warn!(error = %e, "remembering what was probed");
        }
    }

    fn probe_words(&self) -> Vec<String> {
        self.options.mountopt.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect()
    }

    fn probe_metacopy(&self, scratch: &Scratch) -> Result<Answer> {
        scratch.dirs(&["l1", "l2", "work", "merged"], 0o755)?;
        scratch.file("l1/f", &[0xff], 0o700)?;
        if let Err(e) = scratch.mount(&["l1"], "l2", &self.probe_words()) {
            return if is_verdict(&e) { Ok(Answer::No(e.to_string())) } else { Err(e) };
        }
        let merged = scratch.path("merged/f");
        std::fs::set_permissions(&merged, PermissionsExt::from_mode(0o600))
            .map_err(|e| Error::io("changing the mode of", &merged, e))?;
        Ok(match scratch.overlay_xattr("l2/f", "metacopy")? {
            Some(_) => Answer::Yes,
            None => Answer::No("files are copied with their data".to_owned()),
        })
    }

    fn probe_native_diff(&self, scratch: &Scratch, words: &[String]) -> Result<Answer> {
        const NO: &str = concat!(
            "Not using native diff for overlay, ",
            "this may cause degraded performance for building images: "
        );
        let no = |why: &str| Ok(Answer::No(format!("{NO}{why}")));
        scratch.dirs(&["l1", "l1/d", "l1/d1", "l2", "l2/d", "l3", "work", "merged"], 0o755)?;
        let opaque = scratch.path("l2/d");
        let name = format!("{}opaque", self.xattr_prefix);
        match rustix::fs::lsetxattr(&opaque, &*name, b"y", XattrFlags::empty()) {
            Err(e @ (rustix::io::Errno::NOTSUP | rustix::io::Errno::PERM)) => {
                return no(&format!("failed to set opaque flag on middle layer: {e}"));
            }
            done => done.map_err(|e| Error::io("setting an xattr of", &opaque, e))?,
        }
        if let Err(e) = scratch.mount(&["l2", "l1"], "l3", words) {
            return if is_verdict(&e) {
                no(&format!("failed to mount overlay: {e}"))
            } else {
                Err(e)
            };
        }
        scratch.file("merged/d/f", b"", 0o644)?;
        if scratch.overlay_xattr("l3/d", "opaque")?.as_deref() == Some(b"y") {
            return no(
                "opaque flag erroneously copied up, consider update to kernel 4.8 or later to fix",
            );
        }
        let (from, to) = (scratch.path("merged/d1"), scratch.path("merged/d2"));
        match std::fs::rename(&from, &to) {
            // Without redirect_dir, directories of lower layers are not renamed.
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => return Ok(Answer::Yes),
            done => done.map_err(|e| Error::io("renaming in a test mount", &from, e))?,
        }
        if scratch.overlay_xattr("l3/d2", "redirect")?.as_deref() == Some(b"d1") {
            return no("kernel has CONFIG_OVERLAY_FS_REDIRECT_DIR enabled");
        }
        Ok(Answer::Yes)
    }
}

/// INI-5 to INI-12.
fn probe_overlay(scratch: &Scratch) -> Result<Answer> {
    scratch.dirs(&["merged", "lower1", "lower2", "lower2/subdir", "upper", "work"], 0o700)?;
    scratch.file("lower2/subdir/file", b"", 0o644)?;
    if !tells_types(&scratch.dir)? {
        return Ok(Answer::No(
            "the backing file system does not tell d_type, without which overlay does not work"
                .to_owned(),
        ));
    }
    let whiteout = scratch.path("upper/whiteout");
    match rustix::fs::mknodat(
        rustix::fs::CWD,
        &whiteout,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o600),
        0,
    ) {
        Err(e @ (rustix::io::Errno::PERM | rustix::io::Errno::NOTSUP)) => {
            return Ok(Answer::No(format!("unable to create kernel-style whiteout: {e}")));
        }
        done => done.map_err(|e| Error::io("creating a whiteout at", &whiteout, e))?,
    }
    let Err(e) = scratch.mount(&["lower1", "lower2"], "upper", &[]) else {
        let subdir = scratch.path("merged/subdir");
        return match std::fs::remove_dir_all(&subdir) {
            Ok(()) => Ok(Answer::Yes),
            Err(e) if is_passing(&e) => Err(Error::io("deleting in a test mount", &subdir, e)),
            Err(e) => Ok(Answer::No(format!(
                "kernel returned {e} when we tried to delete an item in the merged directory"
            ))),
        };
    };
    if !is_verdict(&e) {
        return Err(e);
    }
    Ok(Answer::No(format!(
        "'overlay' is not supported over the file system of {:?}: {e}",
        scratch.dir
    )))
}

fn probe_mapped_lower(scratch: &Scratch) -> Result<Answer> {
    const ROOT: IdMap = IdMap { container_id: 0, host_id: 0, size: 1 };
    scratch.dirs(&["merged", "lower", "lower-mapped", "upper", "work"], 0o700)?;
    let verdict = |what: &str, e: Error| match is_verdict(&e) {
        true => Ok(Answer::No(format!("{what}: {e}"))),
        false => Err(e.context(format!("trying out mounts that map ids in {:?}", scratch.dir))),
    };
    let namespace = match user_namespace(&IdMaps::new(&[ROOT], &[ROOT])) {
        Ok(namespace) => namespace,
        Err(e) => return verdict("no user namespace", e),
    };
    let (lower, mapped) = (scratch.path("lower"), scratch.path("lower-mapped"));
    let shown = mapped_clone(&lower, namespace.as_fd()).and_then(|tree| attach(&tree, &mapped));
    if let Err(e) = shown {
        return verdict("no mount that maps ids", Error::io("mapping", &lower, e));
    }
    let made = scratch.mount(&["lower-mapped"], "upper", &[]);
    detach(&mapped).map_err(|e| Error::io("unmounting", &mapped, e))?;
    match made {
        Ok(()) => Ok(Answer::Yes),
        Err(e) => verdict("no overlay on a mount that maps ids", e),
    }
}

fn tells_types(dir: &Path) -> Result<bool> {
    let fd = layout::open_dir(dir)?;
    let entries = rustix::fs::Dir::read_from(&fd).map_err(|e| Error::io("listing", dir, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("listing", dir, e))?;
        if entry.file_type() == FileType::Unknown {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a refusal is the kernel's word on what it can do, and not on what this process may: that would be remembered for others.
pub(super) fn is_unhindered() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::MKNOD;
    capabilities(None).is_ok_and(|held| held.effective.contains(needed))
}

/// Whether deleting failed for want of room or of a sound disk: no word of the kernel's on what overlay can do.
fn is_passing(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EINTR | libc::ENOMEM)
    )
}

/// Whether a failed mount is the kernel's verdict on what was asked, rather than a passing want of memory, room or files.
fn is_verdict(e: &Error) -> bool {
    let errno = std::error::Error::source(e)
        .and_then(|s| s.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    matches!(
        errno,
        Some(
            libc::EINVAL
                | libc::ENODEV
                | libc::EPERM
                | libc::EACCES
                | libc::EOPNOTSUPP
                | libc::ENOSYS
        )
    )
}

/// A probe's directory, in a temp dir of the home; gone, with its mount, when it is dropped or, after a crash, with the next recovery.
pub(super) struct Scratch {
    dir: PathBuf,
    xattr_prefix: &'static str,
    _temp: TempDir,
}

impl Scratch {
    fn new(home: &Path, xattr_prefix: &'static str) -> Result<Self> {
        let root = home.join(layout::TEMP_DIRS);
        unmount_stale(&root);
        let mut temp = TempDir::create(&root)?;
        let dir = temp.addition();
        make_dir(&dir, DirLook::root(0o700))?;
        Ok(Self { dir, xattr_prefix, _temp: temp })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn dirs(&self, names: &[&str], mode: u32) -> Result<()> {
        names.iter().try_for_each(|n| make_dir(&self.path(n), DirLook::root(mode)).map(drop))
    }

    fn file(&self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        layout::write_new(&self.path(name), mode, bytes)
    }

    /// Mounts as the driver does, with its xattrs (GET-20, INI-9).
    fn mount(&self, lowers: &[&str], upper: &str, words: &[String]) -> Result<()> {
        self.mount_over(lowers, &[], upper, words)
    }

    fn mount_over(
        &self,
        lowers: &[&str],
        data: &[&str],
        upper: &str,
        words: &[String],
    ) -> Result<()> {
        let userxattr = (self.xattr_prefix == super::USER_XATTRS).then(|| "userxattr".to_owned());
        let name = |name: &str| Lower { absolute: self.path(name), short: name.into() };
        Plan {
            home: self.dir.clone(),
            target: self.path("merged"),
            lowers: lowers.iter().map(|l| name(l)).collect(),
            data: data.iter().map(|l| name(l)).collect(),
            upper: Some(Upper { diff: name(upper), work: name("work") }),
            words: words.iter().cloned().chain(userxattr).collect(),
            label: String::new(),
        }
        .mount()
    }

    /// An xattr of overlay's on a file of the upper directory.
    fn overlay_xattr(&self, name: &str, xattr: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(name);
        let mut buffer = [0u8; 512];
        match rustix::fs::lgetxattr(&path, format!("{}{xattr}", self.xattr_prefix), &mut buffer) {
            Ok(n) => Ok(buffer.get(..n).map(<[u8]>::to_vec)),
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
            Err(e) => Err(Error::io("reading an xattr of", path, e)),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Before the home becomes a mount of itself; the temp dir goes then, or with the next recovery.
        let _ = detach(&self.path("merged"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_nothing_of_overlay() {
        // INI-6; with a full disk: `tests::items`
        for (errno, passing) in [(libc::ENOSPC, true), (libc::EIO, true), (libc::EPERM, false)] {
            assert_eq!(is_passing(&io::Error::from_raw_os_error(errno)), passing, "{errno}");
        }
    }

    #[test]
    fn passing_failures_are_no_verdict() {
        // DEF-17, DEF-7
        let refusal = |errno| Error::io("mounting", "/x", io::Error::from_raw_os_error(errno));
        for errno in [libc::EINVAL, libc::ENODEV, libc::EPERM, libc::EOPNOTSUPP] {
            assert!(is_verdict(&refusal(errno)), "{errno}");
        }
        for errno in [
            libc::ENOSPC,
            libc::ENOMEM,
            libc::EMFILE,
            libc::EIO,
            libc::EBUSY,
            libc::EINTR,
            libc::ENOENT,
        ] {
            assert!(!is_verdict(&refusal(errno)), "{errno}");
        }
    }
}
