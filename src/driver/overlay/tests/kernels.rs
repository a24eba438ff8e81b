//! Kernels that lack what the newest have, by refused calls here and by themselves in `tests/vm/run`.

use std::fs;
use std::path::Path;

use rustix::io::Errno;

use super::mounts::{deep, hex};
use crate::ErrorKind;
use crate::driver::MountOptions;
use crate::driver::tests::{TestStore, chain, id, mounted_at, super_options, words};
use crate::sys::refused::{self, Call};

/// What the layers of a mount are called when they are given as descriptors: numbers.
fn are_numbers(told: &str) -> bool {
    let lowers = told.split("lowerdir=").nth(1).and_then(|rest| rest.split(',').next());
    lowers.is_some_and(|l| l.contains(':') && l.split(':').all(|n| n.parse::<u32>().is_ok()))
}

#[test]
fn without_mount_parameters_long_chains_are_mounted_by_numbers() {
    // GET-27, MNT-2, MNT-5, DEF-3
    let store = TestStore::new();
    let driver = store.overlay(&["mountopt=nodev,redirect_dir=nofollow"]);
    deep(&*driver, 501);
    let here = std::env::current_dir().unwrap();
    for (call, errno) in [
        (Call::Fsopen, Errno::NOSYS),
        (Call::Fsopen, Errno::PERM),
        (Call::LowerdirPlus, Errno::INVAL),
    ] {
        refused::with(&[(call, errno)], || {
            for lowers in [1, 130, 400, 500] {
                let layer = hex(lowers);
                let merged = driver.get(&layer, &MountOptions::default()).unwrap();
                let told = super_options(&merged);
                assert_eq!(are_numbers(&told), lowers > 1, "{call:?} {lowers}: {told}");
                assert_eq!(mounted_at(&merged).unwrap().options, "rw,nodev,relatime", "{lowers}");
                assert!(told.contains(",redirect_dir=nofollow"), "{told}");
                assert_eq!(fs::read_to_string(merged.join("deepest")).unwrap(), "found");
                fs::write(merged.join("written"), "here").unwrap();
                assert!(store.home(&layer).join("diff/written").is_file());
                driver.put(&layer).unwrap();
                fs::remove_file(store.home(&layer).join("diff/written")).unwrap();
            }
            let e = driver.get(&hex(501), &MountOptions::default()).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::MaxDepth);
            let merged = driver.get(&hex(499), &words(&["ro", "noexec"])).unwrap();
            assert_eq!(mounted_at(&merged).unwrap().options, "ro,noexec,relatime");
            assert_eq!(fs::read_to_string(merged.join("deepest")).unwrap(), "found");
            driver.put(&hex(499)).unwrap();
        });
    }
    assert_eq!(std::env::current_dir().unwrap(), here, "the caller's directory stays");
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let kept = open.filter_map(|fd| fs::read_link(fd.path()).ok());
    assert_eq!(kept.filter(|path| path.starts_with(&store.graph)).count(), 0, "descriptors stay");
}

#[test]
fn names_that_no_parameter_carries_go_by_descriptor_else_by_number() {
    // MNT-2, DEF-10
    let long = "n".repeat(253);
    let store = TestStore::named("a,b:c\\d");
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid", long.as_str()]);
    fs::write(store.home("base/diff/f"), "x").unwrap();
    let ways: [&[(Call, Errno)]; 4] = [
        &[],
        &[(Call::LayerDescriptor, Errno::INVAL)],
        &[(Call::LowerdirPlus, Errno::INVAL)],
        &[(Call::Fsopen, Errno::NOSYS)],
    ];
    for way in ways {
        refused::with(way, || {
            let merged = driver.get(&id(&long), &MountOptions::default()).unwrap();
            assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "x", "{way:?}");
            fs::write(merged.join("g"), "y").unwrap();
            assert_eq!(fs::read_to_string(store.home(&long).join("diff/g")).unwrap(), "y");
            driver.put(&id(&long)).unwrap();
        });
    }
}

#[test]
fn without_volatile_a_mount_goes_without_and_it_is_asked_again() {
    // GET-20, 4.6, DEF-17
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    let how = MountOptions { volatile: true, ..MountOptions::default() };
    let is_volatile = || {
        let told = super_options(&driver.get(&id("top"), &how).unwrap());
        driver.put(&id("top")).unwrap();
        told.contains("volatile")
    };
    let row = |value: &str| ("Supports volatile".to_owned(), value.to_owned());
    refused::with(&[(Call::Volatile, Errno::INVAL)], || {
        assert!(!is_volatile());
        assert!(driver.status().contains(&row("false")), "{:?}", driver.status());
    });
    let remembered = fs::read_dir(store.run.join("overlay")).unwrap().flatten();
    assert!(remembered.map(|e| e.file_name()).all(|n| !n.to_string_lossy().contains("volatile")));
    assert!(is_volatile());
    assert!(driver.status().contains(&row("true")));
}

#[test]
fn without_statx_the_mount_table_tells() {
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    for errno in [Errno::NOSYS, Errno::PERM] {
        refused::with(&[(Call::Statx, errno)], || {
            let merged = driver.get(&id("top"), &MountOptions::default()).unwrap();
            assert!(driver.is_mounted(&merged) && !driver.is_mounted(Path::new("/var/tmp")));
            let again = driver.get(&id("top"), &MountOptions::default()).unwrap();
            assert_eq!(merged, again);
            driver.put(&id("top")).unwrap();
            assert!(driver.is_mounted(&merged), "one use of two is left");
            driver.put(&id("top")).unwrap();
            assert!(!driver.is_mounted(&merged));
        });
    }
    driver.get(&id("top"), &MountOptions::default()).unwrap();
    refused::with(&[(Call::Statx, Errno::NOSYS)], || driver.remove(&id("top")).unwrap());
    assert!(!store.home("top").exists());
}
