//! Layers of a store whose files all have one mode on the disk (`force_mask`).

use std::fs;

use crate::ErrorKind;
use crate::driver::tests::{TestStore, id, mode, tar_of, words};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions};

const NOTE: &str = "user.containers.override_stat";

#[test]
fn a_forced_mode_hides_what_a_note_keeps() {
    // CRE-2, CRE-8
    let store = TestStore::new();
    let driver = store.overlay(&["force_mask=0710"]);
    let options = CreateOptions::default();
    let note = |layer: &str| {
        let mut buffer = [0; 64];
        let length =
            rustix::fs::getxattr(store.home(layer).join("diff"), NOTE, &mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    driver.create(&id("base"), None, &options).unwrap();
    assert_eq!((mode(store.home("base/diff")), note("base").as_str()), (0o710, "0:0:0555:dir"));
    let flags = rustix::fs::XattrFlags::REPLACE;
    rustix::fs::setxattr(store.home("base/diff"), NOTE, b"5:6:01751:dir", flags).unwrap();
    driver.create(&id("top"), Some(&id("base")), &options).unwrap();
    assert_eq!((mode(store.home("top/diff")), note("top").as_str()), (0o710, "5:6:1751:dir"));

    // GET-7: what was lost is made with that mode again.
    fs::remove_dir(store.home("base/diff")).unwrap();
    driver.get(&id("base"), &words(&["ro"])).unwrap();
    driver.put(&id("base")).unwrap();
    assert_eq!(mode(store.home("base/diff")), 0o710);

    // Only a program shows a container what the note says.
    let e = driver.create_read_write(&id("ctr"), Some(&id("top")), &options).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported);
    assert!(e.to_string().contains("mount_program"), "{e}");
    assert!(!driver.exists(&id("ctr")));
    assert_eq!(fs::read_dir(store.home("l")).unwrap().count(), 2);
}

#[test]
fn layers_are_compared_by_what_their_files_note() {
    // FMK-4, DIF-5, DIF-7
    let store = TestStore::new();
    let tar = tar_of(&[("d/", ""), ("d/same", "1234"), ("d/other", "123456")]);
    // The second layer was made after the configuration had changed.
    for (layer, mask) in [("one", "force_mask=shared"), ("two", "force_mask=0700")] {
        let driver = store.overlay(&[mask]);
        driver.create(&id(layer), None, &CreateOptions::default()).unwrap();
        driver.apply_diff(&id(layer), &ApplyOptions::default(), &mut tar.as_slice()).unwrap();
    }
    let at = |layer: &str, name: &str| store.home(layer).join("diff").join(name);
    assert_eq!((mode(at("one", "d/same")), mode(at("two", "d/same"))), (0o755, 0o700));
    let flags = rustix::fs::XattrFlags::REPLACE;
    rustix::fs::setxattr(at("two", "d/other"), NOTE, b"5:6:0640:file", flags).unwrap();

    let driver = store.overlay(&["force_mask=0700"]);
    let (two, one, options) = (id("two"), id("one"), DiffOptions::default());
    let changes = driver.changes(&two, Some(&one), &options).unwrap();
    let paths: Vec<_> = changes.iter().map(|c| String::from_utf8_lossy(&c.path)).collect();
    assert_eq!(paths, ["/d", "/d/other"]);
    assert_eq!(driver.diff_size(&two, Some(&one), &options).unwrap(), 6);
    let mut out = Vec::new();
    driver.diff(&two, Some(&one), &options, &mut out).unwrap();
    let mut archive = tar::Archive::new(out.as_slice());
    let members: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let head = entry.header();
            let name = entry.path().unwrap().into_owned();
            (name, head.uid().unwrap(), head.gid().unwrap(), head.mode().unwrap() & 0o7777)
        })
        .collect();
    assert_eq!(members, [("d/".into(), 0, 0, 0o755), ("d/other".into(), 5, 6, 0o640)]);
}

#[test]
fn changes_of_a_layer_go_by_what_its_directories_note() {
    // FMK-4, CHG-4: the lower layer was made before the configuration changed.
    let store = TestStore::new();
    let tar = tar_of(&[("d/", ""), ("d/e/", "")]);
    for (layer, parent, mask) in
        [("base", None, "force_mask=shared"), ("top", Some(id("base")), "force_mask=0700")]
    {
        let driver = store.overlay(&[mask]);
        driver.create(&id(layer), parent.as_ref(), &CreateOptions::default()).unwrap();
        driver.apply_diff(&id(layer), &ApplyOptions::default(), &mut tar.as_slice()).unwrap();
    }
    let at = |layer: &str| store.home(layer).join("diff/d/e");
    assert_eq!((mode(at("base")), mode(at("top"))), (0o755, 0o700));
    let driver = store.overlay(&["force_mask=0700"]);
    let listed = || -> Vec<_> {
        let changes =
            driver.changes(&id("top"), Some(&id("base")), &DiffOptions::default()).unwrap();
        changes.iter().map(|c| String::from_utf8_lossy(&c.path).into_owned()).collect()
    };
    assert!(listed().is_empty(), "{:?}", listed());
    let flags = rustix::fs::XattrFlags::REPLACE;
    rustix::fs::setxattr(at("top"), NOTE, b"0:0:01777:dir", flags).unwrap();
    assert_eq!(listed(), ["/d/e"]);
}
