//! Copies that are made apart from the layers: as those made in place, of the layers that were meant, and of nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::io::Errno;

use super::*;
use crate::IdMap;
use crate::driver::tests::{TestStore, chain, id, snapshot};
use crate::driver::{Driver, MountOptions};
use crate::sys::mount::{kernel_before, mounts_below};
use crate::sys::refused::{self, Call};
use crate::sys::remove::remove_tree;
use crate::sys::tempdir::adopt;

const TARGET: [IdMap; 1] = [IdMap { container_id: 0, host_id: 100_000, size: 65_536 }];

fn mapped() -> CreateOptions {
    CreateOptions { uid_map: TARGET.to_vec(), gid_map: TARGET.to_vec(), ..CreateOptions::default() }
}

/// A store with two layers, in which the upper one has hidden what the lower one has.
fn filled() -> TestStore {
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    let below = |name: &str| store.home("base/diff").join(name);
    fs::create_dir(below("a")).unwrap();
    fs::write(below("a/file"), "one file").unwrap();
    fs::hard_link(below("a/file"), below("second")).unwrap();
    fs::write(below("set-id"), "").unwrap();
    fs::set_permissions(below("set-id"), PermissionsExt::from_mode(0o4755)).unwrap();
    std::os::unix::fs::symlink("nowhere", below("link")).unwrap();
    fs::write(below("gone"), "").unwrap();
    let merged = driver.get(&id("top"), &MountOptions::default()).unwrap();
    fs::remove_file(merged.join("gone")).unwrap();
    fs::write(merged.join("own"), "own").unwrap();
    driver.put(&id("top")).unwrap();
    store
}

fn open(store: &TestStore, options: &[&str]) -> Overlay {
    let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
    Overlay::open("overlay", &store.graph, &store.run, None, &options, None).unwrap()
}

fn begin<'d>(driver: &'d Overlay, template: &str) -> Apart<'d> {
    driver.begin_apart(&id(template), &mapped(), &IdMaps::default()).unwrap().unwrap()
}

/// Makes a copy of `template` in place and one apart, which are to be the same.
fn compare(store: &TestStore, driver: &Overlay, template: &str) {
    let before = snapshot(&store.home(template));
    driver.create_from_template(&id("place"), &id(template), &mapped(), false).unwrap();
    driver.update_id_maps(&id("place"), &IdMaps::default(), &mapped().maps(), "").unwrap();
    let mut copy = begin(driver, template);
    assert!(copy.commit(&id("early")).is_err() && !driver.exists(&id("early")));
    copy.make().unwrap();
    assert!(copy.is_current());
    assert_eq!(snapshot(&store.home(template)), before, "it is only read");
    copy.commit(&id("apart")).unwrap();
    drop(copy);
    let seen = |layer: &str| -> Vec<String> {
        let all = snapshot(&driver.find(&id(layer)).unwrap().path()).into_iter();
        // Each has a short link of its own.
        all.filter(|line| !line.starts_with("\"link\"")).collect()
    };
    let apart = seen("apart");
    assert_eq!(apart, seen("place"));
    let copied =
        |line: &String| line.starts_with("\"diff1/a/file\"") && line.contains("100000:100000");
    assert!(apart.iter().any(copied), "{apart:?}");
    for root in driver.temp_dir_roots() {
        assert_eq!(fs::read_dir(&root).map_or(0, Iterator::count), 0, "{root:?}");
        assert!(mounts_below(&root).unwrap().is_empty());
    }
    driver.remove(&id("apart")).unwrap();
    driver.remove(&id("place")).unwrap();
}

#[test]
fn a_copy_made_apart_is_what_a_change_in_place_gives() {
    // MAP-1, MAP-2, ADD-4
    for options in [&[][..], &["mountopt=metacopy=on"], &["sync=none"]] {
        let store = filled();
        let driver = open(&store, options);
        compare(&store, &driver, "top");
        compare(&store, &driver, "base");
        // As where a mount has a place: before Linux 6.7, and where the new calls are forbidden.
        for call in [Call::Fsopen, Call::LowerdirPlus] {
            refused::with(&[(call, Errno::NOSYS)], || compare(&store, &driver, "top"));
        }
    }
}

#[test]
fn copies_for_a_separate_image_store_are_made_there() {
    let store = filled();
    let images = store.graph.join("images");
    let driver =
        Overlay::open("overlay", &store.graph, &store.run, Some(&images), &[], None).unwrap();
    compare(&store, &driver, "top");
    let mut copy = begin(&driver, "top");
    copy.make().unwrap();
    copy.commit(&id("apart")).unwrap();
    assert!(images.join("overlay/apart/diff1/a/file").exists());
}

#[test]
fn a_program_mounts_for_copies_as_well() {
    // MAP-1, GET-29
    if !Path::new("/usr/bin/fuse-overlayfs").exists() || !Path::new("/dev/fuse").exists() {
        println!("skipped: no fuse-overlayfs");
        return;
    }
    let store = filled();
    let driver = open(&store, &["mount_program=/usr/bin/fuse-overlayfs"]);
    let mut copy = begin(&driver, "base");
    copy.make().unwrap();
    assert!(mounts_below(&store.home("tempdirs")).unwrap().is_empty());
    copy.commit(&id("apart")).unwrap();
    let file = store.home("apart/diff1/a/file").metadata().unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&file), 100_000);
}

#[test]
fn of_a_long_chain_copies_are_made_in_place() {
    let store = filled();
    let driver = open(&store, &[]);
    let mut parent = id("base");
    for n in 2..=MOST_OPEN + 1 {
        let next = id(&format!("{n:064x}"));
        driver.create(&next, Some(&parent), &CreateOptions::default()).unwrap();
        let begun = driver.begin_apart(&next, &mapped(), &IdMaps::default()).unwrap();
        assert_eq!(begun.is_some(), n <= MOST_OPEN, "{n}");
        parent = next;
    }
}

#[test]
fn a_mode_forced_upon_all_files_is_that_of_the_copies_too() {
    // FMK-2, CRE-8, MAP-1
    let store = filled();
    let driver = open(&store, &["force_mask=0700"]);
    driver.create_from_template(&id("place"), &id("top"), &mapped(), false).unwrap();
    driver.update_id_maps(&id("place"), &IdMaps::default(), &mapped().maps(), "").unwrap();
    let mut copy = begin(&driver, "top");
    copy.make().unwrap();
    copy.commit(&id("apart")).unwrap();
    for dir in ["diff", "diff1"] {
        let look = |layer: &str| {
            let dir = store.home(layer).join(dir);
            let noted = read_override(&dir).unwrap();
            (DirLook::of(&dir).unwrap(), noted.mode, noted.uid, noted.gid)
        };
        assert_eq!(look("apart"), look("place"), "{dir}");
    }
}

#[test]
fn layers_that_were_replaced_meanwhile_are_others() {
    // ADD-4, MAP-1
    for replaced in ["top", "base"] {
        let store = filled();
        let driver = open(&store, &["skip_mount_home=true"]);
        let mut copy = begin(&driver, "top");
        assert!(copy.is_current());
        copy.make().unwrap();
        let (path, aside) = (store.home(replaced), store.home("aside"));
        fs::rename(&path, &aside).unwrap();
        assert!(!copy.is_current(), "{replaced} is gone");
        // As the directory of the same name that is made anew, in all that can be seen.
        let done = std::process::Command::new("cp").arg("-a").args([&aside, &path]).status();
        assert!(done.unwrap().success());
        assert!(!copy.is_current(), "{replaced} is another one");
        fs::remove_dir_all(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert!(copy.is_current());
    }
}

#[test]
fn a_layer_taken_away_meanwhile_is_no_basis() {
    let store = filled();
    let driver = open(&store, &[]);
    let mut copy = begin(&driver, "top");
    driver.remove(&id("top")).unwrap();
    assert!(copy.make().is_err());
    assert!(!copy.is_current());
    drop(copy);
    assert_eq!(fs::read_dir(store.home("tempdirs")).unwrap().count(), 0);
}

#[test]
fn what_others_deleted_of_the_copies_is_noticed() {
    // REM-8: as the collection of containers/storage before 1.59 does.
    let store = filled();
    let driver = open(&store, &[]);
    let mut copy = begin(&driver, "top");
    copy.make().unwrap();
    fs::remove_dir_all(store.home("tempdirs")).unwrap();
    assert!(!copy.is_current());
    // Also while they are made, and what fails then has failed for that.
    let mut copy = begin(&driver, "top");
    let made = copy.make_with(|_| {
        // Before Linux 6.7 something is mounted in it.
        remove_tree(&store.home("tempdirs")).unwrap();
        Err(Error::new(ErrorKind::Io, "copying into it"))
    });
    assert!(made.is_err());
    assert!(!copy.is_current());
}

#[test]
fn a_killed_process_leaves_a_temp_dir_and_no_mount() {
    let store = filled();
    let driver = open(&store, &[]);
    let mut copy = begin(&driver, "top");
    let root = store.home("tempdirs");
    copy.make_with(|tree| {
        // What has no place goes with the process.
        assert_eq!(mounts_below(&root).unwrap().is_empty(), !kernel_before(6, 7));
        change_owners(tree, &IdMaps::default(), &mapped().maps())
    })
    .unwrap();
    let mut taken = 0;
    adopt(&root, |_| taken += 1).unwrap();
    assert_eq!(taken, 0, "its owner lives");
    copy.temp.take().unwrap().leave();
    let upper = copy.made.take().unwrap();
    assert!(upper.join("a/file").exists());
    assert!(mounts_below(&root).unwrap().is_empty());
    adopt(&root, drop).unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn the_tree_at_a_place_that_was_unmounted_is_not_taken_for_the_copies() {
    // MAP-1: nothing in it would have to be changed.
    let store = filled();
    let dirs = ["place", "upper"].map(|name| store.home(name));
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let upper = open_dir(&dirs[1]).unwrap();
    let e = super::super::Mount::At(dirs[0].clone()).tree(upper.as_fd()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
    // One that went after it was opened has done its work.
    super::super::Mount::At(dirs[0].clone()).end().unwrap();
}
