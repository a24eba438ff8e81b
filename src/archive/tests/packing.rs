//! Tars of trees are Go's, byte for byte (TAR-1 to TAR-9, overlay-driver.md 10.2).

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::FileType;

use super::{
    AS_IT_IS, form, go, go_1_24, mknod, open_dir, os, plain, run_go, set_mtime, set_xattr,
};
use crate::archive::{Compat, PackOptions, pack_tree, pack_upper};
use crate::sys::beneath::testing::in_both_modes;

/// A file of every kind and every difficulty.
pub(super) fn zoo(root: &Path) {
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    fs::write(root.join("dir/file"), "content").unwrap();
    fs::write(root.join("dir/empty"), "").unwrap();
    fs::write(root.join("dir-file"), "sorts before what is in dir").unwrap();
    fs::hard_link(root.join("dir/file"), root.join("hard")).unwrap();
    symlink("../somewhere/else", root.join("link")).unwrap();
    symlink("x".repeat(150), root.join("longlink")).unwrap();
    symlink("ünï", root.join("utf8link")).unwrap();
    fs::hard_link(root.join("link"), root.join("link2")).unwrap();
    mknod(&root.join("fifo"), FileType::Fifo, 0);
    mknod(&root.join("char"), FileType::CharacterDevice, rustix::fs::makedev(5, 1));
    mknod(&root.join("block"), FileType::BlockDevice, rustix::fs::makedev(259, 70_000));
    mknod(&root.join("socket"), FileType::Socket, 0);
    fs::write(root.join("attrs"), "a").unwrap();
    set_xattr(&root.join("attrs"), "user.zeta", b"\0binary\xff");
    set_xattr(&root.join("attrs"), "user.alpha", b"");
    set_xattr(&root.join("attrs"), "user.overlay.x", b"not exported");
    set_xattr(&root.join("attrs"), "trusted.x", b"not exported");
    fs::hard_link(root.join("attrs"), root.join("attrs2")).unwrap();
    set_xattr(&root.join("dir"), "user.dir", b"v");
    fs::write(root.join("capable"), "#!").unwrap();
    let capability = [&[1, 0, 0, 2][..], &[0, 4, 0, 0], &[0; 12]].concat();
    set_xattr(&root.join("capable"), "security.capability", &capability);
    fs::write(root.join("big-owner"), "").unwrap();
    chown(root.join("big-owner"), Some(2_097_152), Some(4_000_000_000)).unwrap();
    fs::write(root.join("seven-digits"), "").unwrap();
    chown(root.join("seven-digits"), Some(2_097_151), Some(7)).unwrap();
    fs::write(root.join("suid"), "").unwrap();
    fs::set_permissions(root.join("suid"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(root.join("dir/sub"), fs::Permissions::from_mode(0o1777)).unwrap();
    let deep = format!("{}/{}", "p".repeat(90), "q".repeat(60));
    fs::create_dir_all(root.join(&deep)).unwrap();
    for name in ["short", &"r".repeat(99), &"s".repeat(101), &"t".repeat(255)] {
        fs::write(root.join(&deep).join(name), name).unwrap();
    }
    fs::create_dir_all(root.join("d".repeat(99))).unwrap();
    fs::create_dir_all(root.join("e".repeat(100)).join("f".repeat(98))).unwrap();
    fs::create_dir_all(root.join("g".repeat(200)).join("h".repeat(200))).unwrap();
    fs::write(root.join("größe"), "").unwrap();
    fs::create_dir_all(root.join("Verzeichnis-ä").join("ö".repeat(80))).unwrap();
    fs::write(root.join(os(b"not-utf8-\xff")), "").unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"data", 1 << 20).unwrap();
    for (name, seconds, nanos) in [
        ("fifo", -5, 0),
        ("dir/empty", 1, 999_999_999),
        ("link", 9_000_000_000, 1),
        ("suid", -1, 5),
    ] {
        set_mtime(&root.join(name), seconds, nanos);
    }
}

/// The first difference, so that a failure does not print two archives.
fn assert_same(ours: &[u8], theirs: &[u8]) {
    let at = ours.iter().zip(theirs).position(|(a, b)| a != b);
    if let Some(at) = at {
        let block = at / 512 * 512;
        let show = |b: &[u8]| b[block..(block + 512).min(b.len())].escape_ascii().to_string();
        panic!("byte {at} differs:\n{}\n{}", show(ours), show(theirs));
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn trees_are_packed_as_go_does() {
    // ACC-8, TAR-1, TAR-2, TAR-3, TAR-6, TAR-7, TAR-8, TAR-9
    let Some(go) = go() else { return };
    let dir = tempfile::tempdir().unwrap();
    zoo(dir.path());
    let theirs = run_go(go, &["tree".as_ref(), dir.path().as_os_str()], b"");
    let mut ours = Vec::new();
    pack_tree(open_dir(dir.path()).as_fd(), &PackOptions::default(), &mut ours).unwrap();
    assert!(theirs.len() > 3 << 20);
    assert_same(&ours, &theirs);
}

#[test]
fn uppers_are_packed_as_go_does() {
    // ACC-8
    let Some(go) = go() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (upper, near, far) = upper_and_lowers(dir.path());
    zoo(&upper);
    let args = ["upper".as_ref(), upper.as_os_str(), near.as_os_str(), far.as_os_str()];
    let theirs = run_go(go, &args, b"");
    in_both_modes(|| {
        let (near, far) = (open_dir(&near), open_dir(&far));
        let mut ours = Vec::new();
        let lowers = [near.as_fd(), far.as_fd()];
        pack_upper(&plain(open_dir(&upper).as_fd(), &lowers), &PackOptions::default(), &mut ours)
            .unwrap();
        assert_same(&ours, &theirs);
        let text = String::from_utf8_lossy(&ours);
        assert_eq!(text.matches(".wh..wh..opq").count(), 2, "opaque over near and far");
    });
    let theirs = run_go(go, &args[..2], b"");
    let mut ours = Vec::new();
    pack_upper(&plain(open_dir(&upper).as_fd(), &[]), &PackOptions::default(), &mut ours).unwrap();
    assert_same(&ours, &theirs);
}

// TAR-4, TAR-5, 10.2: the old form, with the kinds in the modes, the owners' names, and whiteouts of mode 0600.
#[test]
fn the_form_of_1_24_is_its_own() {
    // ACC-8
    let Some(go) = go_1_24() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (upper, near, far) = upper_and_lowers(dir.path());
    zoo(&upper);
    // A name that the host has for a user, and none for a group.
    chown(upper.join("dir-file"), Some(1), Some(4_000_000_001)).unwrap();
    let args = ["tree".as_ref(), upper.as_os_str()];
    let theirs = run_go(go, &args, b"");
    let mut ours = Vec::new();
    pack_tree(open_dir(&upper).as_fd(), &form(Compat::V1_24), &mut ours).unwrap();
    assert_same(&ours, &theirs);
    let args = ["upper".as_ref(), upper.as_os_str(), near.as_os_str(), far.as_os_str()];
    let theirs = run_go(go, &args, b"");
    let mut ours = Vec::new();
    let (near, far) = (open_dir(&near), open_dir(&far));
    let (root, lowers) = (open_dir(&upper), [near.as_fd(), far.as_fd()]);
    pack_upper(&plain(root.as_fd(), &lowers), &form(Compat::V1_24), &mut ours).unwrap();
    assert_same(&ours, &theirs);
    let mut now = Vec::new();
    pack_upper(&plain(root.as_fd(), &lowers), &PackOptions::default(), &mut now).unwrap();
    assert!(ours != now && ours.windows(7).any(|w| w == b"0100644"));
    assert!(ours.windows(5).any(|w| w == b"root\0"));

    // Changes between trees: all but the time of whiteouts.
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::create_dir(&old).unwrap();
    fs::create_dir(&new).unwrap();
    zoo(&new);
    fs::write(old.join("only-old"), "").unwrap();
    let theirs = run_go(go, &["export".as_ref(), new.as_os_str(), old.as_os_str()], b"");
    let (new, old) = (open_dir(&new), open_dir(&old));
    let changes =
        crate::archive::changes_between(new.as_fd(), Some(old.as_fd()), AS_IT_IS).unwrap();
    let mut ours = Vec::new();
    crate::archive::pack_changes(new.as_fd(), &changes, &form(Compat::V1_24), &mut ours).unwrap();
    let timeless = |tar: &[u8]| -> Vec<u8> {
        let mut tar = tar.to_vec();
        let hidden = |block: &[u8]| block.starts_with(b".wh.");
        for block in tar.chunks_mut(512).filter(|block| hidden(block)) {
            block[136..156].fill(0);
        }
        tar
    };
    assert_same(&timeless(&ours), &timeless(&theirs));
}

/// Whiteouts and opaque directories, over something and over nothing.
pub(super) fn upper_and_lowers(
    dir: &Path,
) -> (std::path::PathBuf, std::path::PathBuf, std::path::PathBuf) {
    let (upper, near, far) = (dir.join("upper"), dir.join("near"), dir.join("far"));
    for path in [
        upper.join("o/in-near"),
        upper.join("o/in-far"),
        upper.join("o/nowhere"),
        upper.join("o/whited-out"),
        upper.join("o/parent-whited-out/sub"),
        upper.join("plain/deep"),
        near.join("o/in-near"),
        near.join("plain/deep"),
        far.join("o/in-far"),
        far.join("o/whited-out"),
        far.join("o/parent-whited-out/sub"),
        far.join("plain"),
    ] {
        fs::create_dir_all(path).unwrap();
    }
    for name in ["in-near", "in-far", "nowhere", "whited-out", "parent-whited-out/sub"] {
        set_xattr(&upper.join("o").join(name), "trusted.overlay.opaque", b"y");
        fs::write(upper.join("o").join(name).join("new"), "n").unwrap();
    }
    set_xattr(&upper.join("plain"), "trusted.overlay.opaque", b"x");
    for whiteout in
        [near.join("o/whited-out"), near.join("o/parent-whited-out"), upper.join("gone")]
    {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            whiteout,
            FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            0,
        )
        .unwrap();
    }
    fs::write(near.join("gone"), "").unwrap();
    fs::write(near.join("plain/deep/changed"), "1").unwrap();
    fs::write(upper.join("plain/deep/changed"), "2").unwrap();
    // The kernel shares one inode among whiteouts.
    fs::hard_link(upper.join("gone"), upper.join("plain/gone-too")).unwrap();
    fs::hard_link(upper.join("gone"), upper.join("zgone")).unwrap();
    (upper, near, far)
}

// DEF-2: what is not in the upper is never packed as zeros or as an empty directory.
#[test]
fn uppers_without_their_content_are_refused() {
    for (name, key, elsewhere) in [
        ("f", "trusted.overlay.metacopy", true),
        ("d", "trusted.overlay.redirect", true),
        // Left behind by the kernel when the data are copied after all.
        ("f", "trusted.overlay.redirect", false),
        ("f", "trusted.overlay.origin", false),
        ("f", "user.overlay.metacopy", false),
    ] {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("f"), "f").unwrap();
        set_xattr(&dir.path().join(name), key, b"/x");
        let upper = open_dir(dir.path());
        let told = crate::archive::has_content_elsewhere(upper.as_fd(), "trusted.overlay.");
        assert_eq!(told.unwrap(), elsewhere, "{key}");
        let packed =
            pack_upper(&plain(upper.as_fd(), &[]), &PackOptions::default(), &mut Vec::new());
        assert_eq!(packed.is_err(), elsewhere, "{key}");
    }
}

/// Does to `root` what running programs do, until told to stop.
fn churn(root: &Path, stop: &std::sync::atomic::AtomicBool) {
    let at = |name: &str| root.join(name);
    let mut n = 0u32;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        n += 1;
        fs::write(at("new"), "content").unwrap();
        fs::rename(at("new"), at("replaced")).unwrap();
        let turn = at("turn");
        match n % 4 {
            0 => fs::create_dir(&turn).unwrap(),
            1 => fs::remove_dir(&turn).unwrap_or_default(),
            2 => symlink("/etc", &turn).unwrap(),
            _ => {
                fs::remove_file(&turn).unwrap();
                fs::write(&turn, "x").unwrap();
                fs::remove_file(&turn).unwrap();
            }
        }
    }
}

// A running container is committed: what is replaced meanwhile is packed as one or the other, or left out.
#[test]
fn trees_in_use_are_packed() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(dir.path().join("replaced"), "content").unwrap();
    let fd = open_dir(dir.path());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| churn(dir.path(), &stop));
        let run = || -> crate::Result<()> {
            for _ in 0..800 {
                let mut tar = Vec::new();
                pack_tree(fd.as_fd(), &PackOptions::default(), &mut tar)?;
                assert!(tar.windows(7).any(|w| w == b"content"));
                crate::archive::changes_between(fd.as_fd(), Some(fd.as_fd()), AS_IT_IS)?;
                crate::archive::changes_in_upper(&plain(fd.as_fd(), &[fd.as_fd()]), true)?;
                crate::archive::disk_usage(fd.as_fd())?;
            }
            Ok(())
        };
        let outcome = run();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome.unwrap();
    });
}
