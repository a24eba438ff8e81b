//! Change lists are Go's.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::packing::{upper_and_lowers, zoo};
use super::{AS_IT_IS, go, listing, open_dir, plain, run_go, set_mtime, set_xattr};
use crate::archive::{
    Change, ChangeKind, PackOptions, changes_between, changes_in_upper, copy_tree, disk_usage,
    pack_changes,
};
use crate::sys::beneath::testing::in_both_modes;

fn lines(changes: &[Change]) -> Vec<String> {
    let letter = |kind| match kind {
        ChangeKind::Modify => "C",
        ChangeKind::Add => "A",
        ChangeKind::Delete => "D",
    };
    changes
        .iter()
        .map(|c| format!("{} {}", letter(c.kind), String::from_utf8_lossy(&c.path)))
        .collect()
}

fn text_lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

// CHG-1 to CHG-7
#[test]
fn changes_of_an_upper_are_gos() {
    let Some(go) = go() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (upper, near, far) = upper_and_lowers(dir.path());
    zoo(&upper);
    let args = ["changes".as_ref(), upper.as_os_str(), near.as_os_str(), far.as_os_str()];
    let theirs = text_lines(&run_go(go, &args, b""));
    in_both_modes(|| {
        let (near, far) = (open_dir(&near), open_dir(&far));
        let lowers = [near.as_fd(), far.as_fd()];
        let ours = changes_in_upper(&plain(open_dir(&upper).as_fd(), &lowers), false).unwrap();
        assert_eq!(lines(&ours), theirs);
    });
    assert!(theirs.contains(&"D /o/in-far".to_owned()) && theirs.contains(&"D /gone".to_owned()));
}

/// A changed copy of the tree.
fn changed_copy(old: &Path, new: &Path) {
    let status = Command::new("cp").arg("-a").arg(old).arg(new).status().unwrap();
    assert!(status.success());
    fs::remove_dir_all(new.join("dir/sub")).unwrap();
    fs::remove_file(new.join("link")).unwrap();
    symlink("another/place/xx", new.join("link")).unwrap();
    set_mtime(&new.join("link"), 9_000_000_000, 1);
    fs::write(new.join("dir/file"), "CONTENT").unwrap();
    fs::remove_file(new.join("dir-file")).unwrap();
    fs::create_dir_all(new.join("dir-file/was/file")).unwrap();
    fs::write(new.join("dir-file/was/file/now"), "").unwrap();
    let long = new.join("g".repeat(200));
    fs::remove_dir_all(&long).unwrap();
    fs::write(&long, "").unwrap();
    set_xattr(&new.join("capable"), "user.new", b"1");
    fs::create_dir_all(new.join("added/deep")).unwrap();
    fs::write(new.join("added/deep/file"), "").unwrap();
}

// overlay-driver.md 9.2
#[test]
fn changes_between_trees_are_gos() {
    let Some(go) = go() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::create_dir(&old).unwrap();
    zoo(&old);
    changed_copy(&old, &new);
    let (old_fd, new_fd) = (open_dir(&old), open_dir(&new));
    let ours = changes_between(new_fd.as_fd(), Some(old_fd.as_fd()), AS_IT_IS).unwrap();
    let args = ["between".as_ref(), new.as_os_str(), old.as_os_str()];
    let theirs: BTreeSet<_> = text_lines(&run_go(go, &args, b"")).into_iter().collect();
    assert_eq!(lines(&ours).into_iter().collect::<BTreeSet<_>>(), theirs);
    assert!(theirs.contains("D /dir/sub") && theirs.contains("C /capable"));
    // Directories come before what is in them.
    let mut seen = BTreeSet::new();
    for change in &ours {
        let parent = change.path.iter().rposition(|b| *b == b'/').unwrap();
        assert!(parent == 0 || seen.contains(&change.path[..parent]), "{change:?}");
        seen.insert(&change.path[..]);
    }

    // The exporter's bytes, but for the time of whiteouts.
    let mut ours_tar = Vec::new();
    pack_changes(new_fd.as_fd(), &ours, &PackOptions::default(), &mut ours_tar).unwrap();
    let args = ["export".as_ref(), new.as_os_str(), old.as_os_str()];
    let mut theirs_tar = run_go(go, &args, b"");
    let mut whiteouts = 0;
    for block in theirs_tar.chunks_mut(512).chain(ours_tar.chunks_mut(512)) {
        let base = block.iter().position(|b| *b == 0).map_or(&block[..0], |n| &block[..n]);
        if &block[257..262] == b"ustar" && base.windows(4).any(|w| w == b".wh.") {
            block[136..147].fill(b'0');
            block[148..156].fill(b' ');
            whiteouts += 1;
        }
    }
    assert!(whiteouts >= 2);
    assert!(ours_tar == theirs_tar, "the exported tars differ");
    let all = changes_between(new_fd.as_fd(), None, AS_IT_IS).unwrap();
    assert!(all.iter().all(|c| c.kind == ChangeKind::Add));
    assert_eq!(all.len(), listing(&new).len());
    assert_eq!(changes_between(new_fd.as_fd(), Some(new_fd.as_fd()), AS_IT_IS).unwrap(), []);
}

#[test]
fn copies_have_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::create_dir(&old).unwrap();
    fs::create_dir(&new).unwrap();
    zoo(&old);
    set_mtime(&old, 77, 5);
    copy_tree(open_dir(&old).as_fd(), open_dir(&new).as_fd()).unwrap();
    assert_eq!(listing(&old), listing(&new));
    let (a, b) = (fs::metadata(&old).unwrap(), fs::metadata(&new).unwrap());
    assert_eq!(a.modified().unwrap(), b.modified().unwrap());
    let blocks = |p: &Path| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(p).unwrap());
    assert_eq!(blocks(&old.join("sparse")), blocks(&new.join("sparse")));
    // REM-13
    assert_eq!(
        disk_usage(open_dir(&old).as_fd()).unwrap(),
        disk_usage(open_dir(&new).as_fd()).unwrap()
    );
}

// REM-13, DEF-14
#[test]
fn usage_counts_each_file_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("a"), "12345").unwrap();
    fs::hard_link(dir.path().join("a"), dir.path().join("d/b")).unwrap();
    symlink("xyz", dir.path().join("l")).unwrap();
    let usage = disk_usage(open_dir(dir.path()).as_fd()).unwrap();
    assert_eq!((usage.size, usage.inodes), (8, 4));
}

#[test]
fn new_directories_of_any_depth_are_told() {
    // ARC-2: deeper than descriptors are kept open, where the old tree has nothing
    let dir = tempfile::tempdir().unwrap();
    let (new, old) = (dir.path().join("new"), dir.path().join("old"));
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 200).collect();
    fs::create_dir_all(new.join(&deep)).unwrap();
    fs::write(new.join("z"), "").unwrap();
    fs::create_dir(&old).unwrap();
    for _ in 0..20 {
        let (new, old) = (open_dir(&new), open_dir(&old));
        let found = changes_between(new.as_fd(), Some(old.as_fd()), AS_IT_IS).unwrap();
        assert_eq!(found.len(), 201);
        assert!(found.iter().all(|change| change.kind == ChangeKind::Add));
    }
}
