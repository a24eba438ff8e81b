//! Layers whose owners are another range of ids: how they are made, and how they are changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::XattrFlags;

use crate::driver::tests::{TestStore, chain, id, mode, snapshot};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, MountOptions};
use crate::{ErrorKind, IdMap, IdMaps};

const UIDS: [IdMap; 1] = [IdMap { container_id: 0, host_id: 100_000, size: 65_536 }];
const GIDS: [IdMap; 1] = [IdMap { container_id: 0, host_id: 200_000, size: 65_536 }];

/// `cap_net_raw=ep`, as capabilities(7) lays it out.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(super) fn maps() -> IdMaps {
    IdMaps::new(&UIDS, &GIDS)
}

pub(super) fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let about = path.as_ref().symlink_metadata().unwrap();
    (about.uid(), about.gid())
}

fn capability(path: &Path) -> Option<Vec<u8>> {
    let mut buffer = [0u8; 64];
    let n = rustix::fs::lgetxattr(path, "security.capability", &mut buffer).ok()?;
    Some(buffer[..n].to_vec())
}

/// Files of every kind that a change of owners must keep.
pub(super) fn fill(dir: &Path) {
    for name in ["a", "o", "z", "long-name"] {
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("file"), name).unwrap();
    }
    let at = |name: &str| dir.join(name);
    fs::write(at("s"), "set-id").unwrap();
    chown(at("s"), Some(7), Some(8)).unwrap();
    fs::set_permissions(at("s"), PermissionsExt::from_mode(0o6755)).unwrap();
    fs::write(at("ping"), "capable").unwrap();
    rustix::fs::lsetxattr(at("ping"), "security.capability", &CAPABILITY, XattrFlags::empty())
        .unwrap();
    symlink("nowhere", at("link")).unwrap();
    lchown(at("link"), Some(9), Some(9)).unwrap();
    fs::write(at("first"), "one file").unwrap();
    fs::hard_link(at("first"), at("a/second")).unwrap();
    fs::hard_link(at("first"), at("z/third")).unwrap();
    fs::set_permissions(at("o"), PermissionsExt::from_mode(0o2750)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    chown(at("long-name/file"), Some(70_000), Some(70_000)).unwrap();
}

#[test]
fn a_layer_with_maps_belongs_to_their_root() {
    // CRE-4, CRE-6, CRE-10
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let mapped = CreateOptions {
        uid_map: UIDS.to_vec(),
        gid_map: GIDS.to_vec(),
        ..CreateOptions::default()
    };
    driver.create(&id("base"), None, &mapped).unwrap();
    for (dir, wanted) in
        [("", 0o700), ("diff", 0o555), ("work", 0o700), ("merged", 0o700), ("empty", 0o700)]
    {
        let path = store.home("base").join(dir);
        assert_eq!((owner(&path), mode(&path)), ((100_000, 200_000), wanted), "{dir:?}");
    }
    assert_eq!(owner(store.home("l")), (0, 0));
    // The parent's root says who owns a child's content, the maps who owns its directory.
    chain(&*driver, &["plain"]);
    driver.create_read_write(&id("child"), Some(&id("plain")), &mapped).unwrap();
    assert_eq!(owner(store.home("child")), (100_000, 200_000));
    assert_eq!(owner(store.home("child/diff")), (0, 0));
    let how = ApplyOptions { maps: maps(), ..ApplyOptions::default() };
    let staged = driver.stage(None, &how).unwrap();
    let root = rustix::fs::fstat(staged.root()).unwrap();
    assert_eq!((root.st_uid, root.st_gid), (100_000, 200_000));
    assert_eq!(staged.unpack_options().maps, maps());
    assert_eq!(driver.content(&id("base"), &how).unwrap().1.maps, maps());

    let rootless = [IdMap { container_id: 5, host_id: 1000, size: 2 }];
    let e = CreateOptions { uid_map: rootless.to_vec(), ..CreateOptions::default() };
    let e = driver.create(&id("x"), None, &e).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArgument);
    assert!(!driver.exists(&id("x")));
}

#[test]
fn a_layer_gets_other_owners_and_keeps_all_else() {
    // ACC-11, MAP-1 to MAP-6, DEF-6
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "ctr"]);
    fill(&store.home("base/diff"));
    let below = snapshot(&store.home("base"));
    driver.update_id_maps(&id("ctr"), &IdMaps::default(), &maps(), "").unwrap();
    assert_eq!(snapshot(&store.home("base")), below);
    for (dir, wanted) in [("diff", 0o555), ("work", 0o555)] {
        let path = store.home("ctr").join(dir);
        assert_eq!((owner(&path), mode(&path)), ((100_000, 200_000), wanted), "{dir}");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "{dir}");
    }
    assert!(!store.home("ctr/diff2").exists());
    assert_eq!(fs::read_dir(store.home("tempdirs")).unwrap().count(), 0);

    let copies = store.home("ctr/diff1");
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    for tree in [&copies, &merged] {
        let at = |name: &str| tree.join(name);
        for name in
            ["a", "o", "z", "long-name", "a/file", "o/file", "z/file", "first", "fifo", "ping"]
        {
            assert_eq!(owner(at(name)), (100_000, 200_000), "{name}");
        }
        assert_eq!((owner(at("s")), mode(at("s"))), ((100_007, 200_008), 0o6755));
        assert_eq!(owner(at("link")), (100_009, 200_009));
        assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("nowhere"));
        assert_eq!(mode(at("o")), 0o2750);
        assert_eq!(capability(&at("ping")).as_deref(), Some(&CAPABILITY[..]));
        // Beyond the map's range.
        assert_eq!(owner(at("long-name/file")), (65_534, 65_534));
        let inode = |name: &str| at(name).metadata().unwrap().ino();
        assert_eq!((inode("a/second"), inode("z/third")), (inode("first"), inode("first")));
        assert_eq!(at("first").metadata().unwrap().nlink(), 3);
        assert_eq!(fs::read_to_string(at("z/third")).unwrap(), "one file");
    }
    let modified = |tree: &Path| tree.join("z").metadata().unwrap().modified().unwrap();
    assert_eq!(
        modified(&copies),
        modified(&store.home("base/diff")),
        "joined links leave no trace"
    );
    assert_eq!(owner(&merged), (100_000, 200_000));
    driver.put(&id("ctr")).unwrap();
    // What was written before is in the layer's changes (DEF-8).
    let changes = driver.changes(&id("ctr"), Some(&id("base")), &DiffOptions::default()).unwrap();
    assert!(changes.iter().any(|c| c.path == b"/ping"), "{changes:?}");
}

#[test]
fn a_layer_is_changed_again_and_again() {
    // MAP-1, MAP-4
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "ctr"]);
    fs::write(store.home("base/diff/f"), "f").unwrap();
    fs::write(store.home("base/diff/gone"), "").unwrap();
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    fs::remove_file(merged.join("gone")).unwrap();
    fs::write(merged.join("own"), "own").unwrap();
    driver.put(&id("ctr")).unwrap();
    let other = [IdMap { container_id: 0, host_id: 300_000, size: 10 }];
    let steps = [IdMaps::default(), maps(), IdMaps::new(&other, &other), IdMaps::default()];
    for pair in steps.windows(2) {
        driver.update_id_maps(&id("ctr"), &pair[0], &pair[1], "").unwrap();
        let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
        let root = pair[1].root().unwrap();
        for name in ["", "f", "own"] {
            assert_eq!(owner(merged.join(name)), root, "{name}");
        }
        assert_eq!(fs::read_to_string(merged.join("own")).unwrap(), "own");
        assert!(!merged.join("gone").exists());
        driver.put(&id("ctr")).unwrap();
    }
    assert!(store.home("ctr/diff4").is_dir() && !store.home("ctr/diff5").exists());
}

#[test]
fn what_cannot_be_changed_is_left_alone() {
    // ADD-4, MAP-4, ADD-2
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "ctr"]);
    fs::write(store.home("base/diff/roots"), "").unwrap();
    let change = |from: &IdMaps, to: &IdMaps| driver.update_id_maps(&id("ctr"), from, to, "");

    driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    let e = change(&IdMaps::default(), &maps()).unwrap_err();
    assert_eq!((e.kind(), e.object_id()), (ErrorKind::Busy, Some("ctr")), "{e}");
    driver.put(&id("ctr")).unwrap();
    let before = snapshot(&store.graph);

    let rootless = [IdMap { container_id: 5, host_id: 1000, size: 2 }];
    let e = change(&IdMaps::default(), &IdMaps::new(&rootless, &[])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{e}");
    let e = driver.update_id_maps(&id("none"), &maps(), &maps(), "").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::LayerUnknown);
    fs::create_dir_all(store.home("base/diff/d/e")).unwrap();
    fs::write(store.home("base/diff/d/e/foreign"), "").unwrap();
    for dir in ["d", "d/e"] {
        chown(store.home("base/diff").join(dir), Some(100_000), Some(200_000)).unwrap();
    }
    chown(store.home("base/diff/d/e/foreign"), Some(5), Some(5)).unwrap();
    let with_foreign = snapshot(&store.home("ctr"));
    let e = change(&maps(), &IdMaps::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArgument);
    assert!(e.to_string().contains("d/e/foreign") && e.to_string().contains("5:5"), "{e}");
    assert_eq!(snapshot(&store.home("ctr")), with_foreign);
    fs::remove_dir_all(store.home("base/diff/d")).unwrap();
    assert_eq!(snapshot(&store.graph), before);
    // Root's are taken for root's where they should have been mapped and are not.
    change(&maps(), &IdMaps::default()).unwrap();
    assert_eq!(owner(store.home("ctr/diff")), (0, 0));
    assert!(!store.home("ctr/diff1/roots").exists(), "nothing to change");
}

#[test]
fn a_full_chain_and_a_base_layer_are_changed() {
    let store = TestStore::new();
    let driver = store.overlay(&["mountopt=index=on"]);
    let hex = |n: usize| id(&format!("{n:064x}"));
    for n in 0..=500usize {
        let parent = n.checked_sub(1).map(hex);
        driver.create(&hex(n), parent.as_ref(), &CreateOptions::default()).unwrap();
    }
    fill(&store.home(hex(0)).join("diff"));
    driver.update_id_maps(&hex(500), &IdMaps::default(), &maps(), "").unwrap();
    let copies = store.home(hex(500)).join("diff1");
    assert_eq!(owner(copies.join("a/second")), (100_000, 200_000));
    assert_eq!(copies.join("first").metadata().unwrap().nlink(), 3, "also with an index");
    driver.update_id_maps(&hex(0), &IdMaps::default(), &maps(), "").unwrap();
    assert_eq!(owner(store.home(hex(0)).join("diff1/a/file")), (100_000, 200_000));
    assert_eq!(owner(store.home(hex(0)).join("diff2/a/file")), (0, 0));
}
