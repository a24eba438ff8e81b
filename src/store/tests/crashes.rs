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

// store-format 10.1: under the lock that every writer of the file takes, nobody else can be at its temporary file.
#[test]
fn half_written_records_go_with_the_next_writer() {
    let fixture = Fixture::new();
    let store = fixture.store();
    container(&store, "any");
    let leftovers = [
        ("graph", "layers", "layers"),
        ("graph", "containers", "containers"),
        ("graph", "images", "images"),
        ("run", "layers", "mountpoints"),
    ]
    .map(|(root, dir, file)| {
        let dir = fixture.path(root).join(format!("{}-{dir}", fixture.driver));
        dir.join(format!(".tmp-{file}.json-orlop"))
    });
    for path in &leftovers {
        std::fs::write(path, "[{").unwrap();
    }
    store.containers().unwrap();
    assert!(leftovers.iter().all(|path| path.exists()), "a reader removes nothing");
    fixture.store().delete_container("any").unwrap();
    fixture.store().wipe().unwrap();
    for path in &leftovers {
        assert!(!path.exists(), "{path:?}");
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
