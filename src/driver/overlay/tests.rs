//! The driver on the real kernel: as root, on the disk.

mod apart;
mod diffs;
mod ids;
mod ids_beside_go;
mod layers;
mod mounts;
mod program;
mod rootless;
mod shifting;
mod stores;
