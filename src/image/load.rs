//! Images in: from the plans of a source to layers and records, which are those that the Go image library makes.

use std::collections::HashMap;
use std::path::PathBuf;

use rustix::process::{Resource, getrlimit};

use super::model::{DOCKER_CONFIG, DOCKER_LAYER_GZIP, WrittenBlob, write_docker_manifest};
use super::plan::{Plan, PlannedLayer};
use super::platform::Platform;
use super::policy::{Policy, Transport};
use super::record::{Described, described, record_image};
use super::reference::Reference;
use super::resolve::{Ready, Resolver};
use super::source::ImageSource;
use super::spool::{Source, TEMP_DIR};
use super::{docker_archive, oci, unpack};
use crate::progress::{Progress, Silent};
use crate::store::Store;
use crate::{Digest, Error, ErrorKind, Result};

/// How often a loading or committing is tried that others cross by deleting what it relies on.
pub(super) const MAX_ATTEMPTS: u32 = 10;

/// How many layers are staged at most before they are committed. More than images have.
const MAX_STAGED: usize = 128;

/// How many descriptors a layer holds until it is committed: its directory, and the locks of two temp dirs and of its digest.
const DESCRIPTORS: u64 = 4;

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
/// Unlike podman 4.3, which calls the image of a layout directory after the directory, its images take the names of its index.
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
            new_layers: Vec::new(),
            new_images: Vec::new(),
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

/// How many layers to stage before they are committed: a quarter of the descriptors that the process may have is for them, and the
/// unpackers need theirs.
fn staged_at_once() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / 4 / DESCRIPTORS).unwrap_or(MAX_STAGED).clamp(1, MAX_STAGED)
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
    /// Ids of the layers made by this call, in order.
    new_layers: Vec<String>,
    /// Ids of the images made by this call.
    new_images: Vec<String>,
}

impl Loader<'_> {
    /// All layers of all images come first, then the records: a bad layer in the last image is found before any name moves. And
    /// all are brought to the disk by one call before the first of them counts.
    fn load(&mut self, plans: &[Plan]) -> Result<Vec<Loaded>> {
        // Where the images cannot be read, none could be recorded at the end.
        self.store.images()?;
        let layers = self.layers(plans)?;
        let mut loaded = Vec::new();
        for (plan, layers) in plans.iter().zip(&layers) {
            loaded.push(
                self.image(plan, layers)
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
        for id in self.new_layers.iter().rev() {
            match self.store.delete_layer(id) {
                // Gone already is as good.
                Err(e) if !matches!(e.kind(), ErrorKind::LayerUnknown | ErrorKind::NotFound) => {
                    tracing::warn!("layer {id} of a failed loading stays: {e}");
                }
                _ => {}
            }
        }
    }

    /// Makes the layers that are not there yet, and tells what each image's are.
    ///
    /// Whoever makes layers holds the locks of their digests: who comes second waits here, and finds them made.
    fn layers(&mut self, plans: &[Plan]) -> Result<Vec<Vec<Ready>>> {
        let mut resolver = Resolver::new(self.store, self.source, self.progress);
        let mut found = resolver.resolve(plans)?;
        if found.jobs.is_empty() {
            self.store.recover()?;
        }
        let mut sizes = HashMap::new();
        let mut done = 0;
        while let Some(jobs) = found.jobs.get(done..).filter(|jobs| !jobs.is_empty()) {
            let jobs = jobs.get(..staged_at_once()).unwrap_or(jobs);
            let digests = jobs.iter().map(|job| &job.diff).collect();
            let go_on = || jobs.first().map_or(Ok(()), |job| resolver.go_on(job));
            let _locks = self.store.lock_digests(&digests, &go_on)?;
            if resolver.any_is_there(jobs)? {
                found = resolver.resolve(plans)?;
                done = 0;
                continue;
            }
            let staged = unpack::stage(self.store, self.source, resolver.items(), jobs)?;
            for (job, (_, content)) in jobs.iter().zip(&staged) {
                sizes.insert(job.id.clone(), content.facts().diff_size);
            }
            let made = self.store.commit_layers(staged)?;
            let others = resolver.check_others(jobs, &made);
            self.new_layers.extend(made.into_iter().map(|layer| layer.record.id));
            others?;
            done += jobs.len();
        }
        for ready in found.layers.iter_mut().flatten() {
            ready.size = ready.size.or_else(|| sizes.get(&ready.id).copied());
        }
        Ok(found.layers)
    }

    fn image(&mut self, plan: &Plan, layers: &[Ready]) -> Result<Loaded> {
        let manifest = match &plan.manifest {
            Some(manifest) => manifest.clone(),
            None => docker_manifest(&plan.config, &plan.config_digest, &plan.layers, layers)?,
        };
        let new = described(&Described {
            config: &plan.config,
            config_digest: &plan.config_digest,
            manifest: &manifest,
            index: plan.index.as_deref(),
            created: plan.created.as_deref(),
            names: &plan.names,
            top: layers.last().map(|l| l.id.clone()),
        });
        let (id, names) = (plan.config_digest.hex().to_string(), new.names_history.clone());
        record_image(self.store, new).map(|new| {
            if new {
                self.new_images.push(id.clone());
            }
            Loaded { image_id: id, names }
        })
    }
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
            WrittenBlob::new(DOCKER_LAYER_GZIP, planned.blob.clone(), ready.size.unwrap_or(0))
        })
        .collect();
    write_docker_manifest(&WrittenBlob::new(DOCKER_CONFIG, digest.clone(), length), &blobs)
}
