//! OCI layouts: blobs, `index.json` and `oci-layout`, in a tar or in a directory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::model::{
    ANNOTATION_REF_NAME, OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, WrittenBlob, write_oci_index,
    write_oci_manifest,
};
use super::plan::blob_path;
use super::save::{Wanted, create};
use super::spool::rewind;
use super::stored::{StoredLayer, write_layer};
use super::tar_write::TarWriter;
use super::verify::{Hashed, Hasher};
use crate::archive::{Compression, Compressor};
use crate::progress::{Counted, Progress, Watched};
use crate::store::Store;
use crate::sys::unnamed::unnamed_file;
use crate::{Digest, Error, ErrorKind, Result};

const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion": "1.0.0"}"#;

/// Where a layout is written.
pub(super) enum Layout<'a, 'w> {
    /// A tar; blobs of yet unknown size wait in a temporary file of that directory.
    Tar(&'a mut TarWriter<&'w mut (dyn Write + Send)>, &'a Path),
    /// An empty directory.
    Directory(&'a Path),
}

/// Writes a layout with all images.
pub(super) fn write(
    store: &Store,
    images: &[Wanted],
    layout: &mut Layout<'_, '_>,
    progress: &dyn Progress,
) -> Result<()> {
    layout.begin()?;
    // By diff digest: compressed again it would be the same blob.
    let mut layers: HashMap<Digest, (Digest, u64)> = HashMap::new();
    let mut written: HashSet<Digest> = HashSet::new();
    let mut entries = Vec::new();
    for wanted in images {
        let image = &wanted.image;
        let mut blobs = Vec::new();
        for layer in &image.layers {
            let known = match layers.get(&layer.diff) {
                Some(known) => known.clone(),
                None => {
                    let made = layout.layer(store, layer, progress, &mut written)?;
                    layers.insert(layer.diff.clone(), made.clone());
                    made
                }
            };
            blobs.push(WrittenBlob {
                annotations: layer.annotations.clone(),
                ..WrittenBlob::new(OCI_LAYER_GZIP, known.0, known.1)
            });
        }
        if written.insert(image.config_digest.clone()) {
            layout.file(&blob_path(&image.config_digest), &image.config)?;
        }
        let config =
            WrittenBlob::new(OCI_CONFIG, image.config_digest.clone(), length(&image.config));
        let manifest = write_oci_manifest(&config, &blobs, &image.annotations)?;
        let digest = Digest::sha256(&manifest);
        if written.insert(digest.clone()) {
            layout.file(&blob_path(&digest), &manifest)?;
        }
        let entry = WrittenBlob::new(OCI_MANIFEST, digest, length(&manifest));
        if wanted.names.is_empty() {
            entries.push(entry.clone());
        }
        for name in &wanted.names {
            let annotations = BTreeMap::from([(ANNOTATION_REF_NAME.to_string(), name.to_string())]);
            entries.push(WrittenBlob { annotations, ..entry.clone() });
        }
    }
    layout.file("index.json", &write_oci_index(&entries)?)?;
    layout.file("oci-layout", OCI_LAYOUT)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Layout<'_, '_> {
    fn begin(&self) -> Result<()> {
        if let Self::Directory(dir) = self {
            let blobs = dir.join("blobs/sha256");
            fs::create_dir_all(&blobs)
                .map_err(|e| Error::io("creating the directory", &blobs, e))?;
        }
        Ok(())
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Tar(tar, _) => tar.bytes(name, bytes),
            Self::Directory(dir) => {
                let path = dir.join(name);
                // A config may have a digest of another algorithm.
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)
                        .map_err(|e| Error::io("creating the directory", parent, e))?;
                }
                create(&path)?.write_all(bytes).map_err(|e| Error::io("writing the file", &path, e))
            }
        }
    }

    /// Writes a layer's blob; gives its digest and size.
    fn layer(
        &mut self,
        store: &Store,
        layer: &StoredLayer,
        progress: &dyn Progress,
        written: &mut HashSet<Digest>,
    ) -> Result<(Digest, u64)> {
        let item = progress.start(layer.diff.hex().get(..12).unwrap_or_default(), Some(layer.size));
        let made = match self {
            Self::Tar(tar, temp_dir) => {
                let mut file = unnamed_file(temp_dir)?;
                let (digest, size) = compress(store, layer, &mut file, &*item)?;
                rewind(&mut file, temp_dir)?;
                if written.insert(digest.clone()) {
                    tar.member(&blob_path(&digest), size, &mut |out| {
                        io::copy(&mut Watched::new(&mut file, &*item), out).map(|_| ()).map_err(
                            |e| {
                                Error::new(
                                    ErrorKind::Io,
                                    format!("writing layer {} to the archive", layer.id),
                                )
                                .caused_by(e)
                            },
                        )
                    })?;
                }
                (digest, size)
            }
            Self::Directory(dir) => {
                let path = dir.join("blobs/sha256/.new");
                let mut file = create(&path)?;
                let (digest, size) = compress(store, layer, &mut file, &*item)?;
                written.insert(digest.clone());
                let name = dir.join(blob_path(&digest));
                fs::rename(&path, &name).map_err(|e| Error::io("naming the file", &name, e))?;
                (digest, size)
            }
        };
        item.finish("done");
        Ok(made)
    }
}

fn compress(
    store: &Store,
    layer: &StoredLayer,
    file: &mut File,
    item: &dyn crate::progress::ProgressItem,
) -> Result<(Digest, u64)> {
    let out = Hashed::new(BufWriter::with_capacity(1 << 18, file), Hasher::sha256());
    let mut gzip = Compressor::new(Compression::Gzip, out)?;
    write_layer(store, layer, &mut Counted::new(&mut gzip, item))?;
    let mut out = gzip.finish()?;
    out.flush().map_err(|e| {
        Error::new(ErrorKind::Io, format!("compressing layer {}", layer.id)).caused_by(e)
    })?;
    Ok((Digest::parse(out.hasher.text())?, out.bytes))
}
