//! What is out of the way, to be deleted from the disk when no lock is held any more.

use crate::driver::Trash;
use crate::sys::tempdir::TempDir;

/// How much may wait: each piece has a temp dir with an open lock file, and a process often has no more than 1024 descriptors.
/// What is beyond is deleted at once, under the lock.
const MAX_WAITING: usize = 64;

/// Deleted when it goes: the last thing that an [`super::table::Edit`] lets go of, after its locks. What resists stays in its temp
/// dir, and the next operation that writes tries again.
#[derive(Default)]
pub(super) struct Waste(Vec<Box<dyn Trash>>);

impl Waste {
    /// Adds a piece.
    pub(super) fn add(&mut self, trash: Box<dyn Trash>) {
        if self.0.len() >= MAX_WAITING {
            self.empty();
        }
        self.0.push(trash);
    }

    /// Adds a temp dir with its content.
    pub(super) fn add_dir(&mut self, dir: TempDir) {
        self.add(Box::new(dir));
    }

    fn empty(&mut self) {
        for error in self.0.drain(..).map(Trash::empty).filter_map(Result::err) {
            tracing::warn!("what was removed could not be deleted from the disk yet: {error}");
        }
    }
}

impl Drop for Waste {
    fn drop(&mut self) {
        self.empty();
    }
}
