//! Composefs layers, as podman makes them with `use_composefs`: an EROFS image, and the files by their digests.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use rustix::fs::XattrFlags;

use super::ids::{maps, owner};
use crate::driver::tests::{
    TestStore, change_list, id, mode, mounted_at, snapshot, super_options, tar_names, words,
};
use crate::driver::{CreateOptions, DiffOptions, Driver, MountOptions};
use crate::sys::mount::mounts_below;
use crate::sys::refused::{self, Call};
use crate::{ErrorKind, IdMaps};

pub(super) const CONTENT: &str = "the content of a file";

/// Makes a layer with an image that names one file of `diff`, and has another in itself; `false` where that cannot be tried.
pub(super) fn make(
    store: &TestStore,
    driver: &dyn Driver,
    name: &str,
    parent: Option<&str>,
) -> bool {
    driver.create(&id(name), parent.map(id).as_ref(), &CreateOptions::default()).unwrap();
    let stored = format!("ab/{name}");
    fs::create_dir(store.home(name).join("diff/ab")).unwrap();
    fs::write(store.home(name).join("diff").join(&stored), CONTENT).unwrap();
    let tree = store.beside(&format!("tree-{name}"));
    fs::create_dir_all(tree.join("d")).unwrap();
    let file = tree.join("d").join(name);
    fs::write(&file, "x".repeat(CONTENT.len())).unwrap();
    for (key, value) in [("metacopy", ""), ("redirect", &*format!("/{stored}"))] {
        let key = format!("trusted.overlay.{key}");
        rustix::fs::setxattr(&file, key, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
    fs::write(tree.join("inline"), format!("of {name}")).unwrap();
    let data = store.home(name).join("composefs-data");
    fs::create_dir(&data).unwrap();
    let made = Command::new("mkfs.erofs").arg(data.join("composefs.blob")).arg(&tree).output();
    match made {
        Ok(done) if done.status.success() => true,
        failed => {
            println!("skipped: composefs: mkfs.erofs (erofs-utils): {failed:?}");
            false
        }
    }
}

pub(super) fn no_image_is_mounted(store: &TestStore) {
    let left: Vec<_> = mounts_below(&store.graph)
        .unwrap()
        .into_iter()
        .chain(mounts_below(&store.run).unwrap())
        .filter(|m| m.components().any(|c| c.as_os_str() == "tempdirs"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn composefs_layers_are_mounted_and_compared() {
    // GET-38 to GET-40, MNT-1; the option matters for the making alone
    let store = TestStore::new();
    let driver = store.overlay(&["use_composefs=true"]);
    if !make(&store, &*driver, "base", None) || !make(&store, &*driver, "middle", Some("base")) {
        return;
    }
    let options = CreateOptions::default();
    driver.create_read_write(&id("top"), Some(&id("middle")), &options).unwrap();
    let merged = driver.get(&id("top"), &MountOptions::default()).unwrap();
    no_image_is_mounted(&store);
    assert_eq!(read(merged.join("d/base")), CONTENT);
    assert_eq!(read(merged.join("d/middle")), CONTENT);
    assert_eq!(read(merged.join("inline")), "of middle");
    assert!(!merged.join("ab").exists(), "the files by their digests are not seen");
    assert!(super_options(&merged).contains("::"), "{}", super_options(&merged));
    assert!(store.run.join("overlay/dataonly-layers-true").is_file());
    // A change of attributes alone leaves the content where it is.
    rustix::fs::chmod(merged.join("d/base"), 0o640.into()).unwrap();
    fs::write(merged.join("new"), "n").unwrap();
    driver.put(&id("top")).unwrap();
    let compare = DiffOptions::default();
    let changes = driver.changes(&id("top"), Some(&id("middle")), &compare).unwrap();
    assert_eq!(change_list(&changes), ["A /new", "C /d", "C /d/base"]);
    let mut tar = Vec::new();
    driver.diff(&id("top"), Some(&id("middle")), &compare, &mut tar).unwrap();
    assert_eq!(tar_names(&tar), ["d/", "d/base", "new"]);
    assert!(tar.windows(CONTENT.len()).any(|w| w == CONTENT.as_bytes()), "the content is in it");

    // The layers themselves, for reading only.
    let before = snapshot(&store.graph);
    for name in ["base", "middle"] {
        let merged = driver.get(&id(name), &words(&["ro"])).unwrap();
        no_image_is_mounted(&store);
        assert_eq!(read(merged.join("d").join(name)), CONTENT);
        assert!(mounted_at(&merged).unwrap().options.contains("ro"));
        driver.put(&id(name)).unwrap();
        let e = driver.get(&id(name), &MountOptions::default()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::ReadOnly, "{e}");
        assert!(e.to_string().contains("composefs"), "{e}");
    }
    let mut tar = Vec::new();
    driver.diff(&id("middle"), Some(&id("base")), &compare, &mut tar).unwrap();
    assert_eq!(tar_names(&tar), ["d/", "d/middle", "inline"]);
    let size = driver.diff_size(&id("base"), None, &compare).unwrap();
    assert_eq!(size, (CONTENT.len() + "of base".len()) as u64);
    no_image_is_mounted(&store);
    let names =
        |list: Vec<String>| list.into_iter().filter(|l| !l.contains("merged")).collect::<Vec<_>>();
    assert_eq!(names(snapshot(&store.graph)), names(before));
}

#[test]
fn files_are_found_through_the_image() {
    // REM-15, DEF-24
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    if !make(&store, &*driver, "base", None) {
        return;
    }
    driver.create(&id("top"), Some(&id("base")), &CreateOptions::default()).unwrap();
    for layer in ["base", "top"] {
        let files = driver.file_source(&id(layer)).unwrap();
        for (name, content) in [("d/base", CONTENT), ("inline", "of base")] {
            let mut text = String::new();
            files.open_file(name.as_bytes()).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, content, "{layer} {name}");
        }
        for missing in ["d", "ab/base", "nothing"] {
            let e = files.open_file(missing.as_bytes()).unwrap_err();
            assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{missing}: {e}");
        }
    }
    no_image_is_mounted(&store);
}

#[test]
fn an_additional_store_s_are_mounted_below_the_run_root() {
    // GET-6, GET-38, PUT-6
    let shared = TestStore::new();
    if !make(&shared, &*shared.overlay(&["skip_mount_home=true"]), "base", None) {
        return;
    }
    let before = snapshot(&shared.graph);
    let store = TestStore::new();
    let driver = store.overlay(&[&format!("imagestore={}", shared.graph.display())]);
    let merged = driver.get(&id("base"), &words(&["ro"])).unwrap();
    assert_eq!(read(merged.join("d/base")), CONTENT);
    no_image_is_mounted(&store);
    driver.put(&id("base")).unwrap();
    assert!(!store.run.join("overlay/base").exists());
    assert_eq!(snapshot(&shared.graph), before);
}

#[test]
fn a_damaged_image_is_an_error_that_names_it() {
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    driver.create(&id("a"), None, &CreateOptions::default()).unwrap();
    let data = store.home("a/composefs-data");
    fs::create_dir(&data).unwrap();
    let blob = data.join("composefs.blob");
    for bytes in [None, Some(vec![]), Some(vec![0; 4096])] {
        let kind = match &bytes {
            Some(bytes) if bytes.len() > 100 => ErrorKind::Io,
            _ => ErrorKind::Corrupt,
        };
        if let Some(bytes) = &bytes {
            fs::write(&blob, bytes).unwrap();
        }
        let e = driver.get(&id("a"), &words(&["ro"])).unwrap_err();
        assert_eq!((e.kind(), e.file()), (kind, Some(&*blob)), "{e}");
        let files = driver.file_source(&id("a")).unwrap();
        assert!(files.open_file(b"f").is_err());
    }
    no_image_is_mounted(&store);
    driver.remove(&id("a")).unwrap();
}

#[test]
fn owners_are_mapped_in_images_too() {
    // GET-36, GET-38, MAP-7
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    if !make(&store, &*driver, "base", None) {
        return;
    }
    let options = CreateOptions::default();
    driver.create(&id("plain"), Some(&id("base")), &options).unwrap();
    fs::write(store.home("plain/diff/p"), "").unwrap();
    assert!(make(&store, &*driver, "upper", Some("plain")));
    driver.create_read_write(&id("ctr"), Some(&id("upper")), &options).unwrap();
    let how = |words: &[&str]| MountOptions {
        uid_map: maps().uids,
        gid_map: maps().gids,
        options: words.iter().map(|&w| w.to_owned()).collect(),
        ..MountOptions::default()
    };
    let merged = driver.get(&id("ctr"), &how(&[])).unwrap();
    no_image_is_mounted(&store);
    for name in ["d/base", "d/upper", "d", "inline", "p"] {
        assert_eq!(owner(merged.join(name)), (100_000, 200_000), "{name}");
    }
    assert_eq!(read(merged.join("d/base")), CONTENT);
    fs::write(merged.join("d/base"), "changed").unwrap();
    assert_eq!(owner(store.home("ctr/diff/d/base")), (100_000, 200_000));
    driver.put(&id("ctr")).unwrap();
    // What is the layer's own is not mapped, what is below is.
    let merged = driver.get(&id("upper"), &how(&["ro"])).unwrap();
    assert_eq!(owner(merged.join("d/upper")), (0, 0));
    assert_eq!(owner(merged.join("d/base")), (100_000, 200_000));
    driver.put(&id("upper")).unwrap();

    // Before Linux 5.19.
    let refusal = [(Call::MountSetattr, rustix::io::Errno::INVAL)];
    let e = refused::with(&refusal, || driver.get(&id("ctr"), &how(&[])).unwrap_err());
    assert!(e.to_string().contains("EROFS does from Linux 5.19"), "{e}");
    assert_eq!(e.raw_os_error(), Some(libc::EINVAL), "{e}");
    no_image_is_mounted(&store);
    assert_eq!(fs::read_dir(store.home("tempdirs")).unwrap().count(), 0);
}

#[test]
fn owners_are_changed_by_copies_too() {
    // MAP-1, GET-40
    let store = TestStore::new();
    let driver = store.overlay(&["disable_idmap=true"]);
    if !make(&store, &*driver, "base", None) {
        return;
    }
    driver.create_read_write(&id("ctr"), Some(&id("base")), &CreateOptions::default()).unwrap();
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    rustix::fs::chmod(merged.join("d/base"), 0o640.into()).unwrap();
    driver.put(&id("ctr")).unwrap();
    driver.update_id_maps(&id("ctr"), &IdMaps::default(), &maps(), "").unwrap();
    no_image_is_mounted(&store);
    let copy = store.home("ctr/diff1/d/base");
    assert_eq!(
        (read(&copy), owner(&copy), mode(&copy)),
        (CONTENT.into(), (100_000, 200_000), 0o640)
    );
    let mut mark = [0u8; 8];
    let marked = rustix::fs::lgetxattr(&copy, "trusted.overlay.metacopy", &mut mark);
    assert_eq!(marked, Err(rustix::io::Errno::NODATA), "it has its content");
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    for (name, content) in [("d/base", CONTENT), ("inline", "of base")] {
        assert_eq!(read(merged.join(name)), content);
        assert_eq!(owner(merged.join(name)), (100_000, 200_000));
    }
    driver.put(&id("ctr")).unwrap();
    let mut text = String::new();
    let files = driver.file_source(&id("ctr")).unwrap();
    files.open_file(b"d/base").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, CONTENT);
}
