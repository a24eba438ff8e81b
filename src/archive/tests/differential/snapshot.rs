//! All of a tree that two unpackers could make differently.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType};

use crate::archive::tests::xattrs;

/// One name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) size: i64,
    /// `None`: the present, since no entry says otherwise.
    pub(super) mtime: Option<(i64, i64)>,
    pub(super) device: u64,
    /// Of a regular file its digest, of a symbolic link its target.
    pub(super) content: String,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
    /// The first name of the same file, where it has several.
    pub(super) same_as: Option<Vec<u8>>,
}

pub(super) type Tree = BTreeMap<Vec<u8>, Node>;

/// The tree at `root`; the root itself has an empty name.
pub(super) fn snapshot(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut first_names = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        let full = if path.as_os_str().is_empty() { root.to_path_buf() } else { root.join(&path) };
        let stat = rustix::fs::statat(CWD, &full, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let kind = FileType::from_raw_mode(stat.st_mode);
        let name = path.as_os_str().as_bytes().to_vec();
        let is_dir = kind == FileType::Directory;
        if is_dir {
            let entries = fs::read_dir(&full).unwrap();
            left.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
            // The last one is the next one: names come in their order.
            left.sort_by(|a, b| b.cmp(a));
        }
        let content = match kind {
            FileType::RegularFile => crate::Digest::sha256(&fs::read(&full).unwrap()).to_string(),
            FileType::Symlink => format!("{:?}", fs::read_link(&full).unwrap()),
            _ => String::new(),
        };
        let same_as = (!is_dir && stat.st_nlink > 1)
            .then(|| first_names.entry(stat.st_ino).or_insert_with(|| name.clone()).clone());
        let node = Node {
            kind,
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            size: if is_dir { 0 } else { stat.st_size },
            mtime: Some((stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap()))
                .filter(|(seconds, _)| !is_now(*seconds)),
            device: stat.st_rdev,
            content,
            xattrs: xattrs(&full),
            same_as,
        };
        tree.insert(name, node);
    }
    tree
}

fn is_now(seconds: i64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (i64::try_from(now).unwrap() - seconds).abs() < 300
}
