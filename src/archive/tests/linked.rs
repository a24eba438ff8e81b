//! Trees that share their files, and what one of them changes.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::packing::zoo;
use super::{listing, open_dir, set_mtime, set_xattr};
use crate::archive::{
    CopyOptions, Difference, copy_tree, copy_tree_as, link_difference, link_tree,
};

/// Read and write for user 5, as acl(5) and the kernel lay it out.
const LIST: &[u8] = &[
    2, 0, 0, 0, // the version
    1, 0, 7, 0, 255, 255, 255, 255, // the owner
    2, 0, 6, 0, 5, 0, 0, 0, // user 5
    4, 0, 5, 0, 255, 255, 255, 255, // the group
    16, 0, 7, 0, 255, 255, 255, 255, // the mask
    32, 0, 0, 0, 255, 255, 255, 255, // others
];

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
fn copies_get_no_access_list_that_their_source_has_not() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (old, new, upper) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("up"));
    fs::create_dir_all(old.join("d/e")).unwrap();
    for tree in [&new, &upper] {
        fs::create_dir(tree).unwrap();
    }
    for file in ["file", "d/file", "d/e/file"] {
        fs::write(old.join(file), file).unwrap();
    }
    for dir in ["", "d"] {
        set_xattr(&old.join(dir), "system.posix_acl_default", LIST);
    }
    set_mtime(&old.join("d"), 77, 5);
    let from = open_dir(&old);
    copy_tree(from.as_fd(), open_dir(&new).as_fd()).unwrap();
    link_difference(from.as_fd(), None, open_dir(&upper).as_fd()).unwrap();
    for tree in [&new, &upper] {
        assert_eq!(without_links(&old), without_links(tree));
    }
    for (path, key) in [
        ("", "default"),
        ("d", "default"),
        ("d", "access"),
        ("d/e", "default"),
        ("d/e/file", "access"),
    ] {
        let list = |root: &Path| {
            let key = format!("system.posix_acl_{key}");
            let mut room = [0u8; 100];
            let n = rustix::fs::lgetxattr(root.join(path), key, &mut room).ok()?;
            Some(room[..n].to_vec())
        };
        assert_eq!(list(&old).is_some(), key == "default" && path != "d/e", "{key} of {path:?}");
        for tree in [&new, &upper] {
            assert_eq!(list(&old), list(tree), "{key} of {path:?} in {tree:?}");
        }
    }
}

#[test]
fn a_file_system_without_access_lists_gets_copies_without() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root mounts a file system without access lists");
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::create_dir_all(old.join("d")).unwrap();
    fs::create_dir(&new).unwrap();
    fs::write(old.join("d/file"), "text").unwrap();
    for dir in ["", "d"] {
        set_xattr(&old.join(dir), "system.posix_acl_default", LIST);
    }
    let work = || {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        // Of this thread, and gone with it.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        mount("none", &new, "ramfs", MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
        copy_tree(open_dir(&old).as_fd(), open_dir(&new).as_fd()).unwrap();
        fs::read_to_string(new.join("d/file")).unwrap()
    };
    assert_eq!(std::thread::scope(|s| s.spawn(work).join().unwrap()), "text");
}

#[test]
fn a_file_that_cannot_be_copied_is_named_with_its_directory() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::create_dir_all(old.join("d/e")).unwrap();
    fs::write(old.join("d/e/file"), "text").unwrap();
    set_xattr(&old.join("d/e/file"), "user.overlay.metacopy", b"");
    let options = CopyOptions { whole: Some("user.overlay."), ..CopyOptions::default() };
    fs::create_dir(&new).unwrap();
    let e = copy_tree_as(open_dir(&old).as_fd(), open_dir(&new).as_fd(), &options).unwrap_err();
    assert!(e.to_string().contains("copying \"d/e/file\""), "{e}");
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
