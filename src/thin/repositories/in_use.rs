//! Repositories in use by nothing but a guard: brought into place before anybody is on them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::Repositories;
use crate::Result;
use crate::thin::Repository;

/// As long as this is there, nobody in this process unmounts these repositories. Another process may, whose own use ends: no lock is held,
/// so that this can wait for the locks of others.
#[derive(Debug)]
#[must_use]
pub(crate) struct InUse<'a> {
    all: &'a Repositories,
    user: String,
    repositories: BTreeSet<Repository>,
}

impl Repositories {
    /// Brings repositories into use until the guard goes, as [`Repositories::acquire`] does for a layer.
    ///
    /// # Errors
    /// As for [`Repositories::acquire`].
    pub(crate) fn bring(&self, repositories: BTreeSet<Repository>) -> Result<InUse<'_>> {
        // No layer's id has a blank.
        let user = format!("guard {}", self.guards.fetch_add(1, Ordering::Relaxed));
        drop(self.acquire(&user, &repositories)?);
        Ok(InUse { all: self, user, repositories })
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.all.release(&self.user, &self.repositories);
    }
}
