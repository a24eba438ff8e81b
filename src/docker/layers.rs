//! Docker's layers: `layerdb`, and the directories of `overlay2`.

use super::directory::{Directory, damaged, is_cache_id, is_id, missing, pass_over};
use super::{DataRoot, ImageRecord};
use crate::{Digest, Error, ErrorKind, Result};

/// A layer of docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// Its chain id.
    pub chain_id: Digest,
    /// The digest of its tar.
    pub diff: Digest,
    /// The chain id of the layer below it.
    pub parent: Option<Digest>,
    /// Its directory in `overlay2`.
    pub cache_id: String,
    /// Bytes of file content, as docker has counted them.
    pub size: u64,
}

/// A layer with what its content is read from.
#[derive(Debug)]
pub(super) struct OpenLayer {
    pub(super) record: LayerRecord,
    /// `overlay2/<cache id>/diff`.
    pub(super) diff: Directory,
    /// `layerdb/sha256/<chain id>`.
    pub(super) database: Directory,
}

impl DataRoot {
    /// The layers of images, sorted by chain id. One whose record is damaged is left out, which the log says.
    ///
    /// # Errors
    /// When the database cannot be read as such.
    pub fn layers(&self) -> Result<Vec<LayerRecord>> {
        let Some(database) = self.layerdb()? else { return Ok(Vec::new()) };
        let mut layers = Vec::new();
        // Docker renames what it begins to remove to `<id>-<random>-removing`.
        for hex in database.names()?.into_iter().filter(|name| is_id(name)) {
            match Digest::parse(format!("sha256:{hex}")).and_then(|id| read(&database, &id)) {
                Ok((layer, _)) => layers.push(layer),
                Err(e) => pass_over("a layer", e)?,
            }
        }
        Ok(layers)
    }

    /// `layerdb/sha256`.
    pub(super) fn layerdb(&self) -> Result<Option<Directory>> {
        self.databases.down(&["layerdb", "sha256"])
    }

    /// The layers of an image, base first, opened, each found to be what the image says it is.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for one that is missing, damaged or another image's.
    pub(super) fn open_layers(&self, image: &ImageRecord) -> Result<Vec<OpenLayer>> {
        let database = self.layerdb()?.ok_or_else(|| damaged("the layers", "there is no layerdb"));
        let database = if image.diffs.is_empty() { return Ok(Vec::new()) } else { database? };
        let mut layers: Vec<OpenLayer> = Vec::new();
        for (chain_id, diff) in image.chain_ids().iter().zip(&image.diffs) {
            let below = layers.last().map(|l| &l.record.chain_id);
            let layer = self.open_layer(&database, chain_id).and_then(|layer| {
                if layer.record.diff != *diff {
                    let why = format!("its diff digest is {}, not {diff}", layer.record.diff);
                    return Err(damaged(&format!("the layer {chain_id}"), why));
                }
                if layer.record.parent.as_ref() != below {
                    let why = "its parent is not the layer that lies below it in the image";
                    return Err(damaged(&format!("the layer {chain_id}"), why));
                }
                Ok(layer)
            });
            layers.push(layer.map_err(|e| e.context(format!("reading the image {}", image.id)))?);
        }
        Ok(layers)
    }

    /// The layer of that chain id; `None` if docker has none.
    pub(super) fn known_layer(&self, chain_id: &Digest) -> Result<Option<OpenLayer>> {
        let Some(database) = self.layerdb()? else { return Ok(None) };
        match database.find(chain_id.hex())? {
            Some(_) => self.open_layer(&database, chain_id).map(Some),
            None => Ok(None),
        }
    }

    fn open_layer(&self, layerdb: &Directory, chain_id: &Digest) -> Result<OpenLayer> {
        let (record, database) = read(layerdb, chain_id)?;
        let diff = self.layer_dir(&record.cache_id)?.at("diff")?;
        Ok(OpenLayer { record, diff, database })
    }
}

fn read(layerdb: &Directory, chain_id: &Digest) -> Result<(LayerRecord, Directory)> {
    let what = format!("the layer {chain_id}");
    let Some(dir) = layerdb.find(chain_id.hex())? else {
        return Err(Error::new(ErrorKind::Corrupt, format!("looking for {what} of docker"))
            .id(chain_id.hex())
            .detail("an image names it, and it is missing"));
    };
    let need = |name: &str| missing(&dir.path().join(name));
    let diff = dir.digest("diff")?.ok_or_else(|| need("diff"))?;
    let parent = dir.digest("parent")?;
    let cache_id = dir.word("cache-id")?.ok_or_else(|| need("cache-id"))?;
    if !is_cache_id(&cache_id) {
        return Err(damaged(&what, format!("its cache id is {cache_id:?}")));
    }
    let size = dir.word("size")?.ok_or_else(|| need("size"))?;
    let size = size.parse().map_err(|_| damaged(&what, format!("its size is {size:?}")))?;
    let record = LayerRecord { chain_id: chain_id.clone(), diff, parent, cache_id, size };
    Ok((record, dir))
}
