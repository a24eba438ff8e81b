//! Migrations of homes that were made by the checklist: before and after, the layers show the same.

#[path = "../../../../tests/legacy/store.rs"]
pub(crate) mod store;

mod driver;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use self::store::LegacyHome;
use super::build::build;
use super::*;
use crate::driver::MountOptions;
use crate::driver::tests::{TestStore, id, snapshot, words};
use crate::sys::mount::bind_private;
use crate::sys::remove::remove_tree;
use crate::{Error, ErrorKind};

const LAYERS: [&str; 5] = ["base", "middle", "top", "first", "second"];

fn set_mtime(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 5 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Puts a new file in the place of what is there.
fn replace(path: &Path, text: &str) {
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
}

/// Three layers of an image, a container on it and one on that, with every kind of file and change.
fn fill(home: &LegacyHome) -> BTreeMap<LayerId, LayerId> {
    home.image("base", None, |root| {
        for dir in ["etc/deep/er", "gone/dir", "becomes/a/file", "usr/bin", "empty", "opaque"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for file in
            ["a", "same", "etc/b", "etc/deep/er/c", "gone/dir/f", "opaque/old", "becomes-dir"]
        {
            fs::write(root.join(file), file).unwrap();
        }
        fs::write(root.join("usr/bin/su"), "#!").unwrap();
        mode(&root.join("usr/bin/su"), 0o4755);
        mode(&root.join("usr"), 0o2775);
        mode(&root.join("empty"), 0o1777);
        std::os::unix::fs::chown(root.join("usr"), Some(7), Some(8)).unwrap();
        fs::hard_link(root.join("a"), root.join("usr/a2")).unwrap();
        symlink("a", root.join("link")).unwrap();
        let node = Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(CWD, root.join("null"), FileType::CharacterDevice, node, 259).unwrap();
        rustix::fs::mknodat(CWD, root.join("fifo"), FileType::Fifo, node, 0).unwrap();
        drop(UnixListener::bind(root.join("sock")).unwrap());
        for path in ["etc/b", "etc"] {
            let (key, none) = ("user.note", XattrFlags::empty());
            rustix::fs::lsetxattr(root.join(path), key, path.as_bytes(), none).unwrap();
        }
        for path in ["link", "fifo", "same", "empty", "etc/deep", "etc"] {
            set_mtime(&root.join(path), 1_000_000_000);
        }
    });
    home.image("middle", Some("base"), |root| {
        fs::remove_dir_all(root.join("gone")).unwrap();
        fs::remove_dir_all(root.join("becomes")).unwrap();
        fs::write(root.join("becomes"), "file").unwrap();
        fs::remove_file(root.join("becomes-dir")).unwrap();
        fs::create_dir(root.join("becomes-dir")).unwrap();
        fs::write(root.join("becomes-dir/x"), "x").unwrap();
        // Another file that looks the same from outside.
        replace(&root.join("same"), "SAME");
        set_mtime(&root.join("same"), 1_000_000_000);
        mode(&root.join("empty"), 0o700);
        fs::hard_link(root.join("etc/b"), root.join("b2")).unwrap();
        fs::remove_file(root.join("link")).unwrap();
        symlink("b2", root.join("link")).unwrap();
        fs::remove_file(root.join("opaque/old")).unwrap();
        fs::write(root.join("opaque/new"), "new").unwrap();
    });
    home.image("top", Some("middle"), |root| {
        fs::create_dir(root.join("gone")).unwrap();
        fs::write(root.join("gone/again"), "again").unwrap();
        fs::remove_file(root.join("fifo")).unwrap();
    });
    home.container("first", "top");
    home.show("first", |root| {
        fs::write(root.join("etc/b"), "written").unwrap();
        fs::write(root.join("mine"), "mine").unwrap();
        fs::remove_file(root.join("a")).unwrap();
        fs::remove_dir_all(root.join("etc/deep")).unwrap();
        fs::create_dir(root.join("etc/deep")).unwrap();
        fs::write(root.join("etc/deep/only"), "").unwrap();
    });
    home.container("second", "first");
    home.show("second", |root| {
        fs::remove_file(root.join("mine")).unwrap();
        fs::write(root.join("a"), "back").unwrap();
    });
    // Since then the container below went its own way.
    home.show("first", |root| fs::write(root.join("late"), "late").unwrap());
    let pairs = [("middle", "base"), ("top", "middle"), ("first", "top"), ("second", "first")];
    pairs.into_iter().map(|(child, parent)| (id(child), id(parent))).collect()
}

/// All that counts of a tree: as [`snapshot`], with attributes, times of what is no directory, and which names are the same file.
fn seen(root: &Path) -> Vec<String> {
    let mut all = snapshot(root);
    let (mut left, mut firsts) = (vec![PathBuf::new()], BTreeMap::new());
    while let Some(path) = left.pop() {
        let full = root.join(&path);
        let about = full.symlink_metadata().unwrap();
        let mut note = [0u8; 64];
        if let Ok(n) = rustix::fs::lgetxattr(&full, "user.note", &mut note) {
            all.push(format!("{path:?} note {:?}", &note[..n]));
        }
        if about.is_dir() {
            let mut names: Vec<_> =
                fs::read_dir(&full).unwrap().map(|e| path.join(e.unwrap().file_name())).collect();
            // Taken from the end.
            names.sort_by(|a, b| b.cmp(a));
            left.extend(names);
            continue;
        }
        all.push(format!("{path:?} of {}.{}", about.mtime(), about.mtime_nsec()));
        let first = firsts.entry(about.ino()).or_insert_with(|| path.clone());
        if *first != path {
            all.push(format!("{path:?} is {first:?}"));
        }
    }
    all
}

fn all_seen(home: &LegacyHome) -> Vec<Vec<String>> {
    LAYERS.iter().map(|layer| home.show(layer, seen)).collect()
}

/// As today's driver shows them: images read-only, containers not.
fn all_shown(store: &TestStore) -> Vec<Vec<String>> {
    let driver = store.overlay(&[]);
    let shown = LAYERS.iter().map(|layer| {
        let container = ["first", "second"].contains(layer);
        let options = if container { MountOptions::default() } else { words(&["ro"]) };
        let at = driver.get(&id(layer), &options).unwrap();
        let seen = seen(&at);
        driver.put(&id(layer)).unwrap();
        seen
    });
    let shown = shown.collect();
    driver.cleanup().unwrap();
    shown
}

/// A migration that is not cut short.
fn migrate(store: &TestStore, parents: &BTreeMap<LayerId, LayerId>) -> Result<bool> {
    let migration = Migration::new(&store.home(""));
    migration.settle()?;
    let Some(planned) = migration.plan(parents, &[])? else { return Ok(false) };
    migration.build(&planned)?;
    migration.switch()?;
    migration.settle()?;
    Ok(true)
}

#[test]
fn layers_show_what_they_showed_and_share_their_files() {
    // ACC-16, LEG-4, LEG-8, LEG-10, LEG-14; tests/legacy/store.rs makes the home, and mount(8) says what it shows
    let store = TestStore::new();
    let home = LegacyHome::new(&store.graph);
    let parents = fill(&home);
    let before = all_seen(&home);
    assert!(migrate(&store, &parents).unwrap());
    let kept = store.graph.join("overlay.legacy");
    let inodes = |root: &Path| -> BTreeSet<u64> {
        let walk = |dir: PathBuf, left: &mut Vec<PathBuf>| -> Vec<u64> {
            let mut found = Vec::new();
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let about = path.symlink_metadata().unwrap();
                let whiteout = FileType::from_raw_mode(about.mode()) == FileType::CharacterDevice
                    && about.rdev() == 0;
                if about.is_dir() {
                    left.push(path);
                } else if !whiteout {
                    found.push(about.ino());
                }
            }
            found
        };
        let (mut left, mut all) = (vec![root.to_path_buf()], BTreeSet::new());
        while let Some(dir) = left.pop() {
            all.extend(walk(dir, &mut left));
        }
        all
    };
    let old = inodes(&kept);
    for layer in LAYERS {
        let new = inodes(&store.home(layer).join("diff"));
        assert!(!new.is_empty() && new.is_subset(&old), "{layer}");
    }
    // Nothing but what the layers changed; directories whose times alone are those of the copy are left out.
    let names = |layer: &str| -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(store.home(layer).join("diff"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("top"), ["fifo", "gone"]);
    // A socket became a fifo, and a directory's attribute was lost, when the layer was made (LEG-10).
    let found = names("middle");
    let changed =
        ["b2", "becomes", "becomes-dir", "empty", "etc", "gone", "link", "opaque", "same"];
    assert_eq!(found, [&changed[..], &["sock"]].concat());
    assert!(!store.home("base/root").exists() && kept.join("base/root/a").exists());
    assert_eq!(fs::read_to_string(store.home("second/lower-layers")).unwrap(), "top:middle:base");

    assert_eq!(all_shown(&store), before);
    assert!(!migrate(&store, &parents).unwrap(), "all is done");
    assert!(Migration::new(&store.home("")).remove_kept().unwrap());
    assert!(!kept.exists());
    assert_eq!(all_shown(&store), before);
    assert!(!Migration::new(&store.home("")).remove_kept().unwrap());
}

#[test]
fn stopped_at_any_step_the_store_is_legacy_or_migrated() {
    let mut stop = 0;
    loop {
        let store = TestStore::new();
        let home = LegacyHome::new(&store.graph);
        let parents = fill(&home);
        let before = all_seen(&home);
        let migration = Migration::new(&store.home(""));
        let planned = migration.plan(&parents, &[]).unwrap().unwrap();
        // As a killed process leaves it: so many layers of the new home, then the whole of it, then the switch, then the name.
        let workplace = store.graph.join("overlay.migrating");
        let built = planned.steps().len();
        build(&home.0, &workplace, &planned.steps()[..stop.min(built)]).unwrap();
        if stop > built {
            migration.switch().unwrap();
        }
        if stop > built + 1 {
            migration.settle().unwrap();
        }
        match stop > built {
            false => assert_eq!(all_seen(&home), before, "{stop}"),
            true => assert_eq!(all_shown(&store), before, "{stop}"),
        }
        assert_eq!(migrate(&store, &parents).unwrap(), stop <= built, "{stop}");
        assert_eq!(all_shown(&store), before, "{stop}");
        assert!(!workplace.exists() && store.graph.join("overlay.legacy/base/root/a").exists());
        if stop > built + 1 {
            break;
        }
        stop += 1;
    }
}

#[test]
fn what_is_left_of_a_stopped_removal_goes_later() {
    let store = TestStore::new();
    let parents = fill(&LegacyHome::new(&store.graph));
    migrate(&store, &parents).unwrap();
    let kept = store.graph.join("overlay.legacy");
    for layer in LAYERS {
        remove_tree(&kept.join(layer).join("root")).unwrap();
        remove_tree(&kept.join(layer).join("lower-id")).unwrap();
    }
    assert!(Migration::new(&store.home("")).remove_kept().unwrap());
    assert!(!kept.exists());
}

/// The error of a migration that changes nothing.
fn refused(store: &TestStore, parents: &BTreeMap<LayerId, LayerId>) -> Error {
    let before = snapshot(&store.graph);
    let error = migrate(store, parents).unwrap_err();
    assert_eq!(snapshot(&store.graph), before, "{error}");
    error
}

#[test]
fn what_is_in_use_or_of_two_kinds_is_refused() {
    let store = TestStore::new();
    let home = LegacyHome::new(&store.graph);
    let parents = fill(&home);
    let busy = home.show("first", |_| refused(&store, &parents));
    assert_eq!((busy.kind(), busy.file()), (ErrorKind::Busy, Some(&*store.home("first/merged"))));
    bind_private(&store.home("")).unwrap();
    assert_eq!(refused(&store, &parents).kind(), ErrorKind::Busy);
    crate::sys::mount::detach(&store.home("")).unwrap();

    fs::create_dir_all(store.home("today/diff")).unwrap();
    assert_eq!(refused(&store, &parents).kind(), ErrorKind::NotSupported);
    fs::remove_dir_all(store.home("today")).unwrap();
    fs::create_dir(store.graph.join("overlay.legacy")).unwrap();
    assert_eq!(refused(&store, &parents).kind(), ErrorKind::NotSupported);
    fs::remove_dir(store.graph.join("overlay.legacy")).unwrap();
    std::os::unix::fs::chown(store.home(""), Some(100_000), Some(100_000)).unwrap();
    assert_eq!(refused(&store, &parents).kind(), ErrorKind::NotSupported);
    std::os::unix::fs::chown(store.home(""), Some(0), Some(0)).unwrap();
    let migration = Migration::new(&store.home(""));
    let e = migration.plan(&parents, &[id("base"), id("lost")]).unwrap_err();
    assert_eq!((e.kind(), e.file()), (ErrorKind::Corrupt, Some(&*store.home("lost"))));
    assert!(!migration.remove_kept().unwrap());
    assert!(migrate(&store, &parents).unwrap());
}

#[test]
fn damaged_and_hostile_homes_are_refused_by_name() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 9] = [
        ("first/lower-id", |home| fs::write(home.join("first/lower-id"), "../top").unwrap()),
        ("first/lower-id", |home| fs::write(home.join("first/lower-id"), "").unwrap()),
        ("first/lower-id", |home| fs::write(home.join("first/lower-id"), "first").unwrap()),
        ("first/lower-id", |home| fs::write(home.join("first/lower-id"), "second").unwrap()),
        ("first/lower-id", |home| {
            fs::remove_file(home.join("first/lower-id")).unwrap();
            symlink("/etc/hostname", home.join("first/lower-id")).unwrap();
        }),
        ("first/upper", |home| fs::remove_dir_all(home.join("first/upper")).unwrap()),
        ("first/upper", |home| {
            fs::remove_dir_all(home.join("first/upper")).unwrap();
            symlink("/etc", home.join("first/upper")).unwrap();
        }),
        ("top/root", |home| {
            fs::rename(home.join("top/root"), home.join("elsewhere")).unwrap();
            symlink("../elsewhere", home.join("top/root")).unwrap();
        }),
        ("first/lower-id", |home| fs::remove_dir_all(home.join("top/root")).unwrap()),
    ];
    for (n, (file, damage)) in cases.into_iter().enumerate() {
        let store = TestStore::new();
        let parents = fill(&LegacyHome::new(&store.graph));
        damage(&store.home(""));
        let e = refused(&store, &parents);
        assert_eq!(
            (e.kind(), e.file()),
            (ErrorKind::Corrupt, Some(&*store.home(file))),
            "{n}: {e}"
        );
    }
    // A link or a file in place of what is mounted on is no matter: it is made anew.
    let store = TestStore::new();
    let home = LegacyHome::new(&store.graph);
    let parents = fill(&home);
    let before = all_seen(&home);
    fs::remove_dir(store.home("first/merged")).unwrap();
    symlink("/etc", store.home("first/merged")).unwrap();
    assert!(migrate(&store, &parents).unwrap());
    assert_eq!(all_shown(&store), before);
}

#[test]
fn marks_of_the_kernel_in_an_image_do_nothing() {
    // ARC-1: in a plain tree they were nothing
    let store = TestStore::new();
    let home = LegacyHome::new(&store.graph);
    home.image("base", None, |root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/below"), "below").unwrap();
        fs::write(root.join("file"), "text").unwrap();
    });
    home.image("top", Some("base"), |root| {
        let mark = |path: &Path, key: &str, value: &[u8]| {
            rustix::fs::lsetxattr(path, key, value, XattrFlags::empty()).unwrap();
        };
        fs::write(root.join("d/own"), "own").unwrap();
        mark(&root.join("d"), "trusted.overlay.opaque", b"y");
        mark(&root.join("d"), "trusted.overlay.redirect", b"/etc");
        replace(&root.join("file"), "other");
        mark(&root.join("file"), "trusted.overlay.metacopy", b"");
    });
    let before = home.show("top", snapshot);
    migrate(&store, &[(id("top"), id("base"))].into()).unwrap();
    let driver = store.overlay(&[]);
    let at = driver.get(&id("top"), &words(&["ro"])).unwrap();
    assert_eq!(snapshot(&at), before);
    driver.put(&id("top")).unwrap();
    let marked = |path: &str| {
        rustix::fs::lgetxattr(store.home(path), "trusted.overlay.metacopy", &mut [0u8; 8])
    };
    assert!(marked("top/diff/file").is_err());
    let kept = store.graph.join("overlay.legacy/top/root/file");
    assert!(rustix::fs::lgetxattr(kept, "trusted.overlay.metacopy", &mut [0u8; 8]).is_ok());
}
