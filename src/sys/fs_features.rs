//! What a file system says of itself when it is asked by ioctl(2); nothing is written.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// `FS_IOC_MEASURE_VERITY` of `linux/fsverity.h`.
const MEASURE_VERITY: libc::c_ulong = 0xc004_6686;

/// `XFS_IOC_FSGEOMETRY_V1` of `xfs_fs.h`.
const XFS_GEOMETRY: libc::c_ulong = 0x8070_5864;

/// The size of `struct xfs_fsop_geom_v1`, where its flags lie, and the one for shared extents.
const XFS_GEOMETRY_SIZE: usize = 112;
const XFS_GEOMETRY_FLAGS: std::ops::Range<usize> = 92..96;
const XFS_GEOMETRY_REFLINK: u32 = 1 << 20;

/// Whether fs-verity can be switched on for files of the file system that `file`, which may be a directory, lies on: asked for a
/// digest, one with the feature answers that this file has none (`ENODATA`; fsverity.rst, `FS_IOC_MEASURE_VERITY`).
///
/// # Errors
/// The system call's, where it says neither yes nor no.
pub(crate) fn has_verity(file: impl AsFd) -> io::Result<bool> {
    let mut digest = [0u8; 4];
    match ask(file.as_fd(), MEASURE_VERITY, &mut digest) {
        // A digest of no bytes does not fit in our buffer of none.
        Ok(()) => Ok(true),
        Err(e) => match e.raw_os_error() {
            Some(libc::ENODATA | libc::EOVERFLOW) => Ok(true),
            Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::EINVAL) => Ok(false),
            _ => Err(e),
        },
    }
}

/// Whether files of the xfs that `file` lies on can share their data.
///
/// # Errors
/// The system call's: `ENOTTY` on another file system.
pub(crate) fn xfs_has_reflink(file: impl AsFd) -> io::Result<bool> {
    let mut geometry = [0u8; XFS_GEOMETRY_SIZE];
    ask(file.as_fd(), XFS_GEOMETRY, &mut geometry)?;
    let flags = geometry.get(XFS_GEOMETRY_FLAGS).and_then(|bytes| bytes.try_into().ok());
    Ok(u32::from_ne_bytes(flags.unwrap_or_default()) & XFS_GEOMETRY_REFLINK != 0)
}

/// An ioctl(2) that reads and fills a structure of `N` bytes. The type of the request is another one with musl.
fn ask<const N: usize>(
    file: BorrowedFd<'_>,
    request: libc::c_ulong,
    buffer: &mut [u8; N],
) -> io::Result<()> {
    // SAFETY: both requests have their structure's size encoded in them, which is that of the buffer; the descriptor is open as long
    // as it is borrowed.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), request as _, buffer.as_mut_ptr()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_them_says_no() {
        let proc = std::fs::File::open("/proc").unwrap();
        assert!(!has_verity(&proc).unwrap());
        assert_eq!(xfs_has_reflink(&proc).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
