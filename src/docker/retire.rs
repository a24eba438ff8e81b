//! Letting docker forget what has been taken over, in the order in which docker itself deletes: names, images, layers from the top.
//!
//! After each step docker's databases are whole: a name whose image is gone never stands in `repositories.json`, an image that is listed
//! has all its layers, and a layer is gone for docker as soon as its record has the name of one on its way out. What is to go is written
//! down before (`journal.rs`), so that whoever comes after a killed process finishes it.

use super::daemon::Alone;
use super::journal::{Begun, Journal};
use super::needed::Leaving;
use super::remains::{self, Remains};
use super::{DataRoot, LayerRecord};
use crate::sys::atomic::replace;
use crate::sys::remove::remove_tree;
use crate::{Digest, Error, ErrorKind, Result};

impl DataRoot {
    /// Lets docker forget the images and layers, and what is left of those that an earlier call had begun with.
    ///
    /// # Errors
    /// What cannot be written or removed. What is left is whole, and the next call finishes it.
    pub(super) fn retire(&self, alone: &Alone, leaving: &Leaving, begun: &Begun) -> Result<()> {
        let after = self.still_begun(leaving, begun)?;
        if leaving.is_empty() && begun.journal.is_empty() {
            return Ok(());
        }
        self.still_alone(alone)?;
        let mut journal = begun.journal.clone();
        journal.images.extend(leaving.images.clone());
        journal.layers.extend(leaving.layers.keys().cloned());
        if journal != begun.journal {
            self.write_journal(&journal)?;
        }
        self.forget_names(leaving)?;
        self.forget_images(leaving)?;
        self.forget_metadata(&journal)?;
        self.forget_layers(leaving)?;
        self.write_journal(&after)
    }

    /// Of what was begun: what goes on to be, because it is neither gone nor wanted again, and does not leave now.
    fn still_begun(&self, leaving: &Leaving, begun: &Begun) -> Result<Journal> {
        let named = self.repositories()?;
        let mut after = Journal::default();
        for (id, names) in &begun.journal.images {
            let wanted = named.has_name_of(id) || leaving.staying.contains_key(id);
            if !wanted && !leaving.images.contains_key(id) && self.has_image(id) {
                after.images.insert(id.clone(), names.clone());
            }
        }
        Ok(after)
    }

    pub(super) fn forget_names(&self, leaving: &Leaving) -> Result<()> {
        let mut known = self.repositories()?;
        if !leaving.images.keys().any(|id| known.has_name_of(id)) {
            return Ok(());
        }
        for references in known.repositories.values_mut() {
            references.retain(|_, id| {
                !Digest::parse(id.clone()).is_ok_and(|id| leaving.images.contains_key(&id))
            });
        }
        known.repositories.retain(|_, references| !references.is_empty());
        let text = serde_json::to_vec(&known)
            .map_err(|e| Error::new(ErrorKind::Internal, "writing JSON").caused_by(e))?;
        let path = self.databases.path().join("repositories.json");
        replace(&path, &text, 0o600, true).map(drop)
    }

    /// Each before what it was built upon, so that none loses that.
    pub(super) fn forget_images(&self, leaving: &Leaving) -> Result<()> {
        let Some(content) = self.databases.down(&["imagedb", "content", "sha256"])? else {
            return Ok(());
        };
        for id in &leaving.in_order {
            content.unlink(id.hex())?;
        }
        if leaving.in_order.is_empty() { Ok(()) } else { content.sync() }
    }

    /// What was known of images beside their configs. After those: an image that is listed keeps it.
    pub(super) fn forget_metadata(&self, journal: &Journal) -> Result<()> {
        let Some(metadata) = self.databases.down(&["imagedb", "metadata", "sha256"])? else {
            return Ok(());
        };
        for id in journal.images.keys().filter(|id| !self.has_image(id)) {
            remove_tree(&metadata.path().join(id.hex()))?;
        }
        metadata.sync()
    }

    /// All records first, from the top, then the files: until its record goes, a layer is whole.
    pub(super) fn forget_layers(&self, leaving: &Leaving) -> Result<()> {
        let Some(database) = self.layerdb()? else { return Ok(()) };
        let mut remains = leaving.remains.clone();
        let mut layers: Vec<&(usize, LayerRecord)> = leaving.layers.values().collect();
        layers.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        for (_, layer) in layers {
            let Some(record) = database.find(layer.chain_id.hex())? else { continue };
            let name = remains::name_of(&layer.chain_id);
            std::fs::rename(record.path(), database.path().join(&name))
                .map_err(|e| Error::io("moving away", record.path(), e))?;
            remains.push(Remains { record: name, cache_id: Some(layer.cache_id.clone()) });
        }
        if remains.is_empty() {
            return Ok(());
        }
        database.sync()?;
        for cache_id in remains.iter().filter_map(|r| r.cache_id.as_deref()) {
            self.forget_files(cache_id)?;
        }
        // The record tells of the directory, which must not come back without it.
        self.layers.sync()?;
        for gone in &remains {
            remove_tree(&database.path().join(&gone.record))?;
        }
        database.sync()
    }

    /// A directory of `overlay2`, its short name first: nobody else would find that without it.
    fn forget_files(&self, cache_id: &str) -> Result<()> {
        let Some(dir) = self.layers.find(cache_id)? else { return Ok(()) };
        let link = self.link_of(cache_id, &dir)?;
        let plain = !link.is_empty() && link.bytes().all(|b| b.is_ascii_alphanumeric());
        if let Some(links) = self.layers.find("l")?.filter(|_| plain) {
            links.unlink(&link)?;
        }
        remove_tree(dir.path())
    }
}
