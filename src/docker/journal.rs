//! What a move is about to delete from docker, written down before the first of it goes, so that the next move finishes what a killed one
//! has begun.
//!
//! The file lies beside `repositories.json`, where docker looks for no other, and where a move into any store finds it. It only tells what
//! to look at: whether something goes is decided by docker's own databases each time, as if nothing had been written down.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::directory::{MAX_JSON, damaged};
use super::{DataRoot, ImageRecord, names};
use crate::image::layer_of_id;
use crate::store::Store;
use crate::sys::atomic::{discard_leftover, replace, sync_dir};
use crate::{Digest, Error, ErrorKind, Result};

/// Its name, in `image/overlay2`.
pub(super) const NAME: &str = "orlop-moved.json";

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Journal {
    /// Images, with the names that docker had for each.
    pub(super) images: BTreeMap<Digest, Vec<String>>,
    /// Layers by chain id.
    pub(super) layers: BTreeSet<Digest>,
}

/// The file.
#[derive(Deserialize, Serialize)]
struct Written {
    about: String,
    images: BTreeMap<String, Vec<String>>,
    layers: Vec<String>,
}

/// What an earlier move has begun to delete and this one finishes.
#[derive(Debug, Default)]
pub(super) struct Begun {
    pub(super) journal: Journal,
    /// Images that docker has still, without a name, and whose layers the store has.
    pub(super) images: Vec<ImageRecord>,
}

impl Journal {
    pub(super) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.layers.is_empty()
    }
}

impl DataRoot {
    /// What the file says; `None` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for one that is none of ours.
    pub(super) fn journal(&self) -> Result<Option<Journal>> {
        let Some(bytes) = self.json(NAME)? else { return Ok(None) };
        let odd = || {
            damaged(NAME, "it is not what a move of images writes down").hint(format!(
                "nothing was changed; remove {:?} if nobody knows what it is",
                self.databases.path().join(NAME)
            ))
        };
        let written: Written = serde_json::from_slice(&bytes).map_err(|e| odd().caused_by(e))?;
        let digest = |text: &String| match Digest::parse(text.clone()) {
            Ok(digest) if digest.algorithm() == "sha256" => Ok(digest),
            Ok(_) => Err(odd()),
            Err(e) => Err(odd().caused_by(e)),
        };
        let images = written.images.into_iter().map(|(id, names)| Ok((digest(&id)?, names)));
        Ok(Some(Journal {
            images: images.collect::<Result<_>>()?,
            layers: written.layers.iter().map(digest).collect::<Result<_>>()?,
        }))
    }

    /// Writes the file so that it survives a loss of power, or removes it if there is nothing to say.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays.
    pub(super) fn write_journal(&self, journal: &Journal) -> Result<()> {
        let path = self.databases.path().join(NAME);
        if journal.is_empty() {
            self.databases.unlink(NAME)?;
            return sync_dir(self.databases.path());
        }
        let written = Written {
            about: "orlop migrate docker --move deletes these; run it again if it was ended before"
                .to_owned(),
            images: journal.images.iter().map(|(id, n)| (id.to_string(), n.clone())).collect(),
            layers: journal.layers.iter().map(ToString::to_string).collect(),
        };
        let text = serde_json::to_vec(&written)
            .map_err(|e| Error::new(ErrorKind::Internal, "writing JSON").caused_by(e))?;
        if text.len() as u64 > MAX_JSON {
            return Err(Error::new(ErrorKind::NotSupported, "moving images out of docker")
                .path(path)
                .detail("there are too many to be written down")
                .hint("move some of them first, by name"));
        }
        replace(&path, &text, 0o600, true).map(drop)
    }

    /// What is to be finished. An image that has a name again, or that the store lacks, is left alone.
    pub(super) fn begun(&self, store: &Store, known: &[ImageRecord]) -> Result<Begun> {
        let Some(journal) = self.journal()? else { return Ok(Begun::default()) };
        let named = self.repositories()?;
        let mut images = Vec::new();
        for image in known {
            let Some(names) = journal.images.get(&image.id) else { continue };
            // Other images can have the same layers; what was without a name came as a step of one that has.
            let is_there = names.is_empty() || has_image(store, image);
            if is_there && !named.has_name_of(&image.id) && has_all_of(store, image)? {
                images.push(image.clone());
            }
        }
        Ok(Begun { journal, images })
    }

    /// Removes what killed processes have half written beside docker's own files.
    pub(super) fn discard_half_written(&self) {
        for name in [NAME, "repositories.json"] {
            discard_leftover(&self.databases.path().join(name));
        }
    }
}

impl Begun {
    /// Whether `text` is the id or a name of an image that an earlier move has taken away: the store has it, and docker only remains.
    pub(super) fn means(&self, store: &Store, docker: &DataRoot, text: &str) -> bool {
        let name = names::complete(text).ok();
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        self.journal.images.iter().any(|(id, known)| {
            let is_name = |n: &String| name.is_some() && names::complete(n).ok() == name;
            (id.hex() == hex || known.iter().any(is_name))
                && store.image(id.hex()).is_ok_and(|image| image.id == id.hex())
                && (self.images.iter().any(|image| image.id == *id) || !docker.has_image(id))
        })
    }
}

fn has_image(store: &Store, image: &ImageRecord) -> bool {
    store.image(image.id.hex()).is_ok_and(|found| found.id == image.id.hex())
}

/// Whether the store has each layer of the image, and of one without layers the image itself.
fn has_all_of(store: &Store, image: &ImageRecord) -> Result<bool> {
    let layers = super::report::planned_layers(image);
    if layers.is_empty() {
        return Ok(has_image(store, image));
    }
    for layer in layers {
        if layer_of_id(store, &layer.id)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
