//! Threads that are the stages of a pipeline, and end with the call.

use std::io;
use std::thread::{Scope, ScopedJoinHandle};

use crate::sys::threads;
use crate::{Error, ErrorKind, Result};

pub(super) fn spawn<'scope, T: Send + 'scope>(
    s: &'scope Scope<'scope, '_>,
    name: &str,
    stage: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    threads::spawn_scoped(s, name, stage).map_err(not_started)
}

/// The system gives no more threads.
pub(super) fn not_started(e: io::Error) -> Error {
    Error::new(ErrorKind::Io, "starting a thread").hint(threads::ADVICE).caused_by(e)
}

/// What the stage returned; no panic goes further than here.
pub(super) fn join<T>(stage: ScopedJoinHandle<'_, T>) -> Result<T> {
    stage.join().map_err(|_| {
        Error::new(ErrorKind::Internal, "running a stage of a layer's pipeline")
            .detail("it has panicked")
    })
}
