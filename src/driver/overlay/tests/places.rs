//! Processes that mount composefs layers at once, and such as are killed while they do.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::composefs::{CONTENT, make, no_image_is_mounted};
use super::ids::maps;
use crate::driver::overlay::places::Places;
use crate::driver::tests::{TestStore, id};
use crate::driver::{CreateOptions, MountOptions};
use crate::sys::erofs::mount_image;
use crate::sys::idmapped::mapped_clone;
use crate::sys::mount::mounts_below;
use crate::sys::tempdir;
use crate::sys::userns::user_namespace;

const STORE: &str = "ORLOP_TEST_PLACES";

/// In a process of its own: stands between the mounts of a layer's parts and that of the layer, until it is told to go on.
#[test]
fn a_process_in_the_middle_of_a_mount() {
    let Some(home) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let blob = fs::File::open(home.join("base/composefs-data/composefs.blob")).unwrap();
    let mut places = Places::of(&home, None);
    let image = places.put(&mount_image(&blob, false).unwrap()).unwrap();
    let owners = user_namespace(&maps()).unwrap();
    let mapped = places.put(&mapped_clone(&home, owners.as_fd()).unwrap()).unwrap();
    eprintln!("it stands");
    std::io::stdin().read_exact(&mut [0]).unwrap();
    assert!(image.join("inline").exists() && mapped.join("base/diff").exists());
}

/// That process.
struct Other(Child);

impl Other {
    fn start(home: &Path) -> Self {
        let name = "driver::overlay::tests::places::a_process_in_the_middle_of_a_mount";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(STORE, home)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        assert!(said.lines().any(|line| line.unwrap() == "it stands"));
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn finish(mut self) {
        self.0.stdin.take().unwrap().write_all(b"x").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

fn places(store: &TestStore) -> usize {
    mounts_below(&store.home("tempdirs")).unwrap().len()
}

#[test]
fn processes_do_not_meet_and_the_killed_are_tidied_up_after() {
    // GET-35, GET-37, GET-38
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    if !make(&store, &*driver, "base", None) {
        return;
    }
    driver.create_read_write(&id("ctr"), Some(&id("base")), &CreateOptions::default()).unwrap();
    let other = Other::start(&store.home(""));
    assert_eq!(places(&store), 2);
    let used = || {
        let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
        assert_eq!(fs::read_to_string(merged.join("d/base")).unwrap(), CONTENT);
        driver.put(&id("ctr")).unwrap();
    };
    used();
    assert_eq!(places(&store), 2, "a living process's stay");
    let second = Other::start(&store.home(""));
    assert_eq!(places(&store), 4);
    other.kill();
    let dirs = || fs::read_dir(store.home("tempdirs")).unwrap().count();
    let before = dirs();
    // The next mount of whatever layer has images unmounts what is left; that of the second process stays.
    used();
    assert_eq!(places(&store), 2);
    assert_eq!(dirs(), before, "what is to be deleted waits until no lock is held");
    second.finish();
    no_image_is_mounted(&store);

    // The next who opens the store for writing does.
    Other::start(&store.home("")).kill();
    assert_eq!(places(&store), 2);
    tempdir::adopt(&store.home("tempdirs"), drop).unwrap();
    no_image_is_mounted(&store);
    assert_eq!(fs::read_dir(store.home("tempdirs")).unwrap().count(), 0);
    assert!(store.home("base/composefs-data/composefs.blob").exists());
    assert_eq!(fs::read_to_string(store.home("base/diff/ab/base")).unwrap(), CONTENT);
}
