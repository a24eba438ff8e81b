//! Lock files that tell whether the process that made a directory lives.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::lock::try_lock_whole;
use super::of_process::OfProcess;
use super::regular::refuse_link;
use crate::{Error, Result};

/// How many numbers are tried before the directory of the others is held to be full.
const ATTEMPTS: usize = 1000;

/// Descriptors of lock files that somebody else holds. A Go part of this process may be that somebody, and would lose its lock if one
/// were closed; a file without links can be locked by nobody anew, and those are closed.
pub(super) static FOREIGN: OfProcess<BTreeMap<(u64, u64), File>> = OfProcess::new(BTreeMap::new());

/// Makes something of a random number in `root`, and `root` with mode 0700 if it is missing. `make` returns nothing for a number that
/// is taken.
///
/// # Errors
/// A failed system call, in `action` on `root`.
pub(super) fn numbered<T>(
    action: &str,
    root: &Path,
    make: impl Fn(&Path, u32) -> io::Result<Option<T>>,
) -> Result<T> {
    let failed = |e: io::Error| Error::io(action, root, e);
    refuse_link(root)?;
    for _ in 0..=ATTEMPTS {
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
        match make(root, rand::random()) {
            Ok(Some(made)) => return Ok(made),
            Ok(None) => {}
            // Where a home is to look as if nothing had been there, the root is removed when it is empty.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Err(failed(io::ErrorKind::AlreadyExists.into()))
}

/// Makes the lock file at `path` and locks it; `None` if there is one, or if another process took the fresh one for a stale one.
pub(super) fn make(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_CLOEXEC);
    let lock = match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        opened => opened?,
    };
    match try_lock_whole(&lock) {
        Ok(true) => Ok(Some(lock).filter(|lock| is_at(lock, path))),
        Ok(false) => {
            keep_foreign(lock);
            Ok(None)
        }
        Err(e) => {
            let _ = std::fs::remove_file(path);
            Err(e.into())
        }
    }
}

/// Locks the lock file at `path`, made if it is missing; `None` if somebody holds it or has just removed it.
pub(super) fn take_stale(path: &Path) -> io::Result<Option<File>> {
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        // Before opening: a descriptor of a lock that is held could not be closed again.
        let foreign = &mut FOREIGN.lock().1;
        let key = (meta.dev(), meta.ino());
        if let Some(file) = foreign.get(&key) {
            if !try_lock_whole(file)? {
                return Ok(None);
            }
            return Ok(foreign.remove(&key).filter(|lock| is_at(lock, path)));
        }
    }
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    match try_lock_whole(&lock) {
        Ok(true) => Ok(Some(lock).filter(|lock| is_at(lock, path))),
        Ok(false) => {
            keep_foreign(lock);
            Ok(None)
        }
        Err(e) => {
            keep_foreign(lock);
            Err(e.into())
        }
    }
}

/// Whether `file` is still what the path names, and not one that somebody removed after it was opened.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Keeps the descriptor of a lock that somebody else holds from being closed.
fn keep_foreign(file: File) {
    match file.metadata() {
        Ok(meta) => {
            if let Some(same) = FOREIGN.lock().1.insert((meta.dev(), meta.ino()), file) {
                // Opened twice in a race of two threads: neither may be closed.
                std::mem::forget(same);
            }
        }
        Err(_) => std::mem::forget(file),
    }
}

/// Closes those that are kept from being closed and need not be any more.
pub(super) fn close_unlinked() {
    FOREIGN.lock().1.retain(|_, file| file.metadata().map_or(true, |meta| meta.nlink() > 0));
}
