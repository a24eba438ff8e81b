//! The driver on the real kernel: as root, on the disk.

mod additional;
mod apart;
mod composefs;
mod cvmfs;
mod diffs;
mod ids;
mod ids_beside_go;
mod items;
mod kernels;
mod layers;
mod masks;
mod moby;
mod mounts;
mod partial;
mod program;
mod quotas;
mod redirects;
mod rootless;
mod shifting;
mod stores;
