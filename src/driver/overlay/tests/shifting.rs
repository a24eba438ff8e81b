//! Mounts that map the owners of the layers below.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::ids::{fill, maps, owner};
use crate::driver::tests::{TestStore, chain, id, mode, mounted_at, snapshot, super_options};
use crate::driver::{CreateOptions, Driver, MountOptions};
use crate::sys::idmapped::mapped_clone;
use crate::sys::mount::{attach, mounts_below};
use crate::sys::refused::{self, Call};
use crate::sys::userns::user_namespace;
use crate::{ErrorKind, IdMap, IdMaps};

pub(super) fn mapped(maps: &IdMaps, options: &[&str]) -> MountOptions {
    MountOptions {
        uid_map: maps.uids.clone(),
        gid_map: maps.gids.clone(),
        options: options.iter().map(|&o| o.to_owned()).collect(),
        ..MountOptions::default()
    }
}

fn status(driver: &dyn Driver) -> String {
    let mut rows = driver.status().into_iter();
    rows.find(|(name, _)| name == "Supports shifting").unwrap().1
}

#[test]
fn the_kernel_is_tried_out_once_and_can_be_switched_off() {
    // 4.6, MAP-7, DEF-17
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    assert!(driver.supports_shifting(&maps()).unwrap());
    let yes = store.run.join("overlay/idmapped-lower-dir-true");
    assert_eq!(fs::read_to_string(&yes).unwrap(), "");
    assert_eq!(status(&*driver), "true");
    assert_eq!(fs::read_dir(store.home("tempdirs")).unwrap().count(), 0);
    assert_eq!(mounts_below(&store.home("tempdirs")).unwrap().len(), 0);
    let off = store.overlay(&["disable_idmap=true"]);
    assert!(!off.supports_shifting(&maps()).unwrap());
    assert_eq!(status(&*off), "false");
    // A no is believed, as long as the run root has it.
    fs::rename(&yes, store.run.join("overlay/idmapped-lower-dir-false")).unwrap();
    assert!(!store.overlay(&[]).supports_shifting(&maps()).unwrap());

    // With a mount program one range is needed, and no kernel.
    let gaps = [0, 10].map(|n| IdMap { container_id: n, host_id: 2 * n + 1000, size: 10 });
    let program = store.overlay(&["mount_program=/bin/true"]);
    assert!(program.supports_shifting(&maps()).unwrap());
    assert!(!program.supports_shifting(&IdMaps::new(&gaps, &gaps)).unwrap());
}

#[test]
fn a_file_system_that_maps_no_ids_is_remembered_with_its_reason() {
    // 4.6, DEF-17
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let refusal = [(Call::MountSetattr, rustix::io::Errno::INVAL)];
    refused::with(&refusal, || assert!(!driver.supports_shifting(&maps()).unwrap()));
    let reason = fs::read_to_string(store.run.join("overlay/idmapped-lower-dir-false")).unwrap();
    assert!(reason.contains("no mount that maps ids"), "{reason}");
    assert_eq!(status(&*driver), "false");
}

#[test]
fn only_what_the_kernel_lacks_is_remembered() {
    // 4.6, DEF-17
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    driver.prepare().unwrap();
    let [yes, no] =
        [true, false].map(|w| store.run.join(format!("overlay/idmapped-lower-dir-{w}")));
    let without =
        |errno| refused::with(&[(Call::Clone, errno)], || driver.supports_shifting(&maps()));
    // As many processes as there may be.
    without(rustix::io::Errno::AGAIN).unwrap_err();
    assert!(!yes.exists() && !no.exists());
    assert!(!without(rustix::io::Errno::NOSYS).unwrap());
    assert!(fs::read_to_string(&no).unwrap().contains("no user namespace"));
    fs::remove_file(&no).unwrap();
    assert!(driver.supports_shifting(&maps()).unwrap() && yes.exists());
}

#[test]
fn lowers_are_mapped_and_the_upper_is_not() {
    // GET-33 to GET-36, GET-7, DEF-22
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid", "ctr"]);
    fill(&store.home("base/diff"));
    fs::create_dir(store.home("mid/diff1")).unwrap();
    fs::write(store.home("mid/diff1/older"), "").unwrap();
    let below = snapshot(&store.home("base"));
    let merged = driver.get(&id("ctr"), &mapped(&maps(), &[])).unwrap();
    assert_eq!(owner(merged.join("a/file")), (100_000, 200_000));
    assert_eq!(owner(merged.join("s")), (100_007, 200_008));
    assert_eq!(owner(merged.join("older")), (100_000, 200_000));
    assert_eq!((owner(&merged), mode(&merged)), ((100_000, 200_000), 0o555));
    fs::write(merged.join("new"), "").unwrap();
    assert_eq!((owner(merged.join("new")), owner(store.home("ctr/diff/new"))), ((0, 0), (0, 0)));
    fs::write(merged.join("a/file"), "copied up").unwrap();
    assert_eq!(owner(store.home("ctr/diff/a/file")), (100_000, 200_000));
    // The table names the layers, and none of the mounts on the way stays.
    let told = super_options(&merged);
    let start = format!("lowerdir={}/temp-dir-", store.home("tempdirs").display());
    let rest = told.split_once(&*start).unwrap_or_else(|| panic!("{told}")).1;
    let number = rest.split_once('/').unwrap().0;
    let at = |path: &str| store.home(format!("tempdirs/temp-dir-{number}/0/{path}"));
    let lowers =
        ["mid/diff", "mid/diff/../diff1", "base/diff"].map(|l| at(l).to_str().unwrap().to_owned());
    assert!(told.contains(&format!("lowerdir={},", lowers.join(":"))), "{told}");
    assert_eq!(mounts_below(&store.home("tempdirs")).unwrap().len(), 0);
    assert_eq!(fs::read_dir(store.home("tempdirs")).unwrap().count(), 0);

    // DEF-16: a mount with other maps is another mount.
    let e = driver.get(&id("ctr"), &MountOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy);
    assert!(e.to_string().contains("id maps"), "{e}");
    driver.put(&id("ctr")).unwrap();
    assert_eq!(snapshot(&store.home("base")), below);

    // Without maps the root's owner stays as it is.
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    assert_eq!((owner(&merged), owner(merged.join("s"))), ((100_000, 200_000), (7, 8)));
    driver.put(&id("ctr")).unwrap();
    // What is its own keeps its owners also where nothing is written; base layers lie on their empty directory.
    let merged = driver.get(&id("ctr"), &mapped(&maps(), &["ro"])).unwrap();
    assert_eq!(owner(merged.join("new")), (0, 0));
    assert_eq!(owner(merged.join("s")), (100_007, 200_008));
    driver.put(&id("ctr")).unwrap();
    for words in [&["ro"][..], &[]] {
        let merged = driver.get(&id("base"), &mapped(&maps(), words)).unwrap();
        assert_eq!(owner(merged.join("s")), (7, 8));
        driver.put(&id("base")).unwrap();
    }
    // One map alone, or a switch that is off: nobody maps.
    let one = MountOptions { gid_map: Vec::new(), ..mapped(&maps(), &[]) };
    let merged = driver.get(&id("ctr"), &one).unwrap();
    assert_eq!(owner(merged.join("s")), (7, 8));
    driver.put(&id("ctr")).unwrap();
    let merged =
        store.overlay(&["disable_idmap=1"]).get(&id("ctr"), &mapped(&maps(), &[])).unwrap();
    assert_eq!(owner(merged.join("s")), (7, 8));
}

#[test]
fn maps_that_the_kernel_refuses_mount_nothing() {
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "ctr"]);
    let twice = [0, 5].map(|n| IdMap { container_id: n, host_id: 1000, size: 10 });
    let e = driver.get(&id("ctr"), &mapped(&IdMaps::new(&twice, &twice), &[])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{e}");
    assert_eq!(mounts_below(&store.home("ctr")).unwrap().len(), 0);
    driver.get(&id("ctr"), &mapped(&maps(), &[])).unwrap();
}

#[test]
fn long_chains_are_mapped_in_short_lines() {
    // MNT-3, GET-14
    let store = TestStore::named("g".repeat(60));
    let driver = store.overlay(&[]);
    let hex = |n: usize| id(&format!("{n:064x}"));
    for n in 0..=500usize {
        let parent = n.checked_sub(1).map(hex);
        driver.create(&hex(n), parent.as_ref(), &CreateOptions::default()).unwrap();
    }
    fs::write(store.home(hex(0)).join("diff/deepest"), "found").unwrap();
    for lowers in [20, 60, 500] {
        let merged = driver.get(&hex(lowers), &mapped(&maps(), &[])).unwrap();
        assert_eq!(owner(merged.join("deepest")), (100_000, 200_000), "{lowers}");
        let new = format!("new{lowers}");
        fs::write(merged.join(&new), "").unwrap();
        assert!(store.home(hex(lowers)).join("diff").join(&new).exists());
        assert!(super_options(&merged).len() < 32 << 10);
        driver.put(&hex(lowers)).unwrap();
    }
    let merged = driver.get(&hex(499), &mapped(&maps(), &["ro"])).unwrap();
    assert_eq!(owner(merged.join("deepest")), (100_000, 200_000));
}

#[test]
fn names_of_any_kind_are_mapped() {
    // DEF-10
    let long = format!("deep/{}", "d".repeat(200)).repeat(2);
    for name in ["a,b:c\\d e", "ünï", &long] {
        let store = TestStore::named(name);
        let driver = store.overlay(&[]);
        chain(&*driver, &["base", "ctr"]);
        fs::write(store.home("base/diff/f"), "").unwrap();
        let merged = driver.get(&id("ctr"), &mapped(&maps(), &[])).unwrap();
        assert_eq!(owner(merged.join("f")), (100_000, 200_000), "{name}");
        fs::write(merged.join("g"), "").unwrap();
        assert!(store.home("ctr/diff/g").exists());
        driver.put(&id("ctr")).unwrap();
        driver.update_id_maps(&id("ctr"), &IdMaps::default(), &maps(), "").unwrap();
        assert_eq!(owner(store.home("ctr/diff1/f")), (100_000, 200_000), "{name}");
    }
    // A home that is a link to another place.
    let store = TestStore::new();
    fs::create_dir(&store.graph).unwrap();
    fs::create_dir(store.beside("elsewhere")).unwrap();
    symlink(store.beside("elsewhere"), store.graph.join("overlay")).unwrap();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "ctr"]);
    fs::write(store.home("base/diff/f"), "").unwrap();
    let merged = driver.get(&id("ctr"), &mapped(&maps(), &[])).unwrap();
    assert_eq!(owner(merged.join("f")), (100_000, 200_000));
}

#[test]
fn layers_of_other_stores_are_mapped() {
    // GET-35: a mount for each home
    let shared = TestStore::new();
    let theirs = shared.overlay(&["skip_mount_home=true"]);
    chain(&*theirs, &["far"]);
    fs::write(shared.home("far/diff/f"), "").unwrap();
    fs::write(shared.home("far/diff/top"), "").unwrap();
    let store = TestStore::new();
    let driver = store.overlay(&[&format!("imagestore={}", shared.graph.display())]);
    driver.create(&id("near"), Some(&id("far")), &CreateOptions::default()).unwrap();
    fs::write(store.home("near/diff/g"), "").unwrap();
    driver.create_read_write(&id("ctr"), Some(&id("near")), &CreateOptions::default()).unwrap();
    let before = snapshot(&shared.graph);
    let merged = driver.get(&id("ctr"), &mapped(&maps(), &[])).unwrap();
    for name in ["f", "g"] {
        assert_eq!(owner(merged.join(name)), (100_000, 200_000), "{name}");
    }
    driver.put(&id("ctr")).unwrap();
    // Of a layer that is mounted below the run root.
    driver.get(&id("far"), &mapped(&maps(), &[])).unwrap();
    driver.put(&id("far")).unwrap();
    assert!(!store.run.join("overlay/far").exists());
    assert_eq!(snapshot(&shared.graph), before);
    assert!(!store.home("far").exists());
}

/// What a process of upstream's leaves that is killed between its mount and its end.
fn leave_behind(store: &TestStore) {
    let target = store.home("ctr/mapped/0");
    fs::create_dir_all(&target).unwrap();
    let namespace = user_namespace(&maps()).unwrap();
    attach(&mapped_clone(&store.home(""), namespace.as_fd()).unwrap(), &target).unwrap();
    assert!(target.join("base/diff/f").exists());
}

#[test]
fn what_a_killed_process_left_mounted_goes_and_harms_nothing() {
    // GET-37, REM-1, REM-4
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "ctr"]);
    fs::write(store.home("base/diff/f"), "kept").unwrap();
    let kept = || assert_eq!(fs::read_to_string(store.home("base/diff/f")).unwrap(), "kept");
    let gone = || assert_eq!(mounts_below(&store.home("ctr/mapped")).unwrap().len(), 0);
    leave_behind(&store);
    leave_behind(&store);
    driver.get(&id("ctr"), &mapped(&maps(), &[])).unwrap();
    driver.put(&id("ctr")).unwrap();
    gone();

    // A removal that knows nothing of mounts, such as Go's first attempt, cannot go on into the other layers.
    leave_behind(&store);
    let e = fs::remove_dir_all(store.home("ctr/mapped")).unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    kept();
    driver.deferred_remove(&id("ctr")).unwrap().empty().unwrap();
    kept();
    assert!(!store.home("ctr").exists());
    chain(&*driver, &["ctr"]);
    leave_behind(&store);
    driver.remove(&id("ctr")).unwrap();
    kept();
    assert!(!store.home("ctr").exists());
    assert!(driver.exists(&id("base")) && store.home("l").exists());
    assert!(mounted_at(&store.home("base/merged")).is_none());
}

#[test]
fn the_root_of_a_user_namespace_renames_what_it_sees() {
    // ADD-9
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "ctr"]);
    fill(&store.home("base/diff"));
    let merged = driver.get(&id("ctr"), &mapped(&maps(), &[])).unwrap();
    let namespace = user_namespace(&maps()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&namespace);
    let inside = |script: &str| {
        let output = Command::new("nsenter")
            .arg(format!("--user=/proc/{}/fd/{number}", std::process::id()))
            .arg(format!("--wd={}", merged.display()))
            .args(["-S", "0", "-G", "0", "sh", "-ec", script])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    inside("mkdir made; mv a moved; mv moved/file moved/renamed; mv made made-too; echo x > o/new");
    assert!(!merged.join("a").exists() && !Path::new(&merged.join("made")).exists());
    for name in ["moved/renamed", "made-too", "o/new"] {
        assert_eq!(owner(merged.join(name)), (100_000, 200_000), "{name}");
        assert_eq!(owner(store.home("ctr/diff").join(name)), (100_000, 200_000), "{name}");
    }
}
