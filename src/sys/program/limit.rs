//! The end of a program that takes too long.
//!
//! All of this is done by the child between the host and the program, which can only make system calls.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_ulong};
use std::os::fd::RawFd;

/// How long a program that is asked to end may take, in milliseconds.
const FAREWELL: c_int = 2000;

/// How often, a hundredth of a second apart, what is left of a killed program is looked for. Whatever the kernel does not let go by then
/// waits for a device or a server, and no signal reaches it.
const ROUNDS: u32 = 300;

/// The ids of this thread's children, with a blank behind each (proc_tid_children(5)).
const CHILDREN: &CStr = c"/proc/thread-self/children";

/// Makes what the program leaves behind without a parent this process's children, as long as it lives.
///
/// # Safety
/// As for `supervise` in the module above.
pub(super) unsafe fn adopt() {
    // SAFETY: it changes an attribute of this process, which is the child between.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as c_ulong) };
}

/// Whether the process behind the descriptor ends in that many milliseconds.
///
/// # Safety
/// As for `supervise`.
pub(super) unsafe fn ends_within(handle: RawFd, milliseconds: c_int) -> bool {
    let mut wanted = libc::pollfd { fd: handle, events: libc::POLLIN, revents: 0 };
    // SAFETY: the kernel reads and writes one structure of this stack. No signal is let through that could end the wait.
    unsafe { libc::poll(&raw mut wanted, 1, milliseconds) > 0 }
}

/// Makes the program end, and all that it has started; goes on only where the program itself has ended.
///
/// # Safety
/// As for `supervise`; `program` is a child that nobody has waited for, and the leader of its group.
pub(super) unsafe fn end_all(program: libc::pid_t, handle: RawFd) {
    // SAFETY: as in `supervise`. The ids are those of this process's children that nobody has waited for, so that they are no one else's.
    unsafe {
        libc::kill(-program, libc::SIGTERM);
        let willing = ends_within(handle, FAREWELL);
        libc::kill(-program, libc::SIGKILL);
        if !willing && !ends_within(handle, FAREWELL) {
            libc::_exit(128 + libc::SIGKILL);
        }
        // Those in groups and sessions of their own come to this process as soon as they have no parent.
        for _ in 0..ROUNDS {
            if !kill_children(program) {
                return;
            }
            libc::poll(std::ptr::null_mut(), 0, 10);
        }
    }
}

/// Kills the children of this process but `program`, and waits for those that have ended; tells whether there were any.
///
/// # Safety
/// As for [`end_all`].
unsafe fn kill_children(program: libc::pid_t) -> bool {
    let mut text = [0u8; 4096];
    // SAFETY: as in `end_all`; the kernel writes at most `text.len()` bytes to this stack.
    unsafe {
        let file = libc::open(CHILDREN.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let read = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        let text = text.get(..usize::try_from(read).unwrap_or(0)).unwrap_or_default();
        let mut any = false;
        // Behind each number is a blank; one that has none is not whole.
        let whole = text.iter().rposition(|b| *b == b' ').unwrap_or(0);
        for number in text.get(..whole).unwrap_or_default().split(|b| *b == b' ') {
            let digit = |id: libc::pid_t, b: &u8| {
                id.wrapping_mul(10).wrapping_add(libc::pid_t::from(b.wrapping_sub(b'0')))
            };
            let child = number.iter().fold(0, digit);
            // A number of another namespace of processes, whose /proc this may be, is nobody's child here.
            let is_child = child > 1 && child != program;
            match is_child.then(|| libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG)) {
                Some(0) => {
                    any = true;
                    libc::kill(child, libc::SIGKILL);
                }
                // Its own children come next.
                Some(1..) => any = true,
                _ => {}
            }
        }
        any
    }
}
