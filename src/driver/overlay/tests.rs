//! The driver on the real kernel: as root, on the disk.

mod diffs;
mod ids;
mod ids_beside_go;
mod layers;
mod mounts;
mod shifting;
mod stores;
