//! What is to be loaded: an image as its source describes it, checked as far as that goes without its layers.

use super::model::{self, Config, Descriptor, MAX_JSON, MAX_LAYERS};
use super::source::ImageSource;
use crate::record::Timestamp;
use crate::{Digest, Error, ErrorKind, Result};

/// An image to load.
#[derive(Debug)]
pub(super) struct Plan {
    /// What to call it in errors.
    pub(super) label: String,
    pub(super) config: Vec<u8>,
    pub(super) config_digest: Digest,
    pub(super) created: Option<String>,
    /// The manifest to record; absent where a docker archive's is made from what its layers turn out to be.
    pub(super) manifest: Option<Vec<u8>>,
    /// The index that the manifest was chosen from.
    pub(super) index: Option<Vec<u8>>,
    pub(super) layers: Vec<PlannedLayer>,
    /// The names to give it, complete.
    pub(super) names: Vec<String>,
}

/// A layer to load, base first.
#[derive(Debug, Clone)]
pub(super) struct PlannedLayer {
    /// The name of its file in the source.
    pub(super) file: String,
    /// The digest of the blob, as the manifest has it.
    pub(super) blob: Digest,
    /// The size of the blob, where the manifest tells.
    pub(super) size: Option<u64>,
    /// The digest of the uncompressed tar, as the config has it.
    pub(super) diff: Option<Digest>,
    /// The blob is what the file holds once it is uncompressed (docker archives).
    pub(super) uncompress: bool,
}

/// Reads the blob of a descriptor, at most 4 MiB, and checks size and digest.
pub(super) fn read_blob(
    source: &ImageSource,
    descriptor: &Descriptor,
    what: &str,
) -> Result<(Vec<u8>, Digest)> {
    let digest = descriptor.digest(what)?;
    let bytes = source
        .read_file(&blob_path(&digest), MAX_JSON)
        .map_err(|e| e.context(format!("reading {what}")))?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if descriptor.size().is_some_and(|size| size != length) {
        return Err(Error::new(ErrorKind::DigestMismatch, format!("reading {what} ({digest})"))
            .detail(format!(
                "it has {length} bytes, its descriptor says {}",
                descriptor.size().unwrap_or(0)
            )));
    }
    super::verify::check_bytes(&bytes, &digest)
        .map_err(|e| e.context(format!("reading {what}")))?;
    Ok((bytes, digest))
}

/// Where a layout keeps a blob.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// The diff digests and the time of creation that a config holds; absent where it has no `rootfs`.
pub(crate) fn read_config(
    bytes: &[u8],
    what: &str,
) -> Result<(Option<Vec<Digest>>, Option<String>)> {
    let config: Config = model::parse(bytes, what)?;
    let times = config.history.iter().filter_map(|line| line.created.as_ref());
    for time in config.created.iter().chain(times) {
        Timestamp::parse(time).map_err(|e| {
            Error::new(ErrorKind::InvalidArchive, format!("reading {what}")).caused_by(e)
        })?;
    }
    if config.rootfs.as_ref().is_some_and(|rootfs| rootfs.diff_ids.len() > MAX_LAYERS) {
        return Err(Error::new(ErrorKind::InvalidArchive, format!("reading {what}"))
            .detail(format!("it has more than {MAX_LAYERS} layers")));
    }
    let diffs = config
        .rootfs
        .map(|rootfs| {
            rootfs
                .diff_ids
                .iter()
                .map(|id| {
                    Digest::parse(id.as_str()).map_err(|e| e.context(format!("reading {what}")))
                })
                .collect::<Result<Vec<_>>>()
        })
        .transpose()?;
    Ok((diffs, config.created))
}

/// The error of a config and a manifest that do not have the same number of layers.
pub(super) fn layer_count(what: &str, in_manifest: usize, in_config: usize) -> Error {
    Error::new(ErrorKind::InvalidArchive, format!("reading {what}"))
        .detail(format!("its manifest has {in_manifest} layers, its config {in_config}"))
}
