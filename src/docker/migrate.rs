//! Taking images over: planned image by image, made layer by layer, and reported.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use super::daemon::Alone;
use super::journal::Begun;
use super::layers::OpenLayer;
use super::needed::Leaving;
use super::stage::{Job, Means, compare_stored, is_linked, separate};
use super::{DataRoot, ImageRecord, names, select};
use crate::archive::CopyMethod;
use crate::image::{self, layer_id, layer_of_id};
use crate::progress::{Progress, Silent};
use crate::store::Store;
use crate::{Digest, Error, ErrorKind, Result};

/// Bytes of content after which the layers so far are committed: what a killed process has to do again is not more.
const BATCH_BYTES: u64 = 512 << 20;

/// Layers after which they are committed: each holds descriptors until then.
const BATCH_LAYERS: usize = 32;

/// How files get from docker's layers to the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// Reflinked where the file system can, else copied.
    #[default]
    Either,
    /// Reflinked, or the image is refused.
    Reflink,
    /// Copied.
    Copy,
    /// Moved: docker forgets the image, and its layers as far as nothing else there needs them.
    Move,
}

/// How to migrate.
pub struct MigrateOptions<'a> {
    /// Ids, unique prefixes of ids, or names; all images that `docker images` shows if empty.
    pub images: Vec<String>,
    /// Also make images of the stopped containers.
    pub containers: bool,
    /// How files get into the store.
    pub transfer: Transfer,
    /// Make each layer's tar once more and compare its digest, and what lies there with the tar's headers.
    pub verify: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Where temporary files are made; `/var/tmp` if none. A container's takes as much as it has changed.
    pub temp_dir: Option<PathBuf>,
    /// Who is told how far it is; one item for each layer.
    pub progress: &'a dyn Progress,
}

impl Default for MigrateOptions<'_> {
    fn default() -> Self {
        Self {
            images: Vec::new(),
            containers: false,
            transfer: Transfer::Either,
            verify: true,
            dry_run: false,
            temp_dir: None,
            progress: &Silent,
        }
    }
}

impl std::fmt::Debug for MigrateOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MigrateOptions")
            .field("images", &self.images)
            .field("containers", &self.containers)
            .field("transfer", &self.transfer)
            .field("verify", &self.verify)
            .field("dry_run", &self.dry_run)
            .field("temp_dir", &self.temp_dir)
            .finish_non_exhaustive()
    }
}

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
    fn of(leaving: &Leaving, begun: &Begun) -> Self {
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

/// Takes images over from docker into `store`: the same ids, the same diff digests, and what a loading of the same image would record.
///
/// Layers that are there are not made again, so that a second call goes on where the first was ended. An image that cannot be taken over
/// does not keep others from it; the report says why. Docker may run, unless images are to be moved; it must not delete them meanwhile.
///
/// # Errors
/// [`ErrorKind::ImageUnknown`] for an image that docker does not have; [`ErrorKind::NotSupported`] for a store whose layers have another form;
/// [`ErrorKind::Busy`] for a daemon that works where images are to be moved from, and for another migration that excludes this one. Nothing
/// is changed then.
pub fn migrate(
    store: &Store,
    docker: &DataRoot,
    options: &MigrateOptions<'_>,
) -> Result<Migration> {
    let moves = options.transfer == Transfer::Move;
    // Held to the end, unless nothing is to be changed.
    let _turn = docker.turn(moves)?;
    let alone = if moves { Some(docker.alone()?) } else { None };
    store.check_transplant()?;
    // Where the images cannot be read, none could be recorded at the end.
    store.images()?;
    let known = docker.images()?;
    let mut begun = if moves { docker.begun(store, &known)? } else { Begun::default() };
    let is_gone =
        |text: &&String| select::find(&known, text).is_err() && begun.means(store, docker, text);
    let texts: Vec<String> = options.images.iter().filter(|t| !is_gone(t)).cloned().collect();
    for text in &texts {
        check_readable(docker, text)?;
    }
    let mut wanted = Vec::new();
    if !texts.is_empty() || options.images.is_empty() {
        wanted = select::select(&known, &texts)?;
    }
    match options.images.is_empty() {
        // What is only to be finished has been taken over before.
        true => wanted.retain(|image| !begun.images.iter().any(|known| known.id == image.id)),
        false => begun.images.retain(|image| !wanted.iter().any(|known| known.id == image.id)),
    }
    let leaving = if moves {
        let going: Vec<&ImageRecord> = wanted.iter().copied().chain(&begun.images).collect();
        docker.leaving(&going, &begun.journal.layers)?
    } else {
        Leaving::default()
    };
    let report = match options.dry_run {
        true => Migration { finished: Finished::of(&leaving, &begun), ..Migration::default() },
        false => Migration::default(),
    };
    let mut work = Work {
        store,
        docker,
        options,
        leaving,
        begun,
        linked: HashSet::new(),
        differing: HashMap::new(),
        report,
    };
    let mut done = wanted.iter().try_for_each(|image| work.image(image));
    if options.containers && done.is_ok() {
        done = work.containers(&known);
    }
    // Also of what was called off: what has been linked so far is docker's and the store's at once.
    if let Some(alone) = alone.filter(|_| !options.dry_run) {
        docker.discard_half_written();
        if done.is_ok() {
            done = work.compare_present();
        }
        work.retire(&alone, &wanted, done.is_ok());
    }
    done.map(|()| work.report)
}

/// Of an image that is asked for by its whole id, says what is wrong with its record.
fn check_readable(docker: &DataRoot, text: &str) -> Result<()> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    match Digest::parse(format!("sha256:{hex}")) {
        Ok(id) => docker.image(&id).map(drop),
        Err(_) => Ok(()),
    }
}

pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) docker: &'a DataRoot,
    pub(super) options: &'a MigrateOptions<'a>,
    leaving: Leaving,
    begun: Begun,
    /// The chain ids of layers whose files are docker's and the store's now.
    linked: HashSet<Digest>,
    /// The ids of layers that the store had and that are not docker's, and why.
    differing: HashMap<String, String>,
    pub(super) report: Migration,
}

impl Work<'_> {
    /// Takes one image over, and notes what came of it.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] alone: everything else is about the image.
    pub(super) fn image(&mut self, image: &ImageRecord) -> Result<()> {
        let mut entry = MigratedImage {
            id: image.id.hex().to_owned(),
            names: names::complete_all(&image.names),
            left_out: Vec::new(),
            container: None,
            layers: planned_layers(image),
            error: None,
            moved: false,
            kept: self.leaving.staying.get(&image.id).cloned(),
        };
        let done = self.take_over(image, &mut entry);
        let cancelled = done.as_ref().is_err_and(|e| e.kind() == ErrorKind::Cancelled);
        entry.error = done.as_ref().err().map(ToString::to_string);
        self.report.images.push(entry);
        if cancelled { done } else { Ok(()) }
    }

    fn take_over(&mut self, image: &ImageRecord, entry: &mut MigratedImage) -> Result<()> {
        self.leave_out_taken(entry)?;
        let config = self.docker.config(&image.id)?;
        let layers = self.docker.open_layers(image)?;
        let mut new = Vec::new();
        let made = self.layers(&layers, entry, &mut new);
        let recorded = made.and_then(|sizes| {
            if self.options.dry_run {
                return Ok(());
            }
            let blobs: Vec<(Digest, u64)> = image.diffs.iter().cloned().zip(sizes).collect();
            let top = entry.layers.last().map(|layer| layer.id.clone());
            image::adopt(self.store, &config, &entry.names, top, &blobs).map(drop)
        });
        if recorded.is_err() {
            for id in new.iter().rev() {
                // A layer that somebody else has begun to use stays.
                if let Err(e) = self.store.delete_layer(id) {
                    tracing::warn!("layer {id} of an image that failed stays: {e}");
                }
            }
        }
        recorded
    }

    /// Takes out the names that another image of the store has: to whoever uses them there, they go on meaning that one.
    pub(super) fn leave_out_taken(&self, entry: &mut MigratedImage) -> Result<()> {
        for name in std::mem::take(&mut entry.names) {
            match self.is_taken(&name, &entry.id)? {
                true => entry.left_out.push(name),
                false => entry.names.push(name),
            }
        }
        Ok(())
    }

    /// Whether another image than `id` has the name, or with a dry run would have it by now.
    pub(super) fn is_taken(&self, name: &String, id: &str) -> Result<bool> {
        let planned = self.report.images.iter().filter(|_| self.options.dry_run);
        if planned.filter(|other| other.id != id).any(|other| other.names.contains(name)) {
            return Ok(true);
        }
        match self.store.image(name) {
            Ok(other) => Ok(other.id != id),
            Err(e) if e.kind() == ErrorKind::ImageUnknown => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Makes the layers that are not there; returns the sizes of all their tars. The ids of those made are added to `new`.
    fn layers(
        &mut self,
        layers: &[OpenLayer],
        entry: &mut MigratedImage,
        new: &mut Vec<String>,
    ) -> Result<Vec<u64>> {
        let means = Means {
            store: self.store,
            verify: self.options.verify,
            progress: self.options.progress,
        };
        let digests: BTreeSet<&Digest> = layers.iter().map(|l| &l.record.diff).collect();
        let _locks = match self.options.dry_run || layers.is_empty() {
            true => None,
            false => Some(self.store.lock_digests(&digests, &|| Ok(()))?),
        };
        let mut sizes = HashMap::new();
        let mut jobs: Vec<(usize, Job<'_>)> = Vec::new();
        let mut parent: Option<String> = None;
        for (at, (layer, planned)) in layers.iter().zip(&mut entry.layers).enumerate() {
            if let Some(there) = layer_of_id(self.store, &planned.id)? {
                planned.outcome = Outcome::Present;
                let moves = self.options.transfer == Transfer::Move && !self.options.dry_run;
                if moves && !self.linked.contains(&layer.record.chain_id) && is_linked(layer)? {
                    self.linked.insert(layer.record.chain_id.clone());
                }
                sizes.insert(at, u64::try_from(there.diff_size).unwrap_or(0));
            } else {
                planned.bytes = layer.record.size;
                let method = self.method(layer);
                let job = Job { layer, id: planned.id.clone(), parent: parent.clone(), method };
                jobs.push((at, job));
            }
            parent = Some(planned.id.clone());
        }
        if self.options.dry_run {
            return Ok(Vec::new());
        }
        let mut rest = jobs.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut at, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0u64);
            while let Some((place, job)) =
                rest.next_if(|_| batch.len() < BATCH_LAYERS && bytes < BATCH_BYTES)
            {
                bytes = bytes.saturating_add(job.layer.record.size);
                at.push(place);
                batch.push(job);
            }
            let planted = means.plant(&batch)?;
            let mut staged = Vec::new();
            for ((place, job), done) in at.iter().zip(&batch).zip(planted) {
                sizes.insert(*place, done.staged.facts().diff_size);
                if let Some(layer) = entry.layers.get_mut(*place) {
                    layer.bytes = done.bytes;
                    layer.outcome = done.outcome;
                }
                if done.shares_files {
                    self.linked.insert(job.layer.record.chain_id.clone());
                }
                staged.push((done.new, done.staged));
            }
            let made = self.store.commit_layers(staged)?;
            new.extend(made.into_iter().map(|layer| layer.record.id));
        }
        Ok((0..layers.len()).map(|at| sizes.get(&at).copied().unwrap_or(0)).collect())
    }

    fn method(&self, layer: &OpenLayer) -> CopyMethod {
        match self.options.transfer {
            Transfer::Either => CopyMethod::Either,
            Transfer::Reflink => CopyMethod::Reflink,
            Transfer::Copy => CopyMethod::Copy,
            // What stays with docker as well must not be the same files: whoever changes an owner there would change it here.
            Transfer::Move if self.leaving.layers.contains_key(&layer.record.chain_id) => {
                CopyMethod::Link
            }
            Transfer::Move => CopyMethod::Either,
        }
    }

    /// Compares the layers that the store had before, of which docker's are about to go.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] alone: everything else keeps docker's.
    fn compare_present(&mut self) -> Result<()> {
        if !self.options.verify {
            return Ok(());
        }
        let stored: Vec<&MigratedImage> =
            self.report.images.iter().filter(|image| image.error.is_none()).collect();
        // Those that were made now have been verified.
        let mut seen: HashSet<&str> = stored
            .iter()
            .flat_map(|image| &image.layers)
            .filter(|layer| layer.outcome != Outcome::Present)
            .map(|layer| layer.id.as_str())
            .collect();
        let going = stored.iter().filter(|i| i.container.is_none() && i.kept.is_none());
        let begun: Vec<MigratedLayer> = self.begun.images.iter().flat_map(planned_layers).collect();
        for layer in going.flat_map(|image| &image.layers).chain(&begun) {
            if !seen.insert(&layer.id) {
                continue;
            }
            match compare_stored(self.store, &layer.id, &layer.diff, self.options.progress) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::Cancelled => return Err(e),
                Err(e) => drop(self.differing.insert(layer.id.clone(), e.to_string())),
            }
        }
        Ok(())
    }

    /// Lets docker forget the images that are in the store now, once that is on the disk; none, unless all has been gone through.
    /// What goes wrong is for the report.
    fn retire(&mut self, alone: &Alone, wanted: &[&ImageRecord], whole: bool) {
        let differing = |image: &MigratedImage| {
            image.layers.iter().find_map(|layer| self.differing.get(&layer.id)).cloned()
        };
        let stored: HashSet<&str> = self
            .report
            .images
            .iter()
            .filter(|image| whole && image.error.is_none() && differing(image).is_none())
            .map(|image| image.id.as_str())
            .collect();
        let mut done: Vec<&ImageRecord> =
            wanted.iter().copied().filter(|image| stored.contains(image.id.hex())).collect();
        let begun = if whole { std::mem::take(&mut self.begun) } else { Begun::default() };
        let same = |image: &&ImageRecord| {
            planned_layers(image).iter().all(|layer| !self.differing.contains_key(&layer.id))
        };
        done.extend(begun.images.iter().filter(same));
        let (leaving, found) = match self.docker.leaving(&done, &begun.journal.layers) {
            Ok(leaving) => (leaving, Ok(())),
            Err(e) => (Leaving::default(), Err(e)),
        };
        let kept: Vec<Option<String>> = self.report.images.iter().map(differing).collect();
        let separated =
            self.separate_staying(wanted, &leaving).and(self.separate_begun(&leaving, &begun));
        let ended = found.and(separated).and_then(|()| self.store.sync_everything());
        let ended = match whole {
            true => ended.and_then(|()| self.docker.retire(alone, &leaving, &begun)),
            false => ended,
        };
        if ended.is_ok() {
            self.report.finished = Finished::of(&leaving, &begun);
        }
        if let Err(e) = &ended {
            tracing::warn!("docker has not forgotten all that was to be moved: {e}");
        }
        let failure = ended.err().map(|e| e.to_string());
        for (image, differs) in self.report.images.iter_mut().zip(kept) {
            let id = leaving.images.keys().find(|id| id.hex() == image.id);
            let staying = leaving.staying.iter().find(|(id, _)| id.hex() == image.id);
            let meant = image.error.is_none() && done.iter().any(|i| i.id.hex() == image.id);
            image.moved = id.is_some_and(|id| failure.is_none() || !self.docker.has_image(id));
            image.kept = differs.or_else(|| staying.map(|(_, why)| why.clone()));
            if image.kept.is_none() && meant && !image.moved {
                image.kept.clone_from(&failure);
            }
        }
        self.report.unfinished = failure;
    }

    /// Gives docker files of its own again, in the layers that stay there.
    ///
    /// # Errors
    /// The first; the other layers are separated all the same.
    fn separate_staying(&mut self, wanted: &[&ImageRecord], leaving: &Leaving) -> Result<()> {
        let mut outcome = Ok(());
        for image in wanted {
            if self.linked.iter().all(|chain_id| leaving.layers.contains_key(chain_id)) {
                break;
            }
            for layer in self.docker.open_layers(image).unwrap_or_default() {
                let id = &layer.record.chain_id;
                if !leaving.layers.contains_key(id) && self.linked.remove(id) {
                    outcome =
                        outcome.and(separate(&layer).map_err(|e| {
                            e.context(format!("giving docker a copy of its layer {id}"))
                        }));
                }
            }
        }
        outcome
    }
}

impl Work<'_> {
    /// Likewise where an earlier call was about to delete a layer that has come into use again.
    fn separate_begun(&self, leaving: &Leaving, begun: &Begun) -> Result<()> {
        let mut outcome = Ok(());
        for id in begun.journal.layers.iter().filter(|id| !leaving.layers.contains_key(*id)) {
            let Some(layer) = self.docker.known_layer(id) else { continue };
            if is_linked(&layer)? {
                outcome = outcome.and(
                    separate(&layer)
                        .map_err(|e| e.context(format!("giving docker a copy of its layer {id}"))),
                );
            }
        }
        outcome
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
