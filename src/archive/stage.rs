//! Threads that are the stages of a pipeline, and end with the call.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::{Error, ErrorKind, Result};

pub(super) fn spawn<'scope, T: Send + 'scope>(
    s: &'scope Scope<'scope, '_>,
    name: &str,
    stage: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Builder::new()
        .name(name.to_owned())
        .spawn_scoped(s, stage)
        .map_err(|e| Error::new(ErrorKind::Io, "starting a thread").caused_by(e))
}

/// What the stage returned; no panic goes further than here.
pub(super) fn join<T>(stage: ScopedJoinHandle<'_, T>) -> Result<T> {
    stage.join().map_err(|_| {
        Error::new(ErrorKind::Internal, "running a stage of a layer's pipeline")
            .detail("it has panicked")
    })
}
