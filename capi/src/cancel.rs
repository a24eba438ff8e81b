//! Calling a long operation off from another thread.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};
use orlop::{Error, ErrorKind, Result};

use crate::buffer::{PointerOut, free};
use crate::error::orlop_error;
use crate::guard::run;

/// A token by which operations are called off. It may be given to several operations, and once used it stays used.
pub struct orlop_cancel(Arc<Cancel>);

/// The state that a token shares with the operations that have it.
pub(crate) struct Cancel {
    asked: AtomicBool,
    /// Readable once it was asked for: wakes what waits for a descriptor.
    event: EventFd,
    /// The process that made it.
    process: u32,
}

impl Cancel {
    fn new() -> Result<Self> {
        let event =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                .map_err(|e| Error::new(ErrorKind::Io, "making a cancel token").caused_by(e))?;
        Ok(Self { asked: AtomicBool::new(false), event, process: std::process::id() })
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn ask(&self) {
        // A forked child shares the counter with its parent, who would find it readable without having been asked, for ever.
        if self.process != std::process::id() {
            return;
        }
        self.asked.store(true, Ordering::Release);
        // It can only fail when the counter is full, and then it is readable.
        let _ = self.event.write(1);
    }
}

/// The error of an operation that was called off.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "working on a call")
}

/// The state behind a token that may be absent.
///
/// # Safety
/// `token` is NULL or a token that the caller has not freed.
pub(crate) unsafe fn shared(token: *const orlop_cancel) -> Option<Arc<Cancel>> {
    // SAFETY: as the caller promises.
    unsafe { token.as_ref() }.map(|t| Arc::clone(&t.0))
}

/// Makes a token that can call operations off.
///
/// Ownership: *token is the caller's, to be freed with orlop_cancel_free.
/// Threads: any.
/// Errors: ORLOP_ERR_IO when no descriptor is to be had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_cancel_new(
    token: *mut *mut orlop_cancel,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let token = PointerOut::new(token, "token")?;
            token.put(orlop_cancel(Arc::new(Cancel::new()?)));
            Ok(())
        })
    }
}

/// Calls off every operation that has the token, now and later: it ends with ORLOP_ERR_CANCELLED when it next reads or writes some of
/// its data, at once where it waits for its descriptor. It leaves nothing behind but what has gone to a descriptor and what
/// orlop_apply_diff and orlop_driver_apply_diff say. What is complete already stays so. Another one's lock on the store is waited for
/// all the same. NULL is fine, and in a forked child nothing happens.
///
/// Threads: any, also while operations run; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_cancel_now(token: *const orlop_cancel) {
    // SAFETY: NULL or a token that the caller has not freed.
    if let Some(token) = unsafe { token.as_ref() } {
        token.0.ask();
    }
}

/// Frees a token; NULL is fine. Operations that have it go on.
///
/// Threads: any; nobody else may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_cancel_free(token: *mut orlop_cancel) {
    // SAFETY: NULL or a token that the caller has not freed.
    unsafe { free(token) };
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    #[test]
    fn a_forked_child_calls_nothing_of_its_parents_off() {
        let token = orlop_cancel(Arc::new(Cancel::new().unwrap()));
        let readable = || {
            let mut event = [PollFd::new(token.0.descriptor(), PollFlags::POLLIN)];
            poll(&mut event, PollTimeout::ZERO).unwrap() == 1
        };
        // SAFETY: the child does nothing but two system calls.
        let ForkResult::Parent { child } = (unsafe { fork() }).unwrap() else {
            // SAFETY: a token of ours; the way out of a child.
            unsafe {
                orlop_cancel_now(&token);
                libc::_exit(0);
            }
        };
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        assert!(!token.0.is_asked() && !readable());
        token.0.ask();
        assert!(token.0.is_asked() && readable());
    }
}
