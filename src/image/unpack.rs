//! Unpacking the layers of a loading: several at the same time where the driver can take them apart, and behind whatever else wants
//! the processors, so that a container starts while an image is loaded.

use std::collections::HashMap;
use std::io::{self, Read};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::resolve::{Items, Job, layer_of_id, open};
use super::source::ImageSource;
use super::verify::{Hashed, Hasher, check};
use crate::archive::decompressor;
use crate::progress::{self, Counted};
use crate::store::{NewLayer, StagedLayer, Store};
use crate::sys::priority::stand_behind;
use crate::sys::threads::spawn_scoped;
use crate::{Digest, Error, ErrorKind, Result};

/// How many layers are unpacked at the same time at most: each has a few threads and some MiB of its own.
const MAX_AT_ONCE: usize = 4;

/// Unpacks the layers and checks what is expected of them; parents come before children.
///
/// # Errors
/// That of the first layer, in order, which cannot be had. Those after it are given up at once, and nothing is left.
pub(super) fn stage(
    store: &Store,
    source: &ImageSource,
    items: &Items<'_>,
    jobs: &[Job<'_>],
) -> Result<Vec<(NewLayer, StagedLayer)>> {
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let width = if store.stages_apart() { cpus.min(MAX_AT_ONCE).min(jobs.len()) } else { 1 };
    let bench = Bench {
        store,
        source,
        items,
        jobs,
        grounds: grounds(jobs),
        next: AtomicUsize::new(0),
        failed: AtomicUsize::new(usize::MAX),
        failure: Mutex::new(None),
        staged: jobs.iter().map(|_| OnceLock::new()).collect(),
    };
    std::thread::scope(|s| {
        let spawn = |_| {
            let work = || {
                stand_behind();
                bench.work();
            };
            // One that cannot be had does not matter.
            spawn_scoped(s, "orlop-layer", work).ok()
        };
        // With a single processor, threads of their own would only cost more.
        let threads = if cpus > 1 { width } else { 0 };
        let helpers: Vec<_> = (0..threads).filter_map(spawn).collect();
        if helpers.is_empty() {
            bench.work();
        }
        for helper in helpers {
            if helper.join().is_err() {
                bench.fail(0, Error::new(ErrorKind::Internal, "unpacking the layers of an image"));
            }
        }
    });
    if let Some(e) = bench.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(e);
    }
    let missing = || Error::new(ErrorKind::Internal, "unpacking the layers of an image");
    let staged = bench.staged.into_iter().map(|slot| slot.into_inner().ok_or_else(missing));
    jobs.iter().zip(staged).map(|(job, staged)| Ok((job.new.clone(), staged?))).collect()
}

/// For each job the layer of the store on which its chain begins, if it does on one.
fn grounds<'a>(jobs: &'a [Job<'_>]) -> HashMap<&'a str, Option<&'a str>> {
    let mut grounds = HashMap::with_capacity(jobs.len());
    for job in jobs {
        let parent = job.new.parent.as_deref();
        let before = parent.and_then(|parent| grounds.get(parent).copied());
        grounds.insert(job.id.as_str(), before.unwrap_or(parent));
    }
    grounds
}

/// What the threads share.
struct Bench<'a> {
    store: &'a Store,
    source: &'a ImageSource,
    items: &'a Items<'a>,
    jobs: &'a [Job<'a>],
    grounds: HashMap<&'a str, Option<&'a str>>,
    /// The job that is to be begun next.
    next: AtomicUsize,
    /// The first job that has failed so far, and why.
    failed: AtomicUsize,
    failure: Mutex<Option<Error>>,
    staged: Vec<OnceLock<StagedLayer>>,
}

impl Bench<'_> {
    fn work(&self) {
        loop {
            let at = self.next.fetch_add(1, Ordering::SeqCst);
            let (Some(job), Some(slot)) = (self.jobs.get(at), self.staged.get(at)) else { return };
            if self.is_void(at) {
                return;
            }
            match self.unpack(at, job) {
                Ok(staged) => drop(slot.set(staged)),
                Err(e) => return self.fail(at, job.place.explain(e)),
            }
        }
    }

    /// Whether a job before that one has failed.
    fn is_void(&self, at: usize) -> bool {
        self.failed.load(Ordering::SeqCst) < at
    }

    fn fail(&self, at: usize, e: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() || !self.is_void(at) {
            self.failed.store(at, Ordering::SeqCst);
            *failure = Some(e);
        }
    }

    fn unpack(&self, at: usize, job: &Job<'_>) -> Result<StagedLayer> {
        let layer = job.layer;
        let blob = open(self.source, layer)?;
        let item = self.items.of(job.place, layer, blob.size);
        let reader = UntilVoid { inner: blob.reader, bench: self, at };
        let mut raw = Hashed::new(Counted::new(reader, &*item), Hasher::like(&layer.blob));
        let staged = if job.as_it_is && layer.blob.algorithm() == "sha256" {
            self.stage(job, &mut raw.inner)?
        } else if job.as_it_is {
            // The store's own check knows sha256 alone.
            let mut checked = Checked { raw, digest: layer.blob.clone(), done: false };
            self.stage(job, &mut checked)?
        } else {
            let (_, mut plain) = decompressor(Box::new(&mut raw.inner))?;
            self.stage(job, &mut plain)?
        };
        staged.check(&job.new)?;
        // The last chance: what comes next is to be brought to the disk.
        progress::check(&*item)?;
        item.finish("done");
        Ok(staged)
    }

    fn stage(&self, job: &Job<'_>, stream: &mut (dyn Read + Send)) -> Result<StagedLayer> {
        let parent = if self.store.stages_apart() {
            // The parent may not be staged yet. Its id maps, which are this layer's too, are those of the layer below them all.
            self.grounds.get(job.id.as_str()).copied().flatten()
        } else {
            job.new.parent.as_deref()
        };
        let Some(parent) = parent else { return self.store.stage_layer(None, stream) };
        let before = self.jobs.iter().zip(&self.staged).find(|(job, _)| job.id == parent);
        if let Some(staged) = before.and_then(|(_, slot)| slot.get()) {
            return self.store.stage_layer_upon(staged, stream);
        }
        // A parent that another process deletes meanwhile shows in many ways.
        self.store.stage_layer(Some(parent), stream).map_err(|e| {
            match layer_of_id(self.store, parent) {
                Ok(None) => {
                    Error::new(ErrorKind::LayerUnknown, format!("using the layer {parent}"))
                        .caused_by(e)
                }
                _ => e,
            }
        })
    }
}

/// A blob that cannot be read on when its layer is wanted no more.
struct UntilVoid<'a> {
    inner: Box<dyn Read + Send>,
    bench: &'a Bench<'a>,
    at: usize,
}

impl Read for UntilVoid<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.bench.is_void(self.at) {
            return Err(io::Error::other("another layer could not be loaded"));
        }
        self.inner.read(buf)
    }
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
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        }
        Ok(n)
    }
}
