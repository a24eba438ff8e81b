//! The threads that empty one large tree together: directories to be emptied are left where any of them finds them.
//!
//! Removals in one directory exclude one another in the kernel, so that whole directories are what the threads share.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Error, ErrorKind};

/// More threads only wait for the file system's own locks.
const MAX_THREADS: usize = 4;

/// What the threads of one removal know together.
#[derive(Default)]
pub(super) struct Crew {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order in which they were shared: the first is the nearest to the root, and likely the largest.
    shared: BTreeMap<Ticket, Shared>,
    next_ticket: Ticket,
    /// Threads that wait for a change.
    waiting: usize,
    finished: bool,
    failure: Option<Error>,
}

/// Names a shared directory.
pub(super) type Ticket = u64;

/// A directory whose subdirectories any thread may empty.
struct Shared {
    dir: Arc<OwnedFd>,
    path: PathBuf,
    pending: Vec<CString>,
    /// How many subdirectories other threads are at.
    away: usize,
}

/// A subdirectory for a thread to empty and remove.
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) dir: Arc<OwnedFd>,
    /// Of the directory that holds it.
    pub(super) path: PathBuf,
    pub(super) name: CString,
}

/// How many threads there should be besides the first.
pub(super) fn helpers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS) - 1
}

impl Crew {
    /// Lets others take from the subdirectories `pending` of `dir`.
    pub(super) fn share(&self, dir: Arc<OwnedFd>, path: PathBuf, pending: Vec<CString>) -> Ticket {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.shared.insert(ticket, Shared { dir, path, pending, away: 0 });
        self.tell(state);
        ticket
    }

    /// A subdirectory for the thread that shared them.
    pub(super) fn next(&self, ticket: Ticket) -> Option<CString> {
        self.lock().shared.get_mut(&ticket)?.pending.pop()
    }

    /// Waits until all subdirectories are gone, `work`ing at others meanwhile; `false` if a thread has failed.
    pub(super) fn close(&self, ticket: Ticket, work: Option<&dyn Fn(Job)>) -> bool {
        let done =
            |s: &State| s.failure.is_some() || s.shared.get(&ticket).is_none_or(|s| s.away == 0);
        self.work_until(done, work);
        let mut state = self.lock();
        state.shared.remove(&ticket);
        state.failure.is_none()
    }

    /// What a hired thread does: to `work` until the removal is over.
    pub(super) fn help(&self, work: &dyn Fn(Job)) {
        self.work_until(|state| state.finished || state.failure.is_some(), Some(work));
    }

    fn work_until(&self, done: impl Fn(&State) -> bool, work: Option<&dyn Fn(Job)>) {
        let _present = self.presence();
        let mut state = self.lock();
        while !done(&state) {
            match work.and_then(|work| Some((work, state.take()?))) {
                Some((work, job)) => {
                    drop(state);
                    let ticket = job.ticket;
                    work(job);
                    state = self.lock();
                    if let Some(shared) = state.shared.get_mut(&ticket) {
                        shared.away -= 1;
                        if shared.away == 0 {
                            self.tell(state);
                            state = self.lock();
                        }
                    }
                }
                None => {
                    state.waiting += 1;
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.waiting -= 1;
                }
            }
        }
    }

    /// Ends the others' work because this thread's failed; of several failures the first counts.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.lock();
        state.failure.get_or_insert(error);
        self.tell(state);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.lock().failure.is_some()
    }

    /// Lets the hired threads go.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        state.finished = true;
        self.tell(state);
    }

    /// Held by each thread while it works: if it panics, the others do not wait for it.
    pub(super) fn presence(&self) -> Presence<'_> {
        Presence(self)
    }

    /// The first failure.
    pub(super) fn into_failure(self) -> Option<Error> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).failure
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: MutexGuard<'_, State>) {
        let anybody = state.waiting > 0;
        drop(state);
        if anybody {
            self.changed.notify_all();
        }
    }
}

/// Ends the removal if its thread panics.
pub(super) struct Presence<'a>(&'a Crew);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::new(ErrorKind::Internal, "removing").detail("a thread panicked"));
        }
    }
}

impl State {
    fn take(&mut self) -> Option<Job> {
        self.shared.iter_mut().find_map(|(ticket, shared)| {
            let name = shared.pending.pop()?;
            shared.away += 1;
            let (dir, path) = (Arc::clone(&shared.dir), shared.path.clone());
            Some(Job { ticket: *ticket, dir, path, name })
        })
    }
}
