//! A mount program in the kernel's place: the real fuse-overlayfs, and scripts that write down how they are called.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::driver::tests::{
    TestStore, chain, change_list, id, mode, mounted_at, snapshot, tar_names, tar_of, words,
};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, Driver, MountOptions};
use crate::sys::mount::is_mount_point;
use crate::{ErrorKind, IdMap};

/// The real program as an option; `None`, having said why, where it is not to be had.
fn fuse_overlayfs() -> Option<String> {
    let found = super::super::program::usual_program();
    if found.is_none() {
        println!(
            "skipped: mounting by a program: fuse-overlayfs is not installed, or there is no /dev/fuse"
        );
    }
    found.map(|path| format!("mount_program={}", path.display()))
}

fn apply(driver: &dyn Driver, layer: &str, members: &[(&str, &str)]) {
    let tar = tar_of(members);
    driver.apply_diff(&id(layer), &ApplyOptions::default(), &mut tar.as_slice()).unwrap();
}

/// A script beside the store, as an option.
fn script(store: &TestStore, text: &str) -> (String, PathBuf) {
    let path = store.beside("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    (format!("mount_program={}", path.display()), path)
}

#[test]
fn layers_are_mounted_changed_and_compared() {
    // GET-29, GET-32, REM-11, MAP-7, 4.5, 10.2, 11.3
    let Some(option) = fuse_overlayfs() else { return };
    let store = TestStore::new();
    let driver = store.overlay(&[&option]);
    chain(&*driver, &["base", "mid", "ctr"]);
    assert_eq!(fs::read_to_string(store.home(".has-mount-program")).unwrap(), "true");
    assert_eq!(mode(store.home(".has-mount-program")), 0o600);
    apply(
        &*driver,
        "base",
        &[("etc/", ""), ("etc/gone", "g"), ("etc/kept", "k"), ("old/", ""), ("old/f", "f")],
    );
    apply(
        &*driver,
        "mid",
        &[
            ("etc/", ""),
            ("etc/.wh.gone", ""),
            ("old/", ""),
            ("old/.wh..wh..opq", ""),
            ("old/new", "n"),
        ],
    );
    assert!(store.home("mid/diff/etc/.wh.gone").is_file(), "kept as the files that they are");
    assert!(store.home("mid/diff/old/.wh..wh..opq").is_file());

    let merged =
        driver.get(&id("ctr"), &MountOptions { volatile: true, ..words(&["nodev"]) }).unwrap();
    let entry = mounted_at(&merged).unwrap();
    assert_eq!(entry.fs_type, "fuse.fuse-overlayfs");
    assert!(driver.is_mounted(&merged));
    assert!(!merged.join("etc/gone").exists() && !merged.join("old/f").exists());
    assert_eq!(fs::read_to_string(merged.join("old/new")).unwrap(), "n");
    fs::write(merged.join("etc/added"), "a").unwrap();
    fs::remove_file(merged.join("etc/kept")).unwrap();
    let of_ctr = DiffOptions::default();
    let expected = ["A /etc/added", "C /etc", "D /etc/kept"];
    let changes = |driver: &dyn Driver| {
        change_list(&driver.changes(&id("ctr"), Some(&id("mid")), &of_ctr).unwrap())
    };
    assert_eq!(changes(&*driver), expected, "while it is mounted");
    assert!(driver.is_mounted(&merged));
    driver.put(&id("ctr")).unwrap();
    assert!(!is_mount_point(&merged).unwrap() && mode(&merged) == 0o700);
    assert!(merged.read_dir().unwrap().next().is_none());

    // Another process, which is told nothing: the home says whose it is.
    let later = store.overlay(&[]);
    assert_eq!(changes(&*later), expected);
    let mut tar = Vec::new();
    later.diff(&id("ctr"), Some(&id("mid")), &of_ctr, &mut tar).unwrap();
    assert_eq!(tar_names(&tar), ["etc/", "etc/added", "etc/.wh.kept"]);
    later.create(&id("copy"), Some(&id("mid")), &CreateOptions::default()).unwrap();
    later.apply_diff(&id("copy"), &ApplyOptions::default(), &mut tar.as_slice()).unwrap();
    let tree = |layer: &str| {
        let seen = snapshot(&later.get(&id(layer), &words(&["ro"])).unwrap());
        later.put(&id(layer)).unwrap();
        seen
    };
    assert_eq!(tree("copy"), tree("ctr"));
    let rows = later.status();
    for (name, value) in [
        ("Supports d_type", "true"),
        ("Native Overlay Diff", "false"),
        ("Using metacopy", "false"),
        ("Supports shifting", "true"),
        ("Supports volatile", "true"),
    ] {
        assert!(rows.contains(&(name.to_owned(), value.to_owned())), "{name}: {rows:?}");
    }
    let rows = store.overlay(&["disable_idmap=true"]).status();
    assert!(rows.contains(&("Supports shifting".to_owned(), "false".to_owned())), "{rows:?}");
    assert!(!store.run.join("overlay/overlay-true").exists(), "the kernel was not tried");
    for layer in ["ctr", "mid", "copy"] {
        later.remove(&id(layer)).unwrap();
    }
    assert_eq!(fs::read_dir(store.home("l")).unwrap().count(), 1);
}

#[test]
fn a_mounted_layer_can_be_removed_and_a_dead_mount_replaced() {
    let Some(option) = fuse_overlayfs() else { return };
    let store = TestStore::new();
    let driver = store.overlay(&[&option]);
    chain(&*driver, &["base", "ctr"]);
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    // The program of this mount, by its arguments.
    let output =
        Command::new("pgrep").args(["-f", "--", merged.to_str().unwrap()]).output().unwrap();
    let pids = String::from_utf8(output.stdout).unwrap();
    let pids: Vec<i32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 1, "{pids:?}");
    let pid = rustix::process::Pid::from_raw(pids[0]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let begun = std::time::Instant::now();
    while fs::read_dir(&merged).is_ok() {
        assert!(begun.elapsed().as_secs() < 10, "it does not die");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!driver.is_mounted(&merged));
    assert_eq!(driver.get(&id("ctr"), &MountOptions::default()).unwrap(), merged);
    fs::write(merged.join("f"), "f").unwrap();
    driver.remove(&id("ctr")).unwrap();
    assert!(!store.home("ctr").exists());
}

#[test]
fn paths_with_separators_are_mounted_all_the_same() {
    // DEF-10
    let Some(option) = fuse_overlayfs() else { return };
    let store = TestStore::named("a,b c\\d");
    let driver = store.overlay(&[&option]);
    chain(&*driver, &["base", "ctr"]);
    apply(&*driver, "base", &[("f", "below")]);
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "below");
    fs::write(merged.join("new"), "n").unwrap();
    driver.put(&id("ctr")).unwrap();
    assert!(store.home("ctr/diff/new").is_file());

    // fuse-overlayfs makes the names absolute and then divides them at colons; a later one may not.
    let store = TestStore::named("a:b");
    let driver = store.overlay(&[&option]);
    chain(&*driver, &["base"]);
    match driver.get(&id("base"), &MountOptions::default()) {
        Ok(_) => driver.put(&id("base")).unwrap(),
        Err(e) => assert!(e.to_string().contains("fuse-overlayfs"), "{e}"),
    }
}

#[test]
fn a_program_is_called_as_the_others_do() {
    // ACC-14, GET-28 to GET-30, DEF-35
    let store = TestStore::new();
    let (option, program) = script(
        &store,
        "printf '%s\\n' \"$#\" \"$1\" \"$2\" \"$3\" \"$(pwd)\" >\"$0.called\"; mount -t overlay -o \"${2%%,uidmapping*}\" overlay \"$3\"",
    );
    let driver = store.overlay(&[&option, "mountopt=nodev,index=off,metacopy=on"]);
    chain(&*driver, &["base", "ctr"]);
    let range = |host_id, size| [IdMap { container_id: 0, host_id, size }];
    let options = MountOptions {
        uid_map: range(1000, 5).into(),
        gid_map: range(7, 1).into(),
        ..MountOptions::default()
    };
    let merged = driver.get(&id("ctr"), &options).unwrap();
    let called = fs::read_to_string(program.with_extension("called")).unwrap();
    let home = store.home("");
    let home = home.to_str().unwrap().trim_end_matches('/');
    let data = format!(
        "lowerdir={home}/base/diff,upperdir={home}/ctr/diff,workdir={home}/ctr/work,index=off,\
         uidmapping=0:1000:5,squash_to_gid=7"
    );
    assert_eq!(
        called.lines().collect::<Vec<_>>(),
        ["3", "-o", &data, merged.to_str().unwrap(), home]
    );
    // Another way of showing the ids is not what is mounted.
    let e = driver.get(&id("ctr"), &MountOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
    driver.put(&id("ctr")).unwrap();
    assert!(!driver.is_mounted(&merged));
    // The kernel would not show what a program's layers are.
    let refused = [
        driver.describe_mount(&id("ctr"), &MountOptions::default()).unwrap_err(),
        driver.mount_detached(&id("ctr"), &MountOptions::default()).unwrap_err(),
    ];
    for e in refused {
        assert_eq!(e.kind(), ErrorKind::NotSupported);
        assert!(e.to_string().contains(program.to_str().unwrap()), "{e}");
    }
}

#[test]
fn what_a_failing_program_says_is_told() {
    // ACC-14, GET-29
    let store = TestStore::new();
    let (option, program) = script(&store, "echo 'no such luck' >&2; exit 3");
    let driver = store.overlay(&[&option]);
    chain(&*driver, &["base"]);
    let failure = || driver.get(&id("base"), &MountOptions::default()).unwrap_err().to_string();
    let text = failure();
    assert!(text.contains("no such luck") && text.contains(program.to_str().unwrap()), "{text}");
    fs::write(&program, "#!/bin/sh\nexit 3\n").unwrap();
    assert!(failure().contains("<stderr empty>"));
    fs::write(&program, "#!/bin/sh\n").unwrap();
    assert!(failure().contains("nothing is mounted there"));
    fs::remove_file(&program).unwrap();
    assert!(failure().contains("cannot be run"));
    assert!(!driver.is_mounted(&store.home("base/merged")));
}

#[test]
fn traces_of_a_program_in_an_older_home_are_looked_for_once() {
    // INI-2
    let Some(_) = fuse_overlayfs() else { return };
    let flag = |store: &TestStore| fs::read_to_string(store.home(".has-mount-program")).unwrap();
    let older = || {
        let store = TestStore::new();
        let driver = store.overlay(&["skip_mount_home=true"]);
        chain(&*driver, &["base"]);
        fs::remove_file(store.home(".has-mount-program")).unwrap();
        store
    };
    let store = older();
    store.overlay(&["skip_mount_home=true"]).prepare().unwrap();
    assert_eq!(flag(&store), "false");
    // From now on, what a container calls .wh.something is its own affair.
    fs::write(store.home("base/diff/.wh.x"), "").unwrap();
    store.overlay(&["skip_mount_home=true"]).prepare().unwrap();
    assert_eq!(flag(&store), "false");

    let store = older();
    fs::write(store.home("base/diff/.wh.x"), "").unwrap();
    let driver = store.overlay(&["skip_mount_home=true"]);
    driver.prepare().unwrap();
    assert_eq!(flag(&store), "true");
    let merged = driver.get(&id("base"), &MountOptions::default()).unwrap();
    assert_eq!(mounted_at(&merged).unwrap().fs_type, "fuse.fuse-overlayfs");
    driver.put(&id("base")).unwrap();
}

/// An overlay, in which the kernel does not make another one's upper directory.
fn on_an_overlay(store: &TestStore) -> bool {
    for dir in ["low", "up", "work"] {
        fs::create_dir_all(store.beside(dir)).unwrap();
    }
    fs::create_dir_all(&store.graph).unwrap();
    let at = |name: &str| store.beside(name).to_str().unwrap().to_owned();
    let data = format!("lowerdir={},upperdir={},workdir={}", at("low"), at("up"), at("work"));
    let flags = rustix::mount::MountFlags::empty();
    crate::sys::mount::mount_overlay(&store.graph, flags, data.as_bytes()).is_ok()
}

#[test]
fn where_the_kernel_does_not_serve_a_program_does() {
    // INI-3, INI-4, DEF-7: the flag says so, with the reason in the log
    let Some(_) = fuse_overlayfs() else { return };
    let store = TestStore::new();
    assert!(on_an_overlay(&store));
    let driver = store.overlay(&[]);
    driver.check().unwrap();
    chain(&*driver, &["base", "ctr"]);
    assert_eq!(fs::read_to_string(store.home(".has-mount-program")).unwrap(), "true");
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    fs::write(merged.join("f"), "f").unwrap();
    driver.put(&id("ctr")).unwrap();
}

#[test]
fn layers_of_the_kernels_are_not_handed_over_without_a_word() {
    // DEF-7
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base"]);
    let verdict = "kernel does not support overlay fs: 'overlay' is not supported over x";
    fs::remove_file(store.run.join("overlay/overlay-true")).unwrap();
    fs::write(store.run.join("overlay/overlay-false"), verdict).unwrap();
    let e = store.overlay(&[]).prepare().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::IncompatibleFs, "{e}");
    assert_eq!(fs::read_to_string(store.home(".has-mount-program")).unwrap(), "false");
}

#[test]
fn a_flag_that_is_a_link_is_refused() {
    let store = TestStore::new();
    fs::create_dir_all(store.home("l")).unwrap();
    fs::write(store.beside("victim"), "true").unwrap();
    symlink(store.beside("victim"), store.home(".has-mount-program")).unwrap();
    for options in [&[][..], &["mount_program=/bin/true"]] {
        assert!(store.overlay(options).prepare().is_err(), "{options:?}");
    }
    assert_eq!(fs::read_to_string(store.beside("victim")).unwrap(), "true");
    assert_eq!(fs::metadata(store.beside("victim")).unwrap().nlink(), 1);
    assert!(Path::new("/bin/true").exists());
}
