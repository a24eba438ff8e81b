//! Layers of docker on their way into the store: planted file by file, and checked against their digests.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::io::Errno;

use super::Outcome;
use super::layers::OpenLayer;
use crate::archive::{
    self, Compression, Copied, CopyMethod, CopyOptions, HeaderFacts, LayerFacts, TreeFiles,
    check_tree, copy_tree_as, read_headers,
};
use crate::progress::{Counted, Progress, ProgressItem};
use crate::store::{MARKS, NewLayer, StagedLayer, Store};
use crate::sys::one_mount::OneMount;
use crate::sys::priority::stand_behind;
use crate::sys::threads::spawn_scoped;
use crate::{Digest, Error, ErrorKind, Result};

/// How many layers are planted at the same time at most.
const MAX_AT_ONCE: usize = 4;

/// A layer to take over.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) layer: &'a OpenLayer,
    /// The id that it will have.
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) method: CopyMethod,
}

/// How layers are taken over.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) store: &'a Store,
    pub(super) verify: bool,
    pub(super) progress: &'a dyn Progress,
}

/// What came of a layer, with what is to be committed.
pub(super) struct Planted {
    pub(super) new: NewLayer,
    pub(super) staged: StagedLayer,
    /// Bytes of content.
    pub(super) bytes: u64,
    pub(super) outcome: Outcome,
    /// Whether files of docker's are now the store's, too.
    pub(super) shares_files: bool,
}

impl Means<'_> {
    /// Plants the layers, several at the same time.
    ///
    /// # Errors
    /// That of a layer that cannot be had; nothing is left of any.
    pub(super) fn plant(&self, jobs: &[Job<'_>]) -> Result<Vec<Planted>> {
        let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
        let width = cpus.min(MAX_AT_ONCE).min(jobs.len());
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let planted: Vec<OnceLock<Planted>> = jobs.iter().map(|_| OnceLock::new()).collect();
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::SeqCst);
                let (Some(job), Some(slot)) = (jobs.get(at), planted.get(at)) else { return };
                match self.plant_one(job) {
                    Ok(done) => drop(slot.set(done)),
                    Err(e) => {
                        // Those that are not begun yet are wanted no more.
                        next.store(jobs.len(), Ordering::SeqCst);
                        let e =
                            e.context(format!("taking over the layer {}", job.layer.record.diff));
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                        return;
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..width)
                // One that cannot be had does not matter.
                .filter_map(|_| {
                    let work = || {
                        stand_behind();
                        work();
                    };
                    spawn_scoped(scope, "orlop-layer", work).ok()
                })
                .collect();
            if helpers.is_empty() {
                work();
            }
        });
        if let Some(e) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(e);
        }
        let lost = || Error::new(ErrorKind::Internal, "taking over the layers of an image");
        planted.into_iter().map(|slot| slot.into_inner().ok_or_else(lost)).collect()
    }

    fn plant_one(&self, job: &Job<'_>) -> Result<Planted> {
        let (layer, diff) = (job.layer, &job.layer.record.diff);
        let size = layer.record.size;
        let total = if self.verify { size.saturating_mul(2) } else { size };
        let item = self.progress.start(&short(diff), Some(total));
        let mut how = Copied::default();
        let staged = self.store.stage_transplant(|bed| {
            let name = "tar-split.json.gz";
            let Some(mut source) = layer.database.file(name)? else {
                return Err(super::directory::missing(&layer.database.path().join(name))
                    .hint("without it the layer's tar cannot be made again; pull the image anew"));
            };
            io::copy(&mut source, bed.tar_split)
                .and_then(|_| bed.tar_split.flush())
                .map_err(|e| Error::io("copying", layer.database.path().join(name), e))?;
            let options = CopyOptions { method: job.method, whole: Some(MARKS), progress: &*item };
            let one = OneMount::of(layer.diff.fd(), bed.root);
            let (from, to) = match &one {
                Some(one) => (one.from.as_fd(), one.to.as_fd()),
                None => (layer.diff.fd(), bed.root),
            };
            how = copy_tree_as(from, to, &options)
                .map_err(|e| e.context(format!("copying {:?}", layer.diff.path())))?;
            let facts = if self.verify {
                // What shares its blocks is the same here and there, and docker's is more likely to be in memory.
                let shared = how.reflinked > 0 && how.copied == 0;
                let content = if shared { layer.diff.fd() } else { bed.root };
                let (root, tar_split) = (bed.root, &*bed.tar_split);
                Verification { content, root, tar_split, wanted: diff, item: &*item }.run()?
            } else {
                read_headers(FromStart::new(bed.tar_split), &mut |_, _| Ok(()))?
            };
            Ok(layer_facts(diff, facts))
        })?;
        let new = NewLayer {
            id: Some(job.id.clone()),
            parent: job.parent.clone(),
            read_only: true,
            expected_diff_digest: Some(diff.clone()),
            ..NewLayer::default()
        };
        let outcome = outcome(&how);
        item.finish(outcome.word());
        let (bytes, shares_files) = (how.bytes, how.linked > 0);
        Ok(Planted { new, staged, bytes, outcome, shares_files })
    }
}

/// How most of the files came.
fn outcome(how: &Copied) -> Outcome {
    if how.linked > 0 && how.linked >= how.reflinked + how.copied {
        Outcome::Moved
    } else if how.reflinked > how.copied {
        Outcome::Reflinked
    } else {
        Outcome::Copied
    }
}

/// `sha256:0123456789ab`, for people.
fn short(digest: &Digest) -> String {
    format!("{}:{}", digest.algorithm(), digest.hex().get(..12).unwrap_or_default())
}

/// A file from its beginning, whoever else reads it.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> FromStart<'a> {
    fn new(file: &'a File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(n as u64);
        Ok(n)
    }
}

/// Whether a layer is what docker has unpacked.
struct Verification<'a> {
    /// Where the files are read, and where they are in the store.
    content: BorrowedFd<'a>,
    root: BorrowedFd<'a>,
    tar_split: &'a File,
    wanted: &'a Digest,
    item: &'a dyn ProgressItem,
}

impl Verification<'_> {
    /// Compares the tree with the headers of its tar, and at the same time the tar with its digest.
    fn run(&self) -> Result<HeaderFacts> {
        let tree = || check_tree(self.root, FromStart::new(self.tar_split), MARKS, self.item);
        let (tree, made) = std::thread::scope(|scope| {
            let tree = match spawn_scoped(scope, "orlop-compare", tree) {
                Ok(thread) => thread,
                Err(_) => return (tree(), self.digest()),
            };
            let made = self.digest();
            let lost = |_| Err(Error::new(ErrorKind::Internal, "comparing a layer with its tar"));
            (tree.join().unwrap_or_else(lost), made)
        });
        // A file that has changed is worth more words than its new time.
        let made = made?;
        let facts = tree.map_err(|e| match e.kind() {
            ErrorKind::Cancelled => e,
            _ => advise(e, CHANGED),
        })?;
        if made == facts.length {
            return Ok(facts);
        }
        Err(Error::new(ErrorKind::DigestMismatch, format!("checking {}", self.wanted))
            .detail(format!("the layer's files give a tar of {made} bytes, not {}", facts.length))
            .hint(CHANGED))
    }

    /// Makes the layer's tar of its files once more, and compares its digest; returns its length.
    fn digest(&self) -> Result<u64> {
        use sha2::Digest as _;
        let failed = |e| Error::io("reading a layer of docker", "", e);
        let root = self.content.try_clone_to_owned().map_err(failed)?;
        let mut out = Counted::new(Hashing(sha2::Sha256::new()), self.item);
        let mut source = BufReader::new(FromStart::new(self.tar_split));
        let files = TreeFiles::new(vec![root]);
        let made = archive::reassemble(&mut source, &files, &mut out).map_err(|e| {
            crate::progress::check(self.item).err().unwrap_or_else(|| advise(e, CHANGED))
        })?;
        let found = Digest::from_sha256(out.into_inner().0.finalize().as_slice());
        if found == *self.wanted {
            return Ok(made);
        }
        Err(Error::new(ErrorKind::DigestMismatch, format!("checking {}", self.wanted))
            .detail(format!("the layer's files give a tar with the digest {found}"))
            .hint(CHANGED))
    }
}

/// What to do about a layer that differs.
const CHANGED: &str = "the layer was changed behind docker's back, or the disk is damaged; pull the image anew, or take it over as it is with --no-verify";

/// Says what to do about a layer that cannot be compared, unless it was the machine that had not enough of something.
fn advise(e: Error, hint: &str) -> Error {
    let short = [Errno::AGAIN, Errno::INTR, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    match (e.raw_os_error(), e.advice()) {
        (Some(number), advice) if short.iter().any(|s| s.raw_os_error() == number) => {
            if advice.is_some() { e } else { e.hint("migrate once more") }
        }
        _ => e.hint(hint),
    }
}

/// Compares a layer that the store had before with docker's: its tar by its digest, and what lies in the store with the tar's headers.
///
/// # Errors
/// [`ErrorKind::DigestMismatch`] for another layer than docker's, [`ErrorKind::Corrupt`] for one that is not as it was unpacked; what the
/// store says of one that gives no tar.
pub(super) fn compare_stored(
    store: &Store,
    id: &str,
    wanted: &Digest,
    progress: &dyn Progress,
) -> Result<()> {
    use sha2::Digest as _;
    const HINT: &str = "delete its images from the store, and migrate once more";
    let action = format!("comparing the layer {id} of the store with {wanted}");
    let item = progress.start(&short(wanted), None);
    let told = |e: Error| match crate::progress::check(&*item) {
        Err(cancelled) => cancelled,
        Ok(()) => advise(e.context(&action), HINT),
    };
    let mut out = Counted::new(Hashing(sha2::Sha256::new()), &*item);
    let made = store.diff(id, None, Some(Compression::None), &mut out).map_err(told)?;
    let found = Digest::from_sha256(out.into_inner().0.finalize().as_slice());
    if found != *wanted {
        return Err(Error::new(ErrorKind::DigestMismatch, action)
            .detail(format!("its files give a tar with the digest {found}"))
            .hint(HINT));
    }
    // A tar that is made of the files themselves has told all of them already.
    let facts = store
        .with_unpacked(id, |root, tar_split| {
            check_tree(root, FromStart::new(tar_split), MARKS, &*item)
        })
        .map_err(told)?;
    // Of a sparse file, the tar-split can say that it holds more than the header: the members that come next.
    if let Some(facts) = facts.filter(|facts| facts.length != made) {
        return Err(Error::new(ErrorKind::DigestMismatch, action)
            .detail(format!("its files give a tar of {made} bytes, not {}", facts.length))
            .hint(HINT));
    }
    item.finish("compared");
    Ok(())
}

struct Hashing(sha2::Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use sha2::Digest as _;
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `load` would have learnt of the layer's tar.
fn layer_facts(diff: &Digest, headers: HeaderFacts) -> LayerFacts {
    let HeaderFacts { length, uids, gids, size, root } = headers;
    LayerFacts {
        compression: Compression::None,
        compressed_digest: diff.clone(),
        compressed_size: length,
        diff_digest: diff.clone(),
        diff_size: length,
        uids,
        gids,
        unpacked_size: size,
        root_entry: root,
    }
}

/// Whether files of the layer have names outside it: docker gives them none, but a migration that was killed may have left some.
pub(super) fn is_linked(layer: &OpenLayer) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    // By device and inode: the names that a file should have beyond those that were seen.
    let mut missing: HashMap<(u64, u64), u64> = HashMap::new();
    let mut dirs = vec![layer.diff.path().to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let failed = |e| Error::io("looking for linked files in docker's layer", &dir, e);
        for entry in std::fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let meta = entry.metadata().map_err(failed)?;
            if meta.is_dir() {
                dirs.push(entry.path());
            } else if meta.is_file() && meta.nlink() > 1 {
                let left = missing.entry((meta.dev(), meta.ino())).or_insert(meta.nlink());
                *left = left.saturating_sub(1);
            }
        }
    }
    Ok(missing.values().any(|left| *left > 0))
}

/// Makes the files of a layer that stays with docker its own again, where they were linked.
pub(super) fn separate(layer: &OpenLayer) -> Result<()> {
    const COPY: &str = "diff-copy";
    let dir = layer.diff.path().parent().unwrap_or(layer.diff.path());
    let copy = dir.join(COPY);
    crate::sys::remove::remove_tree(&copy)?;
    std::fs::create_dir(&copy).map_err(|e| Error::io("making the directory", &copy, e))?;
    let root = File::open(&copy).map_err(|e| Error::io("opening", &copy, e))?;
    copy_tree_as(layer.diff.fd(), root.as_fd(), &CopyOptions::default())?;
    let path = layer.diff.path();
    rustix::fs::syncfs(&root).map_err(|e| Error::io("syncing", &copy, io::Error::from(e)))?;
    crate::sys::relocate::relocate(&copy, path, rustix::fs::RenameFlags::EXCHANGE)
        .map_err(|e| Error::io("putting a copy in place of", path, e))?;
    crate::sys::remove::remove_tree(&copy)
}
