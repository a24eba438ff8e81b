//! Equal files of many layers that share their space on the disk (`overlay-driver.md` REM-16).
//!
//! Only files of one size are read at all, and the kernel compares what it shares: a digest says where to try.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::{FileType, OFlags};
use sha2::Digest as _;

use super::overlay::open_dir;
use crate::archive::walk::Walk;
use crate::sys::beneath::{Beneath, Identity};
use crate::sys::reflink::{self, Sharing};
use crate::{Error, Result};

/// By what files are taken for equal until the kernel has compared them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DedupMethod {
    /// Size and a cyclic redundancy check of the content.
    #[default]
    Crc,
    /// The size alone: files are not read before the kernel compares them.
    Size,
    /// Size and SHA-256 of the content.
    Sha256,
}

/// A file: in which of the trees, and where in it.
struct Candidate {
    tree: usize,
    path: Vec<u8>,
    id: Identity,
}

/// How one attempt ends.
enum Attempt {
    Shared(u64),
    Unshared,
    Impossible,
}

/// Has equal files in the directories share their space; returns the bytes that are shared. Hard links and empty files are passed
/// over, directories that are not there too. Where the file system does not share, that is the end, and no error.
///
/// # Errors
/// When a directory cannot be read.
pub(super) fn share(dirs: impl Iterator<Item = PathBuf>, method: DedupMethod) -> Result<u64> {
    let mut trees = Vec::new();
    for dir in dirs {
        match open_dir(&dir) {
            Err(e) if e.os_error() == Some(io::ErrorKind::NotFound) => {}
            opened => trees.push(opened?),
        }
    }
    let mut by_size: BTreeMap<u64, Vec<Candidate>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for (tree, root) in trees.iter().enumerate() {
        collect(tree, root, &mut seen, &mut by_size)?;
    }
    let mut total = 0u64;
    for (size, files) in by_size.into_iter().filter(|(_, files)| files.len() > 1) {
        for equal in by_content(&trees, files, method).into_values() {
            match share_equal(&trees, size, equal) {
                Some(bytes) => total = total.saturating_add(bytes),
                None => return Ok(total),
            }
        }
    }
    Ok(total)
}

fn collect(
    tree: usize,
    root: &OwnedFd,
    seen: &mut HashSet<Identity>,
    by_size: &mut BTreeMap<u64, Vec<Candidate>>,
) -> Result<()> {
    let fail = |path: &[u8], e: rustix::io::Errno| {
        Error::io("reading a layer's files", String::from_utf8_lossy(path).as_ref(), e)
    };
    let mut walk = Walk::new(root.as_fd()).map_err(|e| fail(b".", e))?;
    while let Some(item) = walk.next().map_err(|e| fail(walk.path(), e))? {
        let size = u64::try_from(item.stat.st_size).unwrap_or(0);
        if item.kind() == FileType::RegularFile && size > 0 {
            let id = Identity::from(&item.stat);
            if seen.insert(id) {
                let file = Candidate { tree, path: walk.path().to_vec(), id };
                by_size.entry(size).or_default().push(file);
            }
        }
    }
    Ok(())
}

/// Sorts files of one size by what the method says of their contents; one that cannot be read, or was replaced, is left out.
fn by_content(
    trees: &[OwnedFd],
    files: Vec<Candidate>,
    method: DedupMethod,
) -> BTreeMap<Vec<u8>, Vec<Candidate>> {
    let mut sorted: BTreeMap<Vec<u8>, Vec<Candidate>> = BTreeMap::new();
    for file in files {
        let mark = match method {
            DedupMethod::Size => Ok(Vec::new()),
            DedupMethod::Crc | DedupMethod::Sha256 => {
                open(trees, &file).and_then(|open| digest(open, method))
            }
        };
        match mark {
            Ok(mark) => sorted.entry(mark).or_default().push(file),
            Err(e) => tracing::debug!(path = %name(&file), error = %e, "not deduplicated"),
        }
    }
    sorted
}

fn digest(mut file: File, method: DedupMethod) -> io::Result<Vec<u8>> {
    let (mut crc, mut sha) = (flate2::Crc::new(), sha2::Sha256::new());
    let mut buffer = vec![0; 128 << 10];
    loop {
        let length = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let read = buffer.get(..length).unwrap_or_default();
        match method {
            DedupMethod::Sha256 => sha.update(read),
            DedupMethod::Crc | DedupMethod::Size => crc.update(read),
        }
    }
    Ok(match method {
        DedupMethod::Sha256 => sha.finalize().to_vec(),
        DedupMethod::Crc | DedupMethod::Size => crc.sum().to_be_bytes().to_vec(),
    })
}

/// Unequal files of one size and sum that others are compared with.
const MOST_SOURCES: usize = 8;

/// Has each file share with the first before it that is equal; `None` where the file system does not do it.
fn share_equal(trees: &[OwnedFd], size: u64, files: Vec<Candidate>) -> Option<u64> {
    let mut total = 0u64;
    let mut sources: Vec<Candidate> = Vec::new();
    for file in files {
        let mut shared = false;
        for source in &sources {
            match attempt(trees, source, &file, size) {
                Ok(Attempt::Shared(bytes)) => {
                    tracing::debug!(from = %name(source), to = %name(&file), bytes, "deduplicated");
                    total = total.saturating_add(bytes);
                    shared = true;
                    break;
                }
                Ok(Attempt::Impossible) if source.id.dev == file.id.dev => return None,
                Ok(Attempt::Unshared | Attempt::Impossible) => {}
                Err(e) => tracing::debug!(path = %name(&file), error = %e, "not deduplicated"),
            }
        }
        // Equal sums of unequal files are chance, or an attempt to keep us busy.
        if !shared && sources.len() < MOST_SOURCES {
            sources.push(file);
        }
    }
    Some(total)
}

fn attempt(trees: &[OwnedFd], from: &Candidate, to: &Candidate, size: u64) -> io::Result<Attempt> {
    let (from, to) = (open(trees, from)?, open(trees, to)?);
    // Somebody may have written to one of them meanwhile.
    if from.metadata()?.size() != size || to.metadata()?.size() != size {
        return Ok(Attempt::Unshared);
    }
    Ok(match reflink::share(&from, &to, size)? {
        Sharing::Shared(0) | Sharing::Differs => Attempt::Unshared,
        Sharing::Shared(bytes) => Attempt::Shared(bytes),
        Sharing::Impossible => Attempt::Impossible,
    })
}

/// Opens a file for reading, which is all that the kernel wants of its owner and of root.
fn open(trees: &[OwnedFd], file: &Candidate) -> io::Result<File> {
    let root = trees.get(file.tree).ok_or(io::ErrorKind::NotFound)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = File::from(Beneath::new(root.as_fd()).open(&file.path, flags)?);
    let about = opened.metadata()?;
    if (Identity { dev: about.dev(), ino: about.ino() }) != file.id {
        return Err(io::Error::other("it was replaced meanwhile"));
    }
    Ok(opened)
}

fn name(file: &Candidate) -> String {
    String::from_utf8_lossy(&file.path).into_owned()
}

#[cfg(test)]
mod tests;
