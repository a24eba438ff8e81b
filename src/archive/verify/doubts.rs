//! Members that are not there as their headers say: perhaps a later member has taken their place.

use std::collections::HashSet;

use super::differs;
use crate::Result;
use crate::sys::beneath::Identity;

/// No tar replaces so many of its own members.
const MAX_DOUBTS: usize = 64;

/// What differs so far, in the order of the tar.
#[derive(Default)]
pub(super) struct Doubts {
    open: Vec<Doubt>,
    /// Files with several names that are as one of their members says.
    settled: HashSet<Identity>,
}

struct Doubt {
    path: Vec<u8>,
    shared: Option<Identity>,
    why: String,
}

impl Doubts {
    /// The entry at `path` is not what a member says; `shared` is the file, if that has more names.
    ///
    /// # Errors
    /// The first doubt, once there are too many.
    pub(super) fn add(
        &mut self,
        path: Vec<u8>,
        shared: Option<Identity>,
        why: String,
    ) -> Result<()> {
        if shared.is_some_and(|id| self.settled.contains(&id)) {
            return Ok(());
        }
        self.open.push(Doubt { path, shared, why });
        if self.open.len() > MAX_DOUBTS { self.first() } else { Ok(()) }
    }

    /// The entry at `path` is what a member says.
    pub(super) fn settle(&mut self, path: &[u8], shared: Option<Identity>, directory: bool) {
        let below = |other: &[u8]| {
            !directory && other.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"))
        };
        self.open.retain(|doubt| {
            let same = shared.is_some() && doubt.shared == shared;
            !same && doubt.path != path && !below(&doubt.path)
        });
        self.settled.extend(shared);
    }

    /// # Errors
    /// The first doubt that is left.
    pub(super) fn into_outcome(self) -> Result<()> {
        self.first()
    }

    fn first(&self) -> Result<()> {
        self.open.first().map_or(Ok(()), |doubt| Err(differs(&doubt.path, &doubt.why)))
    }
}
