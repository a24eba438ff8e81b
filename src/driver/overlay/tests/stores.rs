//! Layers of other stores: additional image stores, and a separate root for images.

use std::fs;

use crate::ErrorKind;
use crate::driver::tests::{
    TestStore, chain, change_list, id, mounted_at, snapshot, super_options, tar_names, words,
};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, Driver, MountOptions};
use crate::sys::mount::kernel_before;

/// A store with the layers base and shared, whose home nobody has mounted.
fn shared_store() -> TestStore {
    let shared = TestStore::new();
    let driver = shared.overlay(&["skip_mount_home=true"]);
    chain(&*driver, &["base", "shared"]);
    fs::write(shared.home("base/diff/f"), "from the other store").unwrap();
    shared
}

#[test]
fn layers_of_other_stores_are_read_before_anything_is_made() {
    // ACC-1, DEF-31, CRE-17, DIF-3: the first operation of a store
    let shared = shared_store();
    let option = format!("imagestore={}", shared.graph.display());
    fs::write(shared.home("shared/diff/new"), "n").unwrap();
    let read = |driver: &dyn Driver| {
        let mut diff = Vec::new();
        driver.diff(&id("shared"), Some(&id("base")), &DiffOptions::default(), &mut diff).unwrap();
        assert_eq!(tar_names(&diff), ["new"]);
        let changes =
            driver.changes(&id("shared"), Some(&id("base")), &DiffOptions::default()).unwrap();
        assert_eq!(change_list(&changes), ["A /new"]);
        assert_eq!(
            driver.diff_size(&id("shared"), Some(&id("base")), &DiffOptions::default()).unwrap(),
            1
        );
    };
    let store = TestStore::new();
    read(&*store.overlay(&[&option]));

    // The store's own root, on a medium that cannot be written to.
    let run = shared.beside("other-run");
    rustix::mount::mount_bind(&shared.graph, &shared.graph).unwrap();
    let flags = rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount_remount(&shared.graph, flags, "").unwrap();
    let driver = crate::driver::open("overlay", &shared.graph, &run, None, &[]).unwrap();
    read(&*driver);
}

#[test]
fn an_additional_store_is_used_and_never_written_to() {
    // ACC-7, GET-10, REM-14, CRE-17, GET-6, GET-18, PUT-6, ADD-2, store-format 12.6
    let shared = shared_store();
    let store = TestStore::new();
    let option = format!("imagestore={}", shared.graph.display());
    let driver = store.overlay(&[&option]);
    assert_eq!(driver.additional_image_stores(), std::slice::from_ref(&shared.graph));
    let before = snapshot(&shared.graph);
    assert!(driver.exists(&id("shared")));
    assert!(driver.list_layers().unwrap().is_empty());

    let merged = driver.get(&id("shared"), &MountOptions::default()).unwrap();
    assert_eq!(merged, store.run.join("overlay/shared/merged"));
    assert_eq!(driver.metadata(&id("shared")).unwrap()["MergedDir"], merged.to_str().unwrap());
    assert!(super_options(&merged).starts_with("ro,"), "read-only whatever is asked for");
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "from the other store");
    driver.put(&id("shared")).unwrap();
    assert!(!store.run.join("overlay/shared").exists());

    for refused in [
        driver.remove(&id("shared")).unwrap_err(),
        driver.deferred_remove(&id("shared")).err().unwrap(),
        driver
            .apply_diff(&id("shared"), &ApplyOptions::default(), &mut std::io::empty())
            .unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::ReadOnly, "{refused}");
    }

    driver.create_read_write(&id("ctr"), Some(&id("shared")), &CreateOptions::default()).unwrap();
    let lower = fs::read_to_string(store.home("ctr/lower")).unwrap();
    let link = fs::read_to_string(shared.home("shared/link")).unwrap();
    assert!(lower.starts_with(&format!("l/{link}:")), "{lower}");
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "from the other store");
    fs::write(merged.join("f"), "changed").unwrap();
    driver.put(&id("ctr")).unwrap();

    // Found by the short links of the other store, too, and by its `link` files when those are lost.
    fs::remove_file(store.home("ctr/lower-layers")).unwrap();
    driver.get(&id("ctr"), &words(&["ro"])).unwrap();
    driver.put(&id("ctr")).unwrap();
    assert_eq!(snapshot(&shared.graph), before);
    fs::remove_file(shared.home("l").join(&link)).unwrap();
    let merged = driver.get(&id("ctr"), &words(&["ro"])).unwrap();
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "changed");
    assert!(!shared.home("l").join(&link).exists(), "a foreign store is not repaired");
    driver.put(&id("ctr")).unwrap();

    // ADD-2: creating makes a layer of our own.
    driver.create(&id("shared"), None, &CreateOptions::default()).unwrap();
    assert!(store.home("shared/diff").is_dir());
    driver.remove(&id("shared")).unwrap();
    assert!(driver.exists(&id("shared")));
}

#[test]
fn long_chains_over_another_store() {
    // MNT-2: a foreign layer by its shortest path
    let shared = TestStore::new();
    let theirs = shared.overlay(&["skip_mount_home=true"]);
    let names: Vec<String> = (0..120).map(|n| format!("{n:064x}")).collect();
    chain(&*theirs, &names.iter().map(String::as_str).collect::<Vec<_>>());
    fs::write(shared.home(&names[0]).join("diff/deepest"), "x").unwrap();
    let store = TestStore::new();
    let driver = store.overlay(&[&format!("additionalimagestore={}", shared.graph.display())]);
    driver
        .create_read_write(&id("ctr"), Some(&id(&names[119])), &CreateOptions::default())
        .unwrap();
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("deepest")).unwrap(), "x");
    let expected = format!("lowerdir+={}/overlay/l/", shared.graph.display());
    let named = if kernel_before(6, 7) { 0 } else { 120 };
    assert_eq!(super_options(&merged).matches(&expected).count(), named);
}

#[test]
fn images_can_have_a_root_of_their_own() {
    // CRE-16, store-format 12.3, DEF-11
    let store = TestStore::new();
    let images = store.beside("images");
    let driver = store.open("overlay", Some(&images), &[]);
    driver.create(&id("img"), None, &CreateOptions::default()).unwrap();
    driver.create_read_write(&id("ctr"), Some(&id("img")), &CreateOptions::default()).unwrap();
    assert!(images.join("overlay/img/diff").is_dir() && !store.home("img").exists());
    assert!(store.home("ctr/diff").is_dir());
    assert_eq!(fs::read_dir(images.join("overlay/l")).unwrap().count(), 1);
    assert_eq!(driver.temp_dir_roots(), [store.home("tempdirs"), images.join("overlay/tempdirs")]);

    let staged = driver.stage(None, &ApplyOptions::default()).unwrap();
    driver.create_staged(&id("img2"), None, &CreateOptions::default(), staged).unwrap();
    assert!(images.join("overlay/img2/diff").is_dir());

    let merged = driver.get(&id("img"), &MountOptions::default()).unwrap();
    assert_eq!(merged, store.run.join("overlay/img/merged"));
    driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    driver.put(&id("ctr")).unwrap();
    driver.deferred_remove(&id("img2")).unwrap().empty().unwrap();
    driver.remove(&id("img")).unwrap();
    assert!(mounted_at(&merged).is_none());
    assert_eq!(fs::read_dir(images.join("overlay/l")).unwrap().count(), 0);
}
