//! Having two files share their space on the disk (ioctl_fideduperange(2), Linux 4.5): on btrfs, on xfs with reflinks, and the like.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `_IOWR(0x94, 54, struct file_dedupe_range)`.
const FIDEDUPERANGE: libc::Ioctl = 0xc018_9436_u32 as libc::Ioctl;

/// The kernel's `FILE_DEDUPE_RANGE_DIFFERS`.
const DIFFERS: i32 = 1;

/// How much one call compares, so that none takes for ever.
const PIECE: u64 = 64 << 20;

/// `struct file_dedupe_range` with one `struct file_dedupe_range_info`.
#[repr(C)]
#[derive(Default)]
struct Request {
    src_offset: u64,
    src_length: u64,
    dest_count: u16,
    reserved1: u16,
    reserved2: u32,
    dest_fd: i64,
    dest_offset: u64,
    bytes_deduped: u64,
    status: i32,
    reserved: u32,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// So many bytes are shared now, whether they were before or not.
    Shared(u64),
    /// The contents differ.
    Differs,
    /// The file system cannot share, or not between these two.
    Impossible,
}

/// Has `to` share the space of the first `length` bytes of `from`. The kernel compares them under its own locks, and changes nothing
/// of what either file shows.
///
/// # Errors
/// The system call's.
pub(crate) fn share(from: &File, to: &File, length: u64) -> io::Result<Sharing> {
    let mut done = 0u64;
    while done < length {
        let mut request = Request {
            src_offset: done,
            src_length: PIECE.min(length - done),
            dest_count: 1,
            dest_fd: to.as_raw_fd().into(),
            dest_offset: done,
            ..Request::default()
        };
        // SAFETY: the kernel reads and writes one struct with one entry, which is what `request` is, for the time of the call.
        let outcome = unsafe { libc::ioctl(from.as_raw_fd(), FIDEDUPERANGE, &raw mut request) };
        if outcome < 0 {
            let e = io::Error::last_os_error();
            return if is_impossible(e.raw_os_error()) { Ok(so_far(done)) } else { Err(e) };
        }
        match request.status {
            DIFFERS => return Ok(Sharing::Differs),
            0 if request.bytes_deduped == 0 => break,
            0 => done = done.saturating_add(request.bytes_deduped),
            failed if is_impossible(Some(-failed)) => return Ok(so_far(done)),
            failed => return Err(io::Error::from_raw_os_error(-failed)),
        }
    }
    Ok(Sharing::Shared(done))
}

/// What came of an attempt that cannot go on.
fn so_far(done: u64) -> Sharing {
    if done == 0 { Sharing::Impossible } else { Sharing::Shared(done) }
}

fn is_impossible(errno: Option<i32>) -> bool {
    matches!(
        errno,
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOTTY | libc::ENOSYS | libc::EXDEV)
    )
}
