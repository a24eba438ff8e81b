//! What a process that dies leaves behind, and what the next one makes of it.

use std::collections::HashSet;

use super::super::order::Held;
use super::*;
use crate::ErrorKind;
use crate::sys::lock::{LockAccess, LockFile};

fn container(store: &Store, name: &str) -> Container {
    let new = NewContainer { names: vec![name.to_owned()], ..NewContainer::default() };
    store.create_container(new).unwrap()
}

#[test]
fn a_container_whose_deletion_was_cut_short_goes_altogether() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let gone = container(&store, "gone");
    let kept = container(&store, "kept");
    store.container_dir("gone").unwrap();
    {
        let (held, mut layers) = store.write_layers(&Held::nothing()).unwrap();
        let aside = store.set_layers_aside(&held, &mut layers, std::slice::from_ref(&gone.layer));
        // Here the process dies: container and layer are on record, the layer's files are gone.
        drop(aside.unwrap().all().unwrap());
    }
    assert!(fixture.records("layers").contains("incomplete"));
    let next = fixture.store();
    next.create_layer(named("any")).unwrap();
    assert_eq!(kind(next.container("gone")), ErrorKind::ContainerUnknown);
    assert!(!fixture.records("layers").contains("incomplete"));
    let left = fixture.listing("graph");
    assert!(!left.iter().any(|p| p.ends_with(&gone.id)), "{left:?}");
    assert_eq!(next.container("kept").unwrap(), kept);
}

// store-format 10.1
#[test]
fn half_written_records_and_items_go_with_the_next_writer() {
    let fixture = Fixture::new();
    let store = fixture.store();
    container(&store, "any");
    let leftovers = [
        ("graph", "layers", "layers.json"),
        ("graph", "layers", "volatile-layers.json"),
        ("graph", "layers", "item"),
        ("graph", "containers", "containers.json"),
        ("graph", "containers", "volatile-containers.json"),
        ("graph", "containers", "item"),
        ("graph", "images", "images.json"),
        ("graph", "images", "item"),
        ("run", "layers", "mountpoints.json"),
    ]
    .map(|(root, dir, file)| {
        let dir = fixture.path(root).join(format!("{}-{dir}", fixture.driver));
        dir.join(format!(".tmp-{file}-orlop"))
    });
    for path in &leftovers {
        std::fs::write(path, "[{").unwrap();
    }
    store.containers().unwrap();
    assert!(leftovers.iter().all(|path| path.exists()), "a reader removes nothing");
    fixture.store().create_layer(named("next")).unwrap();
    for path in &leftovers {
        assert!(!path.exists(), "{path:?}");
    }
}

// Where a killed process may leave an item half written is where the next writer looks, not the item's own directory.
#[test]
fn items_are_half_written_in_one_place() {
    let fixture = Fixture::new();
    let store = fixture.store();
    container(&store, "any");
    let id = store.container("any").unwrap().id;
    let dir = fixture.path("graph").join(format!("{}-containers", fixture.driver));
    std::fs::create_dir(dir.join(".tmp-item-orlop")).unwrap();
    let e = store.set_container_big_data("any", "item", b"data").unwrap_err();
    assert!(e.to_string().contains("replacing"), "{e}");
    std::fs::remove_dir(dir.join(".tmp-item-orlop")).unwrap();
    store.set_container_big_data("any", "item", b"data").unwrap();
    assert_eq!(std::fs::read(dir.join(id).join("item")).unwrap(), b"data");
}

#[test]
fn an_image_whose_making_was_cut_short_is_made_anew() {
    let fixture = Fixture::new();
    let store = fixture.store();
    store.create_image(NewImage { names: vec!["other".into()], ..NewImage::default() }).unwrap();
    let dir = fixture.path("graph").join(format!("{}-images/cut", fixture.driver));
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("old"), "of the first attempt").unwrap();
    let new = NewImage {
        id: Some("cut".into()),
        big_data: vec![item("manifest", "{}")],
        ..NewImage::default()
    };
    store.create_image(new).unwrap();
    assert_eq!(store.image_big_data("cut", "manifest").unwrap(), b"{}");
    assert_eq!(kind(store.image_big_data("cut", "old")), ErrorKind::DataUnknown);
    // What is no directory was not made by us.
    for (id, link) in [("file", false), ("link", true)] {
        let path = dir.with_file_name(id);
        if link {
            std::os::unix::fs::symlink(fixture.path("."), &path).unwrap();
        } else {
            std::fs::write(&path, "kept").unwrap();
        }
        let data = vec![item("manifest", "{}")];
        let new = NewImage { id: Some(id.into()), big_data: data.clone(), ..NewImage::default() };
        assert!(store.create_image(new).is_err());
        assert!(path.symlink_metadata().is_ok(), "{id}");
    }
}

#[test]
fn damaged_container_records_do_not_stop_work_on_layers() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let layer = store.create_layer(named("half")).unwrap();
    let text = fixture.records("layers");
    let flagged = text.replacen(r#","created""#, r#","flags":{"incomplete":true},"created""#, 1);
    fixture.write_records("layers", &flagged);
    fixture.write_records("containers", "[{");
    let next = fixture.store();
    next.create_layer(named("other")).unwrap();
    assert_eq!(next.layers().unwrap().len(), 1);
    assert!(fixture.records("layers").contains(&layer.id), "without the containers nobody knows");
}

#[test]
fn removing_many_layers_keeps_few_files_open() {
    let fixture = Fixture::new();
    let unsynced = vec![format!("{}.sync=none", fixture.driver)];
    let options = StoreOptions { driver_options: unsynced, ..fixture.options() };
    let store = Store::open(options).unwrap();
    let ids: Vec<String> =
        (0..70).map(|i| store.create_layer(named(&format!("l{i}"))).unwrap().id.clone()).collect();
    let (held, mut layers) = store.write_layers(&Held::nothing()).unwrap();
    store.remove_layers(&held, &mut layers, &ids).unwrap();
    let locks = fixture
        .listing("graph")
        .into_iter()
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("lock-")));
    assert!((1..=65).contains(&locks.count()));
    drop(layers);
    assert!(store.layers().unwrap().is_empty());
    assert!(!fixture.listing("graph").iter().any(|p| ids.iter().any(|id| p.ends_with(id))));
}

#[test]
fn a_layer_that_resists_removal_does_not_hold_up_the_others() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let stuck = import(&store, "stuck", None, &[("f", "x")]);
    let other = import(&store, "other", None, &[("f", "y")]);
    // A name of the temp dirs that is a file: nothing can be moved there.
    let dir = fixture.path("graph").join(format!("{}-layers", fixture.driver));
    std::fs::remove_file(dir.join(format!("{}.tar-split.gz", other.id))).unwrap();
    std::fs::remove_dir(dir.join("tmp")).unwrap();
    std::fs::write(dir.join("tmp"), "").unwrap();
    {
        let ids = [stuck.id.clone(), other.id.clone()];
        let (held, mut layers) = store.write_layers(&Held::nothing()).unwrap();
        assert!(store.remove_layers(&held, &mut layers, &ids).is_err());
    }
    let left = fixture.records("layers");
    assert!(left.contains(&stuck.id) && !left.contains(&other.id), "{left}");
    assert!(store.layers().unwrap().is_empty(), "what resists is hidden");
    std::fs::remove_file(dir.join("tmp")).unwrap();
    fixture.store().create_layer(named("any")).unwrap();
    assert!(!fixture.records("layers").contains(&stuck.id));
}

#[test]
fn reading_holds_the_lock_of_the_image_store_too() {
    // store-format.md 16.29
    // store-format 9.3: two graph roots may share an image store and nothing else.
    let fixture = Fixture::new();
    let options = StoreOptions { image_store: Some(fixture.path("images")), ..fixture.options() };
    let store = Store::open(options).unwrap();
    store.create_layer(named("l")).unwrap();
    let path = fixture.path("images").join(format!("{}-layers/layers.lock", fixture.driver));
    let lock = LockFile::open(&path, LockAccess::ReadWrite).unwrap();
    let held = store.layers.read(&Held::nothing()).unwrap();
    assert!(lock.try_write().unwrap().is_none());
    drop(held);
    assert!(lock.try_write().unwrap().is_some());
}

#[test]
fn a_layer_may_be_read_and_imported_at_the_same_time() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let text = "x".repeat(1 << 20);
    import(&store, "from", None, &[("f", &text)]);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        // More than a pipe holds: the export waits for the import, which must not wait for the export.
        scope.spawn(|| {
            let mut writer = std::mem::replace(&mut writer, std::io::pipe().unwrap().1);
            store.diff("from", None, None, &mut writer).unwrap();
        });
        store.import_layer(named("to"), &mut reader).unwrap();
    });
    let digests: HashSet<String> =
        store.layers().unwrap().iter().map(|l| l.diff_digest.clone()).collect();
    assert_eq!(digests.len(), 1);
}

#[test]
fn a_record_without_an_id_takes_no_id() {
    let fixture = Fixture::new();
    let store = fixture.store();
    store.create_layer(named("l")).unwrap();
    let text = fixture.records("layers");
    let odd = text.replacen('[', r#"[{"id":"","created":"2026-11-21T07:02:46Z"},"#, 1);
    fixture.write_records("layers", &odd);
    import(&store, "new", None, &[("f", "x")]);
    assert_eq!(store.layers().unwrap().len(), 3);
}
