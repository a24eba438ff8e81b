//! Contents and attributes of small files, written by other threads while the archive is read on.
//!
//! Every name is made by the unpacker itself, in the order of the archive, so that links, replaced files and whiteouts find
//! the tree as they should. What goes to the threads is the descriptor of a new, empty file, which nothing that is done by
//! name depends on: only what changes or reads the file once more has to wait for them.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use tar_split_rs::{Member, Time};

use super::UnpackOptions;
use super::attributes::{self, Owner, Present, Wanted};
use super::content::{self, Content};
use super::descriptors::Descriptors;
use crate::archive::pool::{Pool, processors};
use crate::archive::stage::not_started;
use crate::{Error, ErrorKind, Result};

/// Larger files, attributes included, are written while they are read.
const SMALL: u64 = 64 << 10;

/// A batch is handed over when it has so many files, which are open, or bytes.
const FILES: usize = 16;
const BYTES: usize = 256 << 10;

/// Threads at most: the kernel lets only one at a time into a directory.
const THREADS: usize = 4;

/// How many threads pay on this machine. With one processor none do; the archive is read and hashed beside them.
pub(in crate::archive) fn writers() -> usize {
    (processors() - 1).min(THREADS)
}

/// A file that has a name, but nothing else yet.
struct Job {
    file: OwnedFd,
    name: Range<usize>,
    content: Range<usize>,
    present: Present,
    owner: Owner,
    mode: u32,
    mtime: Time,
    atime: Option<Time>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Files that one thread writes one after the other.
#[derive(Default)]
struct Batch {
    /// Names and contents.
    bytes: Vec<u8>,
    jobs: Vec<Job>,
}

impl Batch {
    fn write(&mut self, options: &UnpackOptions) -> Result<()> {
        for job in self.jobs.drain(..) {
            let name = self.bytes.get(job.name).unwrap_or_default();
            content::write_all(
                job.file.as_fd(),
                name,
                self.bytes.get(job.content).unwrap_or_default(),
            )?;
            let Job { owner, mode, mtime, atime, ref xattrs, .. } = job;
            let wanted = Wanted { name, owner, mode, mtime, atime, xattrs };
            attributes::apply_to_file(job.file.as_fd(), job.present, &wanted, options)?;
        }
        self.bytes.clear();
        Ok(())
    }
}

/// The batch, to be used again, and how it went.
type Written = (Batch, Result<()>);

pub(super) struct Writers {
    pool: Pool<Batch, Written>,
    options: UnpackOptions,
    descriptors: Descriptors,
    /// Batches that may be on their way.
    most: usize,
    batch: Batch,
    spare: Vec<Batch>,
    /// An error has been returned; those of files after it do not count.
    failed: bool,
}

impl Writers {
    pub(super) fn start(threads: usize, options: &UnpackOptions) -> Result<Self> {
        let own = options.clone();
        let work = move |mut batch: Batch| {
            let result = batch.write(&own);
            (batch, result)
        };
        let pool = Pool::start("orlop-write", threads, work).map_err(not_started)?;
        Ok(Self {
            pool,
            options: options.clone(),
            descriptors: Descriptors::of_process(),
            most: threads + 1,
            batch: Batch::default(),
            spare: Vec::new(),
            failed: false,
        })
    }

    /// Whether such a file is for these threads. Each keeps one open until it is written.
    pub(super) fn take(&self, member: &Member, file: &OwnedFd) -> bool {
        let attributes = member.xattrs.iter().map(|(key, value)| (key.len() + value.len()) as u64);
        member.sparse.is_none()
            && attributes.fold(member.size, u64::saturating_add) <= SMALL
            && !self.descriptors.are_scarce(file)
    }

    /// Reads the content of a new file, and leaves the rest to the threads. An error may be that of a file before.
    pub(super) fn add(
        &mut self,
        file: OwnedFd,
        present: Present,
        wanted: &Wanted<'_>,
        size: u64,
        content: &mut dyn Content,
    ) -> Result<()> {
        let bytes = &mut self.batch.bytes;
        let start = bytes.len();
        bytes.extend_from_slice(wanted.name);
        let name = start..bytes.len();
        content::read_all(wanted.name, content, size, bytes)?;
        let content = name.end..bytes.len();
        let Wanted { owner, mode, mtime, atime, .. } = *wanted;
        let xattrs = wanted.xattrs.to_vec();
        let job = Job { file, name, content, present, owner, mode, mtime, atime, xattrs };
        self.batch.jobs.push(job);
        if self.batch.jobs.len() < FILES && self.batch.bytes.len() < BYTES {
            return Ok(());
        }
        let next = self.spare.pop().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        self.pool.submit(batch).map_err(stopped)?;
        if self.pool.pending() > self.most {
            self.collect()?;
        }
        Ok(())
    }

    /// Waits until all files are written. The error is that of the first file that failed, and comes once.
    pub(super) fn wait(&mut self) -> Result<()> {
        if self.failed {
            return Ok(());
        }
        while self.pool.pending() > 0 {
            self.collect()?;
        }
        let result = self.batch.write(&self.options);
        self.failed = result.is_err();
        result
    }

    fn collect(&mut self) -> Result<()> {
        let Some(done) = self.pool.collect() else { return Ok(()) };
        let result = done.map_err(stopped).and_then(|(batch, result)| {
            self.spare.push(batch);
            result
        });
        self.failed = result.is_err();
        result
    }
}

fn stopped(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "unpacking a layer").caused_by(e)
}
