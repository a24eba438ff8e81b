//! What a loading has to do: which layers are there already, and how the others are to be made.
//!
//! Nothing is unpacked to find out. What the layers to come will say of their blobs is known beforehand, since each is checked
//! against it when it is unpacked.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, PoisonError};

use super::model::layer_id;
use super::plan::{Plan, PlannedLayer};
use super::source::ImageSource;
use super::verify::{Hashed, Hasher, check};
use crate::archive::decompressor;
use crate::progress::{self, Counted, Progress, ProgressItem};
use crate::store::{LayerInfo, NewLayer, Store};
use crate::{Digest, Error, ErrorKind, Result};

/// A layer to unpack.
pub(super) struct Job<'p> {
    pub(super) layer: &'p PlannedLayer,
    pub(super) new: NewLayer,
    /// The id it will have.
    pub(super) id: String,
    /// The digest that its uncompressed content must have.
    pub(super) diff: Digest,
    /// The blob is what the layer's record tells of, not what is in it.
    pub(super) as_it_is: bool,
    pub(super) place: Place<'p>,
}

/// Where a layer stands in what is loaded.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    plan: &'p Plan,
    /// The number of the image, and that of the layer in it.
    key: (usize, usize),
}

impl Place<'_> {
    /// Says in an error which layer of which image it is about.
    pub(super) fn explain(&self, e: Error) -> Error {
        let (at, layers) = (self.key.1, &self.plan.layers);
        let blob = layers.get(at).map(|layer| layer.blob.to_string()).unwrap_or_default();
        e.context(format!("layer {} of {} ({blob})", at + 1, layers.len()))
            .context(format!("loading {}", self.plan.label))
    }
}

/// A layer of an image to load.
pub(super) struct Ready {
    pub(super) id: String,
    /// Bytes of its uncompressed tar; not known yet of one that is to be unpacked.
    pub(super) size: Option<u64>,
}

/// What was found.
pub(super) struct Found<'p> {
    /// The layers of each image, those included that the jobs will make.
    pub(super) layers: Vec<Vec<Ready>>,
    /// What there is to do, parents before children.
    pub(super) jobs: Vec<Job<'p>>,
}

/// Finds out what there is to do, as often as it is asked; what was read or told before is remembered.
pub(super) struct Resolver<'a> {
    store: &'a Store,
    source: &'a ImageSource,
    /// The content of blobs that were read for it, by file.
    examined: HashMap<String, Digest>,
    items: Items<'a>,
}

/// What a layer to come will say of its blob.
struct Facts {
    image: usize,
    diff: Digest,
    /// Digest and size of the blob, where the record does not have those of the content.
    blob: Option<(Digest, u64)>,
}

/// What is known of a blob.
struct StoredBlob {
    diff: Digest,
    /// Digest and size of the compressed blob, where the layer's record has them.
    original: Option<(Digest, u64)>,
    /// An image to be loaded says so, and its layer is still to be unpacked.
    claimed: bool,
}

/// What one look gathers.
#[derive(Default)]
struct Look<'p> {
    jobs: Vec<Job<'p>>,
    /// What the jobs will make, by layer id, and in order.
    at: HashMap<String, usize>,
    facts: Vec<Facts>,
    /// The diff digests of the blobs of the image at hand that the source, not the store, has told.
    blobs: HashMap<Digest, Digest>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(
        store: &'a Store,
        source: &'a ImageSource,
        progress: &'a dyn Progress,
    ) -> Self {
        let items = Items { progress, started: Mutex::default(), told: HashSet::new() };
        Self { store, source, examined: HashMap::new(), items }
    }

    /// The progress of the layers.
    pub(super) fn items(&self) -> &Items<'a> {
        &self.items
    }

    /// Looks at the store as it is now.
    pub(super) fn resolve<'p>(&mut self, plans: &'p [Plan]) -> Result<Found<'p>> {
        let mut look = Look::default();
        let mut layers = Vec::with_capacity(plans.len());
        for (number, plan) in plans.iter().enumerate() {
            look.blobs.clear();
            let mut ready: Vec<Ready> = Vec::with_capacity(plan.layers.len());
            for (at, layer) in plan.layers.iter().enumerate() {
                let place = Place { plan, key: (number, at) };
                let parent = ready.last().map(|l| l.id.clone());
                let one = self.layer(&mut look, place, parent.as_deref(), layer);
                ready.push(one.map_err(|e| place.explain(e))?);
            }
            layers.push(ready);
        }
        Ok(Found { layers, jobs: look.jobs })
    }

    /// Fails if the loading is cancelled, as the progress of that layer says.
    pub(super) fn go_on(&self, job: &Job<'_>) -> Result<()> {
        let item = match self.items.kept(job.place) {
            Some(item) => item,
            None => self.items.of(job.place, job.layer, open(self.source, job.layer)?.size),
        };
        let going = progress::check(&*item).map_err(|e| job.place.explain(e));
        self.items.keep(job.place, item);
        going
    }

    /// Looks at the layers that another program was faster with, which takes no lock of ours if it is none of ours: each must be the one
    /// that was unpacked here, as far as its record tells.
    pub(super) fn check_others(&self, jobs: &[Job<'_>], made: &[LayerInfo]) -> Result<()> {
        for job in jobs.iter().filter(|job| made.iter().all(|layer| layer.id != job.id)) {
            // One that has gone again is missed by whoever lies on it.
            if let Some(there) = layer_of_id(self.store, &job.id)? {
                check_same(&there, job.new.parent.as_deref(), &job.diff)
                    .map_err(|e| job.place.explain(e))?;
            }
        }
        Ok(())
    }

    /// Whether one of the layers is in the store by now.
    pub(super) fn any_is_there(&self, jobs: &[Job<'_>]) -> Result<bool> {
        for job in jobs {
            if layer_of_id(self.store, &job.id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn layer<'p>(
        &mut self,
        look: &mut Look<'p>,
        place: Place<'p>,
        parent: Option<&str>,
        layer: &'p PlannedLayer,
    ) -> Result<Ready> {
        let in_image = look.blobs.get(&layer.blob).cloned();
        let stored = if in_image.is_some() { None } else { self.stored(look, place, &layer.blob)? };
        let claimed = in_image.is_some() || stored.as_ref().is_some_and(|s| s.claimed);
        let mut known = in_image.or_else(|| stored.as_ref().map(|s| s.diff.clone()));
        if known.is_none() {
            // To learn the diff digest where the config has none, or to check a blob whose layer is there.
            let there = match &layer.diff {
                None => true,
                Some(diff) => self.existing(look, parent, diff, &layer_id(parent, diff))?.is_some(),
            };
            if there {
                known = Some(self.examine(place, layer)?);
            }
        }
        if let (Some(known), Some(wanted)) = (&known, &layer.diff)
            && known != wanted
        {
            let said = if claimed { "was said to be" } else { "is" };
            return Err(Error::new(ErrorKind::DigestMismatch, format!("checking {}", layer.blob))
                .detail(format!(
                    "its uncompressed content {said} {known}, the image's config says {wanted}"
                )));
        }
        let Some(diff) = known.clone().or_else(|| layer.diff.clone()) else {
            return Err(Error::new(ErrorKind::Internal, "loading a layer of unknown content"));
        };
        let id = layer_id(parent, &diff);
        if stored.is_none() {
            look.blobs.insert(layer.blob.clone(), diff.clone());
        }
        if known.is_some()
            && let Some(ready) = self.existing(look, parent, &diff, &id)?
        {
            self.items.already_there(place, layer, self.source)?;
            return Ok(ready);
        }
        let length = open(self.source, layer)?.size;
        let (job, blob) = job(place, parent, layer, diff, id, stored, length);
        look.facts.push(Facts { image: place.key.0, diff: job.diff.clone(), blob });
        look.at.insert(job.id.clone(), look.jobs.len());
        let ready = Ready { id: job.id.clone(), size: None };
        look.jobs.push(job);
        Ok(ready)
    }

    /// What is known of a blob from a layer that was made of it.
    fn stored(
        &self,
        look: &Look<'_>,
        place: Place<'_>,
        blob: &Digest,
    ) -> Result<Option<StoredBlob>> {
        // What an earlier image of this loading brings counts as stored, as if its layers were there already.
        let to_come = || look.facts.iter().filter(|facts| facts.image < place.key.0);
        let by_diff = none_if_unknown(self.store.layers_by_diff_digest(blob))?;
        let mut claimed = false;
        let diff = if by_diff.is_empty() && !to_come().any(|facts| facts.diff == *blob) {
            let by_blob = none_if_unknown(self.store.layers_by_compressed_digest(blob))?;
            let in_store = by_blob.iter().find_map(|l| Digest::parse(l.diff_digest.as_str()).ok());
            claimed = in_store.is_none();
            let of_blob = |facts: &&Facts| facts.blob.as_ref().is_some_and(|(b, _)| b == blob);
            match in_store.or_else(|| to_come().find(of_blob).map(|facts| facts.diff.clone())) {
                Some(diff) => diff,
                None => return Ok(None),
            }
        } else {
            blob.clone()
        };
        let original = match none_if_unknown(self.store.layers_by_diff_digest(&diff))?.first() {
            Some(layer) if layer.compressed_digest == blob.as_str() => {
                u64::try_from(layer.compressed_size).ok().map(|size| (blob.clone(), size))
            }
            Some(_) => None,
            None => to_come().find(|facts| facts.diff == diff).and_then(|facts| facts.blob.clone()),
        };
        let original = original.filter(|(digest, size)| digest == blob && *size > 0);
        Ok(Some(StoredBlob { diff, original, claimed }))
    }

    /// A layer of exactly that id, be it there or to come.
    fn existing(
        &self,
        look: &Look<'_>,
        parent: Option<&str>,
        diff: &Digest,
        id: &str,
    ) -> Result<Option<Ready>> {
        if look.at.contains_key(id) {
            return Ok(Some(Ready { id: id.to_string(), size: None }));
        }
        let Some(there) = layer_of_id(self.store, id)? else { return Ok(None) };
        check_same(&there, parent, diff)?;
        let size = Some(u64::try_from(there.diff_size).unwrap_or(0));
        Ok(Some(Ready { id: id.to_string(), size }))
    }

    /// Reads a blob to its end, checks its digest and tells that of its uncompressed content.
    fn examine(&mut self, place: Place<'_>, layer: &PlannedLayer) -> Result<Digest> {
        if let Some(diff) = self.examined.get(&layer.file) {
            return Ok(diff.clone());
        }
        let failed = |e: io::Error| {
            Error::new(ErrorKind::InvalidArchive, format!("reading {}", layer.blob)).caused_by(e)
        };
        let blob = open(self.source, layer)?;
        let item = self.items.of(place, layer, blob.size);
        let mut raw = Hashed::new(Counted::new(blob.reader, &*item), Hasher::like(&layer.blob));
        let mut content = Hashed::new(io::sink(), Hasher::sha256());
        {
            let (_, mut plain) = decompressor(Box::new(&mut raw))?;
            io::copy(&mut plain, &mut content).map_err(failed)?;
        }
        io::copy(&mut raw, &mut io::sink()).map_err(failed)?;
        if !layer.uncompress {
            check(raw.hasher, &layer.blob)?;
        }
        let diff = Digest::parse(content.hasher.text())?;
        self.examined.insert(layer.file.clone(), diff.clone());
        self.items.keep(place, item);
        Ok(diff)
    }
}

/// How to make a layer, and what its record will say of the blob if not what it says of the content. That is what the Go library
/// says: of a blob that the store knew already it takes the uncompressed content (of the other layer), so that the record shows no
/// compression.
fn job<'p>(
    place: Place<'p>,
    parent: Option<&str>,
    layer: &'p PlannedLayer,
    diff: Digest,
    id: String,
    stored: Option<StoredBlob>,
    length: u64,
) -> (Job<'p>, Option<(Digest, u64)>) {
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
    let blob =
        if as_it_is { Some((layer.blob.clone(), length)) } else { new.original_blob.clone() };
    (Job { layer, new, id, diff, as_it_is, place }, blob)
}

/// Opens a layer's blob, and checks its size against the manifest's.
pub(super) fn open(source: &ImageSource, layer: &PlannedLayer) -> Result<super::source::Blob> {
    let Some(blob) = source.open_file(&layer.file)? else {
        return Err(source.missing(&layer.file));
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

/// The progress items of layers: one for each, whatever is done for it.
pub(super) struct Items<'a> {
    progress: &'a dyn Progress,
    started: Mutex<HashMap<(usize, usize), Box<dyn ProgressItem>>>,
    told: HashSet<(usize, usize)>,
}

impl Items<'_> {
    /// The item of a layer whose blob has that size: the one that was kept, or a new one.
    pub(super) fn of(
        &self,
        place: Place<'_>,
        layer: &PlannedLayer,
        size: u64,
    ) -> Box<dyn ProgressItem> {
        self.kept(place).unwrap_or_else(|| self.progress.start(&short(&layer.blob), Some(size)))
    }

    fn kept(&self, place: Place<'_>) -> Option<Box<dyn ProgressItem>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).remove(&place.key)
    }

    fn keep(&self, place: Place<'_>, item: Box<dyn ProgressItem>) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).insert(place.key, item);
    }

    fn already_there(
        &mut self,
        place: Place<'_>,
        layer: &PlannedLayer,
        source: &ImageSource,
    ) -> Result<()> {
        if self.told.insert(place.key) {
            let size = source.open_file(&layer.file)?.map_or(0, |blob| blob.size);
            self.of(place, layer, size).finish("already exists");
        }
        Ok(())
    }
}

/// Whether a layer is the one that its id says. The id is made of the digests, but whoever makes a layer may call it what he likes. Of
/// some that partial pulls make, the digest is not on record.
fn check_same(there: &LayerInfo, parent: Option<&str>, diff: &Digest) -> Result<()> {
    let why = if there.parent != parent.unwrap_or_default() {
        format!("it lies on {:?}, not on {:?}", there.parent, parent.unwrap_or_default())
    } else if !there.diff_digest.is_empty() && there.diff_digest != diff.as_str() {
        format!("its content is {}, not {diff}", there.diff_digest)
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::DigestMismatch, format!("using the layer {} of the store", there.id))
        .id(there.id.as_str())
        .detail(why)
        .hint("somebody has given another layer this id: delete it, with what lies on it, and try again"))
}

/// The layer of exactly that id in the store.
pub(crate) fn layer_of_id(store: &Store, id: &str) -> Result<Option<LayerInfo>> {
    match store.layer(id) {
        Ok(layer) if layer.id == id => Ok(Some(layer)),
        Ok(_) => Ok(None),
        Err(e) if matches!(e.kind(), ErrorKind::LayerUnknown | ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(e),
    }
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
