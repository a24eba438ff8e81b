//! Id maps: in with unpacking, out with packing, in between when trees are compared, and changed in place.

use std::fs;
use std::io::Cursor;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::FileType;

use super::packing::upper_and_lowers;
use super::{
    OVERLAY, Tar, go, header, listing, mknod, open_dir, options, plain, run_go, set_mtime,
    set_xattr, xattrs,
};
use crate::archive::pack::Header;
use crate::archive::{
    ChangeKind, CompareOptions, LayerFacts, PackOptions, UnpackOptions, Whiteouts, change_owners,
    changes_between, import, pack_changes, pack_tree, pack_upper,
};
use crate::{ErrorKind, IdMap, IdMaps, Result};

/// Ids from 0 to 99 are those from 100,000 on.
const MAP: &str = "map=0:100000:100";

fn both(host_id: u32, size: u32) -> IdMaps {
    let map = [IdMap { container_id: 0, host_id, size }];
    IdMaps::new(&map, &map)
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: giving files away needs root");
    }
    root
}

fn mapped(path: &Path, tar: &[u8], whiteouts: Whiteouts, maps: IdMaps) -> Result<LayerFacts> {
    let options = UnpackOptions { maps, ..options(whiteouts) };
    import(&mut Cursor::new(tar), open_dir(path).as_fd(), &options, Some(&mut Vec::new()))
}

fn owner(path: &Path) -> (u32, u32) {
    let about = path.symlink_metadata().unwrap();
    (about.uid(), about.gid())
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

fn layer() -> Tar {
    Tar::default()
        .add(Header { uid: 5, gid: 6, mode: 0o2755, ..header("d/", b'5') }, b"")
        .add(Header { uid: 5, gid: 6, mode: 0o4711, ..header("d/f", b'0') }, b"content")
        .link("d/g", b'2', "f")
        .add(Header { uid: 99, gid: 0, ..header("fifo", b'6') }, b"")
        .file("implied/way/f", "")
}

// UNP-10, UNP-7
#[test]
fn owners_in_a_tar_become_those_of_the_host() {
    if !is_root() {
        return;
    }
    let whiteout = Header { uid: 7, ..header("d/.wh.gone", b'0') };
    let tar = layer().add(whiteout, b"").end();
    for whiteouts in [OVERLAY, Whiteouts::Execute] {
        let dir = scratch();
        let facts = mapped(dir.path(), &tar, whiteouts, both(100_000, 100)).unwrap();
        let at = |name: &str| owner(&dir.path().join(name));
        assert_eq!(at("d"), (100_005, 100_006));
        assert_eq!(at("d/f"), (100_005, 100_006));
        assert_eq!(dir.path().join("d/f").metadata().unwrap().mode() & 0o7777, 0o4711);
        assert_eq!(at("d/g"), (100_000, 100_000));
        assert_eq!(at("fifo"), (100_099, 100_000));
        assert_eq!((at("implied"), at("implied/way")), ((100_000, 100_000), (100_000, 100_000)));
        // The record is of what the tar says.
        assert_eq!(facts.uids.iter().copied().collect::<Vec<_>>(), [0, 5, 99]);
        if whiteouts == OVERLAY {
            assert_eq!(at("d/gone"), (100_007, 100_000));
        }
    }
}

#[test]
fn an_owner_that_is_not_mapped_is_refused_by_name() {
    // ARC-7
    let refused = |tar: &[u8], whiteouts: Whiteouts| {
        let dir = scratch();
        mapped(dir.path(), tar, whiteouts, both(0, 5)).unwrap_err()
    };
    for name in ["a/file", "./"] {
        let kind = if name == "./" { b'5' } else { b'0' };
        let tar = Tar::default().add(Header { uid: 4, gid: 5, ..header(name, kind) }, b"").end();
        let e = refused(&tar, OVERLAY);
        assert_eq!(e.kind(), ErrorKind::InvalidArgument);
        let text = e.to_string();
        let shown = if name == "./" { "\"\"" } else { name };
        assert!(text.contains(shown) && text.contains("4:5"), "{text}");
    }
    // What only deletes something needs no owner; what is kept on the disk does, as in Go.
    let tar = Tar::default().add(Header { uid: 9, ..header(".wh.f", b'0') }, b"").end();
    assert!(refused(&tar, OVERLAY).to_string().contains(".wh.f"));
    let dir = scratch();
    fs::write(dir.path().join("f"), "").unwrap();
    mapped(dir.path(), &tar, Whiteouts::Execute, both(0, 5)).unwrap();
    assert!(!dir.path().join("f").exists());
    // Nor is there a root without root.
    let map = [IdMap { container_id: 1, host_id: 0, size: 5 }];
    let maps = IdMaps::new(&map, &map);
    let e = mapped(scratch().path(), &Tar::default().end(), OVERLAY, maps).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn mapped_trees_are_those_that_go_makes() {
    let Some(go) = go() else { return };
    if !is_root() {
        return;
    }
    let tar = layer().file("d/.wh.gone", "").end();
    for (command, whiteouts) in [("unpack", OVERLAY), ("apply", Whiteouts::Execute)] {
        let (theirs, ours) = (scratch(), scratch());
        let args = [MAP.as_ref(), command.as_ref(), theirs.path().as_os_str()];
        run_go(go, &args, &tar);
        mapped(ours.path(), &tar, whiteouts, both(100_000, 100)).unwrap();
        if whiteouts == OVERLAY {
            // It is made now.
            for tree in [&ours, &theirs] {
                set_mtime(&tree.path().join("d/gone"), 0, 0);
            }
        }
        let (mut ours, mut theirs) = (listing(ours.path()), listing(theirs.path()));
        for implied in ["implied", "implied/way"] {
            let about =
                [&mut ours, &mut theirs].map(|tree| tree.remove(implied.as_bytes()).unwrap());
            if whiteouts == Whiteouts::Execute {
                assert!(about[0].contains(" 100000:100000 "), "{about:?}");
                // A directory that nobody has inside: a change would not be exported.
                assert!(about[1].contains(" 0:0 "), "{about:?}");
            }
        }
        assert_eq!(ours, theirs);
    }
}

/// A tree whose owners are those of the host.
fn on_host(root: &Path) {
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "content").unwrap();
    fs::hard_link(root.join("d/f"), root.join("d/g")).unwrap();
    symlink("f", root.join("d/l")).unwrap();
    fs::write(root.join("capable"), "#!").unwrap();
    for name in ["d", "d/f", "d/l", "capable"] {
        std::os::unix::fs::lchown(root.join(name), Some(100_003), Some(100_004)).unwrap();
    }
    let capability =
        [&[1, 0, 0, 3][..], &[0, 4, 0, 0], &[0; 12], &100_000u32.to_le_bytes()].concat();
    set_xattr(&root.join("capable"), "security.capability", &capability);
    fs::write(root.join("of-root"), "not mapped").unwrap();
}

fn packed(root: &Path, maps: IdMaps) -> Vec<u8> {
    let mut out = Vec::new();
    let options = PackOptions { maps, ..PackOptions::default() };
    pack_tree(open_dir(root).as_fd(), &options, &mut out).unwrap();
    out
}

// TAR-5, TAR-9
#[test]
fn mapped_trees_are_packed_as_go_does() {
    let Some(go) = go() else { return };
    if !is_root() {
        return;
    }
    let dir = scratch();
    on_host(dir.path());
    let theirs = run_go(go, &[MAP.as_ref(), "tree".as_ref(), dir.path().as_os_str()], b"");
    let ours = packed(dir.path(), both(100_000, 100));
    assert_eq!(ours, theirs);
    let holds = |text: &str| ours.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("capable\0") && !holds("of-root"), "left out, as the log says");
    // Unpacked with the same maps it is the same again.
    let again = scratch();
    mapped(again.path(), &ours, OVERLAY, both(100_000, 100)).unwrap();
    fs::remove_file(dir.path().join("of-root")).unwrap();
    assert_eq!(packed(again.path(), both(100_000, 100)), packed(dir.path(), both(100_000, 100)));
}

#[test]
fn no_deletion_is_lost_for_its_owner() {
    // ARC-8
    if !is_root() {
        return;
    }
    let dir = scratch();
    let (upper, near, _) = upper_and_lowers(dir.path());
    let maps = both(100_000, 100);
    let names = |maps: &IdMaps| {
        let mut out = Vec::new();
        let (upper, near) = (open_dir(&upper), open_dir(&near));
        let options = PackOptions { maps: maps.clone(), ..PackOptions::default() };
        pack_upper(&plain(upper.as_fd(), &[near.as_fd()]), &options, &mut out).unwrap();
        let names = out.chunks(512).filter(|b| b.get(257..262) == Some(b"ustar"));
        let found: Vec<(String, String)> = names
            .map(|b| {
                let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
                (text(b.split(|c| *c == 0).next().unwrap()), text(&b[108..115]))
            })
            .filter(|(name, _): &(String, String)| name.contains(".wh.") && !name.ends_with(".opq"))
            .collect();
        found
    };
    // The kernel makes whiteouts root's of the host, which has no id inside; Go loses them then.
    let plain = names(&IdMaps::default());
    assert!(!plain.is_empty());
    assert_eq!(names(&maps), plain);
    let whiteout = upper.join("mine");
    mknod(&whiteout, FileType::CharacterDevice, 0);
    chown(&whiteout, Some(100_007), Some(100_000)).unwrap();
    let mine = names(&maps).into_iter().find(|(name, _)| name == ".wh.mine");
    assert_eq!(mine.unwrap().1, "0000007");
}

// overlay-driver.md 9.2
#[test]
fn owners_are_compared_as_they_are_inside() {
    let Some(go) = go() else { return };
    if !is_root() {
        return;
    }
    let dir = scratch();
    let (new, old) = (dir.path().join("new"), dir.path().join("old"));
    for (root, host) in [(&new, 100_000), (&old, 200_000)] {
        fs::create_dir(root).unwrap();
        for (name, id) in [("same", 5), ("other", if host == 100_000 { 6 } else { 7 }), ("cap", 1)]
        {
            let path = root.join(name);
            fs::write(&path, "").unwrap();
            chown(&path, Some(host + id), Some(host)).unwrap();
            set_mtime(&path, 1_600_000_000, 0);
        }
        let value =
            [&[1, 0, 0, 3][..], &[0, 4, 0, 0], &[0; 12], &(host + 3).to_le_bytes()].concat();
        set_xattr(&root.join("cap"), "security.capability", &value);
        // Neither map has it.
        fs::write(root.join("unmapped"), "").unwrap();
        set_mtime(&root.join("unmapped"), 1_600_000_000, 0);
    }
    let maps = (&both(100_000, 100), &both(200_000, 100));
    let options = CompareOptions { maps, override_stat: false };
    let (new_fd, old_fd) = (open_dir(&new), open_dir(&old));
    let changes = changes_between(new_fd.as_fd(), Some(old_fd.as_fd()), options).unwrap();
    let found: Vec<_> = changes.iter().map(|c| (c.kind, c.path.as_slice())).collect();
    assert_eq!(found, [(ChangeKind::Modify, &b"/other"[..])]);
    let parent = "parent-map=0:200000:100";
    let args =
        [MAP.as_ref(), parent.as_ref(), "between".as_ref(), new.as_os_str(), old.as_os_str()];
    assert_eq!(run_go(go, &args, b""), b"C /other\n");
    let args = [MAP.as_ref(), parent.as_ref(), "export".as_ref(), new.as_os_str(), old.as_os_str()];
    let mut out = Vec::new();
    let options = PackOptions { maps: maps.0.clone(), ..PackOptions::default() };
    pack_changes(new_fd.as_fd(), &changes, &options, &mut out).unwrap();
    assert_eq!(out, run_go(go, &args, b""));
}

// MAP-4, MAP-5, DEF-6
#[test]
fn owners_change_in_place() {
    if !is_root() {
        return;
    }
    let dir = scratch();
    on_host(dir.path());
    let at = |name: &str| dir.path().join(name);
    fs::set_permissions(at("d/f"), fs::Permissions::from_mode(0o6755)).unwrap();
    // Names of one byte, which Go's older walk passed over.
    for name in ["a", "z"] {
        fs::write(at(name), "").unwrap();
        chown(at(name), Some(100_099), Some(100_001)).unwrap();
    }
    let capability = xattrs(&at("capable")).remove("security.capability").unwrap();
    chown(dir.path(), Some(100_000), Some(100_000)).unwrap();
    let change = |from: &IdMaps, to: &IdMaps| change_owners(open_dir(dir.path()).as_fd(), from, to);
    change(&both(100_000, 100), &both(300_000, 50)).unwrap();
    assert_eq!(owner(dir.path()), (100_000, 100_000), "the root is the caller's");
    assert_eq!(owner(&at("d")), (300_003, 300_004));
    assert_eq!(owner(&at("d/f")), (300_003, 300_004));
    assert_eq!(owner(&at("d/l")), (300_003, 300_004));
    assert_eq!(at("d/f").metadata().unwrap().nlink(), 2);
    assert_eq!(at("d/f").metadata().unwrap().mode() & 0o7777, 0o6755);
    assert_eq!(xattrs(&at("capable"))["security.capability"], capability);
    // Root's, where a layer should have been mapped and was not; and nobody's, for want of an id.
    assert_eq!(owner(&at("of-root")), (300_000, 300_000));
    assert_eq!((owner(&at("a")), owner(&at("z"))), ((65534, 300_001), (65534, 300_001)));
    let e = change(&both(300_000, 50), &both(0, 10)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArgument);
    assert!(e.to_string().contains("65534:300001"), "{e}");
}
