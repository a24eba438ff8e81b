//! The driver on the disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::driver::tests::{
    TestStore, chain, change_list, id, mode, snapshot, tar_names, tar_of, words,
};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, MountDescription, MountOptions};
use crate::{ErrorKind, archive};

fn dir(store: &TestStore, layer: &str) -> PathBuf {
    store.graph.join("vfs/dir").join(layer)
}

#[test]
fn layers_are_whole_trees() {
    // store-format 13
    let store = TestStore::new();
    let driver = store.open("vfs", None, &[]);
    assert!(driver.list_layers().unwrap().is_empty() && !store.graph.exists());
    chain(&*driver, &["base"]);
    assert_eq!(mode(dir(&store, "base")), 0o555);
    let base = tar_of(&[("d/", ""), ("d/gone", "gone"), ("d/kept", "kept"), ("link", "->d/kept")]);
    driver.apply_diff(&id("base"), &ApplyOptions::default(), &mut base.as_slice()).unwrap();
    fs::set_permissions(dir(&store, "base"), std::os::unix::fs::PermissionsExt::from_mode(0o1755))
        .unwrap();

    driver.create_read_write(&id("top"), Some(&id("base")), &CreateOptions::default()).unwrap();
    assert_eq!(snapshot(&dir(&store, "top")), snapshot(&dir(&store, "base")));
    assert_eq!(mode(dir(&store, "top")), 0o1755);
    assert_eq!(
        dir(&store, "top").join("link").metadata().unwrap().nlink(),
        2,
        "hard links are kept"
    );
    // CRE-1: the content of the template.
    driver
        .create_from_template(&id("copy"), &id("base"), &CreateOptions::default(), false)
        .unwrap();
    assert_eq!(snapshot(&dir(&store, "copy")), snapshot(&dir(&store, "base")));
    driver.remove(&id("copy")).unwrap();
    let change = tar_of(&[("d/.wh.gone", ""), ("d/new", "123")]);
    driver.apply_diff(&id("top"), &ApplyOptions::default(), &mut change.as_slice()).unwrap();
    assert!(
        !dir(&store, "top").join("d/gone").exists() && dir(&store, "base").join("d/gone").exists()
    );
    assert!(!dir(&store, "top").join("d/.wh.gone").exists(), "carried out, not kept");

    assert_eq!(driver.list_layers().unwrap(), ["base", "top"]);
    let changes = driver.changes(&id("top"), Some(&id("base")), &DiffOptions::default()).unwrap();
    assert_eq!(change_list(&changes), ["A /d/new", "C /d", "D /d/gone"]);
    assert_eq!(
        driver.diff_size(&id("top"), Some(&id("base")), &DiffOptions::default()).unwrap(),
        3
    );
    let mut diff = Vec::new();
    driver.diff(&id("top"), Some(&id("base")), &DiffOptions::default(), &mut diff).unwrap();
    assert_eq!(tar_names(&diff), ["d/", "d/.wh.gone", "d/new"]);
    let mut whole = Vec::new();
    driver.diff(&id("top"), None, &DiffOptions::default(), &mut whole).unwrap();
    assert_eq!(tar_names(&whole), ["d/", "d/kept", "d/new", "link"]);

    // A round trip: the same layers elsewhere.
    let other = TestStore::new();
    let copy = other.open("vfs", None, &[]);
    chain(&*copy, &["base"]);
    copy.apply_diff(&id("base"), &ApplyOptions::default(), &mut base.as_slice()).unwrap();
    let staged = copy.stage(Some(&id("base")), &ApplyOptions::default()).unwrap();
    archive::unpack(&mut diff.as_slice(), staged.root(), staged.unpack_options()).unwrap();
    copy.create_staged(&id("top"), Some(&id("base")), &CreateOptions::default(), staged).unwrap();
    let tree = |s: &TestStore| snapshot(&dir(s, "top").join("d"));
    assert_eq!(tree(&other), tree(&store));
    // The same in two steps.
    let staged = copy.stage(Some(&id("top")), &ApplyOptions::default()).unwrap();
    copy.create(&id("third"), Some(&id("base")), &CreateOptions::default()).unwrap();
    copy.commit_staged(&id("third"), staged).unwrap();
    assert_eq!(snapshot(&dir(&other, "third")), snapshot(&dir(&other, "top")));
    assert_eq!(fs::read_dir(other.graph.join("vfs/tempdirs")).unwrap().count(), 0);
}

#[test]
fn mounting_is_naming_the_tree() {
    let store = TestStore::new();
    let driver = store.open("vfs", None, &["vfs.sync=filesystem"]);
    assert!(driver.sync_filesystem());
    chain(&*driver, &["a"]);
    assert_eq!(driver.get(&id("a"), &words(&["ro"])).unwrap(), dir(&store, "a"));
    assert_eq!(driver.get(&id("a"), &MountOptions::default()).unwrap(), dir(&store, "a"));
    driver.put(&id("a")).unwrap();
    assert_eq!(
        driver.get(&id("a"), &words(&["nodev"])).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    assert_eq!(driver.get(&id("b"), &words(&[])).unwrap_err().kind(), ErrorKind::LayerUnknown);
    let described = driver.describe_mount(&id("a"), &words(&["ro"])).unwrap();
    assert_eq!(described, MountDescription::Directory(dir(&store, "a")));
    let detached = driver.mount_detached(&id("a"), &words(&[])).unwrap_err();
    assert_eq!(detached.kind(), ErrorKind::NotSupported);
    let sized =
        CreateOptions { storage_opt: [("size".into(), "1".into())].into(), ..Default::default() };
    assert_eq!(driver.create(&id("b"), None, &sized).unwrap_err().kind(), ErrorKind::NotSupported);
    assert!(driver.create(&id("b"), Some(&id("none")), &CreateOptions::default()).is_err());
    assert_eq!(driver.list_layers().unwrap(), ["a"]);
    driver.deferred_remove(&id("a")).unwrap().empty().unwrap();
    driver.deferred_remove(&id("a")).unwrap().empty().unwrap();
    driver.remove(&id("a")).unwrap();
    assert!(!driver.exists(&id("a")));
    assert!(driver.status().is_empty());
}

#[test]
fn other_stores_are_read_and_not_changed() {
    let shared = TestStore::new();
    chain(&*shared.open("vfs", None, &[]), &["base"]);
    fs::write(dir(&shared, "base").join("f"), "x").unwrap();
    let store = TestStore::new();
    let images = store.beside("images");
    let option = format!("vfs.imagestore={}", shared.graph.display());
    let driver = store.open("vfs", Some(&images), &[&option]);
    let before = snapshot(&shared.graph);
    driver.create_read_write(&id("ctr"), Some(&id("base")), &CreateOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(dir(&store, "ctr").join("f")).unwrap(), "x");
    driver.create(&id("img"), Some(&id("base")), &CreateOptions::default()).unwrap();
    assert!(images.join("vfs/dir/img/f").exists() && !dir(&store, "img").exists());
    assert_eq!(driver.remove(&id("base")).unwrap_err().kind(), ErrorKind::ReadOnly);
    driver.remove(&id("img")).unwrap();
    assert!(!images.join("vfs/dir/img").exists());
    assert_eq!(snapshot(&shared.graph), before);
}

#[test]
fn a_layer_that_cannot_be_looked_for_is_not_taken_for_deleted() {
    let store = TestStore::new();
    let driver = store.open("vfs", None, &[]);
    driver.create(&id("layer"), None, &CreateOptions::default()).unwrap();
    let (dir, aside) = (store.graph.join("vfs/dir"), store.graph.join("vfs/aside"));
    fs::rename(&dir, &aside).unwrap();
    std::os::unix::fs::symlink("dir", &dir).unwrap();
    let errors = [
        driver.remove(&id("layer")).unwrap_err(),
        driver.deferred_remove(&id("layer")).err().unwrap(),
    ];
    for error in errors {
        assert!(error.to_string().contains("vfs/dir/layer"), "{error}");
    }
    fs::remove_file(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    driver.remove(&id("layer")).unwrap();
    assert!(!driver.exists(&id("layer")));
}
