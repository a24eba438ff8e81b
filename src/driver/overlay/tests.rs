//! The driver on the real kernel: as root, on the disk.

mod apart;
mod diffs;
mod layers;
mod mounts;
mod program;
mod redirects;
mod rootless;
mod stores;
