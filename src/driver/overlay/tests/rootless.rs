//! The driver without root: its other tests once more, as a user with subordinate ids in a user namespace of his own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::ErrorKind;
use crate::driver::tests::{TestStore, chain, id, mode, super_options, tar_of};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, MountDescription, MountOptions};

/// Set in a test program that such a user runs.
const AS_USER: &str = "ORLOP_TEST_AS_USER";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/as-user");

/// Tests of metacopy, which the kernel does not do with user xattrs, and which composefs layers need; of ids that a user does not have;
/// one that lists all words of a mount; and of stores that only root's engine wrote.
const FOR_ROOT: [&str; 16] = [
    "overlay::legacy::tests::",
    "a_description_is_what_would_be_mounted",
    "overlay::ids::",
    "overlay::tests::ids",
    "overlay::tests::shifting::",
    "tests::composefs",
    "overlay::tests::moby::",
    "tests::images",
    "tests::places",
    "additional_layers_are_mapped",
    "metacopy_words_follow_the_kernel",
    "a_layer_is_told_without_a_mount_whatever_its_uppers_look_like",
    "what_chance_does_to_a_container_is_told_whole",
    "probes_leave_their_answers_under_the_common_names",
    "what_the_kernel_left_in_a_lower_layer_is_found_there",
    "what_the_layers_between_do_not_name_is_the_same",
];

/// Runs `command` as the user, with a home of his below `dir`.
fn as_user(dir: &Path, command: &[&str]) -> Output {
    fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
    Command::new(SCRIPT).arg(dir.join("home")).args(command).env(AS_USER, "1").output().unwrap()
}

/// Runs tests of this program as the user; `how` leads to the namespaces.
fn tests_as_user(how: &[&str], arguments: &[&str]) -> String {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    // Where the program lies a user may have no business.
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let words = [how, &[program.to_str().unwrap(), "--test-threads=4"], arguments].concat();
    let output = as_user(dir.path(), &words);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

const NAMESPACES: [&str; 5] = ["unshare", "--user", "--map-auto", "--map-root-user", "--mount"];

fn is_user() -> bool {
    std::env::var_os(AS_USER).is_some()
}

#[test]
fn all_tests_of_the_driver_hold_for_a_user() {
    // ACC-15, GET-20, INI-9, 4.4 to 4.6
    if is_user() {
        return;
    }
    let skipped: Vec<&str> = FOR_ROOT.iter().flat_map(|name| ["--skip", name]).collect();
    let said = tests_as_user(&NAMESPACES, &[&["driver::overlay"], skipped.as_slice()].concat());
    assert!(
        said.contains(
            "test driver::overlay::tests::rootless::overlay_keeps_its_marks_in_user_xattrs ... ok"
        ),
        "{said}"
    );
    assert!(
        said.contains(
            "test driver::overlay::tests::program::layers_are_mounted_changed_and_compared ... ok"
        ),
        "{said}"
    );
}

#[test]
fn overlay_keeps_its_marks_in_user_xattrs() {
    // GET-20, INI-9, APL-2, 10.2
    if !is_user() {
        return;
    }
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid", "ctr"]);
    let apply = |layer: &str, tar: Vec<u8>| {
        driver.apply_diff(&id(layer), &ApplyOptions::default(), &mut tar.as_slice()).unwrap();
    };
    apply("base", tar_of(&[("d/", ""), ("d/below", "b"), ("gone", "g")]));
    apply("mid", tar_of(&[("d/", ""), ("d/.wh..wh..opq", ""), ("d/f", "f"), (".wh.gone", "")]));
    let mut value = [0u8; 8];
    let opaque = rustix::fs::lgetxattr(store.home("mid/diff/d"), "user.overlay.opaque", &mut value);
    assert_eq!(opaque.map(|n| value[..n].to_vec()), Ok(b"y".to_vec()));
    let described = driver.describe_mount(&id("ctr"), &MountOptions::default()).unwrap();
    assert!(
        matches!(described, MountDescription::Overlay { options, .. } if options == ["userxattr"])
    );
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    assert!(super_options(&merged).contains("userxattr"), "{}", super_options(&merged));
    let names = |dir: &str| {
        let entries = fs::read_dir(merged.join(dir)).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((names("."), names("d")), (vec!["d".to_owned()], vec!["f".to_owned()]));
    fs::remove_dir_all(merged.join("d")).unwrap();
    fs::create_dir(merged.join("d")).unwrap();
    std::os::unix::fs::chown(merged.join("d"), Some(1234), Some(1234)).unwrap();
    driver.put(&id("ctr")).unwrap();
    let mut tar = Vec::new();
    driver.diff(&id("ctr"), Some(&id("mid")), &DiffOptions::default(), &mut tar).unwrap();
    assert_eq!(crate::driver::tests::tar_names(&tar), ["d/", "d/.wh..wh..opq"]);
    assert_eq!(mode(store.home("ctr/work")), 0o700);
}

#[test]
fn without_a_namespace_the_driver_says_what_to_do() {
    // INI-1, INI-13
    if is_user() {
        if rustix::process::geteuid().is_root() {
            return;
        }
        let store = TestStore::new();
        let driver = store.overlay(&[]);
        let e = driver.create(&id("a"), None, &CreateOptions::default()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotSupported);
        assert!(e.to_string().contains("podman unshare"), "{e}");
        assert!(!store.graph.exists());
        return;
    }
    let name = "driver::overlay::tests::rootless::without_a_namespace_the_driver_says_what_to_do";
    let said = tests_as_user(&[], &["--exact", name]);
    assert!(said.contains("1 passed"), "{said}");
    // In a user namespace, but in a mount namespace of somebody else's.
    let said = tests_as_user(
        &NAMESPACES[..4],
        &["--exact", &name.replace("without_a_namespace", "without_a_mount_namespace")],
    );
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn without_a_mount_namespace_the_driver_says_what_to_do() {
    if !is_user() || crate::sys::mount::NewOverlay::begin().is_ok() {
        return;
    }
    let store = TestStore::new();
    let e = store.overlay(&[]).create(&id("a"), None, &CreateOptions::default()).unwrap_err();
    assert!(e.to_string().contains("mounting is not permitted"), "{e}");
    // What this process may not do says nothing of the kernel.
    assert!(!store.run.join("overlay/overlay-false").exists());
}

#[test]
fn metacopy_is_left_out_and_does_not_make_comparisons_slow() {
    // GET-17, 4.4, 4.5: a storage.conf for all users has it
    if !is_user() {
        return;
    }
    let store = TestStore::new();
    let driver = store.overlay(&["mountopt=nodev,metacopy=on"]);
    chain(&*driver, &["base", "ctr"]);
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    assert!(!super_options(&merged).contains("metacopy"), "{}", super_options(&merged));
    driver.put(&id("ctr")).unwrap();
    driver.changes(&id("ctr"), Some(&id("base")), &DiffOptions::default()).unwrap();
    // Changes need no answer of the kernel's; status gives it.
    assert!(!driver.status().is_empty());
    for name in ["metacopy(nodev,metacopy=on)-false", "native-diff(nodev,metacopy=on)-true"] {
        assert!(store.run.join("overlay").join(name).is_file(), "{name}");
    }
}
