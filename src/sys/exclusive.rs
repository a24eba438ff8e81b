//! A lock file that is open only while it is waited for and held, for files of which there are many.
//!
//! Closing any descriptor of a file drops the POSIX locks that this process has on it, which a Go part of it may rely on
//! (`store-format.md` 9.1). But while one has the whole file locked for writing, nobody else has a lock on it: *that* descriptor may be
//! closed, and closing it is how the lock is given back. One that never got the lock stays open for good.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::lock::try_lock_whole;
use crate::{Error, ErrorKind, Result};

/// How long it is waited between two looks whether the lock is free: at first, and at most. A wait in the kernel could not be ended.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(32);

/// A lock that is held until this is dropped, or the process ends.
#[derive(Debug)]
#[must_use]
pub(crate) struct Exclusive {
    _held: File,
}

impl Exclusive {
    /// Waits for the lock of the file at `path`, which is made if it is missing; `waiting` is called if somebody else has it, and
    /// `go_on` again and again until it is free.
    ///
    /// # Errors
    /// When the file cannot be made, is no regular file, or its file system has no locks; that of `go_on`.
    pub(crate) fn wait(
        path: &Path,
        waiting: impl FnOnce(),
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let failed = |e: io::Error| Error::io("locking", path, e);
        // O_NONBLOCK: a FIFO in the file's place must not hold us up.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(failed)?;
        if !file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Err(Error::new(ErrorKind::Corrupt, "locking")
                .path(path)
                .detail("it is not a regular file"));
        }
        let (mut waiting, mut pause) = (Some(waiting), FIRST_LOOK);
        let locked = loop {
            match try_lock_whole(&file) {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(e) => break Err(failed(e.into())),
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            if let Err(e) = go_on() {
                break Err(e);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_LOOK);
        };
        match locked {
            Ok(()) => Ok(Self { _held: file }),
            Err(e) => {
                std::mem::forget(file);
                Err(e)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time_and_no_descriptor_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sha256:00");
        let (inside, waited) = (AtomicU32::new(0), AtomicU32::new(0));
        let first = Exclusive::wait(&path, || unreachable!(), &|| Ok(())).unwrap();
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..20 {
                        let held = Exclusive::wait(
                            &path,
                            || {
                                waited.fetch_add(1, Ordering::SeqCst);
                            },
                            &|| Ok(()),
                        );
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(held.unwrap());
                    }
                });
            }
            while waited.load(Ordering::SeqCst) < 8 {
                std::thread::yield_now();
            }
            assert_eq!(inside.load(Ordering::SeqCst), 0);
            drop(first);
        });
        let ino = path.metadata().unwrap().ino();
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let same = open.filter(|fd| fd.path().metadata().is_ok_and(|m| m.ino() == ino));
        assert_eq!(same.count(), 0);
    }

    #[test]
    fn only_regular_files_are_locked() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Exclusive::wait(dir.path(), || {}, &|| Ok(())).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("target"), &link).unwrap();
        assert!(Exclusive::wait(&link, || {}, &|| Ok(())).is_err());
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(
            Exclusive::wait(&fifo, || {}, &|| Ok(())).unwrap_err().kind(),
            ErrorKind::Corrupt
        );
    }
}
