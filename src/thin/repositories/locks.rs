//! The locks of repositories: a file `.<repository>` beside each mount point, which no repository can be called.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::thin::Repository;
use crate::{Error, ErrorKind, Result};

/// The longest pause between two looks at a lock that others have.
const PAUSE: Duration = Duration::from_millis(50);

/// With whom a lock is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// With nobody: to mount and to unmount.
    Alone,
    /// With others who need the repository to stay as it is.
    Shared,
}

/// A repository's lock; it goes with this value.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // A program that another thread has just begun may have a copy of the descriptor, and closing ours would not be enough.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl Lock {
    /// Waits until nobody else has a repository's lock in `directory`.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when others still have it after `limit`.
    pub(super) fn get(directory: &Path, repository: &Repository, limit: Duration) -> Result<Self> {
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(1));
        let file = open(directory, repository)?;
        while !try_lock(&file, directory, repository, Access::Alone)? {
            if begun.elapsed() >= limit {
                return Err(failed(ErrorKind::Busy, directory, repository)
                    .detail(format!("others have mounted or used it for {} s", limit.as_secs()))
                    .hint("is there a cvmfs2 or a mount that hangs?"));
            }
            std::thread::sleep(pause);
            pause = PAUSE.min(pause.saturating_mul(2));
        }
        Ok(Self(file))
    }

    /// The lock, unless others have it.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub(super) fn try_get(
        directory: &Path,
        repository: &Repository,
        access: Access,
    ) -> Result<Option<Self>> {
        let file = open(directory, repository)?;
        Ok(try_lock(&file, directory, repository, access)?.then_some(Self(file)))
    }
}

fn open(directory: &Path, repository: &Repository) -> Result<File> {
    let failed = |e| failed(ErrorKind::Io, directory, repository).caused_by(e);
    DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(directory.join(format!(".{repository}")))
        .map_err(failed)
}

fn try_lock(
    file: &File,
    directory: &Path,
    repository: &Repository,
    access: Access,
) -> Result<bool> {
    let operation = match access {
        Access::Alone => FlockOperation::NonBlockingLockExclusive,
        Access::Shared => FlockOperation::NonBlockingLockShared,
    };
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(e) => Err(failed(ErrorKind::Io, directory, repository).caused_by(io::Error::from(e))),
    }
}

fn failed(kind: ErrorKind, directory: &Path, repository: &Repository) -> Error {
    Error::new(kind, format!("locking the repository {repository}")).path(directory)
}
