//! A write to a pipe without readers is an error of the call, not a signal to the host.

use std::mem::MaybeUninit;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

/// Keeps SIGPIPE from the calling thread. One that came meanwhile is taken away when the guard is dropped; one that was
/// pending before stays.
pub(crate) struct PipeGuard {
    /// The mask to go back to; `None` where the caller has SIGPIPE blocked himself.
    before: Option<SigSet>,
    /// Whether one that is pending at the end has come meanwhile.
    ours: bool,
}

impl PipeGuard {
    pub(crate) fn new() -> Self {
        let mut pipe = SigSet::empty();
        pipe.add(Signal::SIGPIPE);
        let mut before = SigSet::empty();
        let blocked = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&pipe), Some(&mut before));
        let callers = before.contains(Signal::SIGPIPE);
        Self {
            before: (blocked.is_ok() && !callers).then_some(before),
            // Where it is not blocked none can be pending.
            ours: blocked.is_ok() && !(callers && is_pending()),
        }
    }
}

impl Drop for PipeGuard {
    fn drop(&mut self) {
        if self.ours {
            take_pending();
        }
        if let Some(before) = self.before {
            let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        }
    }
}

fn is_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a set of ours, which is valid with all bytes zero and is only written.
    unsafe {
        libc::sigpending(pending.as_mut_ptr()) == 0
            && libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1
    }
}

fn take_pending() {
    let mut pipe = SigSet::empty();
    pipe.add(Signal::SIGPIPE);
    let now = libc::timespec { tv_sec: 0, tv_nsec: Duration::ZERO.subsec_nanos().into() };
    // SAFETY: both structs live for the call, and no information is asked for.
    unsafe { libc::sigtimedwait(pipe.as_ref(), std::ptr::null_mut(), &now) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_pipe_without_a_reader_gives_an_error_and_no_signal() {
        // Not ignored, as it is in Rust programs: the signal would end this test.
        let action = nix::sys::signal::SigAction::new(
            nix::sys::signal::SigHandler::SigDfl,
            nix::sys::signal::SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: no handler is installed.
        unsafe { nix::sys::signal::sigaction(Signal::SIGPIPE, &action) }.unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        let guard = PipeGuard::new();
        assert_eq!(writer.write_all(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        drop(guard);
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGPIPE));
    }

    #[test]
    fn a_caller_who_blocks_it_himself_finds_none_of_ours() {
        let mut pipe = SigSet::empty();
        pipe.add(Signal::SIGPIPE);
        pipe.thread_block().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        let guard = PipeGuard::new();
        assert!(writer.write_all(b"x").is_err());
        assert!(is_pending());
        drop(guard);
        assert!(!is_pending());
        assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGPIPE));
        // His own stays.
        assert!(writer.write_all(b"x").is_err());
        drop(PipeGuard::new());
        assert!(is_pending());
        take_pending();
    }
}
