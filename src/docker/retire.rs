//! Letting docker forget what has been taken over, in the order in which docker itself deletes: names, images, layers from the top.
//!
//! A daemon that starts after any of these steps finds databases that are whole: a name whose image is gone never stands in
//! `repositories.json`, and a layer whose record is renamed is one whose removal the daemon finishes itself.

use std::path::Path;

use super::daemon::Alone;
use super::directory::Directory;
use super::needed::Leaving;
use super::{DataRoot, LayerRecord};
use crate::sys::atomic::{replace, sync_dir};
use crate::sys::remove::remove_tree;
use crate::{Digest, Error, ErrorKind, Result};

impl DataRoot {
    /// Lets docker forget the images and layers. Where it is ended in between, images that are left have lost their names, and layers whose
    /// image is gone stay: docker uses neither, and nobody else finishes it.
    ///
    /// # Errors
    /// What cannot be written or removed; what is left is whole as far as docker can tell.
    pub(super) fn retire(&self, _alone: &Alone, leaving: &Leaving) -> Result<()> {
        self.forget_names(leaving)?;
        for id in &leaving.images {
            self.forget_image(id)?;
        }
        let mut layers: Vec<&(usize, LayerRecord)> = leaving.layers.values().collect();
        layers.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        for (_, layer) in layers {
            self.forget_layer(layer)?;
        }
        Ok(())
    }

    fn forget_names(&self, leaving: &Leaving) -> Result<()> {
        let mut known = self.repositories()?;
        for references in known.repositories.values_mut() {
            references.retain(|_, id| {
                !Digest::parse(id.clone()).is_ok_and(|id| leaving.images.contains(&id))
            });
        }
        known.repositories.retain(|_, references| !references.is_empty());
        let text = serde_json::to_vec(&known)
            .map_err(|e| Error::new(ErrorKind::Internal, "writing JSON").caused_by(e))?;
        let path = self.databases.path().join("repositories.json");
        replace(&path, &text, 0o600, true).map(drop)
    }

    fn forget_image(&self, id: &Digest) -> Result<()> {
        if let Some(metadata) = self.databases.down(&["imagedb", "metadata", "sha256"])? {
            remove_tree(&metadata.path().join(id.hex()))?;
        }
        let Some(content) = self.databases.down(&["imagedb", "content", "sha256"])? else {
            return Ok(());
        };
        remove_file(&content.path().join(id.hex()))?;
        sync_dir(content.path())
    }

    fn forget_layer(&self, layer: &LayerRecord) -> Result<()> {
        let Some(database) = self.layerdb()? else { return Ok(()) };
        let hex = layer.chain_id.hex();
        let Some(record) = database.find(hex)? else { return Ok(()) };
        let going = database.path().join(format!("{hex}-{}-removing", crate::id::random_hex_id()));
        std::fs::rename(record.path(), &going)
            .map_err(|e| Error::io("moving away", record.path(), e))?;
        sync_dir(database.path())?;
        if let Some(dir) = self.layers.find(&layer.cache_id)? {
            self.forget_link(&dir)?;
            remove_tree(dir.path())?;
        }
        remove_tree(&going)
    }

    /// The short name of a layer's content.
    fn forget_link(&self, layer: &Directory) -> Result<()> {
        let link = layer.word("link")?.unwrap_or_default();
        let plain = !link.is_empty() && link.bytes().all(|b| b.is_ascii_alphanumeric());
        match self.layers.find("l")?.filter(|_| plain) {
            Some(links) => remove_file(&links.path().join(link)),
            None => Ok(()),
        }
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("removing", path, e)),
        _ => Ok(()),
    }
}
