//! Extended attributes of directory entries, links not followed.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::AtFlags;
use rustix::io::{Errno, Result};

use crate::sys::xattrat;

/// The largest value that the kernel hands out.
const LARGEST: usize = 64 * 1024;

/// Whether an attribute is the overlay file system's own: no archive may set one (ARC-1), and in a plain tree it means nothing.
pub(super) fn is_overlay_mark(key: &[u8]) -> bool {
    key.starts_with(b"trusted.overlay.") || key.starts_with(b"user.overlay.")
}

/// The kernel has no `*xattrat` before 6.13, and a filter of system calls may refuse them; this path means the entry of the
/// directory, whatever its own path.
pub(super) fn entry_path(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// The names of the attributes; none where the file system has no attributes.
pub(super) fn list(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<Vec<u8>>> {
    let into = |room: &mut [u8]| {
        or_by_path((dir, name), xattrat::list(dir, name, room), |path| {
            rustix::fs::llistxattr(path, room)
        })
    };
    let mut buffer = [0u8; 1024];
    let names = match into(&mut buffer) {
        // As of nearly every file.
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(n) => buffer.get(..n).unwrap_or_default().to_vec(),
        Err(Errno::RANGE) => {
            let mut all = vec![0u8; LARGEST];
            let n = into(&mut all)?;
            all.truncate(n);
            all
        }
        Err(e) => return Err(e),
    };
    Ok(names.split(|b| *b == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect())
}

/// The value of an attribute, if there is one of that name.
pub(super) fn get(dir: BorrowedFd<'_>, name: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>> {
    value(key, |key, room| {
        or_by_path((dir, name), xattrat::get(dir, name, key, room), |path| {
            rustix::fs::lgetxattr(path, key, room)
        })
    })
}

/// Asks again by path where the answer may be that of a kernel or filter that does not know the call. Without /proc there is no such
/// path, which must not pass for an entry that has vanished.
fn or_by_path(
    (dir, name): (BorrowedFd<'_>, &[u8]),
    at: Result<usize>,
    by_path: impl FnOnce(Vec<u8>) -> Result<usize>,
) -> Result<usize> {
    let Err(Errno::NOSYS | Errno::PERM) = at else { return at };
    match by_path(entry_path(dir, name)) {
        Err(Errno::NOENT) => rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).and(at),
        answered => answered,
    }
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn both_ways_say_the_same() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        symlink("file", dir.path().join("link")).unwrap();
        let file = dir.path().join("file");
        let long = vec![b'x'; 1000];
        rustix::fs::setxattr(&file, "user.long", &long, rustix::fs::XattrFlags::empty()).unwrap();
        rustix::fs::setxattr(&file, "user.empty", b"", rustix::fs::XattrFlags::empty()).unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap();
        let fd = fd.as_fd();
        for (name, key) in [
            (&b"file"[..], &b"user.long"[..]),
            (b"file", b"user.empty"),
            (b"file", b"user.none"),
            (b"link", b"user.long"),
            (b"none", b"user.long"),
            (b".", b"user.long"),
        ] {
            for size in [1, 10, 2000] {
                let (mut here, mut there) = (vec![0u8; size], vec![0u8; size]);
                let path = entry_path(fd, name);
                let pairs = [
                    (
                        xattrat::get(fd, name, key, &mut here),
                        rustix::fs::lgetxattr(path.as_slice(), key, &mut there),
                    ),
                    (
                        xattrat::list(fd, name, &mut here),
                        rustix::fs::llistxattr(path.as_slice(), &mut there),
                    ),
                ];
                for (at, by_path) in pairs {
                    // A kernel before 6.13 has the one way alone.
                    if at != Err(Errno::NOSYS) {
                        assert_eq!(at, by_path, "{name:?} {key:?} {size}");
                    }
                }
                let asked = |at, said| or_by_path((fd, name), at, |_| said);
                assert_eq!(asked(Err(Errno::NOSYS), Ok(7)), Ok(7));
                assert_eq!(asked(Err(Errno::RANGE), Ok(7)), Err(Errno::RANGE));
                let gone = if name == b"none" { Errno::NOENT } else { Errno::PERM };
                assert_eq!(asked(Err(Errno::PERM), Err(Errno::NOENT)), Err(gone));
            }
        }
        assert_eq!(get(fd, b"file", b"user.long").unwrap().unwrap(), long);
        assert_eq!(list(fd, b"link").unwrap(), Vec::<Vec<u8>>::new());
    }
}
