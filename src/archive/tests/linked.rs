//! Trees that share their files, and what one of them changes.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::packing::zoo;
use super::{listing, open_dir, set_mtime};
use crate::archive::{Difference, link_difference, link_tree};

fn without_links(root: &Path) -> Vec<(Vec<u8>, String)> {
    let plain = |line: String| match line.split_once(" linked ") {
        Some((line, _)) => line.trim_end().to_owned(),
        None => line.trim_end().to_owned(),
    };
    listing(root).into_iter().map(|(path, line)| (path, plain(line))).collect()
}

#[test]
fn linked_copies_share_all_files_and_lose_nothing() {
    // LEG-10, and what is better: attributes, times of directories, sockets
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (old, new, upper) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("up"));
    for tree in [&old, &new, &upper] {
        fs::create_dir(tree).unwrap();
    }
    zoo(&old);
    set_mtime(&old, 77, 5);
    link_tree(open_dir(&old).as_fd(), open_dir(&new).as_fd()).unwrap();
    assert_eq!(without_links(&old), without_links(&new));
    assert_eq!(
        old.metadata().unwrap().modified().unwrap(),
        new.metadata().unwrap().modified().unwrap()
    );
    for path in listing(&old).keys() {
        let at = |root: &Path| root.join(super::os(path)).symlink_metadata().unwrap();
        assert!(at(&old).is_dir() || at(&old).ino() == at(&new).ino(), "{path:?}");
    }
    // Nothing has changed.
    let made = link_difference(
        open_dir(&new).as_fd(),
        Some(open_dir(&old).as_fd()),
        open_dir(&upper).as_fd(),
    );
    assert_eq!(made.unwrap(), Difference::default());
    assert_eq!(fs::read_dir(&upper).unwrap().count(), 0);
    // All has. Of the attributes, the kernel's own marks stay behind.
    link_difference(open_dir(&new).as_fd(), None, open_dir(&upper).as_fd()).unwrap();
    let without_attributes = |root: &Path| -> Vec<_> {
        let plain = |line: String| line.rsplit_once('{').unwrap().0.to_owned();
        without_links(root).into_iter().map(|(path, line)| (path, plain(line))).collect()
    };
    assert_eq!(without_attributes(&upper), without_attributes(&new));
}

#[test]
fn a_file_that_can_have_no_more_names_is_copied() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (old, new, names) =
        (dir.path().join("old"), dir.path().join("new"), dir.path().join("names"));
    for tree in [&old, &new, &names] {
        fs::create_dir(tree).unwrap();
    }
    fs::write(old.join("a"), "text").unwrap();
    fs::hard_link(old.join("a"), old.join("b")).unwrap();
    let full =
        (0..70_000).any(|n| fs::hard_link(old.join("a"), names.join(n.to_string())).is_err());
    if !full {
        return println!("skipped: a file has any number of names here");
    }
    link_tree(open_dir(&old).as_fd(), open_dir(&new).as_fd()).unwrap();
    let ino = |path: &Path| path.metadata().unwrap().ino();
    assert_ne!(ino(&new.join("a")), ino(&old.join("a")));
    assert_eq!(ino(&new.join("a")), ino(&new.join("b")));
    assert_eq!(fs::read_to_string(new.join("b")).unwrap(), "text");
}
