//! Replacing a file so that a reader, or a machine that loses power, sees the old content or the new (`store-format.md` 10.1).

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::lock::{lock_whole_for_writing, try_lock_whole};
use super::owner_lock::is_at;
use crate::{Error, ErrorKind, Result};

/// The longest file name of Linux, in bytes.
const NAME_MAX: usize = 255;

/// How often the temporary file may turn out to be another's before that is an error.
const ATTEMPTS: usize = 1000;

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
/// place and the directory after. Of several who replace it at once, each waits for the one before.
///
/// # Errors
/// A failed system call: the old file is then as before, and no temporary file stays. Only where the very last step fails, the sync of the
/// directory, is the new file in place already.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32, durable: bool) -> Result<FileStamp> {
    replace_by_way_of(path, path, bytes, mode, durable)
}

/// As [`replace`], but the new content is first written where that of `way` would be, on the same file system: there
/// [`discard_leftover`] finds what a killed process left, however many files share the way.
///
/// # Errors
/// As [`replace`].
pub(crate) fn replace_by_way_of(
    way: &Path,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    durable: bool,
) -> Result<FileStamp> {
    let failed = |e| Error::io("replacing", path, e);
    let temporary = temporary(way)?;
    let (dir, _) = split(path)?;
    // Closed, and with that unlocked, after the renaming, and after the removal that a failure brings.
    let (mut file, temporary) = create(temporary).map_err(failed)?;
    let stamp = fill(&mut file, bytes, mode, durable).map_err(failed)?;
    std::fs::rename(&temporary.0, path).map_err(failed)?;
    temporary.keep();
    drop(file);
    if durable {
        sync_dir(dir)?;
    }
    Ok(stamp)
}

/// Removes what a [`replace`] of `path` that was killed has left, if anything. What resists stays.
pub(crate) fn discard_leftover(path: &Path) {
    let gone = temporary(path).map(|path| clear(&path, false));
    if let Ok(Err(e)) = gone {
        tracing::debug!(?path, error = %e, "leaving what a killed process has half written");
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

/// A temporary file that goes with the value unless that is kept.
struct Temporary(PathBuf);

impl Temporary {
    /// The file is there to stay, or has another name.
    fn keep(mut self) {
        // Not forgotten: the path would never be freed, and a host may live long.
        self.0 = PathBuf::new();
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

/// The directory and the name of a file.
fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(ErrorKind::InvalidArgument, "replacing")
            .path(path)
            .detail("it is not a file's path"));
    };
    Ok((if dir.as_os_str().is_empty() { Path::new(".") } else { dir }, name))
}

/// Where the new content of a file is written first. The same place every time: what a killed process left there is found again.
/// It is locked as long as somebody is at it, since not all who write a file hold one lock: those who remember what they have
/// probed hold none, and a transient store has a lock of its own for the containers.
fn temporary(path: &Path) -> Result<PathBuf> {
    let (dir, name) = split(path)?;
    // Not what Go could take: it ends the names of its own with a decimal number.
    let (front, back) = (".tmp-", "-orlop");
    let kept = name.len().min(NAME_MAX - front.len() - back.len());
    let mut file = OsString::from(front);
    file.push(OsStr::from_bytes(name.as_bytes().get(..kept).unwrap_or_default()));
    file.push(back);
    Ok(dir.join(file))
}

/// Makes the temporary file and locks it; waits for whoever is at one, and removes what a killed process left.
fn create(path: PathBuf) -> io::Result<(File, Temporary)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_CLOEXEC);
    for _ in 0..ATTEMPTS {
        match options.open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => clear(&path, true)?,
            made => {
                let file = made?;
                // Before it was locked, somebody may have taken it for a leftover.
                let locked =
                    try_lock_whole(&file).inspect_err(|_| drop(std::fs::remove_file(&path)))?;
                if locked && is_at(&file, &path) {
                    return Ok((file, Temporary(path)));
                }
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes the temporary file that a killed process left at `path`; one that somebody is at is waited for, or left.
fn clear(path: &Path, wait: bool) -> io::Result<()> {
    let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(file) => {
            let free = if wait {
                lock_whole_for_writing(&file).map(|()| true)
            } else {
                try_lock_whole(&file)
            };
            // It may have got its name since it was opened.
            if !free? || !is_at(&file, path) {
                return Ok(());
            }
            std::fs::remove_file(path)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        // A link, a socket: no file of ours.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            std::fs::remove_file(path)
        }
        Err(e) => Err(e),
    }
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
    fn what_somebody_is_at_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers.json");
        let (file, temporary) = create(temporary(&path).unwrap()).unwrap();
        discard_leftover(&path);
        assert!(temporary.0.exists());
        temporary.keep();
        drop(file);
        discard_leftover(&path);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn those_who_replace_a_file_without_a_lock_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("overlay-false");
        std::thread::scope(|scope| {
            for text in ["a", "b", "c"] {
                let (path, text) = (&path, text.repeat(10_000));
                scope.spawn(move || {
                    for _ in 0..100 {
                        replace(path, text.as_bytes(), 0o644, false).unwrap();
                        discard_leftover(path);
                        let found = std::fs::read(path).unwrap();
                        assert!(found.len() == 10_000 && found.iter().all(|b| *b == found[0]));
                    }
                });
            }
        });
        assert_eq!(names(dir.path()), ["overlay-false"]);
    }

    #[test]
    fn files_that_share_a_way_leave_nothing_beside_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let (way, path) = (dir.path().join("item"), dir.path().join("below/file"));
        std::fs::create_dir(dir.path().join("below")).unwrap();
        let leftover = dir.path().join(".tmp-item-orlop");
        std::os::unix::fs::symlink("/nowhere", &leftover).unwrap();
        replace_by_way_of(&way, &path, b"x", 0o600, true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
        assert_eq!(names(dir.path()), ["below"]);
        // Not over a directory; and where it failed, nothing stays on the way.
        assert!(replace_by_way_of(&way, &dir.path().join("below"), b"x", 0o600, true).is_err());
        assert_eq!(names(dir.path()), ["below"]);
    }

    #[test]
    fn the_longest_name_works() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n".repeat(NAME_MAX));
        replace(&path, b"x", 0o600, false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
    }
}
