//! Other programs, run so that the host hears nothing of them (`overlay-driver.md` MNT-7).
//!
//! Between the host and the program stands one small child. It sends no signal when it ends, and `wait(-1)` passes it over; the program is
//! the child's own, which waits for it and passes on how it ended. It is the child, too, that ends a program which takes too long: nobody
//! else can be sure that a process id is still that of the program, and the limit holds after the host has gone.

#![allow(unsafe_code)]

mod ask;
mod limit;

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString, c_char, c_int, c_uint};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions};

use self::ask::Question;
pub(crate) use self::ask::{Reply, ask_within};
use super::threads::with_signals_blocked;

/// What is kept of what a program says.
const SAID_MAX: usize = 64 * 1024;

/// Where the child has the descriptor by which it tells why the program could not be started.
const REPORT: c_int = 3;

/// The signals that a program can have, real-time ones included (signal(7)).
const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=64;

/// What the child tells when the program took too long; an error's number is never negative.
const OVERDUE: c_int = -1;

/// How a program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The exit code; as in a shell, 128 and the signal's number for a program that a signal has ended.
    pub(crate) code: i32,
    /// The beginning of what it wrote to standard error.
    pub(crate) said: String,
    /// It was made to end, since it took too long.
    pub(crate) overdue: bool,
}

/// What a program reads and writes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Streams<'a> {
    /// Its standard input; nothing if it is `None`.
    pub(crate) input: Option<BorrowedFd<'a>>,
    /// Its standard output; nowhere if it is `None`.
    pub(crate) output: Option<BorrowedFd<'a>>,
}

/// Runs the program at `path` in `directory`; standard error is heard. It may leave processes behind, as file systems in user space do:
/// they get none of this process's files but `streams`.
///
/// # Errors
/// When the program cannot be started: `ENOENT` for one that is not there; `ENOSYS` before Linux 5.4.
pub(crate) fn run(
    path: &Path,
    arguments: &[&OsStr],
    directory: &Path,
    environment: &BTreeMap<OsString, OsString>,
    streams: Streams<'_>,
) -> io::Result<Ended> {
    finish(&Call::new(path, arguments, directory, environment)?, streams)
}

/// As [`run`] with no streams, for a program that may hang: after `limit` it is asked to end, with all that it has started, and killed
/// if it does not. It has a process group of its own, so that keys pressed at a terminal do not reach it.
///
/// # Errors
/// Those of [`run`]. A program that was made to end is none, but [`Ended::overdue`].
pub(crate) fn run_within(
    limit: Duration,
    path: &Path,
    arguments: &[&OsStr],
    directory: &Path,
    environment: &BTreeMap<OsString, OsString>,
) -> io::Result<Ended> {
    let call = Call::new(path, arguments, directory, environment)?;
    finish(&Call { limit: Some(milliseconds(limit)), ..call }, Streams::default())
}

fn milliseconds(limit: Duration) -> c_int {
    c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX)
}

/// Starts the child, and waits until it has ended.
fn finish(call: &Call, streams: Streams<'_>) -> io::Result<Ended> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let (says, said) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (reports, report) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // What the child puts in the places 0 to 3 must not stand there, as it does where the host has closed its own.
    let high = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 10);
    let [input, output] =
        [streams.input, streams.output].map(|fd| high(fd.unwrap_or(null.as_fd())));
    let (input, output) = (input?, output?);
    let (said, report) = (high(said.as_fd())?, high(report.as_fd())?);
    for end in [&says, &reports] {
        rustix::fs::fcntl_setfl(end, OFlags::RDONLY | OFlags::NONBLOCK)?;
    }
    let files = [&input, &output, &said, &report].map(AsRawFd::as_raw_fd);
    let child = start(call, files)?;
    drop((input, output, said, report));
    let said = listen(&says, &child)?;
    let code = wait(&child)?;
    let mut report = [0u8; 4];
    let overdue = match rustix::io::read(&reports, &mut report) {
        Ok(4) => match c_int::from_ne_bytes(report) {
            OVERDUE => true,
            errno => return Err(io::Error::from_raw_os_error(errno)),
        },
        _ => false,
    };
    Ok(Ended { code, said: String::from_utf8_lossy(&said).trim().to_owned(), overdue })
}

/// Reads what the program says until the child ends; what it leaves behind may keep the other end of the pipe for ever.
fn listen(says: &OwnedFd, child: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut speaks = true;
    loop {
        let mut wanted = vec![PollFd::new(child, PollFlags::IN)];
        if speaks {
            wanted.push(PollFd::new(says, PollFlags::IN));
        }
        match rustix::event::poll(&mut wanted, None) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        let ended = wanted.first().is_some_and(|fd| !fd.revents().is_empty());
        // Never blocks.
        speaks = read_present(says, &mut said)?;
        if ended {
            return Ok(said);
        }
    }
}

/// Reads what is there; tells whether more can come.
fn read_present(says: &OwnedFd, said: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0u8; 4096];
    loop {
        match rustix::io::read(says, &mut buffer) {
            Ok(0) => return Ok(false),
            Ok(n) => {
                let room = SAID_MAX.saturating_sub(said.len()).min(n);
                said.extend_from_slice(buffer.get(..room).unwrap_or_default());
            }
            Err(Errno::AGAIN) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn wait(child: &OwnedFd) -> io::Result<i32> {
    // A child without an exit signal is only seen by those who ask for all kinds (wait(2)).
    let options =
        WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    loop {
        match rustix::process::waitid(WaitId::PidFd(child.as_fd()), options) {
            Err(Errno::INTR) => {}
            Ok(Some(status)) => {
                let signal = || status.terminating_signal().map(|signal| 128 + signal);
                return Ok(status.exit_status().or_else(signal).unwrap_or(-1));
            }
            Ok(None) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// All that the child needs: in one of a process with many threads nothing can be allocated any more.
struct Call {
    directory: CString,
    task: Task,
    /// How many milliseconds the task may take.
    limit: Option<c_int>,
}

/// What the child has done.
enum Task {
    /// A program, as execve(2) has it.
    Program { path: CString, arguments: Pointers, environment: Pointers },
    /// A question, asked by a child of its own.
    Question(Question),
}

/// Strings, and the pointers to them that end with a null.
struct Pointers {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Pointers {
    fn new(strings: Vec<CString>) -> Self {
        let ends = std::iter::once(std::ptr::null());
        Self {
            pointers: strings.iter().map(|s| s.as_ptr()).chain(ends).collect(),
            _strings: strings,
        }
    }
}

impl Call {
    fn new(
        path: &Path,
        arguments: &[&OsStr],
        directory: &Path,
        environment: &BTreeMap<OsString, OsString>,
    ) -> io::Result<Self> {
        let text =
            |bytes: &[u8]| CString::new(bytes).map_err(|_| io::ErrorKind::InvalidInput.into());
        let path = text(path.as_os_str().as_bytes())?;
        let arguments: io::Result<Vec<_>> = std::iter::once(Ok(path.clone()))
            .chain(arguments.iter().map(|a| text(a.as_bytes())))
            .collect();
        let pair = |(name, value): (&OsString, &OsString)| {
            text(&[name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        let environment: io::Result<Vec<_>> = environment.iter().map(pair).collect();
        let (arguments, environment) = (Pointers::new(arguments?), Pointers::new(environment?));
        Ok(Self {
            directory: text(directory.as_os_str().as_bytes())?,
            task: Task::Program { path, arguments, environment },
            limit: None,
        })
    }
}

/// `struct clone_args` in its first version (clone(2)).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Starts the child; returns its descriptor. `files` become its standard input, output and error, and its report.
fn start(call: &Call, files: [RawFd; 4]) -> io::Result<OwnedFd> {
    let mut handle: RawFd = -1;
    let args = CloneArgs {
        flags: u64::from(libc::CLONE_PIDFD.cast_unsigned()),
        pidfd: (&raw mut handle) as u64,
        ..CloneArgs::default()
    };
    #[cfg(test)]
    super::refused::check(super::refused::Call::Clone)?;
    // The child begins with the mask of this thread: no handler of the host's ever runs in it.
    with_signals_blocked(|| {
        // SAFETY: as fork(2), with a copy of the memory; the arguments are those of the structure's first version, and the kernel writes
        // one descriptor to `handle`, which outlives the call.
        let id = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
        match id {
            // SAFETY: this is the child of the clone above, with one thread and no way back.
            0 => unsafe { supervise(call, files) },
            1.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })?;
    // SAFETY: the kernel has made the descriptor for this process, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(handle) })
}

/// All that the child does: it starts the program and ends as that does.
///
/// It has one thread of a program that may have many, and whatever locks the others held stay locked here: nothing but system calls.
///
/// # Safety
/// To be called in a child that shares no memory with its parent, with all signals blocked.
unsafe fn supervise(call: &Call, [input, output, said, report]: [RawFd; 4]) -> ! {
    // SAFETY: these calls touch this process's own files, working directory and signals, and memory of this stack and of `call`; none of
    // them allocates or locks.
    unsafe {
        libc::dup2(input, 0);
        libc::dup2(output, 1);
        libc::dup2(said, 2);
        libc::dup3(report, REPORT, libc::O_CLOEXEC);
        // Where the kernel has no such call (before 5.9), those of a well-behaved host are closed by the program's start.
        libc::syscall(libc::SYS_close_range, REPORT + 1, c_uint::MAX, 0 as c_uint);
        if libc::chdir(call.directory.as_ptr()) != 0 {
            give_up();
        }
        // A host that ignores its children's ends would let those of this process go unseen.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut handle: RawFd = -1;
        let args = CloneArgs {
            flags: u64::from(libc::CLONE_PIDFD.cast_unsigned()),
            pidfd: (&raw mut handle) as u64,
            exit_signal: libc::SIGCHLD as u64,
            ..CloneArgs::default()
        };
        if call.limit.is_some() {
            limit::adopt();
        }
        let program = libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>());
        let program = match program {
            0 => execute(call),
            1.. => program as libc::pid_t,
            _ => give_up(),
        };
        // What the program leaves behind must not wait for this process, nor the other way round.
        libc::close(2);
        if let Some(limit) = call.limit {
            // Here and in the program: whichever comes first.
            libc::setpgid(program, program);
            if !limit::ends_within(handle, limit) {
                tell(OVERDUE);
                limit::end_all(program, handle);
            }
        }
        let mut status = 0;
        while libc::waitpid(program, &raw mut status, 0) < 0 {
            if *libc::__errno_location() != libc::EINTR {
                give_up();
            }
        }
        let code = match libc::WIFSIGNALED(status) {
            true => 128 + libc::WTERMSIG(status),
            false => libc::WEXITSTATUS(status),
        };
        libc::_exit(code)
    }
}

/// Becomes the program or asks the question, with the signals that a program begins with.
///
/// # Safety
/// As for [`supervise`].
unsafe fn execute(call: &Call) -> ! {
    // SAFETY: as in `supervise`; the pointers lead to strings of `call`, and end with a null.
    unsafe {
        for signal in SIGNALS {
            // Before they are let through: a handler of the host's must not run here. Fails for the few that have none.
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        if call.limit.is_some() {
            libc::setpgid(0, 0);
        }
        match &call.task {
            Task::Program { path, arguments, environment } => {
                let environment = environment.pointers.as_ptr();
                libc::execve(path.as_ptr(), arguments.pointers.as_ptr(), environment);
                give_up()
            }
            Task::Question(question) => question.ask(),
        }
    }
}

/// Reports the error of the last call, and ends.
///
/// # Safety
/// As for [`supervise`].
unsafe fn give_up() -> ! {
    // SAFETY: the number is that of this thread.
    unsafe {
        tell(*libc::__errno_location());
        libc::_exit(127)
    }
}

/// Tells the host.
///
/// # Safety
/// As for [`supervise`].
unsafe fn tell(what: c_int) {
    let bytes = what.to_ne_bytes();
    // SAFETY: four bytes of this stack go to a descriptor of this process.
    unsafe { libc::write(REPORT, bytes.as_ptr().cast(), bytes.len()) };
}

#[cfg(test)]
mod tests;
