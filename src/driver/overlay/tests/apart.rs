//! Mounts that others place: their description, and the mount without a place in the tree.

use std::fs;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::ErrorKind;
use crate::driver::tests::{TestStore, chain, id, super_options, words};
use crate::driver::{MountDescription, MountOptions};
use crate::sys::mount::{attach, detach, mount_table};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_description_is_what_would_be_mounted() {
    let store = TestStore::new();
    let driver = store.overlay(&["mountopt=nodev"]);
    chain(&*driver, &["base", "mid", "top"]);
    let MountDescription::Overlay { lowers, upper, work, options, label } =
        driver.describe_mount(&id("top"), &MountOptions::default()).unwrap()
    else {
        panic!("overlay describes overlays")
    };
    assert!(mount_table().unwrap().iter().all(|m| m.target != store.home("top/merged")));
    let merged = driver.get(&id("top"), &MountOptions::default()).unwrap();
    let lowers: Vec<&str> = lowers.iter().map(|l| text(l)).collect();
    let told = format!(
        "rw,lowerdir={},upperdir={},workdir={}",
        lowers.join(":"),
        text(&upper.unwrap()),
        text(&work.unwrap())
    );
    assert!(super_options(&merged).starts_with(&told), "{told}");
    assert_eq!((options, label.as_str()), (vec!["nodev".to_owned()], ""));
    driver.put(&id("top")).unwrap();

    let asked = MountOptions { mount_label: "a:b".to_owned(), ..words(&["ro"]) };
    let MountDescription::Overlay { lowers, upper, work, options, label } =
        driver.describe_mount(&id("top"), &asked).unwrap()
    else {
        panic!("overlay describes overlays")
    };
    let names = ["top/diff", "mid/diff", "base/diff"].map(|n| store.home(n));
    assert_eq!((lowers, upper, work), (names.to_vec(), None, None));
    assert_eq!((options, label.as_str()), (vec!["ro".to_owned()], "a:b"));
    let missing = driver.describe_mount(&id("gone"), &asked).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::LayerUnknown);
}

#[test]
fn a_detached_mount_is_its_holders() {
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    fs::write(store.home("base/diff/below"), "b").unwrap();
    let mount = driver.mount_detached(&id("top"), &MountOptions::default()).unwrap();
    assert!(mount_table().unwrap().iter().all(|m| m.target != store.home("top/merged")));
    rustix::fs::openat(&mount, "below", OFlags::RDONLY, Mode::empty()).unwrap();
    let flags = OFlags::CREATE | OFlags::WRONLY;
    rustix::fs::openat(&mount, "new", flags, Mode::from_raw_mode(0o644)).unwrap();
    let place = store.beside("place");
    fs::create_dir(&place).unwrap();
    attach(&mount, &place).unwrap();
    drop(mount);
    assert_eq!(fs::read_to_string(place.join("below")).unwrap(), "b");
    detach(&place).unwrap();
    assert!(store.home("top/diff/new").is_file());

    // While the layer is mounted, a second way to write to it is refused, and one to read it is not.
    driver.get(&id("top"), &MountOptions::default()).unwrap();
    let e = driver.mount_detached(&id("top"), &MountOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy);
    let reading = driver.mount_detached(&id("top"), &words(&["ro"])).unwrap();
    rustix::fs::openat(&reading, "new", OFlags::RDONLY, Mode::empty()).unwrap();
    assert!(rustix::fs::openat(&reading, "more", flags, Mode::from_raw_mode(0o644)).is_err());
    driver.put(&id("top")).unwrap();
}

#[test]
fn what_is_mounted_is_described_as_it_stands() {
    // GET-42
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    let volatile = MountOptions { volatile: true, ..MountOptions::default() };
    let told = driver.describe_mount(&id("top"), &volatile).unwrap();
    driver.get(&id("top"), &volatile).unwrap();
    let marker = store.home("top/work/work/incompat/volatile");
    assert!(marker.exists());
    let link = fs::read_to_string(store.home("base/link")).unwrap();
    let link = store.home("l").join(link);
    fs::remove_file(&link).unwrap();
    assert_eq!(driver.describe_mount(&id("top"), &volatile).unwrap(), told);
    let e = driver.mount_detached(&id("top"), &volatile).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy);
    driver.mount_detached(&id("top"), &words(&["ro"])).unwrap();
    assert!(marker.exists() && link.symlink_metadata().is_err());
    driver.put(&id("top")).unwrap();
    // Of one that is not mounted both are made as a mount needs them.
    assert_eq!(driver.describe_mount(&id("top"), &volatile).unwrap(), told);
    assert!(!marker.exists() && link.symlink_metadata().is_ok());
}
