//! Migrations of one data root keep out of one another's way.
//!
//! The lock is a flock(2) of the directory of docker's databases: nothing is written for it, docker takes none there, and it goes with
//! the process.

use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::DataRoot;
use crate::{Error, ErrorKind, Result};

/// Held while images are taken over; goes with the value.
#[derive(Debug)]
#[must_use]
pub(super) struct Turn {
    _locked: OwnedFd,
}

impl DataRoot {
    /// Waits for nobody: one that moves is alone, those that copy are among themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] for another migration that excludes this one.
    pub(super) fn turn(&self, moves: bool) -> Result<Turn> {
        const ACTION: &str = "locking docker's data root against other migrations";
        // A description of its own: two migrations of this process may share the data root.
        let locked = self.databases.reopened()?;
        let how = match moves {
            true => FlockOperation::NonBlockingLockExclusive,
            false => FlockOperation::NonBlockingLockShared,
        };
        match flock(&locked, how) {
            Ok(()) => Ok(Turn { _locked: locked }),
            Err(Errno::WOULDBLOCK) => Err(Error::new(ErrorKind::Busy, ACTION)
                .path(self.path())
                .detail("another migration works on it, and one of the two moves images")
                .hint("try again when that has ended")),
            // Those that change nothing there go on where there are no such locks.
            Err(_) if !moves => Ok(Turn { _locked: locked }),
            Err(e) => Err(Error::io(ACTION, self.databases.path(), std::io::Error::from(e))),
        }
    }
}
