//! What a migration reports: image by image, and layer by layer.

use serde::Serialize;

use super::ImageRecord;
use super::journal::Begun;
use super::needed::Leaving;
use crate::image::layer_id;
use crate::{Digest, Error};

/// What was done, or with a dry run would be.
#[derive(Debug, Clone, Default)]
pub struct Migration {
    /// The images, in the order in which they were taken over.
    pub images: Vec<MigratedImage>,
    /// What an earlier call had begun to delete from docker and this one has finished, or with a dry run would.
    pub finished: Finished,
    /// What went wrong when docker was to forget those that are in the store.
    pub unfinished: Option<String>,
}

/// The rest of an earlier move, which was ended before docker had forgotten all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Finished {
    /// The ids of images, sorted.
    pub images: Vec<String>,
    /// How many layers.
    pub layers: usize,
}

impl Finished {
    /// Whether there was nothing left to do.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.layers == 0
    }

    /// Of what leaves, what an earlier call had begun with.
    pub(super) fn of(leaving: &Leaving, begun: &Begun) -> Self {
        let images = begun.images.iter().filter(|i| leaving.images.contains_key(&i.id));
        let layers = leaving.layers.keys().filter(|id| begun.journal.layers.contains(*id));
        Self {
            images: images.map(|image| image.id.hex().to_owned()).collect(),
            layers: layers.count() + leaving.remains.len(),
        }
    }
}

impl Migration {
    /// Whether every image that was asked for is in the store, and nothing went wrong afterwards.
    pub fn is_whole(&self) -> bool {
        self.unfinished.is_none() && self.images.iter().all(|image| image.error.is_none())
    }
}

/// An image, and what came of it.
#[derive(Debug, Clone)]
pub struct MigratedImage {
    /// Its id, in docker and in the store.
    pub id: String,
    /// Its names in the store.
    pub names: Vec<String>,
    /// Names that it does not get, because another image of the store has them.
    pub left_out: Vec<String>,
    /// The name of the container that it was made of, if it was.
    pub container: Option<String>,
    /// Its layers, base first.
    pub layers: Vec<MigratedLayer>,
    /// Why it was not taken over. Nothing of it is in the store then but layers that it shares with others.
    pub error: Option<String>,
    /// Whether docker has forgotten it.
    pub moved: bool,
    /// Why docker keeps it, where it was to be moved.
    pub kept: Option<String>,
}

/// A layer of an image, and what came of it.
#[derive(Debug, Clone)]
pub struct MigratedLayer {
    /// Its id in the store.
    pub id: String,
    /// The digest of its tar.
    pub diff: Digest,
    /// What was done.
    pub outcome: Outcome,
    /// Bytes of file content that were taken over; with a dry run, those that docker has counted.
    pub bytes: u64,
}

/// What is done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was in the store.
    Present,
    /// It is to be taken over, or was to be and was not.
    Planned,
    /// Its files share their blocks with docker's.
    Reflinked,
    /// Its files were copied.
    Copied,
    /// Its files are the store's and no longer docker's.
    Moved,
}

impl Outcome {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Planned => "planned",
            Self::Reflinked => "reflinked",
            Self::Copied => "copied",
            Self::Moved => "moved",
        }
    }
}

/// The layers of an image as the store will have them.
pub(super) fn planned_layers(image: &ImageRecord) -> Vec<MigratedLayer> {
    let mut layers: Vec<MigratedLayer> = Vec::new();
    for diff in &image.diffs {
        let id = layer_id(layers.last().map(|l| l.id.as_str()), diff);
        layers.push(MigratedLayer { id, diff: diff.clone(), outcome: Outcome::Planned, bytes: 0 });
    }
    layers
}

/// Puts what is wrong with a container, or its image, into the report.
pub(super) fn failed(id: &str, container: &str, e: &Error) -> MigratedImage {
    MigratedImage {
        id: id.to_owned(),
        names: Vec::new(),
        left_out: Vec::new(),
        container: Some(container.to_owned()),
        layers: Vec::new(),
        error: Some(e.to_string()),
        moved: false,
        kept: None,
    }
}
