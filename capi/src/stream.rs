//! Streams in and out: descriptors of the caller's, which an operation that is called off does not wait for.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cancel::{Cancel, cancelled};
use crate::operation::Watch;

/// A descriptor of the caller's, for the time of one call. It is read or written from where it stands, and stays open.
pub(crate) struct Stream<'a> {
    fd: BorrowedFd<'a>,
    watch: Watch,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(fd: BorrowedFd<'a>, watch: &Watch) -> Self {
        Self { fd, watch: watch.clone() }
    }

    /// Waits until the descriptor is ready, where there is a reason not to just block in it.
    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        match &self.watch.cancel {
            Some(cancel) => self.wait_or_cancel(cancel, flags),
            None => Ok(()),
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
                Ok(_) if both.first().is_some_and(|p| p.any() != Some(false)) => return Ok(()),
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
        // A pipe that is ready takes this much at once; with more, a blocking one might never come back to look.
        let part = match self.watch.cancel {
            Some(_) => buf.get(..buf.len().min(libc::PIPE_BUF)).unwrap_or(buf),
            None => buf,
        };
        insist(self.fd, flags, |fd| nix::unistd::write(fd, part), || self.wait(flags))
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
