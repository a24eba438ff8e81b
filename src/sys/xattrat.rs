//! Extended attributes by directory and name (getxattrat(2), listxattrat(2), Linux 6.13): the way through `/proc/self/fd` costs
//! more than the look itself.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, Result};
use rustix::path::Arg;

#[cfg(test)]
use super::refused::{self, Call};

/// One number each on every architecture whose numbers are not its own.
const GETXATTRAT: libc::c_long = 464;
const LISTXATTRAT: libc::c_long = 465;

/// Whether the architecture counts its system calls as most do.
const COMMON_NUMBERS: bool =
    !cfg!(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64"));

/// What an earlier call has shown.
static LACKING: AtomicBool = AtomicBool::new(!COMMON_NUMBERS);

/// `struct xattr_args` of `linux/xattr.h`.
#[repr(C)]
struct Args {
    value: u64,
    size: u32,
    flags: u32,
}

/// The value of the attribute `key` of an entry of `dir`, links not followed, into `room`; returns its length.
///
/// # Errors
/// The system call's; `ENOSYS` where the kernel has none, and what a filter of system calls says instead.
pub(crate) fn get(dir: BorrowedFd<'_>, name: &[u8], key: &[u8], room: &mut [u8]) -> Result<usize> {
    name.into_with_c_str(|name| {
        key.into_with_c_str(|key| {
            let mut args = Args {
                value: room.as_mut_ptr().expose_provenance() as u64,
                size: u32::try_from(room.len()).unwrap_or(u32::MAX),
                flags: 0,
            };
            call(|| {
                // SAFETY: both strings end with NUL, `args` is what its size says, and its value names `room`, which is borrowed for
                // the time of the call.
                unsafe {
                    libc::syscall(
                        GETXATTRAT,
                        dir.as_raw_fd(),
                        name.as_ptr(),
                        libc::AT_SYMLINK_NOFOLLOW,
                        key.as_ptr(),
                        &raw mut args,
                        size_of::<Args>(),
                    )
                }
            })
        })
    })
}

/// The names of the attributes of an entry of `dir`, each with a NUL behind it, links not followed, into `room`; returns their length.
///
/// # Errors
/// As [`get`].
pub(crate) fn list(dir: BorrowedFd<'_>, name: &[u8], room: &mut [u8]) -> Result<usize> {
    name.into_with_c_str(|name: &CStr| {
        call(|| {
            // SAFETY: the name ends with NUL, and the kernel writes to `room` no more than its length.
            unsafe {
                libc::syscall(
                    LISTXATTRAT,
                    dir.as_raw_fd(),
                    name.as_ptr(),
                    libc::AT_SYMLINK_NOFOLLOW,
                    room.as_mut_ptr(),
                    room.len(),
                )
            }
        })
    })
}

fn call(syscall: impl FnOnce() -> libc::c_long) -> Result<usize> {
    #[cfg(test)]
    refused::check(Call::Xattrat)?;
    if LACKING.load(Ordering::Relaxed) {
        return Err(Errno::NOSYS);
    }
    usize::try_from(syscall()).map_err(|_| {
        let e = std::io::Error::last_os_error();
        let e = Errno::from_io_error(&e).unwrap_or(Errno::IO);
        if e == Errno::NOSYS {
            LACKING.store(true, Ordering::Relaxed);
        }
        e
    })
}
