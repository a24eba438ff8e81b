//! Directories that a process fills, beside a lock that tells whether it lives: `<random>/dir` and `<random>/staging.lock`
//! (`overlay-driver.md` APL-5, APL-7, REM-6).
//!
//! The process holds the locks, not a value of its: who begins one is given a path, and may hand it back to another driver of the
//! same store.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::of_process::OfProcess;
use super::owner_lock;
use super::remove::remove_tree;
use crate::{Error, ErrorKind, Result};

const LOCK: &str = "staging.lock";

/// The name of the directory to fill.
const CONTENT: &str = "dir";

/// The locks that this process holds, by device and inode.
static HELD: OfProcess<BTreeMap<(u64, u64), File>> = OfProcess::new(BTreeMap::new());

/// A staging directory, `<root>/<random>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StagedDir(PathBuf);

impl StagedDir {
    /// Makes one in `root`, and `root` with mode 0700 if it is missing. It stays this process's until it is released or discarded.
    ///
    /// # Errors
    /// A failed system call.
    pub(crate) fn create(root: &Path) -> Result<Self> {
        owner_lock::numbered("making a staging directory in", root, Self::try_create)
    }

    /// `None` if the number is taken, or another process took the fresh directory for a stale one.
    fn try_create(root: &Path, number: u32) -> io::Result<Option<Self>> {
        let dir = Self(root.join(number.to_string()));
        match DirBuilder::new().mode(0o700).create(&dir.0) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            made => made?,
        }
        let lock = match owner_lock::make(&dir.lock_path()) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Ok(None),
            // Another process took the directory for a stale one.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                let _ = std::fs::remove_dir(&dir.0);
                return Err(e);
            }
        };
        HELD.lock().1.insert(key(&lock.metadata()?), lock);
        Ok(Some(dir))
    }

    /// The staging directory in `root` whose directory to fill is `content`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if `content` is anywhere else, or spelled otherwise than `…/<name>/dir`.
    pub(crate) fn of_content(root: &Path, content: &Path) -> Result<Self> {
        let dir = content.parent().filter(|_| content.ends_with(CONTENT));
        let name = dir.and_then(Path::file_name);
        // The path may be spelled through a link; what is below the root may not.
        let above = dir.and_then(Path::parent).and_then(|p| p.canonicalize().ok());
        match (name, above) {
            (Some(name), Some(above)) if root.canonicalize().is_ok_and(|r| r == above) => {
                Ok(Self(root.join(name)))
            }
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("using {content:?}"))
                .path(content)
                .detail(format!("it is no staging directory in {root:?}"))),
        }
    }

    /// The directory to fill, which the owner makes.
    pub(crate) fn content(&self) -> PathBuf {
        self.0.join(CONTENT)
    }

    fn lock_path(&self) -> PathBuf {
        self.0.join(LOCK)
    }

    /// Gives the lock up, and deletes its file; what is in the directory is then for whoever finds it stale. A lock of another
    /// process's, or none, is left as it is.
    pub(crate) fn release(&self) {
        let path = self.lock_path();
        let Ok(about) = path.symlink_metadata() else { return };
        let Some(lock) = HELD.lock().1.remove(&key(&about)) else { return };
        if let Err(e) = std::fs::remove_file(&path) {
            tracing::warn!(path = ?path, error = %e, "removing a lock that is given up");
        }
        // After the unlinking: nobody may lock the name before.
        drop(lock);
    }

    /// Deletes the directory with its content, and gives the lock up. A missing one is fine.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if it is another process's; what cannot be removed.
    pub(crate) fn discard(&self) -> Result<()> {
        match self.own()? {
            Owner::Nobody => Ok(()),
            Owner::Other => Err(Error::new(ErrorKind::Busy, format!("removing {:?}", self.0))
                .path(&self.0)
                .detail("another process is filling it")),
            Owner::This(lock) => {
                let outcome = remove_tree(&self.0);
                drop(lock);
                outcome
            }
        }
    }

    /// Takes the lock, from those that this process holds or anew.
    fn own(&self) -> Result<Owner> {
        match self.0.symlink_metadata() {
            Ok(about) if about.is_dir() => {}
            Ok(_) => {
                return Err(Error::new(ErrorKind::Corrupt, format!("using {:?}", self.0))
                    .path(&self.0)
                    .detail("it is not a directory"));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Owner::Nobody),
            Err(e) => return Err(Error::io("examining", &self.0, e)),
        }
        let path = self.lock_path();
        if let Ok(about) = path.symlink_metadata()
            && let Some(lock) = HELD.lock().1.remove(&key(&about))
        {
            return Ok(Owner::This(lock));
        }
        match owner_lock::take_stale(&path) {
            Ok(Some(lock)) => Ok(Owner::This(lock)),
            Ok(None) => Ok(Owner::Other),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Owner::Nobody),
            Err(e) => Err(Error::io("locking", path, e)),
        }
    }

    /// Whether this process has begun it, and not ended it.
    pub(crate) fn is_held_here(&self) -> bool {
        let about = self.lock_path().symlink_metadata();
        about.is_ok_and(|about| HELD.lock().1.contains_key(&key(&about)))
    }
}

enum Owner {
    /// There is no such directory.
    Nobody,
    /// Another process, or another library in this one.
    Other,
    /// Whoever has this lock.
    This(File),
}

fn key(about: &std::fs::Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

/// Removes the staging directories in `root` whose owner is gone, and tells whether any stays.
pub(crate) fn prune(root: &Path) -> bool {
    let mut stays = false;
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let dir = StagedDir(entry.path());
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if dir.is_held_here() {
            stays = true;
            continue;
        }
        match dir.discard() {
            Ok(()) => {}
            Err(e) => {
                stays = true;
                if e.kind() != ErrorKind::Busy {
                    tracing::warn!(path = ?dir.0, error = %e, "removing a stale staging directory");
                }
            }
        }
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::lock::try_lock_whole;

    fn make(root: &Path) -> StagedDir {
        let dir = StagedDir::create(root).unwrap();
        std::fs::create_dir(dir.content()).unwrap();
        std::fs::write(dir.content().join("f"), "x").unwrap();
        dir
    }

    #[test]
    fn what_is_in_use_stays_and_what_is_stale_goes() {
        // REM-6, APL-7
        let root = tempfile::tempdir().unwrap();
        let (used, given_up) = (make(root.path()), make(root.path()));
        given_up.release();
        assert!(!given_up.lock_path().exists());
        // As a killed process leaves one: with a lock file that nobody holds, or before it had made one.
        let killed = root.path().join("killed");
        std::fs::create_dir_all(killed.join("dir/sub")).unwrap();
        std::fs::write(killed.join(LOCK), "").unwrap();
        std::fs::create_dir(root.path().join("early")).unwrap();
        assert!(prune(root.path()));
        let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(std::fs::read(used.content().join("f")).unwrap(), b"x");
        used.discard().unwrap();
        used.discard().unwrap();
        assert!(!prune(root.path()));
        assert!(HELD.lock().1.values().all(|f| f.metadata().unwrap().nlink() > 0));
    }

    #[test]
    fn another_process_s_is_left_alone() {
        // REM-6
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("7");
        std::fs::create_dir_all(dir.join(CONTENT)).unwrap();
        let lock = File::create_new(dir.join(LOCK)).unwrap();
        assert!(try_lock_whole(&lock).unwrap());
        let staged = StagedDir::of_content(root.path(), &dir.join(CONTENT)).unwrap();
        assert_eq!(staged.discard().unwrap_err().kind(), ErrorKind::Busy);
        staged.release();
        assert!(prune(root.path()) && dir.join(CONTENT).exists());
        drop(lock);
        assert!(!prune(root.path()) && !dir.exists());
    }

    #[test]
    fn only_directories_of_this_root_are_taken() {
        let root = tempfile::tempdir().unwrap();
        let (staging, other) = (root.path().join("staging"), root.path().join("other"));
        let dir = make(&staging);
        std::fs::create_dir_all(other.join("1/dir")).unwrap();
        std::os::unix::fs::symlink(&staging, root.path().join("alias")).unwrap();
        let alias = root.path().join("alias").join(dir.0.file_name().unwrap());
        assert_eq!(StagedDir::of_content(&staging, &alias.join(CONTENT)).unwrap(), dir);
        for bad in [
            other.join("1/dir"),
            dir.0.join("other"),
            dir.0.join("dir/dir"),
            staging.join("dir"),
            staging.join("../dir"),
            staging.join("../../dir"),
            PathBuf::from("/dir"),
            PathBuf::from("dir"),
            PathBuf::new(),
        ] {
            let e = StagedDir::of_content(&staging, &bad).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{bad:?}");
        }
        dir.discard().unwrap();
    }
}
