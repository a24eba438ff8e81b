//! What is written to upon docker's layers: `layerdb/mounts`.
//!
//! Each container has an entry there, of its own name. BuildKit has one while it reads a layer, and a daemon that is killed meanwhile
//! leaves it, as it does that of a container which it was about to make. Nothing of docker's takes such a one away.

use super::DataRoot;
use super::directory::{Directory, damaged, is_id, missing};
use crate::{Digest, ErrorKind, Result};

/// Directories of `overlay2` that lie on layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountRecord {
    /// The one that is written to.
    pub(super) mount_id: String,
    /// The one between that and the layers. Containers have it.
    pub(super) init_id: Option<String>,
    /// The chain id of the uppermost layer.
    pub(super) parent: Option<Digest>,
}

impl DataRoot {
    /// All that there are, whoever made them.
    ///
    /// # Errors
    /// For one that cannot be read: it may lie on any layer.
    pub(super) fn mounts(&self) -> Result<Vec<MountRecord>> {
        let Some(dir) = self.databases.down(&["layerdb", "mounts"])? else { return Ok(Vec::new()) };
        let read = |name: String| {
            dir.at(&name).and_then(|dir| read(&dir, &format!("the mount {name}"))).map_err(|e| {
                let e = e.context("finding the layers that docker needs");
                // What the disk does not give just now may be whole.
                if e.kind() == ErrorKind::Io {
                    return e.hint("leave out --move");
                }
                let path = dir.path().join(&name);
                e.hint(format!(
                    "leave out --move; or stop the daemon and remove {path:?} by hand, docker itself knows no such entry"
                ))
            })
        };
        dir.names()?.into_iter().map(read).collect()
    }

    /// That of a container.
    pub(super) fn mount_of(&self, container: &str) -> Result<MountRecord> {
        let what = format!("the container {container}");
        let dir = self.databases.down(&["layerdb", "mounts", container])?;
        read(&dir.ok_or_else(|| damaged(&what, "layerdb knows no layer of it"))?, &what)
    }
}

fn read(dir: &Directory, what: &str) -> Result<MountRecord> {
    let layer = |name: &str| -> Result<Option<String>> {
        let Some(text) = dir.word(name)? else { return Ok(None) };
        match is_id(text.strip_suffix("-init").unwrap_or(&text)) {
            true => Ok(Some(text)),
            false => Err(damaged(what, format!("its {name} is {text:?}"))),
        }
    };
    Ok(MountRecord {
        mount_id: layer("mount-id")?.ok_or_else(|| missing(&dir.path().join("mount-id")))?,
        init_id: layer("init-id")?,
        parent: dir.digest("parent")?,
    })
}
