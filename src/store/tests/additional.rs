use super::*;
use crate::ErrorKind;

/// A store published read-only: bound over itself without write access, its lock files gone.
fn published(fixture: &Fixture) -> PathBuf {
    let root = fixture.path("published");
    let options = StoreOptions { graph_root: root.clone(), ..fixture.options() };
    let store = Store::open(options).unwrap();
    let base = import(&store, "base", None, &[("file", "shared\n")]);
    let new = NewImage {
        names: vec!["shared".into()],
        layer: Some(base.id.clone()),
        big_data: vec![item("manifest", "{}")],
        ..NewImage::default()
    };
    store.create_image(new).unwrap();
    store.shutdown(false).unwrap();
    for lock in ["overlay-layers/layers.lock", "overlay-images/images.lock", "storage.lock"] {
        let _ = std::fs::remove_file(root.join(lock));
    }
    rustix::mount::mount_bind(&root, &root).unwrap();
    rustix::mount::mount_remount(
        &root,
        rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY,
        "",
    )
    .unwrap();
    root
}

#[test]
fn a_read_only_store_without_locks_is_used_and_never_written() {
    // store-format.md 16.30
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    let fixture = Fixture::with_driver("overlay");
    let root = published(&fixture);
    let before = fixture.listing("published");
    let options = StoreOptions {
        driver_options: vec![format!("imagestore={}", root.display())],
        ..fixture.options()
    };
    let store = Store::open(options).unwrap();
    let image = store.image("shared").unwrap();
    assert!(image.read_only && store.layer("base").unwrap().read_only);
    assert_eq!(store.image_big_data("shared", "manifest").unwrap(), b"{}");
    assert_eq!(kind(store.delete_image("shared", false)), ErrorKind::ReadOnly);
    assert_eq!(kind(store.mount("base", &MountRequest::default())), ErrorKind::ReadOnly);
    let new = NewContainer {
        names: vec!["c".into()],
        image: Some("shared".into()),
        ..NewContainer::default()
    };
    store.create_container(new).unwrap();
    let path = store.mount("c", &MountRequest::default()).unwrap();
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "shared\n");
    store.unmount("c", false).unwrap();
    // Renaming copies the record and the data into this store (11).
    store.set_names(&image.id, &["mine".to_owned()]).unwrap();
    let mine = store.image("mine").unwrap();
    assert_eq!((mine.read_only, mine.id.as_str()), (false, image.id.as_str()));
    assert_eq!(fixture.listing("published"), before);
}

#[test]
fn a_separate_image_store_holds_images_and_their_layers() {
    // store-format.md 16.29
    // store-format.md 14, "split": tar-split stays in the graph root.
    let fixture = Fixture::new();
    let options = StoreOptions { image_store: Some(fixture.path("images")), ..fixture.options() };
    let store = Store::open(options.clone()).unwrap();
    let base = import(&store, "base", None, &[("file", "x")]);
    let new =
        NewImage { names: vec!["i".into()], layer: Some(base.id.clone()), ..NewImage::default() };
    store.create_image(new).unwrap();
    let new = NewContainer {
        names: vec!["c".into()],
        image: Some("i".into()),
        ..NewContainer::default()
    };
    store.create_container(new).unwrap();
    let layers = format!("images/{}-layers/layers.json", fixture.driver);
    assert!(std::fs::read_to_string(fixture.path(&layers)).unwrap().contains(&base.id));
    assert!(!fixture.records("layers").contains(&format!("\"id\":\"{}\"", base.id)));
    let split = format!("graph/{}-layers/{}.tar-split.gz", fixture.driver, base.id);
    assert!(fixture.path(&split).exists());
    let other = Store::open(options).unwrap();
    other.delete_container("c").unwrap();
    other.delete_image("i", false).unwrap();
    assert!(store.layers().unwrap().is_empty());
    let same = StoreOptions { image_store: Some(fixture.path("graph")), ..fixture.options() };
    assert_eq!(kind(Store::open(same)), ErrorKind::Config);
}

#[test]
fn an_image_of_the_graph_root_beside_an_image_store_is_deleted_like_any_other() {
    let fixture = Fixture::new();
    let plain = fixture.store();
    let base = import(&plain, "base", None, &[("file", "x")]);
    let manifest = vec![item("manifest", "{}")];
    let new = NewImage { layer: Some(base.id.clone()), big_data: manifest, ..NewImage::default() };
    let image = plain.create_image(new).unwrap();
    let new = NewContainer { image: Some(image.id.clone()), ..NewContainer::default() };
    let container = plain.create_container(new).unwrap();
    let options = StoreOptions { image_store: Some(fixture.path("images")), ..fixture.options() };
    let split = Store::open(options).unwrap();
    assert_eq!(kind(split.delete_layer("base")), ErrorKind::LayerHasChildren);
    assert_eq!(kind(split.delete_image(&image.id, false)), ErrorKind::ImageUsedByContainer);
    split.delete_container(&container.id).unwrap();
    assert_eq!(kind(split.delete_layer("base")), ErrorKind::LayerUsedByImage);
    assert_eq!(split.delete_image(&image.id, true).unwrap(), std::slice::from_ref(&base.id));
    split.delete_image(&image.id, false).unwrap();
    assert!(!fixture.listing("graph").iter().any(|p| p.ends_with(&image.id)));
    assert!(split.layers().unwrap().is_empty() && plain.images().unwrap().is_empty());
}
