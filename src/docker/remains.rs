//! Layers of docker whose deletion was ended in between: their records have the name that docker, too, gives one on its way out.

use std::collections::{BTreeSet, HashSet};

use super::directory::{Directory, is_cache_id, is_id};
use super::mounts::MountRecord;
use super::{DataRoot, LayerRecord};
use crate::{Digest, Result};

/// What the name of such a record ends with.
const ENDING: &str = "-removing";

/// What is left of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remains {
    /// Its record in `layerdb/sha256`.
    pub(super) record: String,
    /// Its directory in `overlay2`, if that is there still.
    pub(super) cache_id: Option<String>,
}

/// A new name for the record of a layer that is to go.
pub(super) fn name_of(chain_id: &Digest) -> String {
    format!("{}-{}{ENDING}", chain_id.hex(), crate::id::random_hex_id())
}

impl DataRoot {
    /// What is left of those layers. Without a directory that a layer or a mount has now; and nothing, if a record cannot be read,
    /// which might name any.
    pub(super) fn remains(
        &self,
        chain_ids: &BTreeSet<Digest>,
        layers: &[LayerRecord],
        mounts: &[MountRecord],
    ) -> Result<Vec<Remains>> {
        let Some(database) = self.layerdb()? else { return Ok(Vec::new()) };
        let names = database.names()?;
        if chain_ids.is_empty() || names.iter().filter(|name| is_id(name)).count() != layers.len() {
            return Ok(Vec::new());
        }
        let mut used: HashSet<&str> = layers.iter().map(|l| l.cache_id.as_str()).collect();
        for mount in mounts {
            used.insert(&mount.mount_id);
            used.extend(mount.init_id.as_deref());
        }
        let mut remains = Vec::new();
        for record in names {
            let chain_id = record
                .strip_suffix(ENDING)
                .and_then(|name| name.split_once('-'))
                .and_then(|(hex, _)| Digest::parse(format!("sha256:{hex}")).ok());
            if !chain_id.is_some_and(|id| chain_ids.contains(&id)) {
                continue;
            }
            let cache_id = match database.at(&record)?.word("cache-id")? {
                Some(id) if !is_cache_id(&id) || used.contains(id.as_str()) => continue,
                Some(id) => self.layers.find(&id)?.map(|_| id),
                // The directory goes before the record.
                None => None,
            };
            remains.push(Remains { record, cache_id });
        }
        Ok(remains)
    }

    /// The short name of a layer's content, by which others lie on it; empty if it has none.
    pub(super) fn link_of(&self, cache_id: &str, layer: &Directory) -> Result<String> {
        if let Some(link) = layer.word("link")? {
            return Ok(link);
        }
        let Some(links) = self.layers.find("l")? else { return Ok(String::new()) };
        let target = format!("../{cache_id}/diff");
        let leads_here = |name: &String| {
            std::fs::read_link(links.path().join(name)).is_ok_and(|to| to.as_os_str() == &*target)
        };
        Ok(links.names()?.into_iter().find(leads_here).unwrap_or_default())
    }
}
