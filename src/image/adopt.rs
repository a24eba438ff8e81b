//! Recording an image whose layers have come into the store by another way than an image file.

use super::model::{DOCKER_CONFIG, DOCKER_LAYER_GZIP, WrittenBlob, write_docker_manifest};
use super::plan::read_config;
use super::record::{Described, described, record_image};
use crate::store::Store;
use crate::{Digest, Result};

/// Records the image of that config, whose layers, base first, have these diff digests and sizes, exactly as if it had been loaded
/// from a docker archive. Names are taken away from other images. Tells whether it is new.
///
/// # Errors
/// [`crate::ErrorKind::DuplicateId`] if an image of that id has another top layer; [`crate::ErrorKind::InvalidArchive`] for a config that
/// engines could not read.
pub(crate) fn adopt(
    store: &Store,
    config: &[u8],
    names: &[String],
    top: Option<String>,
    layers: &[(Digest, u64)],
) -> Result<bool> {
    let digest = Digest::sha256(config);
    let (_, created) = read_config(config, &format!("the config {digest}"))?;
    let length = u64::try_from(config.len()).unwrap_or(u64::MAX);
    let blobs: Vec<WrittenBlob> = layers
        .iter()
        .map(|(diff, size)| WrittenBlob::new(DOCKER_LAYER_GZIP, diff.clone(), *size))
        .collect();
    let config_blob = WrittenBlob::new(DOCKER_CONFIG, digest.clone(), length);
    let manifest = write_docker_manifest(&config_blob, &blobs)?;
    let image = Described {
        config,
        config_digest: &digest,
        manifest: &manifest,
        index: None,
        created: created.as_deref(),
        names,
        top,
    };
    record_image(store, described(&image))
}
