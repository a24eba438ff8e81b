//! Threads that copy the files of one directory after the other while the tree is walked.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::content::Files;
use super::explain;
use crate::archive::names::join;
use crate::archive::pool::processors;
use crate::sys::threads::spawn_scoped;
use crate::{Error, Result};

/// More threads only wait for the file system's own locks.
const MAX_THREADS: usize = 4;

/// Files that go to a thread at once.
const BATCH: usize = 64;

/// Both ends of a directory, and its path in either tree.
pub(super) struct Ends {
    pub(super) path: Vec<u8>,
    pub(super) from: OwnedFd,
    pub(super) to: OwnedFd,
}

/// Files of one directory.
struct Batch {
    ends: Arc<Ends>,
    files: Vec<(Vec<u8>, Stat)>,
}

/// Where files are handed over to; what is left is done by [`Helpers::finish`].
pub(super) struct Helpers<'f> {
    files: &'f Files<'f>,
    queue: Option<SyncSender<Batch>>,
    batch: Option<Batch>,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
}

struct Shared {
    queue: Mutex<Receiver<Batch>>,
    failure: Mutex<Option<Error>>,
}

impl<'f> Helpers<'f> {
    /// Starts as many threads as there are processors; with a single one, files are copied where they are handed over.
    pub(super) fn start<'s>(scope: &'s Scope<'s, '_>, files: &'f Files<'f>) -> Self
    where
        'f: 's,
    {
        let (sender, receiver) = sync_channel(2 * MAX_THREADS);
        let shared = Arc::new(Shared { queue: Mutex::new(receiver), failure: Mutex::new(None) });
        let threads = match processors() {
            1 => 0,
            n => n.min(MAX_THREADS),
        };
        let started = (0..threads)
            .filter_map(|_| {
                let shared = Arc::clone(&shared);
                let work = move || work(&shared, files);
                // One that cannot be had does not matter.
                spawn_scoped(scope, "orlop-copy", work).ok()
            })
            .count();
        let queue = (started > 0).then_some(sender);
        Self { files, queue, batch: None, shared, buffer: Vec::new() }
    }

    /// Whether the next file is in another directory than the last, whose ends are then needed.
    pub(super) fn needs_ends(&self) -> bool {
        self.batch.is_none()
    }

    /// A directory comes to its end, or another begins.
    pub(super) fn flush(&mut self) {
        let Some(batch) = self.batch.take().filter(|batch| !batch.files.is_empty()) else { return };
        match &self.queue {
            Some(queue) => drop(queue.send(batch)),
            None => copy(&batch, self.files, &self.shared, &mut self.buffer),
        }
    }

    /// Begins a directory.
    pub(super) fn begin(&mut self, ends: Ends) {
        self.flush();
        self.batch = Some(Batch { ends: Arc::new(ends), files: Vec::new() });
    }

    /// Hands a file over.
    pub(super) fn add(&mut self, name: &[u8], stat: Stat) {
        let Some(batch) = &mut self.batch else { return };
        batch.files.push((name.to_vec(), stat));
        if batch.files.len() >= BATCH {
            let ends = Arc::clone(&batch.ends);
            self.flush();
            self.batch = Some(Batch { ends, files: Vec::new() });
        }
    }

    /// Whether a file could not be copied.
    pub(super) fn failed(&self) -> bool {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Hands over what is left, and lets the threads end.
    pub(super) fn finish(mut self) -> impl FnOnce() -> Result<()> {
        self.flush();
        self.queue = None;
        let shared = Arc::clone(&self.shared);
        move || {
            let mut failure = shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.take().map_or(Ok(()), Err)
        }
    }
}

fn work(shared: &Shared, files: &Files<'_>) {
    let mut buffer = Vec::new();
    loop {
        let batch = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return };
        copy(&batch, files, shared, &mut buffer);
    }
}

fn copy(batch: &Batch, files: &Files<'_>, shared: &Shared, buffer: &mut Vec<u8>) {
    for (name, stat) in &batch.files {
        let failure = || shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure().is_some() {
            return;
        }
        let (from, to) = (batch.ends.from.as_fd(), batch.ends.to.as_fd());
        match files.copy((from, name), to, stat, buffer) {
            // Gone since its name was read.
            Ok(()) | Err(Errno::STALE) => {}
            Err(e) => {
                failure().get_or_insert(explain(&join(&batch.ends.path, name), e));
                return;
            }
        }
    }
}
