//! Streams in and out: descriptors of the caller's, which an operation that is called off does not wait for.

use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use orlop::{Error, ErrorKind, Result};

use crate::cancel::{Cancel, cancelled};
use crate::operation::Watch;

/// A descriptor of the caller's, for the time of one call. It is read or written from where it stands, and stays open.
pub(crate) struct Stream<'a> {
    fd: BorrowedFd<'a>,
    watch: Watch,
    /// Whether it can keep a reader or writer waiting, as a file on disk cannot.
    stalls: bool,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(fd: BorrowedFd<'a>, watch: &Watch) -> Self {
        let stalls =
            !nix::sys::stat::fstat(fd).is_ok_and(|s| s.st_mode & libc::S_IFMT == libc::S_IFREG);
        Self { fd, watch: watch.clone(), stalls }
    }

    /// Waits until the descriptor is ready, where there is a reason not to just block in it.
    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        match &self.watch.cancel {
            Some(cancel) if self.stalls => self.wait_or_cancel(cancel, flags),
            Some(cancel) if cancel.is_asked() => Err(io::Error::other(cancelled())),
            _ => Ok(()),
        }
    }

    fn wait_or_cancel(&self, cancel: &Cancel, flags: PollFlags) -> io::Result<()> {
        loop {
            if cancel.is_asked() {
                return Err(io::Error::other(cancelled()));
            }
            let mut both =
                [PollFd::new(self.fd, flags), PollFd::new(cancel.descriptor(), PollFlags::POLLIN)];
            match poll(&mut both, PollTimeout::NONE) {
                // Looked at again: who calls off and then closes the other end of a pipe does not mean that all has come.
                Ok(_)
                    if both.first().is_some_and(|p| p.any() != Some(false))
                        && !cancel.is_asked() =>
                {
                    return Ok(());
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Tries again what a signal has interrupted, and what a non-blocking descriptor was not ready for.
fn insist<'a>(
    fd: BorrowedFd<'a>,
    flags: PollFlags,
    mut attempt: impl FnMut(BorrowedFd<'a>) -> nix::Result<usize>,
    wait: impl Fn() -> io::Result<()>,
) -> io::Result<usize> {
    loop {
        wait()?;
        match attempt(fd) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                poll(&mut [PollFd::new(fd, flags)], PollTimeout::from(100u8))
                    .or_else(|e| if e == Errno::EINTR { Ok(0) } else { Err(e) })?;
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Writes as much as can be had without waiting, at least something where poll(2) has said that there is room.
fn write_what_fits(fd: BorrowedFd<'_>, buf: &[u8]) -> nix::Result<usize> {
    let part = libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() };
    // SAFETY: one part, which lives for the call and is only read; -1: from where the descriptor stands.
    let written =
        unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const part, 1, -1, libc::RWF_NOWAIT) };
    match Errno::result(written) {
        // Linux before 6.4 has no such write for pipes: one that is ready takes this much at once.
        Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) => {
            nix::unistd::write(fd, buf.get(..libc::PIPE_BUF).unwrap_or(buf))
        }
        outcome => outcome.map(|n| usize::try_from(n).unwrap_or(0)),
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        crate::panics::point("stream");
        let flags = PollFlags::POLLIN;
        insist(self.fd, flags, |fd| nix::unistd::read(fd, buf), || self.wait(flags))
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let flags = PollFlags::POLLOUT;
        let may_block = self.watch.cancel.is_none() || !self.stalls;
        let write = |fd: BorrowedFd<'_>| {
            if may_block { nix::unistd::write(fd, buf) } else { write_what_fits(fd, buf) }
        };
        insist(self.fd, flags, write, || self.wait(flags))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

/// Gathers the small writes of `work`, up to `room` bytes. After a failure nothing more is written: what is in the buffer is not
/// worth another try, which might wait.
///
/// # Errors
/// That of `work`; a failed write, with `action`.
pub(crate) fn gathered<W: Write, T>(
    out: W,
    room: usize,
    action: impl Into<String>,
    work: impl FnOnce(&mut BufWriter<W>) -> Result<T>,
) -> Result<T> {
    let mut out = BufWriter::with_capacity(room, out);
    let done = work(&mut out).and_then(|value| {
        out.flush().map_err(|e| Error::new(ErrorKind::Io, action).caused_by(e))?;
        Ok(value)
    });
    let (_, _) = out.into_parts();
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::{orlop_cancel, orlop_cancel_free, orlop_cancel_new, orlop_cancel_now};
    use crate::operation::orlop_operation;

    /// A token of ours, and an operation that has it.
    struct Token(*mut orlop_cancel);

    impl Token {
        fn new() -> (Self, Watch) {
            let mut token: *mut orlop_cancel = std::ptr::null_mut();
            // SAFETY: a variable of ours for the token, nowhere for the error.
            assert_eq!(unsafe { orlop_cancel_new(&mut token, std::ptr::null_mut()) }, 0);
            let operation = orlop_operation {
                size: size_of::<orlop_operation>(),
                cancel: token,
                progress: std::ptr::null(),
            };
            // SAFETY: a struct with the size that it says, and a living token.
            (Self(token), unsafe { Watch::new(&operation) }.unwrap())
        }

        fn use_it(&self) {
            // SAFETY: freed when this is dropped.
            unsafe { orlop_cancel_now(self.0) };
        }
    }

    impl Drop for Token {
        fn drop(&mut self) {
            // SAFETY: nobody else has the pointer.
            unsafe { orlop_cancel_free(self.0) };
        }
    }

    // SAFETY: the header allows every thread to call off.
    unsafe impl Sync for Token {}

    /// Keeps this thread, and those that it starts, on one processor.
    fn on_one_processor() {
        // SAFETY: a set of bits is valid with all of them zero; it is ours.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let here = usize::try_from(libc::sched_getcpu()).unwrap();
            libc::CPU_SET(here, &mut set);
            assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
        }
    }

    /// One whose source has failed calls the operation off and then closes the pipe: the end must never be taken for that of the data.
    #[test]
    fn an_end_after_calling_off_is_no_end() {
        // So that both have happened more often than not when the waiting one runs again.
        on_one_processor();
        for round in 0..2000 {
            let (token, watch) = Token::new();
            let (ours, theirs) = nix::unistd::pipe().unwrap();
            let outcome = std::thread::scope(|threads| {
                threads.spawn(|| {
                    token.use_it();
                    drop(theirs);
                });
                Stream::new(ours.as_fd(), &watch).read(&mut [0; 16])
            });
            assert!(outcome.is_err(), "round {round}: {outcome:?}");
        }
    }

    /// A file takes everything at once, a pipe no more than it has room for when it is ready.
    #[test]
    fn nothing_is_written_that_could_stall() {
        let (token, watch) = Token::new();
        let data = vec![0; 1 << 20];
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Stream::new(file.as_fd(), &watch).write(&data).unwrap(), data.len());
        let (_ours, theirs) = nix::unistd::pipe().unwrap();
        // What a pipe holds, or what it takes for certain: never all, for which somebody would have to read.
        let written = Stream::new(theirs.as_fd(), &watch).write(&data).unwrap();
        assert!((libc::PIPE_BUF..data.len()).contains(&written), "{written}");
        token.use_it();
        assert!(Stream::new(file.as_fd(), &watch).write(&data).is_err());
        assert!(Stream::new(theirs.as_fd(), &watch).write(&data).is_err());
    }
}
