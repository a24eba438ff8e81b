//! A layer of image content with other owners, made in steps of which the long one needs no lock (`overlay-driver.md` MAP-1b).

use crate::LayerId;
use crate::Result;

/// A copy of a layer with other owners in the making, as [`super::Driver::begin_owner_copy`] began it. Dropped, it vanishes with what it
/// has made, unless that has become a layer; of a process that dies, a temp dir is left for the next recovery, and before Linux 6.7 or with a
/// mount program what was mounted in it.
pub trait OwnerCopy: Send {
    /// Makes the copies. Nobody needs to hold a lock for that: what becomes of the layers meanwhile is asked for afterwards.
    ///
    /// # Errors
    /// When a system call fails, be it because the layers were removed meanwhile; an owner that is not mapped.
    fn make(&mut self) -> Result<()>;

    /// Whether the copy's layers are still those with which it began, and what was made of them is all there. Only with the layer
    /// store's write lock held is that any use.
    fn is_current(&self) -> bool;

    /// Creates the layer `id` of what was made, with the layer store's write lock held.
    ///
    /// # Errors
    /// No layer is left behind.
    fn commit(&mut self, id: &LayerId) -> Result<()>;
}
