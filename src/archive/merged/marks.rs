//! The attributes by which the kernel marks what is in an upper directory (`Documentation/filesystems/overlayfs.rst`).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::lost;
use crate::Result;

/// Where the lower part of a directory, or the data of a file, is in the layers below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirect {
    /// Under another name in the same directory.
    Name(Vec<u8>),
    /// At a path from the root.
    Path(Vec<Vec<u8>>),
}

impl Redirect {
    /// Reads the value of the attribute `redirect` of the file at `path`.
    pub(super) fn parse(value: &[u8], path: &[u8]) -> Result<Self> {
        let parts = value.strip_prefix(b"/").unwrap_or(value);
        let parts: Vec<Vec<u8>> = parts.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        let bad =
            |part: &Vec<u8>| matches!(part.as_slice(), b"" | b"." | b"..") || part.contains(&0);
        let absolute = value.first() == Some(&b'/');
        if parts.iter().any(bad) || !absolute && parts.len() != 1 {
            let why = format!("its redirect {:?} is no path", value.escape_ascii().to_string());
            return Err(lost(path, why));
        }
        Ok(if absolute { Self::Path(parts) } else { Self::Name(value.to_vec()) })
    }
}

/// What the attribute `metacopy` says: that the data are below, and perhaps what their fs-verity digest is (Linux 6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metacopy {
    /// Number of the hash algorithm, and digest.
    pub(super) digest: Option<(u16, Vec<u8>)>,
}

impl Metacopy {
    /// Reads the value of the attribute of the file at `path`: nothing, or version (0), length of the whole, flags (0), algorithm
    /// and digest.
    pub(super) fn parse(value: &[u8], path: &[u8]) -> Result<Self> {
        let digest = match value {
            [] => None,
            [0, length, 0, algorithm, digest @ ..] if usize::from(*length) == value.len() => {
                let wanted = match algorithm {
                    0 => 0,
                    1 => 32,
                    2 => 64,
                    _ => usize::MAX,
                };
                if digest.len() != wanted {
                    let why = format!(
                        "its metacopy mark has {} bytes of a digest of algorithm {algorithm}",
                        digest.len()
                    );
                    return Err(lost(path, why));
                }
                (wanted > 0).then(|| (u16::from(*algorithm), digest.to_vec()))
            }
            _ => {
                let why = format!(
                    "its metacopy mark {:?} is of no known form",
                    value.escape_ascii().to_string()
                );
                return Err(lost(path, why));
            }
        };
        Ok(Self { digest })
    }
}

/// The path by which the attributes of an open file, an `O_PATH` descriptor included, are read.
pub(super) fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_names_or_absolute_paths() {
        let parse = |value: &[u8]| Redirect::parse(value, b"f").ok();
        assert_eq!(parse(b"a"), Some(Redirect::Name(b"a".to_vec())));
        assert_eq!(parse(b"/a/b"), Some(Redirect::Path(vec![b"a".to_vec(), b"b".to_vec()])));
        for bad in [&b""[..], b"/", b"a/b", b"/a//b", b"/a/", b"..", b"/../x", b"/a/./b"] {
            assert_eq!(parse(bad), None, "{:?}", bad.escape_ascii().to_string());
        }
        assert!(Redirect::parse(b"a/b", b"dir/f").unwrap_err().to_string().contains("dir/f"));
    }

    #[test]
    fn metacopy_marks_are_empty_or_have_a_digest() {
        let parse = |value: &[u8]| Metacopy::parse(value, b"f").ok().map(|m| m.digest);
        assert_eq!(parse(b""), Some(None));
        assert_eq!(parse(&[0, 4, 0, 0]), Some(None));
        let with = [&[0, 36, 0, 1][..], &[7; 32]].concat();
        assert_eq!(parse(&with), Some(Some((1, vec![7; 32]))));
        let longer = [&[0, 68, 0, 2][..], &[7; 64]].concat();
        assert_eq!(parse(&longer), Some(Some((2, vec![7; 64]))));
        for bad in
            [&[0][..], &[0, 4, 0], &[1, 4, 0, 0], &[0, 4, 1, 0], &[0, 5, 0, 0], &with[..35], b"y"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        assert_eq!(parse(&[0, 8, 0, 1, 1, 2, 3, 4]), None, "a short digest");
        assert_eq!(parse(&[&[0, 36, 0, 9][..], &[7; 32]].concat()), None, "an unknown algorithm");
    }
}
