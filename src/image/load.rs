//! Images in: from the plans of a source to layers and records, which are those that the Go image library makes.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::PathBuf;

use super::batch::{Batch, Staged, layer_of_id};
use super::model::{
    DOCKER_CONFIG, DOCKER_LAYER_GZIP, WrittenBlob, layer_id, write_docker_manifest,
};
use super::plan::{Plan, PlannedLayer};
use super::platform::Platform;
use super::policy::{Policy, Transport};
use super::record::record_image;
use super::reference::Reference;
use super::source::ImageSource;
use super::spool::{Source, TEMP_DIR};
use super::verify::{Hashed, Hasher, check};
use super::{docker_archive, oci};
use crate::archive::decompressor;
use crate::progress::{Counted, Progress, ProgressItem, Silent};
use crate::record::Timestamp;
use crate::store::{BigDataItem, LayerInfo, NewImage, NewLayer, Store};
use crate::{Digest, Error, ErrorKind, Result};

/// How often a loading or committing is tried that others cross by deleting what it relies on.
pub(super) const MAX_ATTEMPTS: u32 = 10;

/// How to load.
pub struct LoadOptions<'a> {
    /// The platform to take from a multi-platform index; this machine's if absent.
    pub platform: Option<Platform>,
    /// The signature policy to obey, as [`find_policy`](super::find_policy) finds it; everything is accepted if absent.
    pub policy: Option<PathBuf>,
    /// The names to give, instead of those that the source holds; only for a source with a single image.
    pub names: Option<Vec<String>>,
    /// Where large temporary files go; `/var/tmp` if absent.
    pub temp_dir: Option<PathBuf>,
    /// Who is told how far it is; one item for each layer.
    pub progress: &'a dyn Progress,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self { platform: None, policy: None, names: None, temp_dir: None, progress: &Silent }
    }
}

impl std::fmt::Debug for LoadOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadOptions")
            .field("platform", &self.platform)
            .field("policy", &self.policy)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub image_id: String,
    /// The names it was given by this loading; none if the source has none for it.
    pub names: Vec<String>,
}

/// Loads all images of `source` into `store`.
///
/// Every blob that is read is checked against its digest, and every layer against the config. Layers that the store has are not
/// unpacked again. Names are completed as `podman load` does (`x:1` becomes `localhost/x:1`) and taken away from other images.
///
/// # Errors
/// [`ErrorKind::PolicyRejected`], [`ErrorKind::InvalidArchive`], [`ErrorKind::DigestMismatch`] and what the store finds; the
/// layers and images that this call has made are deleted again.
pub fn load(store: &Store, source: Source<'_>, options: &LoadOptions<'_>) -> Result<Vec<Loaded>> {
    let policy = options.policy.as_deref().map(Policy::read).transpose()?;
    let temp_dir = options.temp_dir.clone().unwrap_or_else(|| TEMP_DIR.into());
    let source = ImageSource::open(source, &temp_dir, options.progress)?;
    if let Some(policy) = policy {
        policy
            .check(source.transport, source.path.as_deref())
            .map_err(|e| e.context(format!("loading {}", source.name)))?;
    }
    let mut plans = match source.transport {
        Transport::DockerArchive => docker_archive::plans(&source)?,
        Transport::OciArchive | Transport::OciDir => {
            oci::plans(&source, options.platform.as_ref())?
        }
    };
    if let Some(names) = &options.names {
        rename(&mut plans, names)?;
    }
    let mut attempt = 1;
    loop {
        let mut loader = Loader {
            store,
            source: &source,
            progress: options.progress,
            batch: Batch::new(store),
            new_images: Vec::new(),
            blobs: HashMap::new(),
        };
        match loader.load(&plans) {
            Ok(loaded) => return Ok(loaded),
            Err(e) => {
                loader.undo();
                if attempt == MAX_ATTEMPTS || !vanished(&e) {
                    return Err(e);
                }
                tracing::info!("loading once more, as something it relied on was deleted: {e}");
                attempt += 1;
            }
        }
    }
}

/// Whether a layer or image that was there is no longer: another process has deleted it, perhaps as its own loading failed.
pub(super) fn vanished(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::ParentUnknown | ErrorKind::LayerUnknown | ErrorKind::ImageUnknown)
}

fn rename(plans: &mut [Plan], names: &[String]) -> Result<()> {
    let [plan] = plans else {
        return Err(Error::new(ErrorKind::InvalidArgument, "naming the loaded image")
            .detail(format!("the source holds {} images", plans.len()))
            .hint("names can be given only to a single image"));
    };
    plan.names = names
        .iter()
        .map(|n| Reference::normalize(n).map(|r| r.to_string()))
        .collect::<Result<_>>()?;
    Ok(())
}

struct Loader<'a> {
    store: &'a Store,
    source: &'a ImageSource,
    progress: &'a dyn Progress,
    /// The layers made by this call.
    batch: Batch<'a>,
    /// Ids of the images made by this call.
    new_images: Vec<String>,
    /// The diff digests of the blobs of the image at hand that the source, not the store, has told.
    blobs: HashMap<Digest, Digest>,
}

/// A layer that is in the store.
struct Ready {
    id: String,
    /// Bytes of its uncompressed tar.
    size: u64,
}

impl Loader<'_> {
    /// All layers of all images come first, then the records: a bad layer in the last image is found before any name moves. And
    /// all are brought to the disk by one call before the first of them counts.
    fn load(&mut self, plans: &[Plan]) -> Result<Vec<Loaded>> {
        let mut ready = Vec::new();
        for plan in plans {
            let layers =
                self.layers(plan).map_err(|e| e.context(format!("loading {}", plan.label)))?;
            ready.push((plan, layers));
        }
        self.batch.commit()?;
        let mut loaded = Vec::new();
        for (plan, layers) in ready {
            loaded.push(
                self.image(plan, &layers)
                    .map_err(|e| e.context(format!("loading {}", plan.label)))?,
            );
        }
        Ok(loaded)
    }

    /// Deletes what this call has made, best effort: a layer that somebody else has begun to use stays.
    fn undo(&mut self) {
        for id in self.new_images.iter().rev() {
            if let Err(e) = self.store.delete(id) {
                tracing::warn!("image {id} of a failed loading stays: {e}");
            }
        }
        self.batch.undo();
    }

    fn layers(&mut self, plan: &Plan) -> Result<Vec<Ready>> {
        self.blobs.clear();
        self.batch.begin_image();
        let mut ready: Vec<Ready> = Vec::new();
        for (at, layer) in plan.layers.iter().enumerate() {
            let parent = ready.last().map(|l| l.id.as_str());
            let done = self.layer(parent, layer).map_err(|e| {
                e.context(format!("layer {} of {} ({})", at + 1, plan.layers.len(), layer.blob))
            })?;
            ready.push(done);
        }
        Ok(ready)
    }

    fn layer(&mut self, parent: Option<&str>, layer: &PlannedLayer) -> Result<Ready> {
        let size = self.source.open_file(&layer.file)?.map(|blob| blob.size);
        let item = self.progress.start(&short(&layer.blob), size);
        let in_image = self.blobs.get(&layer.blob).cloned();
        let stored = if in_image.is_some() { None } else { self.stored(&layer.blob)? };
        let mut known = in_image.or_else(|| stored.as_ref().map(|s| s.diff.clone()));
        if known.is_none() {
            // Without unpacking: to learn the diff digest where the config has none, or to check a blob whose layer is there.
            let there = match &layer.diff {
                None => true,
                Some(diff) => self.existing(&layer_id(parent, diff))?.is_some(),
            };
            if there {
                known = Some(self.examine(layer, &*item)?);
            }
        }
        if let (Some(known), Some(wanted)) = (&known, &layer.diff)
            && known != wanted
        {
            return Err(Error::new(ErrorKind::DigestMismatch, format!("checking {}", layer.blob))
                .detail(format!(
                    "its uncompressed content is {known}, the image's config says {wanted}"
                )));
        }
        let Some(diff) = known.clone().or_else(|| layer.diff.clone()) else {
            return Err(Error::new(ErrorKind::Internal, "loading a layer of unknown content"));
        };
        let id = layer_id(parent, &diff);
        if stored.is_none() {
            self.blobs.insert(layer.blob.clone(), diff.clone());
        }
        if known.is_some()
            && let Some(ready) = self.existing(&id)?
        {
            item.finish("already exists");
            return Ok(ready);
        }
        let ready = self.import(parent, layer, &diff, id, stored, &*item)?;
        item.finish("done");
        Ok(ready)
    }

    /// What the store knows of a blob from a layer that was made of it.
    fn stored(&self, blob: &Digest) -> Result<Option<StoredBlob>> {
        // What an earlier image of this loading brings counts as stored, as if its layers were committed already.
        let staged = || self.batch.earlier().map(Staged::facts);
        let by_diff = none_if_unknown(self.store.layers_by_diff_digest(blob))?;
        let diff = if by_diff.is_empty() && !staged().any(|facts| facts.diff == *blob) {
            let by_blob = none_if_unknown(self.store.layers_by_compressed_digest(blob))?;
            let in_store = by_blob.iter().find_map(|l| Digest::parse(l.diff_digest.as_str()).ok());
            let diff = in_store
                .or_else(|| staged().find(|facts| facts.blob == *blob).map(|facts| facts.diff));
            match diff {
                Some(diff) => diff,
                None => return Ok(None),
            }
        } else {
            blob.clone()
        };
        let original = match none_if_unknown(self.store.layers_by_diff_digest(&diff))?.first() {
            Some(layer) if layer.compressed_digest == blob.as_str() => {
                u64::try_from(layer.compressed_size).ok()
            }
            Some(_) => None,
            None => staged()
                .find(|facts| facts.diff == diff)
                .filter(|facts| facts.blob == *blob)
                .map(|facts| facts.blob_size),
        };
        let original = original.filter(|size| *size > 0).map(|size| (blob.clone(), size));
        Ok(Some(StoredBlob { diff, original }))
    }

    /// A layer of exactly that id.
    fn existing(&self, id: &str) -> Result<Option<Ready>> {
        if let Some(staged) = self.batch.find(id) {
            return Ok(Some(Ready { id: id.to_string(), size: staged.facts().diff_size }));
        }
        Ok(layer_of_id(self.store, id)?.map(|layer| Ready {
            id: id.to_string(),
            size: u64::try_from(layer.diff_size).unwrap_or(0),
        }))
    }

    fn open(&self, layer: &PlannedLayer) -> Result<super::source::Blob> {
        let Some(blob) = self.source.open_file(&layer.file)? else {
            return Err(self.source.missing(&layer.file));
        };
        match layer.size {
            Some(size) if size != blob.size => {
                Err(Error::new(ErrorKind::DigestMismatch, format!("checking {}", layer.blob))
                    .detail(format!("the file has {} bytes, the manifest says {size}", blob.size))
                    .hint("the image file is damaged"))
            }
            _ => Ok(blob),
        }
    }

    /// Reads a blob to its end, checks its digest and tells that of its uncompressed content.
    fn examine(&self, layer: &PlannedLayer, item: &dyn ProgressItem) -> Result<Digest> {
        let failed = |e: io::Error| {
            Error::new(ErrorKind::InvalidArchive, format!("reading {}", layer.blob)).caused_by(e)
        };
        let blob = self.open(layer)?;
        let mut raw = Hashed::new(Counted::new(blob.reader, item), Hasher::like(&layer.blob));
        let mut content = Hashed::new(io::sink(), Hasher::sha256());
        {
            let (_, mut plain) = decompressor(Box::new(&mut raw))?;
            io::copy(&mut plain, &mut content).map_err(failed)?;
        }
        io::copy(&mut raw, &mut io::sink()).map_err(failed)?;
        if !layer.uncompress {
            check(raw.hasher, &layer.blob)?;
        }
        Digest::parse(content.hasher.text())
    }

    /// Makes the layer. What the record then says of the blob is what the Go library says: of a blob that the store knew already
    /// it takes the uncompressed content (of the other layer), so that the record shows no compression.
    fn import(
        &mut self,
        parent: Option<&str>,
        layer: &PlannedLayer,
        diff: &Digest,
        id: String,
        stored: Option<StoredBlob>,
        item: &dyn ProgressItem,
    ) -> Result<Ready> {
        let blob = self.open(layer)?;
        let length = blob.size;
        let mut raw = Hashed::new(Counted::new(blob.reader, item), Hasher::like(&layer.blob));
        let ordinary = layer.blob.algorithm() == "sha256";
        let as_it_is = !layer.uncompress && stored.is_none();
        let mut new = NewLayer {
            id: Some(id.clone()),
            parent: parent.map(str::to_string),
            read_only: true,
            expected_diff_digest: Some(diff.clone()),
            ..NewLayer::default()
        };
        if as_it_is && ordinary {
            new.expected_compressed_digest = Some(layer.blob.clone());
        } else if as_it_is {
            new.original_blob = Some((layer.blob.clone(), length));
        } else {
            new.original_blob = stored.and_then(|s| s.original);
        }
        let size = if as_it_is && ordinary {
            self.batch.stage(new, &mut raw.inner)?
        } else if as_it_is {
            // The store's own check knows sha256 alone.
            let mut checked = Checked { raw, digest: layer.blob.clone(), done: false };
            self.batch.stage(new, &mut checked)?
        } else {
            let (_, mut plain) = decompressor(Box::new(&mut raw.inner))?;
            self.batch.stage(new, &mut plain)?
        };
        Ok(Ready { id, size })
    }

    fn image(&mut self, plan: &Plan, layers: &[Ready]) -> Result<Loaded> {
        let manifest = match &plan.manifest {
            Some(manifest) => manifest.clone(),
            None => docker_manifest(&plan.config, &plan.config_digest, &plan.layers, layers)?,
        };
        let manifest_digest = Digest::sha256(&manifest);
        let item = |key: String, data: &[u8]| BigDataItem {
            key,
            data: data.to_vec(),
            digest: Some(Digest::sha256(data)),
        };
        let mut big_data = vec![item(plan.config_digest.to_string(), &plan.config)];
        if let Some(index) = &plan.index {
            big_data.push(item(format!("manifest-{}", Digest::sha256(index)), index));
        }
        big_data.push(item(format!("manifest-{manifest_digest}"), &manifest));
        big_data.push(item("manifest".into(), &manifest));
        let mut seen = HashSet::new();
        let names: Vec<String> =
            plan.names.iter().filter(|name| seen.insert(name.as_str())).cloned().collect();
        let top = layers.last().map(|l| l.id.clone());
        let id = plan.config_digest.hex().to_string();
        record_image(
            self.store,
            NewImage {
                id: Some(id.clone()),
                // In Go the names are given one after the other, each in front of those before; and each time the whole list
                // goes into the history, one by one in front.
                names: names.iter().rev().cloned().collect(),
                names_history: names.clone(),
                take_names: true,
                layer: top,
                metadata: "{}".into(),
                digest: Some(plan.index.as_deref().map_or(manifest_digest, Digest::sha256)),
                created: created(plan.created.as_deref()),
                big_data,
                flags: crate::record::Flags::default(),
            },
        )
        .map(|new| {
            if new {
                self.new_images.push(id.clone());
            }
            Loaded { image_id: id, names }
        })
    }
}

/// A blob that the store has made a layer of.
struct StoredBlob {
    diff: Digest,
    /// Digest and size of the compressed blob, where the layer's record has them.
    original: Option<(Digest, u64)>,
}

/// Go's zero time stands for no time.
pub(super) fn created(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| Timestamp::parse(text).ok()).filter(|t| *t != Timestamp::default())
}

/// The manifest that the Go library makes up for an image of a docker archive: its layers uncompressed, their media type not.
fn docker_manifest(
    config: &[u8],
    digest: &Digest,
    planned: &[PlannedLayer],
    layers: &[Ready],
) -> Result<Vec<u8>> {
    let length = u64::try_from(config.len()).unwrap_or(u64::MAX);
    let blobs: Vec<WrittenBlob> = planned
        .iter()
        .zip(layers)
        .map(|(planned, ready)| {
            WrittenBlob::new(DOCKER_LAYER_GZIP, planned.blob.clone(), ready.size)
        })
        .collect();
    write_docker_manifest(&WrittenBlob::new(DOCKER_CONFIG, digest.clone(), length), &blobs)
}

fn none_if_unknown(found: Result<Vec<LayerInfo>>) -> Result<Vec<LayerInfo>> {
    match found {
        Err(e) if e.kind() == ErrorKind::LayerUnknown => Ok(Vec::new()),
        found => found,
    }
}

/// `sha256:0123456789ab`, for people.
fn short(digest: &Digest) -> String {
    format!("{}:{}", digest.algorithm(), digest.hex().get(..12).unwrap_or_default())
}

/// Fails at the end of a stream whose digest is not the right one.
struct Checked<R> {
    raw: Hashed<R>,
    digest: Digest,
    done: bool,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.raw.read(buf)?;
        if n == 0 && !buf.is_empty() && !self.done {
            self.done = true;
            check(self.raw.hasher.clone(), &self.digest)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        }
        Ok(n)
    }
}
