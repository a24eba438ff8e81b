//! Whether a daemon works on a data root, and keeping one away.
//!
//! dockerd keeps some databases of the bbolt kind open for as long as it runs, each locked by flock(2). Whoever has the locks of those
//! that are there is alone; a daemon that starts meanwhile fails with the time-out of its own lock.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::DataRoot;
use super::directory::Directory;
use crate::{Error, ErrorKind, Result};

/// The databases, by the directories on the way. The first is there since the daemon's first start, and is never closed.
const DATABASES: [(&[&str], &str); 6] = [
    (&["volumes"], "metadata.db"),
    (&["network", "files"], "local-kv.db"),
    (&["buildkit"], "cache.db"),
    (&["buildkit"], "metadata_v2.db"),
    (&["buildkit"], "snapshots.db"),
    (&["containerd", "daemon", "io.containerd.metadata.v1.bolt"], "meta.db"),
];

/// Keeps daemons away from a data root until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Alone {
    locked: Vec<File>,
}

impl DataRoot {
    /// Whether a daemon works on it now.
    ///
    /// # Errors
    /// When a database cannot be opened.
    pub fn is_in_use(&self) -> Result<bool> {
        Ok(self.lock_databases(FlockOperation::NonBlockingLockShared)?.is_none())
    }

    /// Keeps daemons away.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if one is there; [`ErrorKind::NotSupported`] where there is nothing to lock.
    pub(super) fn alone(&self) -> Result<Alone> {
        match self.lock_databases(FlockOperation::NonBlockingLockExclusive)? {
            Some(locked) if locked.is_empty() => Err(Error::new(
                ErrorKind::NotSupported,
                "moving images out of docker's data root",
            )
            .path(self.path())
            .detail(
                "none of the databases is there whose locks tell of a daemon, so that none could be kept away",
            )
            .hint("leave out --move; docker keeps its images then")),
            Some(locked) => Ok(Alone { locked }),
            None => Err(self.busy()),
        }
    }

    /// That it is so still: the databases that are there now are those whose locks are held.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] for one that has come since, which only a daemon makes.
    pub(super) fn still_alone(&self, alone: &Alone) -> Result<()> {
        let identity = |file: &File, dir: &Directory, name: &str| match file.metadata() {
            Ok(meta) => Ok((meta.dev(), meta.ino())),
            Err(e) => Err(Error::io("looking at", dir.path().join(name), e)),
        };
        for (dirs, name) in DATABASES {
            let Some(dir) = self.root.down(dirs)? else { continue };
            let Some(file) = dir.file(name)? else { continue };
            let here = identity(&file, &dir, name)?;
            let is_held = |held: &File| identity(held, &dir, name).is_ok_and(|held| held == here);
            if !alone.locked.iter().any(is_held) {
                return Err(self.busy());
            }
        }
        Ok(())
    }

    fn busy(&self) -> Error {
        Error::new(ErrorKind::Busy, "moving images out of docker's data root")
            .path(self.path())
            .detail("a docker daemon works on it")
            .hint("stop the daemon (systemctl stop docker.socket docker), or leave out --move")
    }

    /// `None` if somebody else has a lock.
    fn lock_databases(&self, how: FlockOperation) -> Result<Option<Vec<File>>> {
        let mut locked = Vec::new();
        for (dirs, name) in DATABASES {
            let Some(dir) = self.root.down(dirs)? else { continue };
            let Some(file) = dir.file(name)? else { continue };
            match flock(&file, how) {
                Ok(()) => locked.push(file),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(e) => return Err(failed(&dir, name, e)),
            }
        }
        Ok(Some(locked))
    }
}

fn failed(dir: &Directory, name: &str, e: Errno) -> Error {
    Error::io(
        "looking for a docker daemon by the lock of",
        dir.path().join(name),
        std::io::Error::from(e),
    )
}
