//! A directory of one's own for trying features out, beside the store and gone afterwards.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::nearest;
use crate::sys::mount::{detach, mounts_below};
use crate::sys::remove::remove_tree;
use crate::{Error, ErrorKind, Result};

/// A new directory that only this user may enter; what is mounted and what lies in it goes with it. One that a crash leaves is named
/// `orlop-doctor-` and 16 hexadecimal digits.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one below the first of the candidates that lies on the file system of `graph_root`, outside of it.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] if none of the candidates does; a failed mkdir.
    pub(super) fn beside(graph_root: &Path, candidates: &[PathBuf]) -> Result<Self> {
        let wanted = device(graph_root)?;
        let found = candidates.iter().find(|dir| {
            dir.is_dir() && !dir.starts_with(graph_root) && device(dir).is_ok_and(|d| d == wanted)
        });
        let Some(parent) = found else {
            return Err(Error::new(ErrorKind::NotSupported, "finding a place to try features out")
                .detail("none of the directories for that is on the file system of the graph root")
                .hint("set TMPDIR to a directory there, outside the graph root"));
        };
        // Never one that is there already: it might be somebody else's.
        let path = parent.join(format!("orlop-doctor-{:016x}", rand::random::<u64>()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| Error::io("making a directory to try features out", &path, e))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for target in mounts_below(&self.0).unwrap_or_default() {
            let _ = detach(&target);
        }
        if let Err(e) = remove_tree(&self.0) {
            tracing::warn!(error = %e, "removing the directory in which features were tried out");
        }
    }
}

/// The device that `path`, or what of it is there, lies on.
fn device(path: &Path) -> Result<u64> {
    let there = nearest(path);
    there.metadata().map(|m| m.dev()).map_err(|e| Error::io("examining", there, e))
}
