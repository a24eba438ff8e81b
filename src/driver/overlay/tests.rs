//! The driver on the real kernel: as root, on the disk.

mod diffs;
mod layers;
mod mounts;
mod stores;
