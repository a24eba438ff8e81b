//! Directories for what is staged or on its way out, which the next opener removes if their owner died (`store-format.md` 10.3).
//!
//! A temp dir is a file `lock-<N>`, locked for writing for as long as the dir is in use, and a directory `temp-dir-<N>`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use super::owner_lock::{self, is_at};
use super::regular::refuse_link;
use super::relocate::relocate;
use super::remove::remove_tree;
use crate::{Error, Result};

const LOCK: &str = "lock-";
const DIR: &str = "temp-dir-";

/// A temp dir in use by this process.
#[derive(Debug)]
pub(crate) struct TempDir {
    path: PathBuf,
    lock_path: PathBuf,
    /// Locked; `None` once cleaned up.
    lock: Option<File>,
    members: u64,
}

impl TempDir {
    /// Makes a temp dir in `root`, and `root` with mode 0700 if it is missing.
    ///
    /// # Errors
    /// A failed system call.
    pub(crate) fn create(root: &Path) -> Result<Self> {
        owner_lock::numbered("making a temporary directory in", root, Self::try_create)
    }

    /// `None` if the number is taken, or a recovery took the fresh file for a stale one.
    fn try_create(root: &Path, number: u32) -> io::Result<Option<Self>> {
        let lock_path = root.join(format!("{LOCK}{number}"));
        let path = root.join(format!("{DIR}{number}"));
        let Some(lock) = owner_lock::make(&lock_path)? else { return Ok(None) };
        if let Err(e) = DirBuilder::new().mode(0o700).create(&path) {
            let _ = std::fs::remove_file(&lock_path);
            return if e.kind() == io::ErrorKind::AlreadyExists { Ok(None) } else { Err(e) };
        }
        Ok(Some(Self { path, lock_path, lock: Some(lock), members: 0 }))
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the directory for something new, `<k>-addition`; the caller makes it.
    pub(crate) fn addition(&mut self) -> PathBuf {
        self.next(OsStr::new("addition"))
    }

    /// Moves what is at `path` into the directory, as `<k>-<its name>`; `false` if nothing is there.
    ///
    /// # Errors
    /// A failed rename; EXDEV if the directory is on another file system or mount.
    pub(crate) fn take(&mut self, path: &Path) -> Result<bool> {
        let target = self.next(path.file_name().unwrap_or(OsStr::new("unnamed")));
        match relocate(path, &target, RenameFlags::empty()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.path.is_dir() => Ok(false),
            Err(e) => Err(Error::io("moving away", path, e)),
        }
    }

    /// Whether nobody has deleted the lock file, which stands for the directory.
    pub(crate) fn is_whole(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| is_at(lock, &self.lock_path))
    }

    /// Removes the directory with its content and gives up the lock.
    ///
    /// # Errors
    /// What could not be removed; lock file and directory then stay for the next recovery.
    pub(crate) fn cleanup(mut self) -> Result<()> {
        self.clean()
    }

    /// Gives up the lock and lets the directory be, for the next recovery to remove.
    pub(crate) fn leave(mut self) {
        self.lock = None;
    }

    fn next(&mut self, name: &OsStr) -> PathBuf {
        let mut member = OsString::from(format!("{}-", self.members));
        self.members += 1;
        // A name that is full already must not become too long by the prefix.
        let room = 255_usize.saturating_sub(member.len()).min(name.len());
        member.push(OsStr::from_bytes(name.as_bytes().get(..room).unwrap_or_default()));
        self.path.join(member)
    }

    fn clean(&mut self) -> Result<()> {
        let Some(lock) = self.lock.take() else { return Ok(()) };
        let outcome = discard(&self.path, &self.lock_path);
        // After the unlinking: the name must not be free to lock before.
        drop(lock);
        outcome
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(e) = self.clean() {
            tracing::warn!("a temporary directory stays for the next recovery: {e}");
        }
    }
}

/// Takes over every temp dir in `root` whose owner is gone: the new owner is to clean it up. A missing `root` is fine; so is what
/// the caller has no permission to lock.
///
/// # Errors
/// The first failure other than for want of permission, after trying all.
pub(crate) fn adopt(root: &Path, mut keep: impl FnMut(TempDir)) -> Result<()> {
    owner_lock::close_unlinked();
    refuse_link(root)?;
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if is_tolerable(&e) => return Ok(()),
        Err(e) => return Err(Error::io("listing", root, e)),
    };
    let mut suffixes = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::io("listing", root, e))?.file_name().into_vec();
        if let Some(suffix) =
            name.strip_prefix(DIR.as_bytes()).or(name.strip_prefix(LOCK.as_bytes()))
        {
            suffixes.insert(suffix.to_vec());
        }
    }
    let mut outcome = Ok(());
    for suffix in suffixes {
        let named =
            |prefix: &str| root.join(OsString::from_vec([prefix.as_bytes(), &suffix].concat()));
        let (lock_path, path) = (named(LOCK), named(DIR));
        match owner_lock::take_stale(&lock_path) {
            Ok(None) => {}
            Ok(lock) => keep(TempDir { path, lock_path, lock, members: 0 }),
            Err(e) if is_tolerable(&e) => {}
            Err(e) => outcome = outcome.and(Err(Error::io("recovering", lock_path, e))),
        }
    }
    outcome
}

/// Removes a temp dir whose lock the caller holds.
fn discard(dir: &Path, lock_path: &Path) -> Result<()> {
    remove_tree(dir)?;
    match std::fs::remove_file(lock_path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", lock_path, e)),
        _ => Ok(()),
    }
}

fn is_tolerable(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

#[cfg(test)]
mod tests;
