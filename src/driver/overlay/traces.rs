//! What a mount program leaves in the layers that it has written to (INI-2).

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::chain::list_layers;
use crate::Result;

/// Names of files that stand for deletions.
const WHITEOUT: &[u8] = b".wh.";

/// Attributes of directories that programs write and the kernel does not.
const XATTRS: [&[u8]; 2] = [b"user.fuseoverlayfs.", b"user.containers."];

/// The first trace of a mount program in the layers of `home`. What cannot be read tells nothing: another process may be at work there.
///
/// # Errors
/// When the home itself cannot be read.
pub(super) fn of_program(home: &Path) -> Result<Option<PathBuf>> {
    let mut waiting: Vec<PathBuf> = list_layers(home)?.iter().map(|name| home.join(name)).collect();
    while let Some(dir) = waiting.pop() {
        if has_program_xattr(&dir) {
            return Ok(Some(dir));
        }
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(WHITEOUT) {
                return Ok(Some(entry.path()));
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    Ok(None)
}

fn has_program_xattr(dir: &Path) -> bool {
    let mut small = [0u8; 1024];
    let names = match rustix::fs::llistxattr(dir, &mut small) {
        Ok(length) => small.get(..length).map(<[u8]>::to_vec),
        Err(Errno::RANGE) => {
            // All that the kernel hands out.
            let mut all = vec![0u8; 64 * 1024];
            let length = rustix::fs::llistxattr(dir, &mut all).ok();
            length.and_then(|length| all.get(..length).map(<[u8]>::to_vec))
        }
        Err(_) => None,
    };
    let names = names.unwrap_or_default();
    names.split(|b| *b == 0).any(|name| XATTRS.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use rustix::fs::XattrFlags;

    use super::*;

    #[test]
    fn whiteout_files_and_xattrs_of_directories_are_traces() {
        // INI-2
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        let make = |name: &str| {
            let path = home.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let deep = make("layer/diff/a/b");
        make("l/.wh.no-layer");
        std::fs::write(deep.join("wh.plain"), "").unwrap();
        let xattr = |path: &Path, name: &str| {
            rustix::fs::lsetxattr(path, name, b"y", XattrFlags::empty()).unwrap();
        };
        xattr(&deep, "user.overlay.opaque");
        xattr(&deep.join("wh.plain"), "user.containers.override_stat");
        assert_eq!(of_program(home.path()).unwrap(), None);
        for name in ["user.fuseoverlayfs.opaque", "user.containers.override_stat"] {
            xattr(&deep, name);
            assert_eq!(of_program(home.path()).unwrap(), Some(deep.clone()), "{name}");
            rustix::fs::lremovexattr(&deep, name).unwrap();
        }
        std::fs::write(deep.join(".wh.gone"), "").unwrap();
        assert_eq!(of_program(home.path()).unwrap(), Some(deep.join(".wh.gone")));
        assert_eq!(of_program(&home.path().join("none")).unwrap(), None);
    }
}
