//! Questions to file systems that may never answer, as those in user space do not when their process is stopped.
//!
//! A system call that asks such a one may never come back, and once the question has been read no signal ends it. It is a child that makes
//! the call, in the place of a program: the host waits no longer than the limit, and a child that cannot be ended goes with the file
//! system that it waits for. It has none of the host's files but one, by which others see that it is still there (before Linux 5.9 it has
//! them all).

#![allow(unsafe_code)]

use std::ffi::{CString, c_int};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Call, Ended, Streams, Task, finish, milliseconds};

/// The exit codes from here on are not errors of a system call, but signals.
const SIGNALLED: i32 = 128;

/// What comes of a question.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The file system answers.
    Answers,
    /// It answers with an error.
    Fails(io::Error),
    /// Nothing came within the limit.
    Silent,
    /// Nothing came, since others have ended who asked.
    Killed,
}

/// Asks the file system that is seen at `root` for that directory and for its size, then for the directories on each of the `ways`, from
/// the first one on as far as they are directories. Of the ways nothing is told but that the file system answers; no link on them is
/// followed if each directory lies in the one before. Who asks has `sign` as standard input, with the locks that it has, until he ends,
/// which may be long after a question without a reply.
///
/// # Errors
/// When nobody can be made to ask: `ENOSYS` before Linux 5.4, that or `EPERM` under some seccomp profiles; others are those of a machine
/// that is short of something.
pub(crate) fn ask_within(
    limit: Duration,
    root: &Path,
    ways: &[Vec<PathBuf>],
    sign: Option<BorrowedFd<'_>>,
) -> io::Result<Reply> {
    let call = Call {
        directory: text(Path::new("/"))?,
        task: Task::Question(Question::new(root, ways)?),
        limit: Some(milliseconds(limit)),
    };
    match finish(&call, Streams { input: sign, output: None })? {
        Ended { overdue: true, .. } => Ok(Reply::Silent),
        Ended { code: 0, .. } => Ok(Reply::Answers),
        Ended { code: code @ 1..SIGNALLED, .. } => {
            Ok(Reply::Fails(io::Error::from_raw_os_error(code)))
        }
        Ended { .. } => Ok(Reply::Killed),
    }
}

/// What is asked, in a form that takes no memory any more.
pub(super) struct Question {
    root: CString,
    ways: Vec<Vec<CString>>,
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl Question {
    fn new(root: &Path, ways: &[Vec<PathBuf>]) -> io::Result<Self> {
        let way = |way: &Vec<PathBuf>| way.iter().map(|path| text(path)).collect();
        Ok(Self { root: text(root)?, ways: ways.iter().map(way).collect::<io::Result<_>>()? })
    }

    /// Asks, and ends with the number of the error, 0 for none.
    ///
    /// # Safety
    /// As for `supervise` in the module above.
    pub(super) unsafe fn ask(&self) -> ! {
        // SAFETY: the kernel reads strings of this value, which end with a null, and writes structures of this stack; nothing of it
        // allocates or locks.
        unsafe {
            let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK | libc::O_CLOEXEC;
            let root = libc::open(self.root.as_ptr(), flags);
            let mut sizes = std::mem::zeroed::<libc::statfs>();
            if root < 0 || libc::fstatfs(root, &raw mut sizes) != 0 {
                let error: c_int = *libc::__errno_location();
                libc::_exit(error);
            }
            for way in &self.ways {
                for path in way {
                    let mut facts = std::mem::zeroed::<libc::stat>();
                    let looked = libc::lstat(path.as_ptr(), &raw mut facts);
                    if looked != 0 || facts.st_mode & libc::S_IFMT != libc::S_IFDIR {
                        break;
                    }
                }
            }
            libc::_exit(0)
        }
    }
}
