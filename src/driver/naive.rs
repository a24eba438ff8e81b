//! Changes by comparing two whole trees (DIF-5, DIF-7).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::DiffOptions;
use crate::archive::{self, Change, ChangeKind, PackOptions};
use crate::sys::beneath::{Beneath, Found};
use crate::{Error, Result};

/// Writes the changes from `old` to `new`, or all of `new`. With `override_stat`, files are what their notes say (FMK-3); else what they
/// seem to be, as in what a program shows or in a full tree.
pub(super) fn write_diff(
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
    options: &DiffOptions,
    override_stat: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let maps = options.maps.clone();
    let pack = PackOptions { maps, compat: options.compat, override_stat, each_opaque: false };
    match old {
        None => archive::pack_tree(new, &pack, out),
        Some(_) => {
            let changes = archive::changes_between(new, old, options.both_maps())?;
            archive::pack_changes(new, &changes, &pack, out)
        }
    }
}

/// The sizes of the files that `new` has and `old` has not, or has otherwise; hard links count once.
pub(super) fn diff_size(
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
    options: &DiffOptions,
) -> Result<u64> {
    if old.is_none() {
        return Ok(archive::disk_usage(new)?.size);
    }
    sum(new, &archive::changes_between(new, old, options.both_maps())?)
}

fn sum(root: BorrowedFd<'_>, changes: &[Change]) -> Result<u64> {
    let mut seen = HashSet::new();
    let mut total = 0u64;
    for change in changes.iter().filter(|c| c.kind != ChangeKind::Delete) {
        // The tree of a running container moves: what is gone is passed over.
        let Some(about) = look(root, &change.path)
            .map_err(|e| Error::io("examining", OsStr::from_bytes(&change.path), e))?
        else {
            continue;
        };
        let is_dir = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
        if !is_dir && (about.st_nlink < 2 || seen.insert((about.st_dev, about.st_ino))) {
            total = total.saturating_add(u64::try_from(about.st_size).unwrap_or(0));
        }
    }
    Ok(total)
}

/// What lies at `path` below `root`, no symbolic link followed; a path may be longer than the kernel takes at once (ARC-2).
fn look(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Stat>, Errno> {
    let whole = match Beneath::new(root).look(path) {
        Ok(Found::File(about)) => return Ok(Some(*about)),
        Ok(Found::Missing | Found::Hidden) => return Ok(None),
        Err(e) => e,
    };
    if whole != Errno::NAMETOOLONG {
        return Err(whole);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        let above = at.as_ref().map_or(root, AsFd::as_fd);
        at = match rustix::fs::openat(above, name, flags, Mode::empty()) {
            Ok(fd) => Some(fd),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(e) => return Err(e),
        };
    }
    at.map(rustix::fs::fstat).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_paths_of_any_length() {
        // DIF-7, ARC-2
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        std::fs::write(dir.path().join("short"), "123").unwrap();
        std::fs::hard_link(dir.path().join("short"), dir.path().join("twin")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        let root = rustix::fs::open(dir.path(), OFlags::PATH, Mode::empty()).unwrap();
        let mut at = root.try_clone().unwrap();
        let mut path = Vec::new();
        for _ in 0..100 {
            let name = "d".repeat(100);
            rustix::fs::mkdirat(&at, &*name, Mode::from_raw_mode(0o755)).unwrap();
            at = rustix::fs::openat(&at, &*name, OFlags::PATH, Mode::empty()).unwrap();
            path.extend_from_slice(format!("/{name}").as_bytes());
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let deep = rustix::fs::openat(&at, "f", flags, Mode::from_raw_mode(0o644)).unwrap();
        rustix::io::write(&deep, b"12345").unwrap();
        path.extend_from_slice(b"/f");
        let added = |path: &[u8]| Change { path: path.to_vec(), kind: ChangeKind::Add };
        let changes: Vec<Change> =
            [b"/short".as_slice(), b"/twin", &path, b"/gone", b"/link/passwd", b"/link"]
                .map(added)
                .into();
        assert_eq!(sum(root.as_fd(), &changes).unwrap(), 3 + 5 + 4, "a link's size is its text's");
        crate::sys::remove::remove_tree(&dir.keep()).unwrap();
    }
}
