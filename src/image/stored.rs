//! Images as the store has them: found by what people call them, with manifest, config and layers.

use std::collections::BTreeMap;
use std::io::Write;

use super::model::{Kind, MAX_LAYERS, Manifest, kind_of, parse};
use super::plan::read_config;
use super::reference::Reference;
use super::verify::{Hashed, Hasher};
use crate::archive::Compression;
use crate::store::{ImageInfo, Store};
use crate::{Digest, Error, ErrorKind, Result};

/// An image with all that writing it out needs.
#[derive(Debug, Clone)]
pub(super) struct StoredImage {
    pub(super) id: String,
    pub(super) config: Vec<u8>,
    pub(super) config_digest: Digest,
    /// Annotations of the manifest.
    pub(super) annotations: BTreeMap<String, String>,
    /// Base first.
    pub(super) layers: Vec<StoredLayer>,
}

/// A layer of an image in the store.
#[derive(Debug, Clone)]
pub(super) struct StoredLayer {
    pub(super) id: String,
    /// Digest of its uncompressed tar.
    pub(super) diff: Digest,
    /// Bytes of its uncompressed tar.
    pub(super) size: u64,
    /// Annotations of its descriptor that are not about its compression.
    pub(super) annotations: BTreeMap<String, String>,
}

/// Finds an image by id or unique prefix of one, by its name, or by a name that is short of domain or tag: `x` finds
/// `localhost/x:latest`, then `docker.io/library/x:latest`. Gives the name by which it was found, if it was one.
pub(super) fn find(store: &Store, text: &str) -> Result<(ImageInfo, Option<Reference>)> {
    let complete = [
        Reference::normalize(text),
        Reference::parse_docker(text).map(Reference::with_default_tag),
    ];
    let names = std::iter::once(text.to_string())
        .chain(complete.into_iter().flatten().map(|r| r.to_string()));
    for name in names {
        match store.image(&name) {
            Ok(image) => {
                let named =
                    image.names.contains(&name).then(|| Reference::parse(&name).ok()).flatten();
                return Ok((image, named));
            }
            Err(e) if matches!(e.kind(), ErrorKind::ImageUnknown | ErrorKind::NotFound) => {}
            // A name that looks like an ambiguous prefix may still be complete in another way, but ids come first.
            Err(e) => return Err(e),
        }
    }
    Err(Error::new(ErrorKind::ImageUnknown, format!("looking for the image {text:?}"))
        .hint("list the images with `orlop images`"))
}

/// Reads what is recorded of an image.
pub(super) fn read(store: &Store, image: &ImageInfo) -> Result<StoredImage> {
    let what = format!("the manifest of image {}", image.id);
    let bytes = store
        .image_big_data(&image.id, "manifest")
        .map_err(|e| match e.kind() {
            ErrorKind::DataUnknown => Error::new(e.kind(), format!("reading {what}"))
                .hint("an image is saved or committed by its manifest; create-image makes none, load and commit do"),
            _ => e.context(format!("reading {what}")),
        })?;
    if kind_of(&bytes, "", &what)? == Kind::Index {
        return Err(Error::new(ErrorKind::NotSupported, format!("reading {what}"))
            .detail("it is a list of manifests")
            .hint("name one of the images that it lists"));
    }
    let manifest: Manifest = parse(&bytes, &what)?;
    let config_digest = manifest.config.digest(&what)?;
    let config = store.image_big_data(&image.id, config_digest.as_str())?;
    super::verify::check_bytes(&config, &config_digest)
        .map_err(|e| e.context(format!("reading the config of image {}", image.id)))?;
    let mut layers = chain(store, &image.layer)?;
    let (diffs, _) = read_config(&config, &format!("the config of image {}", image.id))?;
    let diffs = diffs.unwrap_or_default();
    if !diffs.is_empty() && !diffs.iter().eq(layers.iter().map(|l| &l.diff)) {
        return Err(Error::new(ErrorKind::Corrupt, format!("reading image {}", image.id))
            .detail("its layers are not those that its config names"));
    }
    if manifest.layers.len() == layers.len() {
        for (layer, descriptor) in layers.iter_mut().zip(manifest.layers) {
            layer.annotations = descriptor.annotations;
            layer.annotations.retain(|key, _| !about_compression(key));
        }
    }
    Ok(StoredImage {
        id: image.id.clone(),
        config,
        config_digest,
        annotations: manifest.annotations,
        layers,
    })
}

fn about_compression(annotation: &str) -> bool {
    annotation.starts_with("io.github.containers.zstd-chunked.")
        || annotation.starts_with("containerd.io/snapshot/stargz/")
        || annotation == "io.containers.estargz.uncompressed-size"
}

/// The layers up to `top`, base first.
pub(super) fn chain(store: &Store, top: &str) -> Result<Vec<StoredLayer>> {
    let mut layers = Vec::new();
    let mut next = top.to_string();
    while !next.is_empty() {
        let layer = store.layer(&next)?;
        let diff = Digest::parse(layer.diff_digest.as_str()).map_err(|e| {
            e.context(format!("reading layer {next}"))
                .hint("the digest of the layer's content is not recorded, so it cannot be exported")
        })?;
        let size = u64::try_from(layer.diff_size).map_err(|_| {
            Error::new(ErrorKind::SizeUnknown, format!("reading layer {next}"))
                .detail("the size of its content is not recorded")
        })?;
        layers.push(StoredLayer { id: layer.id.clone(), diff, size, annotations: BTreeMap::new() });
        // A longer chain of parents is a circle.
        if layers.len() > MAX_LAYERS {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("following the parents of layer {top}"),
            )
            .detail(format!("there are more than {MAX_LAYERS}")));
        }
        next.clone_from(&layer.parent);
    }
    layers.reverse();
    Ok(layers)
}

/// Writes a layer's uncompressed tar, and checks that it is still the one its digest names.
pub(super) fn write_layer(
    store: &Store,
    layer: &StoredLayer,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let mut out = Hashed::new(out, Hasher::sha256());
    store.diff(&layer.id, None, Some(Compression::None), &mut out)?;
    let found = out.hasher.text();
    if found != layer.diff.as_str() {
        return Err(Error::new(ErrorKind::DigestMismatch, format!("exporting layer {}", layer.id))
            .detail(format!("its content has the digest {found}, {} is recorded", layer.diff))
            .hint(
                "its files were changed, or its tar-split file is missing; load the image again",
            ));
    }
    Ok(())
}
