//! Thin images made of stored ones: the layers go to a repository, and what stays is the list of them (`overlay-driver.md` CVM-15, CVM-23).

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::load::{LoadOptions, Loaded, load};
use super::model::{go_json, parse};
use super::reference::Reference;
use super::spool::{Source, TEMP_DIR};
use super::stored::{self, StoredLayer, write_layer};
use super::tar_index::{Pick, TarIndex};
use super::tar_write::TarWriter;
use crate::progress::{Counted, Progress, Silent};
use crate::store::Store;
use crate::sys::unnamed::unnamed_file;
use crate::thin::{
    FILE_NAME, LayerUpload, PackedLayer, Patience, ThinImage, ThinLayer, publish, write_archive,
};
use crate::{Dialect, Digest, Error, ErrorKind, Result};

/// The most bytes of a thin layer's tar.
const THIN_MAX: u64 = 5 << 20;

/// How to make a thin image.
pub struct ThinOptions<'a> {
    /// The name of the thin image; none if absent.
    pub name: Option<String>,
    /// How long is waited for a layer to be published.
    pub patience: Patience,
    /// Where large temporary files go; `/var/tmp` if absent.
    pub temp_dir: Option<PathBuf>,
    /// Who is told how far it is; one item for each layer that is sent.
    pub progress: &'a dyn Progress,
}

impl Default for ThinOptions<'_> {
    fn default() -> Self {
        Self { name: None, patience: Patience::default(), temp_dir: None, progress: &Silent }
    }
}

impl std::fmt::Debug for ThinOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThinOptions")
            .field("name", &self.name)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Has the layers of `image`, an id or a name, published, and makes a thin image of them, with the same configuration. Layers that are
/// thin already are taken over as they are, and what a former attempt has had published is not sent again; the image stays.
///
/// # Errors
/// [`ErrorKind::NotSupported`] if the store is not of the dialect [`Dialect::Cvmfs`]; [`ErrorKind::ImageUnknown`]; those of `upload`.
/// The store is as before then. Layers that have been published stay so.
pub fn make_thin(
    store: &Store,
    image: &str,
    upload: &dyn LayerUpload,
    options: &ThinOptions<'_>,
) -> Result<Loaded> {
    let action = || format!("making a thin image of {image:?}");
    if store.dialect() != Some(Dialect::Cvmfs) {
        return Err(Error::new(ErrorKind::NotSupported, action())
            .detail("a thin image in this store would show nothing but its list of layers")
            .hint("open the store with the dialect cvmfs: orlop --dialect cvmfs"));
    }
    // Before anything is sent.
    options.name.as_deref().map(Reference::normalize).transpose()?;
    let temp_dir = options.temp_dir.clone().unwrap_or_else(|| TEMP_DIR.into());
    let (info, _) = stored::find(store, image)?;
    let stored = stored::read(store, &info)?;
    let mut layers = Vec::new();
    for layer in &stored.layers {
        match read_thin(store, layer, &temp_dir)? {
            Some(thin) => layers.extend(thin.layers),
            None => layers.push(
                send(store, layer, upload, options, &temp_dir).map_err(|e| e.context(action()))?,
            ),
        }
    }
    store.layer_published(upload.repository())?;
    let thin = ThinImage { origin: image.to_owned(), ..ThinImage::of(layers) };
    let archive = archive(&thin, &stored.config)?;
    let options = LoadOptions {
        names: options.name.clone().map(|name| vec![name]),
        temp_dir: Some(temp_dir),
        ..LoadOptions::default()
    };
    let loaded = load(store, Source::Stream(Box::new(Cursor::new(archive))), &options)?;
    loaded.into_iter().next().ok_or_else(|| {
        Error::new(ErrorKind::Internal, action()).detail("the archive has lost its image")
    })
}

/// What a layer lists, if it is thin: it has nothing but a list then.
fn read_thin(store: &Store, layer: &StoredLayer, temp_dir: &Path) -> Result<Option<ThinImage>> {
    if layer.size > THIN_MAX {
        return Ok(None);
    }
    let mut file: File = unnamed_file(temp_dir)?;
    write_layer(store, layer, &mut file)?;
    let index = TarIndex::read(Arc::new(file), &format!("layer {}", layer.id))?;
    let only = index.len() == 1;
    match index.open(FILE_NAME, Pick::Last) {
        Ok(Some(mut document)) if only => {
            let mut text = Vec::new();
            document
                .read_to_end(&mut text)
                .map_err(|e| Error::new(ErrorKind::Io, "reading a layer").caused_by(e))?;
            ThinImage::read(text.as_slice()).map(Some).map_err(|e| e.id(layer.id.as_str()))
        }
        _ => Ok(None),
    }
}

/// Has one layer published.
fn send(
    store: &Store,
    layer: &StoredLayer,
    upload: &dyn LayerUpload,
    options: &ThinOptions<'_>,
    temp_dir: &Path,
) -> Result<ThinLayer> {
    let name = layer.diff.hex().get(..12).unwrap_or_default();
    let item = options.progress.start(&format!("Packing {name}"), Some(layer.size));
    let packed = PackedLayer::pack(temp_dir, |out| {
        write_layer(store, layer, &mut Counted::new(out, &*item))
    })?;
    item.finish("packed");
    let item = options.progress.start(&format!("Sending {name}"), Some(packed.size()));
    let published = publish(&packed, upload, &options.patience, &*item)?;
    item.finish("published");
    Ok(published)
}

/// A docker archive of the thin image.
fn archive(thin: &ThinImage, config: &[u8]) -> Result<Vec<u8>> {
    let mut layer = Vec::new();
    write_archive(thin, &mut layer)?;
    let digest = Digest::sha256(&layer);
    let mut config: Map<String, Value> = parse(config, "the image's config")?;
    let created = config.get("created").cloned().unwrap_or(Value::Null);
    config.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": [digest.as_str()] }));
    let step = json!({ "created": created, "created_by": "orlop thin make" });
    config.insert("history".into(), json!([step]));
    let config = go_json(&config)?;
    let config_name = format!("{}.json", Digest::sha256(&config).hex());
    let layer_name = format!("{}.tar", digest.hex());
    let item = Item {
        config: config_name.clone(),
        repo_tags: Vec::new(),
        layers: vec![layer_name.clone()],
    };
    let mut tar = TarWriter::new(Vec::new());
    tar.bytes(&layer_name, &layer)?;
    tar.bytes(&config_name, &config)?;
    tar.bytes("manifest.json", &go_json(&[item])?)?;
    tar.finish()
}
