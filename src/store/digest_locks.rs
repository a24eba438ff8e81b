//! Locks by which two loads of one image unpack it once (`store-format.md` 9.3, `R/D-locks/<digest>`).
//!
//! They guard no file: whoever ignores them unpacks a layer in vain at worst, since one that is there already is passed over.

use std::collections::BTreeSet;

use super::Store;
use super::open::make_directory;
use super::order::{Before, Digests, Held};
use crate::sys::exclusive::Exclusive;
use crate::{Digest, Result};

/// The locks of some digests, given back when dropped.
#[must_use]
pub(crate) struct DigestLocks {
    _locks: Vec<Exclusive>,
}

impl Store {
    /// Waits for the locks of all these digests, one after the other in the order of the set. As everybody takes them in that order,
    /// the holder of the last one that anybody waits for does not wait itself, so that all get on.
    ///
    /// While it waits, `go_on` is asked again and again.
    ///
    /// # Errors
    /// When a lock file cannot be made or locked; that of `go_on`.
    pub(crate) fn lock_digests(
        &self,
        digests: &BTreeSet<&Digest>,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<DigestLocks> {
        self.prepare()?;
        self.lock_digests_after(&Held::nothing(), digests, go_on)
    }

    fn lock_digests_after<Outer: Before<Digests>>(
        &self,
        _: &Held<Outer>,
        digests: &BTreeSet<&Digest>,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<DigestLocks> {
        let dir = self.paths.digest_locks();
        make_directory(&dir)?;
        let take = |digest: &&Digest| {
            let waiting = || {
                tracing::info!("waiting for another loading, which makes a layer of {digest}");
            };
            Exclusive::wait(&dir.join(digest.as_str()), waiting, go_on)
        };
        Ok(DigestLocks { _locks: digests.iter().map(take).collect::<Result<_>>()? })
    }
}
