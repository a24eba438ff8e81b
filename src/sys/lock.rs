//! Lock files that exclude the Go library's POSIX record locks, in other processes and in this one (`store-format.md` 9).
//!
//! The locks are open-file-description locks over the whole file (fcntl(2), `F_OFD_SETLKW`). Closing *any* descriptor of a file
//! drops every POSIX lock that the process holds on it, so a Go program that links this library would lose its locks if we
//! closed ours: descriptors live in a registry of the process, keyed by device and inode, and are never closed.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::of_process::OfProcess;
use super::regular;
use crate::{Error, ErrorKind, Result};

/// How long a new reader lets the waiting writers of this process go first. Bounded, so that a thread that already reads can read
/// again without a deadlock, and positive, so that readers in turn cannot shut writers out.
const READER_COURTESY: Duration = Duration::from_millis(100);

/// The length of a last-writer record (`store-format.md` 9.2).
const TOKEN_LEN: usize = 64;

/// What a lock file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockAccess {
    /// Reading and writing; the file and its directories are made if they are missing.
    ReadWrite,
    /// Reading; nothing is made. A missing or unreadable file gives a lock that locks nothing.
    ReadOnly,
}

/// The opaque last-writer record of a lock file: up to 64 bytes, compared and never interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    bytes: [u8; TOKEN_LEN],
    len: u8,
}

impl Default for Token {
    /// The record of a file that nobody has written yet.
    fn default() -> Self {
        Self { bytes: [0; TOKEN_LEN], len: 0 }
    }
}

impl Token {
    fn fresh() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|d| u64::try_from(d.as_nanos()).ok())
            .unwrap_or(0);
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let fields = nanos
            .to_le_bytes()
            .into_iter()
            .chain(counter.to_le_bytes())
            .chain(std::process::id().to_le_bytes())
            .chain(rand::random::<[u8; TOKEN_LEN - 20]>());
        let mut bytes = [0; TOKEN_LEN];
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        Self { bytes, len: TOKEN_LEN as u8 }
    }
}

/// A lock file: one object for each inode and process, however often and under whatever path it is opened.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Every descriptor of the inode that this process opened; never closed. Empty for an absent file.
    files: Vec<Arc<File>>,
    /// The descriptor to lock with; the writable one as soon as there is one.
    best: Option<Arc<File>>,
    writable: bool,
    /// The descriptor that holds the kernel's lock.
    held: Option<Arc<File>>,
    readers: usize,
    writer: bool,
    /// A thread waits in the kernel for the lock.
    acquiring: bool,
    waiting_writers: usize,
    /// How many threads wait for a change: most often none, and then nobody needs to be told.
    waiting: usize,
}

type Registry = BTreeMap<(u64, u64), Arc<LockFile>>;

/// Lock descriptors of the process (`store-format.md` 9.1); grows with the number of distinct lock files, never shrinks.
static REGISTRY: OfProcess<Registry> = OfProcess::new(BTreeMap::new());

impl LockFile {
    /// The lock file at `path`, opened unless this process has its inode already. A file that was replaced on disk is another one.
    ///
    /// # Errors
    /// For [`LockAccess::ReadWrite`] whatever opening or making the file gives; for both, an object that is not a regular file.
    pub(crate) fn open(path: &Path, access: LockAccess) -> Result<Arc<Self>> {
        let mut held = REGISTRY.lock();
        let registry = &mut held.1;
        // By stat(2) first: opening needs a descriptor that could then not be closed.
        match std::fs::symlink_metadata(path) {
            Ok(meta) => {
                check_regular(path, &meta)?;
                if let Some(lock) = registry.get(&key(&meta))
                    && (access == LockAccess::ReadOnly || relock(&lock.state).writable)
                {
                    return Ok(Arc::clone(lock));
                }
            }
            Err(e) if access == LockAccess::ReadOnly && is_absence(&e) => {
                return Ok(Self::absent(path));
            }
            Err(_) => {}
        }
        let file = match open_file(path, access) {
            Ok(file) => file,
            Err(e) if access == LockAccess::ReadOnly && is_absence(&e) => {
                return Ok(Self::absent(path));
            }
            Err(e) => return Err(Error::io("opening the lock file", path, e)),
        };
        let meta = match file.metadata() {
            Ok(meta) => meta,
            Err(e) => {
                // Of an unknown file: closing it could drop another's lock.
                std::mem::forget(file);
                return Err(Error::io("reading the attributes of the lock file", path, e));
            }
        };
        check_regular(path, &meta)?;
        let lock = registry.entry(key(&meta)).or_insert_with(|| Arc::new(Self::new(path)));
        let file = Arc::new(file);
        let mut state = relock(&lock.state);
        state.files.push(Arc::clone(&file));
        if access == LockAccess::ReadWrite || state.best.is_none() {
            state.best = Some(file);
            state.writable = access == LockAccess::ReadWrite;
        }
        drop(state);
        Ok(Arc::clone(lock))
    }

    fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), state: Mutex::default(), changed: Condvar::new() }
    }

    fn absent(path: &Path) -> Arc<Self> {
        Arc::new(Self::new(path))
    }

    /// Whether there is no file behind this lock, which is then a formality: read-only media on which nobody can write.
    #[cfg(test)]
    pub(crate) fn is_absent(&self) -> bool {
        relock(&self.state).files.is_empty()
    }

    /// Waits for the lock, shared with other readers.
    ///
    /// # Errors
    /// Only for what waiting cannot cure, such as a file system without locks.
    pub(crate) fn read(self: &Arc<Self>) -> Result<ReadGuard> {
        let mut state = relock(&self.state);
        let guard = || ReadGuard { lock: Arc::clone(self) };
        if state.files.is_empty() {
            return Ok(guard());
        }
        if state.waiting_writers > 0 {
            state.waiting += 1;
            state = self
                .changed
                .wait_timeout_while(state, READER_COURTESY, |s| s.waiting_writers > 0)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.waiting -= 1;
        }
        while state.writer || state.acquiring {
            state = self.wait(state);
        }
        if state.readers == 0 {
            state = self.wait_in_kernel(state, libc::F_RDLCK)?;
        }
        state.readers += 1;
        drop(state);
        Ok(guard())
    }

    /// Waits for the lock, alone.
    ///
    /// # Errors
    /// As [`LockFile::read`]; [`ErrorKind::ReadOnly`] if the file was opened for reading only.
    pub(crate) fn write(self: &Arc<Self>) -> Result<WriteGuard> {
        let mut state = relock(&self.state);
        self.check_writable(&state)?;
        state.waiting_writers += 1;
        while state.writer || state.acquiring || state.readers > 0 {
            state = self.wait(state);
        }
        state.waiting_writers -= 1;
        state = self.wait_in_kernel(state, libc::F_WRLCK)?;
        state.writer = true;
        drop(state);
        Ok(WriteGuard { lock: Arc::clone(self) })
    }

    /// Takes the lock alone if nobody has it: `None` if somebody does.
    ///
    /// # Errors
    /// As [`LockFile::write`].
    pub(crate) fn try_write(self: &Arc<Self>) -> Result<Option<WriteGuard>> {
        let mut state = relock(&self.state);
        self.check_writable(&state)?;
        let Some(file) =
            state.best.clone().filter(|_| !state.writer && !state.acquiring && state.readers == 0)
        else {
            return Ok(None);
        };
        if !try_lock_whole(&file).map_err(|e| self.failure("locking", e))? {
            return Ok(None);
        }
        state.held = Some(file);
        state.writer = true;
        drop(state);
        Ok(Some(WriteGuard { lock: Arc::clone(self) }))
    }

    /// The last-writer record: empty for a fresh or absent file. The caller holds the lock.
    ///
    /// # Errors
    /// A failed read.
    pub(crate) fn token(&self) -> Result<Token> {
        let mut token = Token::default();
        let Some(file) = relock(&self.state).best.clone() else { return Ok(token) };
        loop {
            match file.read_at(&mut token.bytes, 0) {
                Ok(n) => {
                    token.len = u8::try_from(n).unwrap_or(0);
                    return Ok(token);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    return Err(Error::io("reading the last-writer record of", &self.path, e));
                }
            }
        }
    }

    fn check_writable(&self, state: &State) -> Result<()> {
        if state.writable {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ReadOnly, "locking for writing").path(&self.path))
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    /// Wakes those who wait for a change of this state.
    fn tell(&self, state: &State) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    /// Takes the kernel's lock for the first holder of this process, while the others wait for this thread.
    fn wait_in_kernel<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        kind: libc::c_int,
    ) -> Result<MutexGuard<'a, State>> {
        let Some(file) = state.best.clone() else { return Ok(state) };
        state.acquiring = true;
        drop(state);
        let outcome = lock_whole(&file, kind);
        let mut state = relock(&self.state);
        state.acquiring = false;
        self.tell(&state);
        outcome.map_err(|e| self.failure("locking", e))?;
        state.held = Some(file);
        Ok(state)
    }

    fn release(&self, leave: impl FnOnce(&mut State)) {
        let mut state = relock(&self.state);
        leave(&mut state);
        if state.readers == 0
            && !state.writer
            && let Some(file) = state.held.take()
        {
            // Unlocking our own description of an open file cannot fail.
            let _ = ofd(&file, libc::F_UNLCK, false);
        }
        self.tell(&state);
    }

    fn failure(&self, what: &str, errno: Errno) -> Error {
        Error::io(what, &self.path, errno)
    }
}

/// A shared lock, given back when dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct ReadGuard {
    lock: Arc<LockFile>,
}

impl ReadGuard {
    /// The lock file that is held.
    pub(crate) fn file(&self) -> &Arc<LockFile> {
        &self.lock
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        self.lock.release(|s| s.readers = s.readers.saturating_sub(1));
    }
}

/// An exclusive lock, given back when dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct WriteGuard {
    lock: Arc<LockFile>,
}

impl WriteGuard {
    /// The lock file that is held.
    pub(crate) fn file(&self) -> &Arc<LockFile> {
        &self.lock
    }

    /// Writes a fresh last-writer record, so that others know that what the lock guards has changed: 64 bytes in one pwrite(2).
    ///
    /// # Errors
    /// A failed or short write.
    pub(crate) fn touch(&self) -> Result<Token> {
        let token = Token::fresh();
        let Some(file) = relock(&self.lock.state).held.clone() else {
            return Err(Error::new(ErrorKind::Internal, "writing the last-writer record")
                .path(&self.lock.path));
        };
        loop {
            let failure = match file.write_at(&token.bytes, 0) {
                Ok(TOKEN_LEN) => return Ok(token),
                Ok(_) => io::Error::from(io::ErrorKind::WriteZero),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => e,
            };
            return Err(Error::io("writing the last-writer record of", &self.lock.path, failure));
        }
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        self.lock.release(|s| s.writer = false);
    }
}

/// Takes a write lock over the whole of `file` for its open file description, if nobody else has one: `false` if somebody does.
pub(super) fn try_lock_whole(file: &impl AsFd) -> Result<bool, Errno> {
    match ofd(file, libc::F_WRLCK, false) {
        Ok(()) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Waits for a write lock over the whole of `file`, as [`try_lock_whole`] takes it.
pub(super) fn lock_whole_for_writing(file: &impl AsFd) -> Result<(), Errno> {
    lock_whole(file, libc::F_WRLCK)
}

fn lock_whole(file: &impl AsFd, kind: libc::c_int) -> Result<(), Errno> {
    ofd(file, kind, true)
}

fn ofd(file: &impl AsFd, kind: libc::c_int, wait: bool) -> Result<(), Errno> {
    // A whole-file lock: start and length 0; the process id must be 0 for these commands (fcntl(2)).
    let range = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    loop {
        let command =
            if wait { FcntlArg::F_OFD_SETLKW(&range) } else { FcntlArg::F_OFD_SETLK(&range) };
        match fcntl(file, command) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

fn open_file(path: &Path, access: LockAccess) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A FIFO in the file's place must not hold us up, a link not make us write the record elsewhere.
    options
        .read(true)
        .mode(0o644)
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW);
    if access == LockAccess::ReadWrite {
        options.write(true).create(true);
        match (options.open(path), path.parent()) {
            (Err(e), Some(parent)) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            }
            (outcome, _) => return outcome,
        }
    }
    options.open(path)
}

fn check_regular(path: &Path, meta: &Metadata) -> Result<()> {
    if meta.is_file() {
        return Ok(());
    }
    let why = if meta.is_symlink() { "it is a symbolic link" } else { "it is not a regular file" };
    Err(regular::odd("opening the lock file", path, why))
}

fn is_absence(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn key(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// The states are consistent between any two statements that could panic, so that a poisoned mutex is as good as another.
fn relock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
