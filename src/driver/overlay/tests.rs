//! The driver on the real kernel: as root, on the disk.

mod above;
mod additional;
mod apart;
mod composefs;
mod cvmfs;
mod diffs;
mod foreign;
mod ids;
mod ids_beside_go;
mod ids_thin;
mod images;
mod items;
mod kernels;
mod layers;
mod masks;
mod moby;
mod mounts;
mod partial;
mod places;
mod program;
mod quotas;
mod redirects;
mod rootless;
mod selinux;
mod shifting;
mod stores;

use std::path::{Path, PathBuf};

/// The program that scripts/deps fetches: no release of Debian's that is out has it.
pub(super) fn fetched_maker() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/composefs/mkcomposefs");
    path.is_file().then_some(path)
}
