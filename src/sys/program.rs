//! Other programs, run so that the host hears nothing of them (`overlay-driver.md` MNT-7).
//!
//! Between the host and the program stands one small child. It sends no signal when it ends, and `wait(-1)` passes it over; the program is
//! the child's own, which waits for it and passes on how it ended.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString, c_char, c_int, c_uint};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions};

use super::threads::with_signals_blocked;

/// What is kept of what a program says.
const SAID_MAX: usize = 64 * 1024;

/// Where the child has the descriptor by which it tells why the program could not be started.
const REPORT: c_int = 3;

/// The signals that a program can have, real-time ones included (signal(7)).
const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=64;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The exit code; as in a shell, 128 and the signal's number for a program that a signal has ended.
    pub(crate) code: i32,
    /// The beginning of what it wrote to standard error.
    pub(crate) said: String,
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
    let call = Call::new(path, arguments, directory, environment)?;
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
    let child = start(&call, files)?;
    drop((input, output, said, report));
    let said = listen(&says, &child)?;
    let code = wait(&child)?;
    let mut errno = [0u8; 4];
    if let Ok(4) = rustix::io::read(&reports, &mut errno) {
        return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)));
    }
    Ok(Ended { code, said: String::from_utf8_lossy(&said).trim().to_owned() })
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

/// All that execve(2) needs: in a child of a process with many threads nothing can be allocated any more.
struct Call {
    path: CString,
    directory: CString,
    arguments: Pointers,
    environment: Pointers,
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
        Ok(Self {
            path,
            directory: text(directory.as_os_str().as_bytes())?,
            arguments: Pointers::new(arguments?),
            environment: Pointers::new(environment?),
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
        let args = CloneArgs { exit_signal: libc::SIGCHLD as u64, ..CloneArgs::default() };
        let program = libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>());
        match program {
            0 => execute(call),
            1.. => {}
            _ => give_up(),
        }
        // What the program leaves behind must not wait for this process, nor the other way round.
        libc::close(2);
        let mut status = 0;
        while libc::waitpid(program as libc::pid_t, &raw mut status, 0) < 0 {
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

/// Becomes the program, with the signals that a program begins with.
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
        let arguments = call.arguments.pointers.as_ptr();
        libc::execve(call.path.as_ptr(), arguments, call.environment.pointers.as_ptr());
        give_up()
    }
}

/// Reports the error of the last call, and ends.
///
/// # Safety
/// As for [`supervise`].
unsafe fn give_up() -> ! {
    // SAFETY: four bytes of this stack go to a descriptor of this process.
    unsafe {
        let errno = (*libc::__errno_location()).to_ne_bytes();
        libc::write(REPORT, errno.as_ptr().cast(), errno.len());
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};
    use std::time::Instant;

    use super::*;

    fn shell(script: &str, directory: &str) -> io::Result<Ended> {
        let environment = [("GIVEN".into(), "a value".into())].into();
        run(
            Path::new("/bin/sh"),
            &["-c".as_ref(), script.as_ref()],
            Path::new(directory),
            &environment,
            Streams::default(),
        )
    }

    #[test]
    fn it_reads_and_writes_what_it_is_given() {
        // MNT-7, APL-6
        let (mut given, mut taken) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        given.write_all(b"to be read").unwrap();
        given.rewind().unwrap();
        let streams = Streams { input: Some(given.as_fd()), output: Some(taken.as_fd()) };
        let none = BTreeMap::new();
        let ended = run(Path::new("/bin/cat"), &[], Path::new("/"), &none, streams).unwrap();
        assert_eq!(ended, Ended { code: 0, said: String::new() });
        taken.rewind().unwrap();
        assert_eq!(io::read_to_string(taken).unwrap(), "to be read");
    }

    #[test]
    fn what_it_says_and_how_it_ends_come_back() {
        // MNT-7, GET-29
        let ended =
            shell("pwd >&2; echo \"$GIVEN$HOME\" >&2; read x; echo lost; exit 7", "/proc").unwrap();
        assert_eq!(ended, Ended { code: 7, said: "/proc\na value".into() });
        assert_eq!(shell("kill -TERM $$", "/").unwrap().code, 128 + 15);
        assert_eq!(shell("true", "/").unwrap(), Ended { code: 0, said: String::new() });
        let long = shell("head -c 1000000 /dev/zero | tr '\\0' x >&2", "/").unwrap();
        assert_eq!((long.code, long.said.len()), (0, SAID_MAX));
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        let start =
            |path| run(Path::new(path), &[], Path::new("/"), &BTreeMap::new(), Streams::default());
        let missing = start("/no/such/program");
        assert_eq!(missing.unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(shell("true", "/no/such/place").unwrap_err().raw_os_error(), Some(libc::ENOENT));
        let no_program = start("/etc/passwd");
        assert_eq!(no_program.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }

    #[test]
    fn nobody_waits_for_what_it_leaves_behind() {
        let begun = Instant::now();
        // It holds on to standard error, as no file system in user space should.
        assert_eq!(shell("sleep 5 & echo on its way >&2", "/").unwrap().said, "on its way");
        assert!(begun.elapsed().as_secs() < 4);
    }

    #[test]
    fn a_program_has_no_files_and_no_mask_of_the_hosts() {
        let (_held, _end) = rustix::pipe::pipe().unwrap();
        // The shell itself looks at its mask: while it starts a program it has another one.
        let look = "while read -r line; do case $line in SigBlk*) echo \"$line\" >&2;; esac; done </proc/$$/status";
        let files = shell(&format!("ls -l /proc/$$/fd >&2; {look}"), "/").unwrap().said;
        let leads = |line: &str| line.split_once(" -> ").map(|(_, target)| target.to_owned());
        let targets: std::collections::BTreeSet<_> = files.lines().filter_map(leads).collect();
        assert_eq!(targets.len(), 2, "/dev/null and its standard error: {files}");
        assert!(files.ends_with("0000000000000000"), "{files}");
    }

    /// In a process of its own: whether the test's other threads have children is nobody's business here.
    #[test]
    fn the_host_hears_nothing_of_it() {
        // MNT-7: no SIGCHLD, and wait(-1) finds no child, before and after
        const IN_CHILD: &str = "ORLOP_TEST_QUIET_PROGRAM";
        if std::env::var_os(IN_CHILD).is_none() {
            let name = "sys::program::tests::the_host_hears_nothing_of_it";
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", name, "--test-threads=1", "--nocapture"]).env(IN_CHILD, "1");
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            return;
        }
        let mut child = nix::sys::signal::SigSet::empty();
        child.add(nix::sys::signal::Signal::SIGCHLD);
        child.thread_block().unwrap();
        let waiting = std::thread::spawn(|| shell("sleep 0.5; exit 3", "/").unwrap());
        let begun = Instant::now();
        while begun.elapsed().as_millis() < 300 {
            let any =
                rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            assert_eq!(any.unwrap_err(), Errno::CHILD);
        }
        assert_eq!(waiting.join().unwrap().code, 3);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        for pending in ["SigPnd:", "ShdPnd:"] {
            let set = u64::from_str_radix(field(pending), 16).unwrap();
            assert_eq!(set & 1 << (libc::SIGCHLD - 1), 0, "{pending}");
        }
    }
}
