//! What a deferred removal leaves: a temp dir to be emptied without the lock.

use super::Trash;
use crate::Result;
use crate::sys::tempdir::TempDir;

/// A temp dir with what was moved aside, or nothing at all.
pub(super) struct TempTrash(Option<TempDir>);

impl TempTrash {
    /// For a layer that was not there.
    pub(super) fn empty() -> Box<dyn Trash> {
        Box::new(Self(None))
    }

    /// For what lies in `temp`.
    pub(super) fn of(temp: TempDir) -> Box<dyn Trash> {
        Box::new(Self(Some(temp)))
    }
}

impl Trash for TempDir {
    fn empty(self: Box<Self>) -> Result<()> {
        self.cleanup()
    }
}

impl Trash for TempTrash {
    fn empty(self: Box<Self>) -> Result<()> {
        self.0.map_or(Ok(()), TempDir::cleanup)
    }
}
