//! What a migration is asked for.

use std::path::PathBuf;

use crate::progress::{Progress, Silent};

/// How files get from docker's layers to the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// Reflinked where the file system can, else copied.
    #[default]
    Either,
    /// Reflinked, or the image is refused.
    Reflink,
    /// Copied.
    Copy,
    /// Moved: docker forgets the image, and its layers as far as nothing else there needs them.
    Move,
}

/// How to migrate.
pub struct MigrateOptions<'a> {
    /// Ids, unique prefixes of ids, or names; all images that `docker images` shows if empty.
    pub images: Vec<String>,
    /// Also make images of the stopped containers.
    pub containers: bool,
    /// How files get into the store.
    pub transfer: Transfer,
    /// Make each layer's tar once more and compare its digest, and what lies there with the tar's headers.
    pub verify: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Where temporary files are made; `/var/tmp` if none. A container's takes as much as it has changed.
    pub temp_dir: Option<PathBuf>,
    /// Who is told how far it is; one item for each layer.
    pub progress: &'a dyn Progress,
}

impl Default for MigrateOptions<'_> {
    fn default() -> Self {
        Self {
            images: Vec::new(),
            containers: false,
            transfer: Transfer::Either,
            verify: true,
            dry_run: false,
            temp_dir: None,
            progress: &Silent,
        }
    }
}

impl std::fmt::Debug for MigrateOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MigrateOptions")
            .field("images", &self.images)
            .field("containers", &self.containers)
            .field("transfer", &self.transfer)
            .field("verify", &self.verify)
            .field("dry_run", &self.dry_run)
            .field("temp_dir", &self.temp_dir)
            .finish_non_exhaustive()
    }
}
