//! How many files the unpacker may have open, beside whatever else the process has.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{Resource, getrlimit};

pub(super) struct Descriptors {
    /// The process may not have more.
    limit: u64,
}

impl Descriptors {
    pub(super) fn of_process() -> Self {
        Self { limit: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) }
    }

    /// How many directories to keep at most: an eighth, for several layers are unpacked at a time.
    pub(super) fn directories(&self) -> usize {
        usize::try_from(self.limit / 8).unwrap_or(usize::MAX).clamp(32, 1024)
    }

    /// Whether half of all are in use, by whomever: the newest has the lowest number that was free.
    pub(super) fn are_scarce(&self, newest: &OwnedFd) -> bool {
        u64::try_from(newest.as_raw_fd()).is_ok_and(|number| number >= self.limit / 2)
    }
}
