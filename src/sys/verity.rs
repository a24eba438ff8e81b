//! Files that the kernel has sealed with fs-verity, and the digest that it keeps of each (Linux 5.4).

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

/// `struct fsverity_enable_arg` of `linux/fsverity.h`.
#[repr(C)]
#[derive(Default)]
struct Enable {
    version: u32,
    algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt: u64,
    signature_size: u32,
    reserved: u32,
    signature: u64,
    more: [u64; 11],
}

/// `FS_IOC_ENABLE_VERITY`, `_IOW('f', 133, struct fsverity_enable_arg)`.
const ENABLE: libc::Ioctl = 0x4080_6685_u32 as libc::Ioctl;

/// `FS_VERITY_HASH_ALG_SHA256`
const SHA256: u32 = 1;

/// Seals a file that is open for reading, and by nobody for writing: it can never be changed again, and reading what is not its content
/// any more fails. `false` where the file system or the kernel seals none.
pub(crate) fn seal(file: impl AsFd) -> Result<bool> {
    let how = Enable { version: 1, algorithm: SHA256, block_size: 4096, ..Enable::default() };
    // SAFETY: the descriptor lives through the call, and the kernel reads one `struct fsverity_enable_arg`, which is what `how` is.
    let done = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), ENABLE, &raw const how) };
    if done == 0 {
        return Ok(true);
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EEXIST) => Ok(true),
        Some(libc::ENOTTY | libc::EOPNOTSUPP) => Ok(false),
        Some(number) => Err(Errno::from_raw_os_error(number)),
        None => Err(Errno::IO),
    }
}

const _: () = assert!(size_of::<Enable>() == 128);

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;

    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn an_ordinary_file_has_no_digest() {
        let file = tempfile::tempfile_in("/var/tmp").unwrap();
        assert_eq!(measure(&file).unwrap(), None);
    }

    /// The digest of a file of one block, as the kernel's documentation of fs-verity defines it.
    fn digest(content: &[u8]) -> Vec<u8> {
        let mut block = content.to_vec();
        block.resize(4096, 0);
        // Version, algorithm, logarithm of the block size, size of the salt; size of the signature; size of the data; hash of the root.
        let mut about = vec![1, 1, 12, 0, 0, 0, 0, 0];
        about.extend_from_slice(&(content.len() as u64).to_le_bytes());
        about.extend_from_slice(&Sha256::digest(&block));
        about.resize(256, 0);
        Sha256::digest(&about).to_vec()
    }

    #[test]
    #[ignore = "needs fs-verity on /var/tmp: tests/vm/run"]
    fn fs_verity_seals_files() {
        // GET-41
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "sealed").unwrap();
        let writer = File::options().append(true).open(&path).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(seal(&file), Err(Errno::TXTBSY));
        drop(writer);
        assert_eq!(measure(&file).unwrap(), None);
        assert!(seal(&file).unwrap() && seal(&file).unwrap(), "once, and once more");
        assert_eq!(measure(&file).unwrap(), Some((1, digest(b"sealed"))));
        let e = File::options().append(true).open(&path).unwrap_err();
        assert_eq!(e.kind(), std::io::ErrorKind::PermissionDenied);
        let mut text = String::new();
        (&file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "sealed");
    }
}
