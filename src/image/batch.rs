//! The layers of one loading: staged one upon the other, then brought to the disk and committed together.

use std::collections::HashMap;
use std::io::Read;

use crate::store::{LayerInfo, NewLayer, StagedLayer, Store};
use crate::{Digest, Error, ErrorKind, Result};

/// How many layers are staged at most before they are committed: each holds a few descriptors open. More than images have.
const MAX_STAGED: usize = 128;

/// A layer that is staged under the id it will have.
pub(super) struct Staged {
    new: NewLayer,
    content: StagedLayer,
}

/// What the record of a staged layer will say.
pub(super) struct Facts {
    pub(super) diff: Digest,
    pub(super) diff_size: u64,
    pub(super) blob: Digest,
    pub(super) blob_size: u64,
}

impl Staged {
    pub(super) fn facts(&self) -> Facts {
        let facts = self.content.facts();
        let (blob, blob_size) = match &self.new.original_blob {
            Some((blob, size)) => (blob.clone(), *size),
            None => (facts.compressed_digest.clone(), facts.compressed_size),
        };
        Facts { diff: facts.diff_digest.clone(), diff_size: facts.diff_size, blob, blob_size }
    }
}

/// The layers that a loading has made so far.
pub(super) struct Batch<'a> {
    store: &'a Store,
    staged: Vec<Staged>,
    /// Where in `staged` an id is.
    at: HashMap<String, usize>,
    /// How many of `staged` are of images before the one at hand.
    earlier: usize,
    /// Ids of the committed layers, in order.
    committed: Vec<String>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, staged: Vec::new(), at: HashMap::new(), earlier: 0, committed: Vec::new() }
    }

    /// The layers staged from here on are the next image's.
    pub(super) fn begin_image(&mut self) {
        self.earlier = self.staged.len();
    }

    /// The staged layers of the images before the one at hand.
    pub(super) fn earlier(&self) -> impl Iterator<Item = &Staged> {
        self.staged.iter().take(self.earlier)
    }

    /// The staged layer of that id.
    pub(super) fn find(&self, id: &str) -> Option<&Staged> {
        self.at.get(id).and_then(|at| self.staged.get(*at))
    }

    /// Unpacks a layer, whose id is given, upon its parent, be that staged or in the store, and checks what is expected of it.
    /// Gives the bytes of its uncompressed tar.
    pub(super) fn stage(&mut self, new: NewLayer, stream: &mut (dyn Read + Send)) -> Result<u64> {
        if self.staged.len() >= MAX_STAGED {
            self.commit()?;
        }
        let parent = new.parent.as_deref();
        let content = match parent.and_then(|id| self.find(id)) {
            Some(parent) => self.store.stage_layer_upon(&parent.content, stream)?,
            None => self.store.stage_layer(parent, stream).map_err(|e| self.explain(parent, e))?,
        };
        content.check(&new)?;
        let size = content.facts().diff_size;
        let id = new.id.clone().unwrap_or_default();
        self.at.insert(id, self.staged.len());
        self.staged.push(Staged { new, content });
        Ok(size)
    }

    /// A parent that another process deletes meanwhile shows in many ways.
    fn explain(&self, parent: Option<&str>, e: Error) -> Error {
        match parent.map(|id| (id, layer_of_id(self.store, id))) {
            Some((id, Ok(None))) => {
                Error::new(ErrorKind::LayerUnknown, format!("using the layer {id}")).caused_by(e)
            }
            _ => e,
        }
    }

    /// Makes layers of what is staged, all of it or nothing.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.at.clear();
        self.earlier = 0;
        let staged = std::mem::take(&mut self.staged);
        // Where another process was faster, its layer has the same content, as the id is made of the digests.
        let made = self.store.commit_layers(
            staged.into_iter().map(|Staged { new, content, .. }| (new, content)).collect(),
        )?;
        self.committed.extend(made.into_iter().map(|layer| layer.record.id));
        Ok(())
    }

    /// Deletes what was committed, best effort: a layer that somebody else has begun to use stays.
    pub(super) fn undo(&mut self) {
        self.staged.clear();
        for id in std::mem::take(&mut self.committed).iter().rev() {
            match self.store.delete_layer(id) {
                // Gone already is as good.
                Err(e) if !matches!(e.kind(), ErrorKind::LayerUnknown | ErrorKind::NotFound) => {
                    tracing::warn!("layer {id} of a failed loading stays: {e}");
                }
                _ => {}
            }
        }
    }
}

/// The layer of exactly that id in the store.
pub(super) fn layer_of_id(store: &Store, id: &str) -> Result<Option<LayerInfo>> {
    match store.layer(id) {
        Ok(layer) if layer.id == id => Ok(Some(layer)),
        Ok(_) => Ok(None),
        Err(e) if matches!(e.kind(), ErrorKind::LayerUnknown | ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(e),
    }
}
