//! Garbage collection (store-format.md 10.4).

use super::*;
use crate::{ErrorKind, IdMap};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn make(path: PathBuf) {
    std::fs::create_dir_all(path.join("sub")).unwrap();
    std::fs::write(path.join("file"), "left").unwrap();
}

/// An image with a mapped copy, and a container on each.
fn filled(fixture: &Fixture) -> Store {
    let options =
        StoreOptions { driver_options: vec!["disable_idmap=true".into()], ..fixture.options() };
    let options = if fixture.driver == "overlay" { options } else { fixture.options() };
    let store = Store::open(options).unwrap();
    let base = import(&store, "base", None, &[("file", "x")]);
    let new = NewImage {
        names: vec!["i".into()],
        layer: Some(base.id.clone()),
        big_data: vec![item("manifest", "{}")],
        ..NewImage::default()
    };
    store.create_image(new).unwrap();
    let map = vec![IdMap { container_id: 0, host_id: 1000, size: 100 }];
    for (name, map) in [("plain", Vec::new()), ("mapped", map)] {
        let new = NewContainer {
            names: vec![name.into()],
            image: Some("i".into()),
            uid_map: map.clone(),
            gid_map: map,
            ..NewContainer::default()
        };
        store.create_container(new).unwrap();
    }
    store
}

#[test]
fn what_has_no_record_goes_and_nothing_else() {
    let fixture = Fixture::new();
    let store = filled(&fixture);
    store.garbage_collect().unwrap();
    let (kept, records) = (fixture.listing("graph"), fixture.records("layers"));
    let driver = fixture.driver;
    let home = if driver == "vfs" { "graph/vfs/dir".to_owned() } else { format!("graph/{driver}") };
    make(fixture.path(&format!("{home}/junk")));
    make(fixture.path(&format!("{home}/{ID}")));
    for kind in ["layers", "images", "containers"] {
        make(fixture.path(&format!("graph/{driver}-{kind}/{ID}")));
    }
    std::fs::write(fixture.path(&format!("graph/{driver}-layers/{ID}.tar-split.gz")), "").unwrap();
    // These are nobody's data by their names, and stay.
    make(fixture.path(&format!("graph/{driver}-images/{}", &ID[1..])));
    let others = fixture.listing(&format!("graph/{driver}-images/{}", &ID[1..]));
    store.garbage_collect().unwrap();
    let mut found = fixture.listing("graph");
    found.retain(|p| !others.contains(p) && !p.ends_with(&ID[1..]));
    assert_eq!(found, kept);
    assert!(others.iter().all(|p| p.exists()) && !others.is_empty());
    assert_eq!(fixture.records("layers"), records);
    for name in ["plain", "mapped"] {
        let path = store.mount(name, &MountRequest::default()).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "x");
        store.unmount(name, false).unwrap();
    }
}

#[test]
fn what_an_image_needs_is_no_garbage_though_its_record_is_lost() {
    let fixture = Fixture::new();
    drop(filled(&fixture));
    fixture.write_records("layers", "[]");
    let before = fixture.listing("graph");
    let error = fixture.store().garbage_collect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("nothing was removed"), "{error}");
    assert_eq!(fixture.listing("graph"), before);
}

#[test]
fn a_transient_store_is_not_collected_by_one_that_does_not_see_its_containers() {
    // store-format.md 14, 16.9
    let fixture = Fixture::new();
    drop(filled(&fixture));
    let transient = StoreOptions { transient_store: true, ..fixture.options() };
    let store = Store::open(transient).unwrap();
    let new = NewContainer {
        names: vec!["passing".into()],
        image: Some("i".into()),
        big_data: vec![item("kept", "data")],
        ..NewContainer::default()
    };
    let container = store.create_container(new).unwrap();
    let before = fixture.listing("graph");
    let error = fixture.store().garbage_collect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("with --transient-store"), "{error}");
    assert_eq!(fixture.listing("graph"), before);
    store.garbage_collect().unwrap();
    assert_eq!(store.container_big_data(&container.id, "kept").unwrap(), b"data");
}
