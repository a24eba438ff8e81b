//! The drivers' options: `key=value` strings, their prefixes, keys and values (`overlay-driver.md` 3, `storage-conf.md` 4).

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// What the overlay driver was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OverlayOptions {
    /// The words of every mount whose caller names none, verbatim.
    pub(crate) mountopt: String,
    /// Roots of additional image stores, in order.
    pub(crate) image_stores: Vec<PathBuf>,
    /// The home is not made a private mount.
    pub(crate) skip_mount_home: bool,
    /// `sync=none`: layers count before they are on the disk. Without the option they are synced, unlike in Go.
    pub(crate) unsynced: bool,
    /// The default quota of a container's layer in bytes, 0 for none.
    pub(crate) size: u64,
    /// The default quota of a container's layer in inodes, 0 for none.
    pub(crate) inodes: u64,
    /// Additional layer stores, in order.
    pub(crate) layer_stores: Vec<LayerStore>,
    /// What mounts in place of the kernel's overlay.
    pub(crate) mount_program: Option<PathBuf>,
    /// Unpacking goes on when an owner cannot be set.
    pub(crate) ignore_chown_errors: bool,
    /// The mode of everything on disk, with owners and modes in an xattr.
    pub(crate) force_mask: Option<u32>,
    /// Mounts never map ids: layers are copied with other owners instead.
    pub(crate) disable_idmap: bool,
    /// Who mounts the repositories of thin images.
    pub(crate) publisher: Publisher,
    /// Layers of partial pulls are to become composefs layers.
    pub(crate) use_composefs: bool,
}

/// Who mounts the repositories of thin images (CVM-4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// The driver, while they are in use; one mount may take so long.
    Internal(Duration),
    /// Somebody else, below that directory; what is mounted there may take so long to answer.
    External(PathBuf, Duration),
}

/// A client that tries several servers and proxies, one after the other, takes half a minute and comes to an end.
const MOUNT_LIMIT: Duration = Duration::from_secs(60);

impl Default for Publisher {
    fn default() -> Self {
        Self::Internal(MOUNT_LIMIT)
    }
}

/// A store of layers that a daemon serves by the digests of their tables of contents (`overlay-driver.md` 15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerStore {
    pub(crate) path: PathBuf,
    /// `ref`: the image's reference, in base64, is a directory between.
    pub(crate) with_reference: bool,
}

/// What the vfs driver was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VfsOptions {
    /// Roots of additional image stores, in order.
    pub(crate) image_stores: Vec<PathBuf>,
    /// Unpacking goes on when an owner cannot be set.
    pub(crate) ignore_chown_errors: bool,
    /// `sync=none`: layers count before they are on the disk. Without the option they are synced, unlike in Go.
    pub(crate) unsynced: bool,
}

/// An option that belongs to the driver at hand.
struct Word<'a> {
    key: String,
    value: &'a str,
    whole: &'a str,
}

impl Word<'_> {
    fn wrong(&self, why: &str) -> Error {
        Error::new(ErrorKind::Config, format!("reading the driver option {:?}", self.whole))
            .detail(format!("value {:?} of {:?}: {why}", self.value, self.key))
    }

    fn unknown(&self) -> Error {
        Error::new(ErrorKind::Config, format!("unknown option {:?} ({:?})", self.key, self.whole))
            .hint("storage.conf(5) lists the driver's options")
    }

    /// Go's `strconv.ParseBool`.
    fn boolean(&self) -> Result<bool> {
        match self.value {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            _ => Err(self.wrong(
                "a boolean is one of 1, t, T, TRUE, true, True, 0, f, F, FALSE, false, False",
            )),
        }
    }

    fn unsynced(&self) -> Result<bool> {
        match self.value.to_ascii_lowercase().as_str() {
            "none" => Ok(true),
            "" | "filesystem" => Ok(false),
            _ => Err(self.wrong("it is \"none\" or \"filesystem\"")),
        }
    }

    /// A comma list of absolute paths, cleaned.
    fn paths(&self, must_exist: bool) -> Result<Vec<PathBuf>> {
        if self.value.is_empty() {
            return Ok(Vec::new());
        }
        self.value.split(',').map(|text| self.path(text, must_exist)).collect()
    }

    fn path(&self, text: &str, must_exist: bool) -> Result<PathBuf> {
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err(self.wrong(&format!("the path {text:?} is not absolute")));
        }
        let path = clean(path);
        if must_exist {
            let found = path.metadata().map_err(|e| {
                self.wrong(&format!("{path:?} cannot be examined")).path(&path).caused_by(e)
            })?;
            if !found.is_dir() {
                return Err(self.wrong(&format!("{path:?} is not a directory")).path(&path));
            }
        }
        Ok(path)
    }
}

/// Go's `filepath.Clean` for an absolute path.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(name) => out.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

/// Splits an option; `None` if it is another driver's (OPT-1 to OPT-3).
fn split<'a>(whole: &'a str, own: &[&str]) -> Result<Option<Word<'a>>> {
    let Some((key, value)) = whole.split_once('=') else {
        return Err(Error::new(
            ErrorKind::Config,
            format!("unable to parse key/value option: {whole:?}"),
        )
        .hint("an option reads key=value"));
    };
    let key = key.trim().to_ascii_lowercase();
    let (driver, key) = key.split_once('.').unwrap_or(("", &key));
    if driver.is_empty() || own.contains(&driver) {
        return Ok(Some(Word { key: key.to_owned(), value: value.trim(), whole }));
    }
    if ["overlay", "overlay2", "btrfs", "zfs", "vfs"].contains(&driver) {
        return Ok(None);
    }
    Err(Error::new(ErrorKind::Config, format!("unknown driver {driver:?} in option {whole:?}")))
}

/// Reads the options of the overlay driver.
///
/// # Errors
/// [`ErrorKind::Config`] for a malformed option.
pub(crate) fn parse_overlay(options: &[String]) -> Result<OverlayOptions> {
    let mut out = OverlayOptions::default();
    for whole in options {
        let Some(word) = split(whole, &["overlay", "overlay2"])? else { continue };
        match word.key.as_str() {
            "override_kernel_check" => {
                tracing::debug!("override_kernel_check has no effect");
            }
            "mountopt" => out.mountopt = word.value.to_owned(),
            "size" => {
                out.size = ram_in_bytes(word.value)
                    .ok_or_else(|| word.wrong("it is not a size such as 20m or 10g"))?;
            }
            "inodes" => {
                out.inodes =
                    word.value.parse().map_err(|_| word.wrong("it is not a decimal number"))?;
            }
            "imagestore" | "additionalimagestore" => {
                out.image_stores.extend(word.paths(true)?);
            }
            "additionallayerstore" => {
                out.layer_stores.extend(layer_stores(&word)?);
            }
            "mount_program" => {
                if !word.value.is_empty() && !Path::new(word.value).exists() {
                    return Err(word.wrong("no such program"));
                }
                out.mount_program = (!word.value.is_empty()).then(|| word.value.into());
            }
            "skip_mount_home" => out.skip_mount_home = word.boolean()?,
            "ignore_chown_errors" => out.ignore_chown_errors = word.boolean()?,
            "force_mask" => {
                out.force_mask = Some(force_mask(&word)?);
            }
            "disable_idmap" => out.disable_idmap = word.boolean()?,
            "use_composefs" => {
                out.use_composefs = word.boolean()?;
            }
            "sync" => out.unsynced = word.unsynced()?,
            _ => return Err(word.unknown()),
        }
    }
    Ok(out)
}

/// Reads the options of Docker's overlay2, all of which carry its name (MOB-2).
///
/// # Errors
/// [`ErrorKind::Config`] for a malformed option.
pub(crate) fn parse_moby(options: &[String]) -> Result<OverlayOptions> {
    let mut out = OverlayOptions::default();
    for whole in options {
        let unknown = |key: &str| {
            Error::new(ErrorKind::Config, format!("overlay2: unknown option {key}"))
                .hint("the options are overlay2.override_kernel_check and overlay2.size")
        };
        let (key, value) = whole.split_once('=').ok_or_else(|| unknown(whole))?;
        let key = key.trim().to_ascii_lowercase();
        let Some(name) = key.strip_prefix("overlay2.") else { return Err(unknown(&key)) };
        let word = Word { key: name.to_owned(), value: value.trim(), whole };
        match name {
            "override_kernel_check" => drop(word.boolean()?),
            "size" => {
                out.size = ram_in_bytes(word.value)
                    .ok_or_else(|| word.wrong("it is not a size such as 20m or 10g"))?;
            }
            _ => return Err(unknown(&key)),
        }
    }
    Ok(out)
}

/// Reads the options of a driver that knows thin images: its own three, and those of a home that is shared with podman, or of the plugin
/// of CernVM-FS (CVM-2).
///
/// # Errors
/// [`ErrorKind::Config`] for a malformed option.
pub(crate) fn parse_cvmfs(options: &[String], of_plugin: bool) -> Result<OverlayOptions> {
    let (mut external, mut root, mut others) = (false, PathBuf::from("/cvmfs"), Vec::new());
    let mut limit = MOUNT_LIMIT;
    for whole in options {
        match split(whole, &["overlay", "overlay2"])? {
            Some(word) if word.key == "cvmfsmountmethod" => {
                external = match word.value {
                    "internal" => false,
                    "external" => true,
                    _ => return Err(word.wrong("it is \"internal\" or \"external\"")),
                };
            }
            Some(word) if word.key == "cvmfsroot" => root = word.path(word.value, false)?,
            Some(word) if word.key == "cvmfsmounttimeout" => {
                // More than a day is nobody's wish, and no time is enough of none.
                limit = match word.value.parse() {
                    Ok(seconds @ 1..=86_400) => Duration::from_secs(seconds),
                    _ => return Err(word.wrong("it is a number of seconds, 1 to 86400")),
                };
            }
            Some(word) if of_plugin && word.key != "override_kernel_check" => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("overlay2: Unknown option {}", word.key),
                )
                .hint("the options are override_kernel_check, cvmfsMountMethod, cvmfsRoot and cvmfsMountTimeout"));
            }
            _ => others.push(whole.clone()),
        }
    }
    let publisher = match external {
        true => Publisher::External(root, limit),
        false => Publisher::Internal(limit),
    };
    Ok(OverlayOptions { publisher, ..parse_overlay(&others)? })
}

/// Reads the options of the vfs driver.
///
/// # Errors
/// [`ErrorKind::Config`] for a malformed option, and for any `mountopt` that reaches it.
pub(crate) fn parse_vfs(options: &[String]) -> Result<VfsOptions> {
    let mut out = VfsOptions::default();
    for whole in options {
        let Some(word) = split(whole, &["vfs"])? else { continue };
        match word.key.as_str() {
            "imagestore" | "additionalimagestore" => {
                out.image_stores.extend(word.paths(false)?);
            }
            "mountopt" => {
                return Err(word.wrong("the vfs driver does not support mount options"));
            }
            "ignore_chown_errors" => out.ignore_chown_errors = word.boolean()?,
            "sync" => out.unsynced = word.unsynced()?,
            _ => return Err(word.unknown()),
        }
    }
    Ok(out)
}

/// docker's `RAMInBytes`: a decimal number, an optional blank, a binary unit from `b` to `p`, with or without `b` or `ib`. `None` if
/// the text is anything else.
pub(super) fn ram_in_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: f64 = number.parse().ok()?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    // A float to integer cast saturates, and a size has no use for more than 53 bits of precision.
    Some((number * (1u64 << shift) as f64) as u64)
}

fn force_mask(word: &Word<'_>) -> Result<u32> {
    match word.value {
        "shared" => Ok(0o755),
        "private" => Ok(0o700),
        octal => u32::from_str_radix(octal, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| word.wrong("it is \"shared\", \"private\" or octal digits up to 7777")),
    }
}

fn layer_stores(word: &Word<'_>) -> Result<Vec<LayerStore>> {
    let mut stores = Vec::new();
    for store in word.value.split(',').filter(|_| !word.value.is_empty()) {
        let mut parts = store.split(':');
        let path = word.path(parts.next().unwrap_or_default(), true)?;
        let mut with_reference = false;
        for flag in parts {
            if flag != "ref" {
                return Err(word.wrong(&format!("unknown flag {flag:?}; the only one is \"ref\"")));
            }
            if std::mem::replace(&mut with_reference, true) {
                return Err(word.wrong("the flag \"ref\" stands there twice"));
            }
        }
        stores.push(LayerStore { path, with_reference });
    }
    Ok(stores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(options: &[&str]) -> Result<OverlayOptions> {
        parse_overlay(&options.iter().map(|&o| o.to_owned()).collect::<Vec<_>>())
    }

    fn vfs(options: &[&str]) -> Result<VfsOptions> {
        parse_vfs(&options.iter().map(|&o| o.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn prefixes_and_spaces() {
        // OPT-4, OPT-1, OPT-2, OPT-3, OPT-5
        for option in [
            "mountopt=nodev",
            "overlay.mountopt=nodev",
            "overlay2.MountOpt = nodev ",
            ".mountopt=nodev",
        ] {
            assert_eq!(overlay(&[option]).unwrap().mountopt, "nodev", "{option}");
        }
        assert_eq!(overlay(&["mountopt=a", "overlay.mountopt=b=c,d"]).unwrap().mountopt, "b=c,d");
        assert_eq!(
            overlay(&["btrfs.size=1", "vfs.x=2", "zfs.y=3"]).unwrap(),
            OverlayOptions::default()
        );
        for (bad, says) in [
            ("nosuch.size=1", "unknown driver \"nosuch\""),
            ("nosuch=1", "unknown option \"nosuch\" (\"nosuch=1\")"),
            ("mountopt", "unable to parse key/value option"),
        ] {
            let e = overlay(&[bad]).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Config);
            assert!(e.to_string().contains(says), "{e}");
        }
    }

    #[test]
    fn values_are_checked() {
        for bad in [
            "skip_mount_home=yes",
            "ignore_chown_errors=",
            "use_composefs=2",
            "disable_idmap=yes",
            "size=abc",
            "size=",
            "inodes=-1",
            "sync=always",
            "force_mask=999",
            "imagestore=relative",
            "imagestore=/no/such/dir",
            "imagestore=/etc/passwd",
            "additionallayerstore=/:other",
            "additionallayerstore=/:ref:ref",
            "mount_program=/no/such/program",
        ] {
            let e = overlay(&[bad]).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Config, "{bad}");
            assert!(e.to_string().contains(bad), "{e}");
        }
        let good = overlay(&[
            "sync= FileSystem",
            "skip_mount_home=T",
            "imagestore=/usr//lib/../bin,/etc",
            "overlay.additionalimagestore=/var/",
            "imagestore=",
            "override_kernel_check=x",
        ])
        .unwrap();
        assert!(!good.unsynced && good.skip_mount_home);
        assert!(overlay(&["sync=none"]).unwrap().unsynced);
        let stores: Vec<_> = good.image_stores.iter().map(|p| p.to_str().unwrap()).collect();
        assert_eq!(stores, ["/usr/bin", "/etc", "/var"]);
    }

    #[test]
    fn later_options_win() {
        // OPT-5
        for (key, value, harmless) in [("size", "20m", "0"), ("inodes", "5", "0")] {
            let both = [format!("{key}={value}"), format!("overlay.{key}={harmless}")];
            assert_eq!(parse_overlay(&both).unwrap(), OverlayOptions::default(), "{key}");
        }
        assert_eq!(overlay(&["force_mask=shared"]).unwrap().force_mask, Some(0o755));
        assert_eq!(overlay(&["force_mask=private"]).unwrap().force_mask, Some(0o700));
        assert_eq!(overlay(&["force_mask=0750"]).unwrap().force_mask, Some(0o750));
        let stores = overlay(&["additionallayerstore=/etc:ref,/var"]).unwrap().layer_stores;
        let found: Vec<_> =
            stores.iter().map(|s| (s.path.to_str().unwrap(), s.with_reference)).collect();
        assert_eq!(found, [("/etc", true), ("/var", false)]);
    }

    #[test]
    fn vfs_takes_its_own() {
        assert!(!vfs(&["vfs.sync=filesystem"]).unwrap().unsynced);
        assert!(vfs(&["vfs.sync=none"]).unwrap().unsynced);
        assert!(vfs(&["ignore_chown_errors=1", "overlay.mountopt=x"]).unwrap().ignore_chown_errors);
        for bad in ["mountopt=nodev", "vfs.mountopt=x", "size=1g", "skip_mount_home=true"] {
            assert_eq!(vfs(&[bad]).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }

    #[test]
    fn sizes_as_docker_reads_them() {
        for (text, bytes) in
            [("20m", 20 << 20), ("1.5k", 1536), ("10 GiB", 10 << 30), ("7", 7), ("1TB", 1 << 40)]
        {
            assert_eq!(ram_in_bytes(text), Some(bytes), "{text}");
        }
    }
}
