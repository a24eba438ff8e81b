//! One mode forced upon all files, what they are beside it (`overlay-driver.md` 11.4), and packing by that.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::{
    AS_IT_IS, OVERLAY, Tar, go, header, import_to, listing, open_dir, options, run_go, set_mtime,
    xattrs,
};
use crate::archive::pack::Header;
use crate::archive::{
    ChangeKind, CompareOptions, PackOptions, UnpackOptions, Whiteouts, changes_between,
    changes_in_upper, import, pack_tree,
};
use crate::{ErrorKind, IdMap, IdMaps, Result};

const KEY: &str = "user.containers.override_stat";

fn forced(path: &Path, tar: &[u8], options: UnpackOptions) -> Result<()> {
    let options = UnpackOptions { force_mask: Some(0o700), ..options };
    import(&mut Cursor::new(tar), open_dir(path).as_fd(), &options, Some(&mut Vec::new()))?;
    Ok(())
}

fn note(path: &Path) -> String {
    String::from_utf8(xattrs(path).remove(KEY).unwrap_or_default()).unwrap()
}

/// Every kind of file, with owners that a user who is not root could not set.
fn kinds() -> Tar {
    let owned = |name: &str, kind: u8, mode: u32| Header {
        uid: 5,
        gid: 6,
        mode,
        dev_major: if matches!(kind, b'3' | b'4') { 1 } else { 0 },
        dev_minor: if matches!(kind, b'3' | b'4') { 3 } else { 0 },
        ..header(name, kind)
    };
    let odd = vec![
        (b"user.mine".to_vec(), b"kept".to_vec()),
        (KEY.into(), b"0:0:0777:char-9-9".to_vec()),
    ];
    Tar::default()
        .add(owned("d/", b'5', 0o1755), b"")
        .add(Header { xattrs: odd, ..owned("d/suid", b'0', 0o4755) }, b"content")
        .link("d/link", b'2', "suid")
        .link("d/twin", b'1', "d/suid")
        .add(owned("fifo", b'6', 0o640), b"")
        .add(owned("null", b'3', 0o666), b"")
        .add(owned("disk", b'4', 0o7), b"")
}

// FMK-2, DEF-25
#[test]
fn every_kind_of_file_is_of_the_mode_and_notes_what_it_is() {
    let tar = kinds().file("implied/f", "x").end();
    for whiteouts in [OVERLAY, Whiteouts::Execute, Whiteouts::Keep] {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        // Devices as well, which a user namespace could not make.
        let options = UnpackOptions { in_user_namespace: true, ..options(whiteouts) };
        forced(dir.path(), &tar, options).unwrap();
        let me = rustix::process::geteuid().as_raw();
        for (name, value) in [
            ("d", "5:6:1755:dir"),
            ("d/suid", "5:6:4755:file"),
            ("fifo", "5:6:0640:pipe"),
            ("null", "5:6:0666:char-1-3"),
            ("disk", "5:6:0007:block-1-3"),
            ("implied/f", "0:0:0644:file"),
            (".", "0:0:0755:dir"),
        ] {
            let path = dir.path().join(name);
            assert_eq!(note(&path), value, "{name}");
            let about = path.symlink_metadata().unwrap();
            assert!(about.is_file() || about.is_dir(), "{name}");
            if name != "." {
                assert_eq!((about.uid(), about.mode() & 0o7777), (me, 0o700), "{name}");
            }
        }
        assert!(xattrs(&dir.path().join("d/link")).is_empty());
        assert_eq!(xattrs(&dir.path().join("d/suid"))["user.mine"], b"kept");
        assert_eq!(note(&dir.path().join("implied")), "", "12.12");
        assert_eq!(fs::read(dir.path().join("d/twin")).unwrap(), b"content");
        assert_eq!(dir.path().join("d/twin").metadata().unwrap().nlink(), 2);
    }
}

#[test]
fn an_entry_says_what_the_root_is() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let root = Header { uid: 7, mode: 0o1777, ..header("./", b'5') };
    let maps = IdMaps::new(&[IdMap { container_id: 0, host_id: 1000, size: 10 }], &[]);
    let tar = Tar::default().add(root, b"").end();
    forced(dir.path(), &tar, UnpackOptions { maps: maps.clone(), ..options(OVERLAY) }).unwrap();
    assert_eq!(note(dir.path()), "1007:0:1777:dir", "UNP-10: ids are the host's");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let none = Tar::default().end();
    forced(dir.path(), &none, UnpackOptions { maps, ..options(OVERLAY) }).unwrap();
    assert_eq!(note(dir.path()), "1000:0:0755:dir");
}

#[test]
fn forced_trees_are_those_that_go_makes() {
    let Some(go) = go() else { return };
    if !rustix::process::geteuid().is_root() {
        println!("skipped: forced trees beside Go: its unpacking needs root");
        return;
    }
    let tar = kinds().file(".wh.gone", "").end();
    let (theirs, ours) =
        (tempfile::tempdir_in("/var/tmp").unwrap(), tempfile::tempdir_in("/var/tmp").unwrap());
    let args = ["mask=700".as_ref(), "unpack".as_ref(), theirs.path().as_os_str()];
    run_go(go, &args, &tar);
    forced(ours.path(), &tar, options(OVERLAY)).unwrap();
    for tree in [&ours, &theirs] {
        // It is made now.
        set_mtime(&tree.path().join("gone"), 0, 0);
    }
    assert_eq!(listing(ours.path()), listing(theirs.path()));
    assert_eq!(note(ours.path()), note(theirs.path()));
    assert!(ours.path().join("gone").metadata().unwrap().file_type().is_char_device());
}

// FMK-3
#[test]
fn what_files_note_is_packed() {
    // ARC-9
    let whole =
        Tar::default().add(Header { mode: 0o1755, uid: 5, gid: 6, ..header("d/", b'5') }, b"");
    let whole =
        whole.add(Header { mode: 0o4755, uid: 5, gid: 6, ..header("d/f", b'0') }, b"content");
    let whole = whole
        .link("d/g", b'1', "d/f")
        .add(Header { uid: 5, ..header("fifo", b'6') }, b"")
        .add(Header { uid: 5, dev_major: 1, dev_minor: 3, ..header("null", b'3') }, b"")
        .end();
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    forced(dir.path(), &whole, options(OVERLAY)).unwrap();
    let pack = |dir: &Path, override_stat: bool| {
        let mut out = Vec::new();
        let options = PackOptions { override_stat, ..PackOptions::default() };
        pack_tree(open_dir(dir).as_fd(), &options, &mut out).unwrap();
        out
    };
    let packed = pack(dir.path(), true);
    let again = tempfile::tempdir_in("/var/tmp").unwrap();
    forced(again.path(), &packed, options(OVERLAY)).unwrap();
    assert_eq!(listing(again.path()), listing(dir.path()));
    let holds = |tar: &[u8], text: &str| tar.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!holds(&packed, KEY));
    assert!(holds(&pack(dir.path(), false), "5:6:4755:file"), "as it is, as in Go");

    // The form of old, a socket, and what is no such note.
    let set = |name: &str, value: &str| {
        fs::write(dir.path().join(name), "1234").unwrap();
        super::set_xattr(&dir.path().join(name), KEY, value.as_bytes());
    };
    set("old", "8:9:0751");
    set("odd", "8:9:a");
    set("socket", "8:9:0751:socket");
    set("strange", "8:9:0751:dir");
    let packed = pack(dir.path(), true);
    let find = |name: &str| {
        let at = packed.chunks(512).position(|b| b.starts_with(format!("{name}\0").as_bytes()));
        at.map(|at| String::from_utf8_lossy(&packed[at * 512 + 100..at * 512 + 157]).into_owned())
    };
    assert!(find("old").unwrap().starts_with("0000751\x000000010\x000000011\x0000000000004\0"));
    assert!(find("strange").unwrap().starts_with("0000751\x000000010\x000000011\x0000000000004\0"));
    assert!(find("strange").unwrap().ends_with('0'), "what lies there is a file");
    assert!(find("socket").is_none());
    assert!(holds(&packed, "override_stat=8:9:a"));
}

// FMK-4: what counts is what readers are told.
#[test]
fn trees_are_compared_by_what_their_files_note() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (new, old) = (dir.path().join("new"), dir.path().join("old"));
    fs::create_dir_all(&new).unwrap();
    fs::create_dir_all(&old).unwrap();
    // Mode and note in the new tree, and in the old one; whether the disk says that they differ, and whether the notes do.
    let me = rustix::process::geteuid().as_raw();
    let plain = format!("{me}:{}:0600:file", rustix::process::getegid().as_raw());
    let cases = [
        ("disk", (0o700, "5:6:0644:file"), (0o755, "5:6:0644:file"), true, false),
        ("form", (0o700, "5:6:0644"), (0o700, "5:6:0644:file"), true, false),
        ("alike", (0o700, "5:6:0644:file"), (0o700, "5:6:0644:file"), false, false),
        ("mode", (0o700, "5:6:0644:file"), (0o700, "5:6:0640:file"), true, true),
        ("suid", (0o700, "5:6:4755:file"), (0o700, "5:6:0755:file"), true, true),
        ("owner", (0o700, "5:6:0644:file"), (0o700, "5:7:0644:file"), true, true),
        ("kind", (0o700, "5:6:0644:pipe"), (0o700, "5:6:0644:file"), true, true),
        ("device", (0o700, "5:6:0644:char-1-3"), (0o700, "5:6:0644:char-1-5"), true, true),
        ("same-device", (0o700, "5:6:0644:char-1-3"), (0o755, "5:6:0644:char-1-3"), true, false),
        ("dir/", (0o700, "5:6:1777:dir"), (0o755, "5:6:1777:dir"), true, false),
        ("other-dir/", (0o700, "5:6:1777:dir"), (0o700, "5:6:0777:dir"), true, true),
        ("none", (0o600, ""), (0o640, ""), true, true),
        ("one", (0o600, ""), (0o700, plain.as_str()), true, false),
        ("odd", (0o700, "5:6:x"), (0o700, "5:6:y"), true, true),
        ("odd-mode", (0o700, "5:6:x"), (0o755, "5:6:x"), true, true),
    ];
    for (name, new_side, old_side, ..) in &cases {
        for (root, (mode, note)) in [(&new, new_side), (&old, old_side)] {
            let path = root.join(name);
            match name.ends_with('/') {
                true => fs::create_dir(&path).unwrap(),
                false => fs::write(&path, "content").unwrap(),
            }
            if !note.is_empty() {
                super::set_xattr(&path, KEY, note.as_bytes());
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
            set_mtime(&path, 1_600_000_000, 0);
        }
    }
    let changed = |override_stat| -> BTreeSet<String> {
        let options = CompareOptions { override_stat, ..AS_IT_IS };
        let (new, old) = (open_dir(&new), open_dir(&old));
        let changes = changes_between(new.as_fd(), Some(old.as_fd()), options).unwrap();
        assert!(changes.iter().all(|c| c.kind == ChangeKind::Modify));
        changes.iter().map(|c| String::from_utf8_lossy(&c.path).into_owned()).collect()
    };
    let expected = |wanted: fn(&(bool, bool)) -> bool| -> BTreeSet<String> {
        let those = cases.iter().filter(|(.., disk, notes)| wanted(&(*disk, *notes)));
        those.map(|(name, ..)| format!("/{}", name.trim_end_matches('/'))).collect()
    };
    assert_eq!(changed(true), expected(|(_, notes)| *notes));
    assert_eq!(changed(false), expected(|(disk, _)| *disk));
    // Go compares what is on the disk, and the notes as text.
    let Some(go) = go() else { return };
    let said = run_go(go, &["between".as_ref(), new.as_os_str(), old.as_os_str()], b"");
    let said = String::from_utf8(said).unwrap();
    let theirs: BTreeSet<String> =
        said.lines().map(|line| line.strip_prefix("C ").unwrap().to_owned()).collect();
    assert_eq!(theirs, changed(false));
}

// FMK-4, CHG-4: a directory is there only for what is in it, or was changed itself.
#[test]
fn directories_of_an_upper_are_compared_by_what_they_note() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (upper, lower) = (dir.path().join("upper"), dir.path().join("lower"));
    // Mode and note in the upper, and in the lower; whether the disk says that they differ, and whether the notes do.
    let cases = [
        ("disk", (0o700, "5:6:0755:dir"), (0o755, "5:6:0755:dir"), true, false),
        ("form", (0o700, "5:6:0755"), (0o755, "5:6:0755:dir"), true, false),
        ("noted", (0o700, "5:6:0755:dir"), (0o755, ""), true, false),
        ("alike", (0o700, "5:6:0755:dir"), (0o700, "5:6:0755:dir"), false, false),
        ("mode", (0o700, "5:6:0755:dir"), (0o700, "5:6:0750:dir"), false, true),
        ("sticky", (0o700, "5:6:1777"), (0o700, "5:6:0777"), false, true),
        ("odd", (0o700, "5:6:x"), (0o755, "5:6:x"), true, true),
    ];
    for (name, above, below, ..) in &cases {
        for (root, (mode, note)) in [(&upper, above), (&lower, below)] {
            let path = root.join(name);
            fs::create_dir_all(&path).unwrap();
            if !note.is_empty() {
                super::set_xattr(&path, KEY, note.as_bytes());
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
            set_mtime(&path, 1_600_000_000, 0);
        }
    }
    let changed = |override_stat| -> Vec<String> {
        let (upper, lower) = (open_dir(&upper), open_dir(&lower));
        let lowers = [lower.as_fd()];
        let upper = super::plain(upper.as_fd(), &lowers);
        let changes = changes_in_upper(&upper, override_stat).unwrap();
        assert!(changes.iter().all(|c| c.kind == ChangeKind::Modify));
        changes.iter().map(|c| String::from_utf8_lossy(&c.path).into_owned()).collect()
    };
    let expected = |wanted: fn(&(bool, bool)) -> bool| -> Vec<String> {
        let those = cases.iter().filter(|(.., disk, notes)| wanted(&(*disk, *notes)));
        let mut names: Vec<_> = those.map(|(name, ..)| format!("/{name}")).collect();
        names.sort();
        names
    };
    assert_eq!(changed(true), expected(|(_, notes)| *notes));
    assert_eq!(changed(false), expected(|(disk, _)| *disk));
    // Go compares what is on the disk.
    let Some(go) = go() else { return };
    let said = run_go(go, &["changes".as_ref(), upper.as_os_str(), lower.as_os_str()], b"");
    let said = String::from_utf8(said).unwrap();
    let theirs: Vec<_> = said.lines().map(|line| line.strip_prefix("C ").unwrap()).collect();
    assert_eq!(theirs, changed(false));
}

#[test]
fn a_file_that_cannot_note_its_owner_is_an_error() {
    // ARC-9
    // UNP-17 forgives attributes that the file system does not have; this one is the owner.
    if !rustix::process::geteuid().is_root() {
        println!(
            "skipped: a file that cannot note its owner: only root mounts a file system without user attributes"
        );
        return;
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let work = || {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        // Of this thread, and gone with it.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        mount("none", dir.path(), "ramfs", MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
        let plain = Tar::default().add(
            Header { xattrs: vec![(b"user.x".to_vec(), b"1".to_vec())], ..header("f", b'0') },
            b"",
        );
        import_to(dir.path(), &plain.end(), OVERLAY).unwrap();
        forced(dir.path(), &Tar::default().dir("d/").end(), options(OVERLAY)).unwrap_err()
    };
    let e = std::thread::scope(|s| s.spawn(work).join().unwrap());
    assert_eq!(e.kind(), ErrorKind::Io);
    assert!(e.to_string().contains("force_mask needs"), "{e}");
}

#[test]
fn without_a_mask_nothing_is_noted() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    import_to(dir.path(), &Tar::default().file("f", "").dir("d/").end(), OVERLAY).unwrap();
    assert!([".", "f", "d"].iter().all(|name| note(&dir.path().join(name)).is_empty()));
}
