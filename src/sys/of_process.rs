//! What belongs to one process, and not to the child that it forks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value of this process; a forked child begins with an empty one.
///
/// Descriptors that a child has from its parent share their open file descriptions with it, and so their locks (fork(2)): such a lock
/// does not keep the two apart, and what one of them unlocks is unlocked for the other.
pub(crate) struct OfProcess<T>(Mutex<(u32, T)>);

impl<T: Default> OfProcess<T> {
    pub(crate) const fn new(empty: T) -> Self {
        Self(Mutex::new((0, empty)))
    }

    /// This process's own value, behind the id of the process. The parent's is left as it is: to close its descriptors could drop locks.
    pub(crate) fn lock(&self) -> MutexGuard<'_, (u32, T)> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if held.0 != process {
            std::mem::forget(std::mem::replace(&mut *held, (process, T::default())));
        }
        held
    }
}
