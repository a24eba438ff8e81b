//! The only room with raw system calls: whatever the standard library does not wrap, made safe.

pub(crate) mod atomic;
pub(crate) mod beneath;
pub(crate) mod erofs;
pub(crate) mod exclusive;
pub(crate) mod fs_features;
pub(crate) mod idmapped;
pub(crate) mod lock;
pub(crate) mod mount;
pub(crate) mod of_process;
pub(crate) mod one_mount;
pub(crate) mod owner_lock;
pub(crate) mod priority;
pub(crate) mod program;
pub(crate) mod quota;
pub(crate) mod reflink;
#[cfg(test)]
pub(crate) mod refused;
pub(crate) mod regular;
pub(crate) mod relocate;
pub(crate) mod remove;
#[cfg(test)]
pub(crate) mod silent;
pub(crate) mod staged_dir;
pub(crate) mod tempdir;
pub(crate) mod threads;
pub(crate) mod unnamed;
pub(crate) mod userns;
pub(crate) mod verity;
pub(crate) mod xattrat;
