//! Extended attributes of directory entries, links not followed.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

/// The largest value that the kernel hands out.
const LARGEST: usize = 64 * 1024;

/// The kernel has no `*xattrat` before 6.13; this path means the entry of the directory, whatever its own path.
pub(super) fn entry_path(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// The names of the attributes; none where the file system has no attributes.
pub(super) fn list(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<Vec<u8>>> {
    let path = entry_path(dir, name);
    let mut buffer = [0u8; 1024];
    let names = match rustix::fs::llistxattr(path.as_slice(), &mut buffer) {
        Ok(n) => buffer.get(..n).unwrap_or_default().to_vec(),
        Err(Errno::RANGE) => {
            let mut all = vec![0u8; LARGEST];
            let n = rustix::fs::llistxattr(path.as_slice(), all.as_mut_slice())?;
            all.truncate(n);
            all
        }
        Err(Errno::OPNOTSUPP) => Vec::new(),
        Err(e) => return Err(e),
    };
    Ok(names.split(|b| *b == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect())
}

/// The value of an attribute, if there is one of that name.
pub(super) fn get(dir: BorrowedFd<'_>, name: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>> {
    let path = entry_path(dir, name);
    value(key, |key, room| rustix::fs::lgetxattr(path.as_slice(), key, room))
}

/// As [`get`], of the file that the kernel's own link at `path` leads to.
pub(super) fn get_at(path: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
    value(key, |key, room| rustix::fs::getxattr(path, key, room))
}

fn value(key: &[u8], read: impl Fn(&[u8], &mut [u8]) -> Result<usize>) -> Result<Option<Vec<u8>>> {
    let mut buffer = [0u8; 256];
    match read(key, &mut buffer) {
        Ok(n) => Ok(buffer.get(..n).map(<[u8]>::to_vec)),
        Err(Errno::RANGE) => {
            let mut all = vec![0u8; LARGEST];
            let n = read(key, all.as_mut_slice())?;
            all.truncate(n);
            Ok(Some(all))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The attributes of an open file whose names `wanted` takes, with their values.
pub(super) fn select_of(
    file: BorrowedFd<'_>,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut buffer = [0u8; 1024];
    match rustix::fs::flistxattr(file, &mut buffer) {
        // Most files have none.
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(_) | Err(Errno::RANGE) => {}
        Err(e) => return Err(e),
    }
    // The file itself, by the kernel's own link to it.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut names = vec![0u8; LARGEST];
    let n = rustix::fs::listxattr(path.as_str(), names.as_mut_slice())?;
    let mut found = Vec::new();
    for key in names.get(..n).unwrap_or_default().split(|b| *b == 0).filter(|k| !k.is_empty()) {
        if wanted(key)
            && let Some(value) = get_at(&path, key)?
        {
            found.push((key.to_vec(), value));
        }
    }
    Ok(found)
}

/// The attributes of those names that `wanted` takes, with their values, sorted.
pub(super) fn select(
    dir: BorrowedFd<'_>,
    name: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    for key in list(dir, name)? {
        if !wanted(&key) {
            continue;
        }
        match get(dir, name, &key) {
            Ok(Some(value)) => found.push((key, value)),
            Ok(None) => {}
            Err(e @ (Errno::TOOBIG | Errno::OVERFLOW)) => {
                tracing::error!(
                    name = %super::names::show(name), xattr = %super::names::show(&key), error = %e,
                    "attribute skipped: its value is too big, or of ids that this user namespace does not have"
                );
            }
            Err(e) => return Err(e),
        }
    }
    found.sort();
    Ok(found)
}
