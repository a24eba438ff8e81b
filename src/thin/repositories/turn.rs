//! Whose turn it is to ask a repository: of those whom it gives no answer only one is left on the machine, however often it is tried.
//!
//! Who asks may hang for as long as the file system does, and not even a kill ends him. He has a lock on the file `.<repository>~` beside
//! the mount point, which goes with him. It is on the byte that has the file system's number: one that is mounted in the place of another,
//! whose last questions still hang, is free.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::sys::mount::device_at;
use crate::thin::Repository;

/// The longest pause between two looks: an answer is a matter of milliseconds.
const PAUSE: Duration = Duration::from_millis(10);

/// The right to ask.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None` where no such file can be, as on a medium that nobody writes to.
    file: Option<File>,
    byte: libc::off_t,
}

impl Turn {
    /// Waits until nobody else asks the repository that is shown in `directory`; `None` if somebody still does after `limit`.
    pub(super) fn get(directory: &Path, repository: &Repository, limit: Duration) -> Option<Self> {
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(1));
        let path = directory.join(format!(".{repository}~"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path);
        if let Err(error) = &file {
            tracing::debug!(path = %path.display(), %error, "others may ask at the same time");
        }
        let byte = device_at(&directory.join(repository.as_str()));
        let turn = Self { file: file.ok(), byte: byte.try_into().unwrap_or(0) };
        loop {
            match turn.lock(libc::F_WRLCK) {
                Err(Errno::EAGAIN | Errno::EACCES) if begun.elapsed() >= limit => return None,
                Err(Errno::EAGAIN | Errno::EACCES) => {}
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "others may ask at the same time");
                    return Some(turn);
                }
                Ok(()) => return Some(turn),
            }
            std::thread::sleep(pause);
            pause = PAUSE.min(pause.saturating_mul(2));
        }
    }

    /// What whoever asks is to have until he ends.
    pub(super) fn sign(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// After a reply. A program that another thread has just begun may have a copy of the descriptor, and closing ours would not be enough;
    /// without a reply it must not be more, since whoever has asked may still be there.
    pub(super) fn end(self) {
        let _ = self.lock(libc::F_UNLCK);
    }

    /// By an open file description, which goes to children (fcntl(2)).
    fn lock(&self, kind: libc::c_int) -> Result<(), Errno> {
        let Some(file) = &self.file else { return Ok(()) };
        let range = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: self.byte,
            l_len: 1,
            l_pid: 0,
        };
        loop {
            match fcntl(file, FcntlArg::F_OFD_SETLK(&range)) {
                Err(Errno::EINTR) => {}
                done => return done.map(drop),
            }
        }
    }
}
