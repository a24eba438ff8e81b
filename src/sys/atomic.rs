//! Replacing a file so that a reader, or a machine that loses power, sees the old content or the new (`store-format.md` 10.1).

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// The longest file name of Linux, in bytes.
const NAME_MAX: usize = 255;

/// Which file with which content stood at a path, as far as its attributes tell: to notice that another process replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    dev: u64,
    ino: u64,
    mtime_sec: i64,
    mtime_nsec: i64,
}

impl FileStamp {
    /// The stamp of the file at `path`, links not followed; `None` if there is none.
    ///
    /// # Errors
    /// A failed stat(2).
    pub(crate) fn of(path: &Path) -> Result<Option<Self>> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) => Ok(Some(Self::from_metadata(&meta))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("reading the attributes of", path, e)),
        }
    }

    /// The stamp of a file whose attributes are known already.
    pub(crate) fn from_metadata(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            mtime_sec: meta.mtime(),
            mtime_nsec: meta.mtime_nsec(),
        }
    }
}

/// Replaces the file at `path` by one of `mode` that holds `bytes`; `durable` also syncs the file before it takes the old one's
/// place and the directory after. The caller holds the lock that all who write the file take.
///
/// # Errors
/// A failed system call: the old file is then as before, and no temporary file stays. Only where the very last step fails, the sync of the
/// directory, is the new file in place already.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32, durable: bool) -> Result<FileStamp> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(ErrorKind::InvalidArgument, "replacing")
            .path(path)
            .detail("it is not a file's path"));
    };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let failed = |e| Error::io("replacing", path, e);
    let (mut file, temporary) = create_beside(dir, name).map_err(failed)?;
    let stamp = fill(&mut file, bytes, mode, durable).map_err(failed)?;
    drop(file);
    std::fs::rename(&temporary.0, path).map_err(failed)?;
    std::mem::forget(temporary);
    if durable {
        sync_dir(dir)?;
    }
    Ok(stamp)
}

/// Removes what a [`replace`] of `path` that was killed has left beside it; the lock is held as there. What resists stays.
pub(crate) fn discard_leftover(path: &Path) {
    if let (Some(dir), Some(name)) = (path.parent(), path.file_name()) {
        let _ = std::fs::remove_file(temporary(dir, name));
    }
}

/// Makes the names in `dir` survive a loss of power.
///
/// # Errors
/// A failed open or sync; a file system that cannot sync directories is no failure.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    match File::open(dir).and_then(|d| d.sync_all()) {
        Err(e) if e.raw_os_error() != Some(libc::EINVAL) => {
            Err(Error::io("syncing the directory", dir, e))
        }
        _ => Ok(()),
    }
}

/// A temporary file that goes with the value unless that is forgotten.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Where the new content of `name` is written first. The same place every time: what a killed process left there is found again.
fn temporary(dir: &Path, name: &OsStr) -> PathBuf {
    // Not what Go could take: it ends the names of its own with a decimal number.
    let (front, back) = (".tmp-", "-orlop");
    let kept = name.len().min(NAME_MAX - front.len() - back.len());
    let mut file = OsString::from(front);
    file.push(OsStr::from_bytes(name.as_bytes().get(..kept).unwrap_or_default()));
    file.push(back);
    dir.join(file)
}

fn create_beside(dir: &Path, name: &OsStr) -> io::Result<(File, Temporary)> {
    let path = temporary(dir, name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_CLOEXEC);
    let file = match options.open(&path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(&path)?;
            options.open(&path)?
        }
        made => made?,
    };
    Ok((file, Temporary(path)))
}

fn fill(file: &mut File, bytes: &[u8], mode: u32, durable: bool) -> io::Result<FileStamp> {
    file.write_all(bytes)?;
    // Through the descriptor, whatever the umask says; before the sync, so that the mode is durable too.
    file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
    if durable {
        file.sync_data()?;
    }
    Ok(FileStamp::from_metadata(&file.metadata()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_with_mode_and_stamp_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers.json");
        assert_eq!(FileStamp::of(&path).unwrap(), None);
        let first = replace(&path, b"[]", 0o644, true).unwrap();
        assert_eq!(FileStamp::of(&path).unwrap(), Some(first));
        let second = replace(&path, b"[1]", 0o600, false).unwrap();
        assert_ne!(first, second);
        assert_eq!(FileStamp::of(&path).unwrap(), Some(second));
        assert_eq!(std::fs::read(&path).unwrap(), b"[1]");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(names(dir.path()), ["layers.json"]);
    }

    #[test]
    fn failure_keeps_the_old_and_removes_the_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        std::fs::create_dir_all(path.join("full")).unwrap();
        let e = replace(&path, b"x", 0o600, true).unwrap_err();
        assert!(e.to_string().contains("taken"), "{e}");
        assert_eq!(names(dir.path()), ["taken"]);
        assert!(replace(&dir.path().join("no/such"), b"x", 0o600, true).is_err());
        assert!(replace(Path::new("/"), b"x", 0o600, true).is_err());
    }

    #[test]
    fn what_a_killed_process_left_is_replaced_or_discarded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers.json");
        let leftover = dir.path().join(".tmp-layers.json-orlop");
        let others = dir.path().join(".tmp-layers.json4711");
        std::fs::write(&others, "of Go").unwrap();
        std::fs::write(&leftover, "longer than what comes").unwrap();
        replace(&path, b"[]", 0o600, true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"[]");
        assert!(!leftover.exists());
        std::fs::write(&leftover, "").unwrap();
        discard_leftover(&path);
        discard_leftover(&path);
        assert_eq!(names(dir.path()), [".tmp-layers.json4711", "layers.json"]);
    }

    #[test]
    fn the_longest_name_works() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n".repeat(NAME_MAX));
        replace(&path, b"x", 0o600, false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
    }
}
