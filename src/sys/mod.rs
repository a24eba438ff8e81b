//! The only room with raw system calls: whatever the standard library does not wrap, made safe.

pub(crate) mod atomic;
pub(crate) mod beneath;
pub(crate) mod exclusive;
pub(crate) mod lock;
pub(crate) mod mount;
pub(crate) mod of_process;
pub(crate) mod priority;
pub(crate) mod program;
pub(crate) mod quota;
#[cfg(test)]
pub(crate) mod refused;
pub(crate) mod regular;
pub(crate) mod relocate;
pub(crate) mod remove;
pub(crate) mod tempdir;
pub(crate) mod threads;
