//! Mount words: which are flags of `mount(2)`, which attributes of a mount, which overlay's own (GET-22, MNT-4).

use rustix::mount::{MountAttrFlags, MountFlags};

use crate::sys::mount::NewOverlay;
use crate::{Error, ErrorKind, Result};

/// A mount's words, taken apart; a later word overrides an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// For `mount(2)`.
    pub(super) flags: MountFlags,
    /// What is overlay's own, in order.
    pub(super) data: Vec<String>,
}

/// Word, whether it clears the flag, and the flag.
const FLAGS: [(&str, bool, MountFlags); 23] = [
    ("ro", false, MountFlags::RDONLY),
    ("rw", true, MountFlags::RDONLY),
    ("suid", true, MountFlags::NOSUID),
    ("nosuid", false, MountFlags::NOSUID),
    ("dev", true, MountFlags::NODEV),
    ("nodev", false, MountFlags::NODEV),
    ("exec", true, MountFlags::NOEXEC),
    ("noexec", false, MountFlags::NOEXEC),
    ("sync", false, MountFlags::SYNCHRONOUS),
    ("async", true, MountFlags::SYNCHRONOUS),
    ("dirsync", false, MountFlags::DIRSYNC),
    ("mand", false, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("nomand", true, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("atime", true, MountFlags::NOATIME),
    ("noatime", false, MountFlags::NOATIME),
    ("diratime", true, MountFlags::NODIRATIME),
    ("nodiratime", false, MountFlags::NODIRATIME),
    ("relatime", false, MountFlags::RELATIME),
    ("norelatime", true, MountFlags::RELATIME),
    ("strictatime", false, MountFlags::STRICTATIME),
    ("nostrictatime", true, MountFlags::STRICTATIME),
    ("symfollow", true, MountFlags::NOSYMFOLLOW),
    ("nosymfollow", false, MountFlags::NOSYMFOLLOW),
];

/// Words that would make `mount(2)` do something else than mount an overlay.
const OTHER_OPERATIONS: [&str; 11] = [
    "remount",
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
];

/// Words that the driver itself gives to the kernel.
const OWN: [&str; 6] = ["lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir", "source"];

impl Words {
    /// Takes words apart.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a word that an overlay's mount cannot have.
    pub(super) fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self> {
        let mut out = Self { flags: MountFlags::empty(), data: Vec::new() };
        for word in words.iter().map(AsRef::as_ref).filter(|w| !w.is_empty()) {
            let key = word.split_once('=').map_or(word, |(k, _)| k);
            if OTHER_OPERATIONS.contains(&word) || OWN.contains(&key) || word.contains('\0') {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("reading the mount option {word:?}"),
                )
                .detail("it is not an option of a layer's mount"));
            }
            match FLAGS.iter().find(|(name, ..)| *name == word) {
                Some((_, false, flag)) => out.flags.insert(*flag),
                Some((_, true, flag)) => out.flags.remove(*flag),
                None => out.data.push(word.to_owned()),
            }
        }
        Ok(out)
    }

    /// The attributes of a mount made by `fsmount`.
    pub(super) fn attributes(&self) -> MountAttrFlags {
        let pairs = [
            (MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
            (MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
            (MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
            (MountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
            (MountFlags::NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
            (MountFlags::NOSYMFOLLOW, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
        ];
        let mut out = MountAttrFlags::empty();
        for (flag, attribute) in pairs {
            if self.flags.contains(flag) {
                out.insert(attribute);
            }
        }
        // As in mount(2), strictatime wins over noatime, and relatime is what remains.
        if self.flags.contains(MountFlags::STRICTATIME) {
            out.insert(MountAttrFlags::MOUNT_ATTR_STRICTATIME);
        } else if self.flags.contains(MountFlags::NOATIME) {
            out.insert(MountAttrFlags::MOUNT_ATTR_NOATIME);
        }
        out
    }

    /// The flags that belong to the file system rather than to its mount.
    pub(super) fn superblock_flags(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("ro", MountFlags::RDONLY),
            ("sync", MountFlags::SYNCHRONOUS),
            ("dirsync", MountFlags::DIRSYNC),
            ("mand", MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
        ];
        let flags = self.flags;
        all.into_iter().filter(move |(_, flag)| flags.contains(*flag)).map(|(name, _)| name)
    }
}

/// Gives one of overlay's own words to the kernel.
pub(super) fn configure(overlay: &NewOverlay, word: &str) -> std::io::Result<()> {
    match word.split_once('=') {
        Some((key, value)) => overlay.string(key, value.trim_matches('"').as_bytes()),
        None => overlay.flag(word),
    }
}

/// Asks the kernel about each word of `mountopt` without making anything (MNT-6, DEF-18). Without the new mount API, or
/// without privileges, the first mount tells.
///
/// # Errors
/// [`ErrorKind::Config`] with the word that is not a mount option.
pub(super) fn check_mountopt(mountopt: &str) -> Result<()> {
    if mountopt.is_empty() {
        return Ok(());
    }
    let wrong = |word: &str| {
        Error::new(ErrorKind::Config, format!("checking the driver option mountopt={mountopt:?}"))
            .detail(format!("{word:?} is not a mount option of this kernel's overlay"))
            .hint("correct mountopt in storage.conf")
    };
    let words: Vec<&str> = mountopt.split(',').collect();
    if words.contains(&"ro") {
        return Err(wrong("ro").detail("\"ro\" would make every container read-only"));
    }
    let parsed = Words::parse(&words).map_err(|e| wrong(mountopt).caused_by(e))?;
    let Ok(overlay) = NewOverlay::begin() else { return Ok(()) };
    for word in &parsed.data {
        if let Err(e) = configure(&overlay, word) {
            let said = overlay.message().unwrap_or_else(|| e.to_string());
            return Err(wrong(word).detail(format!("{word:?}: {said}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_lifted_and_the_rest_keeps_its_order() {
        // GET-22
        let words = ["index=off", "nodev", "ro", "rw", "xino=on", "", "noatime", "defaults"];
        let words = Words::parse(&words).unwrap();
        assert_eq!(words.flags, MountFlags::NODEV | MountFlags::NOATIME);
        assert_eq!(words.data, ["index=off", "xino=on", "defaults"]);
        let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOATIME;
        assert_eq!(words.attributes(), attributes);
        assert_eq!(words.superblock_flags().count(), 0);
        let sync = Words::parse(&["ro", "sync", "dirsync"]).unwrap();
        assert_eq!(sync.superblock_flags().collect::<Vec<_>>(), ["ro", "sync", "dirsync"]);
    }

    #[test]
    fn what_is_no_layers_mount_is_refused() {
        for bad in ["bind", "remount", "rshared", "lowerdir=/", "upperdir=/x", "source=y", "a\0b"] {
            let e = Words::parse(&[bad]).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn mountopt_is_checked_against_the_kernel() {
        // DEF-18, MNT-6
        check_mountopt("").unwrap();
        check_mountopt("nodev,metacopy=on,xino=off").unwrap();
        for (bad, word) in
            [("nodev,bogus=1", "bogus=1"), ("metacopy=perhaps", "metacopy=perhaps"), ("ro", "ro")]
        {
            let e = check_mountopt(bad).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Config);
            assert!(e.to_string().contains(&format!("{word:?}")), "{e}");
        }
    }
}
