//! The digest that the kernel keeps of a file with fs-verity (Linux 5.4).

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};

/// The longest digest, that of SHA-512.
const LONGEST: usize = 64;

/// `struct fsverity_digest` of `linux/fsverity.h`, with room for any digest.
#[repr(C)]
struct Measured {
    algorithm: u16,
    size: u16,
    digest: [u8; LONGEST],
}

/// `FS_IOC_MEASURE_VERITY`, `_IOWR('f', 134, struct fsverity_digest)` without its digest.
const MEASURE: libc::Ioctl = 0xc004_6686_u32 as libc::Ioctl;

/// The number of the hash algorithm and the digest of a file that is open for reading; `None` if it has no digest.
pub(crate) fn measure(file: impl AsFd) -> Result<Option<(u16, Vec<u8>)>> {
    let mut out = Measured { algorithm: 0, size: LONGEST as u16, digest: [0; LONGEST] };
    // SAFETY: the descriptor lives through the call, and the kernel writes at most `size` bytes behind the four of the head,
    // which `out` has room for.
    let done = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), MEASURE, &raw mut out) };
    if done == 0 {
        let digest = out.digest.get(..usize::from(out.size)).unwrap_or_default();
        return Ok(Some((out.algorithm, digest.to_vec())));
    }
    match std::io::Error::last_os_error().raw_os_error() {
        // The file, its file system or the kernel has none.
        Some(libc::ENODATA | libc::ENOTTY | libc::EOPNOTSUPP) => Ok(None),
        Some(number) => Err(Errno::from_raw_os_error(number)),
        None => Err(Errno::IO),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_ordinary_file_has_no_digest() {
        let file = tempfile::tempfile_in("/var/tmp").unwrap();
        assert_eq!(super::measure(&file).unwrap(), None);
    }
}
