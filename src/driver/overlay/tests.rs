//! The driver on the real kernel: as root, on the disk.

mod apart;
mod diffs;
mod kernels;
mod layers;
mod mounts;
mod program;
mod quotas;
mod rootless;
mod stores;
