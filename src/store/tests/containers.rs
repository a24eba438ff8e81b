use super::*;
use crate::ErrorKind;

fn with_image(store: &Store) -> LayerInfo {
    let base = import(store, "base", None, &[("etc/", ""), ("etc/a", "a")]);
    let new =
        NewImage { names: vec!["i".into()], layer: Some(base.id.clone()), ..NewImage::default() };
    store.create_image(new).unwrap();
    base
}

fn named_container(name: &str) -> NewContainer {
    NewContainer { names: vec![name.into()], image: Some("i".into()), ..NewContainer::default() }
}

#[test]
fn a_container_and_its_layer_come_and_go_together() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let base = with_image(&store);
    let container = store.create_container(named_container("c")).unwrap();
    let layer = store.layer(&container.layer).unwrap();
    assert_eq!((layer.parent.as_str(), layer.flags.len()), (base.id.as_str(), 0));
    // The two labels are there even when they are empty (5).
    assert_eq!(container.flags.keys().collect::<Vec<_>>(), ["MountLabel", "ProcessLabel"]);
    assert_eq!(store.container(&container.layer).unwrap().id, container.id);
    assert_eq!(kind(store.delete_layer(&container.layer)), ErrorKind::LayerUsedByContainer);
    let on_it = NewLayer { parent: Some(container.layer.clone()), ..NewLayer::default() };
    assert_eq!(kind(store.create_layer(on_it)), ErrorKind::ParentIsContainer);
    store.delete_container("c").unwrap();
    assert_eq!(kind(store.layer(&container.layer)), ErrorKind::LayerUnknown);
    assert_eq!(kind(store.delete_container("c")), ErrorKind::NotAContainer);
}

#[test]
fn a_container_that_cannot_be_made_leaves_no_layer() {
    let fixture = Fixture::new();
    let store = fixture.store();
    with_image(&store);
    store.create_container(named_container("c")).unwrap();
    let before =
        (fixture.listing("graph"), fixture.records("layers"), fixture.records("containers"));
    assert_eq!(kind(store.create_container(named_container("c"))), ErrorKind::DuplicateName);
    let nobody = NewContainer { image: Some("nobody".into()), ..NewContainer::default() };
    assert_eq!(kind(store.create_container(nobody)), ErrorKind::ImageUnknown);
    let label = NewContainer { mount_label: "x".into(), ..NewContainer::default() };
    assert_eq!(kind(store.create_container(label)), ErrorKind::InvalidArgument);
    let after =
        (fixture.listing("graph"), fixture.records("layers"), fixture.records("containers"));
    assert_eq!(after, before);
}

#[test]
fn a_crash_before_the_flag_is_cleared_keeps_both() {
    let fixture = Fixture::new();
    let store = fixture.store();
    with_image(&store);
    let container = store.create_container(named_container("c")).unwrap();
    let created = r#""created":"#;
    let at = format!(r#"{{"id":"{}","parent""#, container.layer);
    let text = fixture.records("layers");
    let (head, tail) = text.split_at(text.find(&at).unwrap());
    let (record, rest) = tail.split_at(tail.find('}').unwrap());
    assert!(record.contains(created));
    fixture
        .write_records("layers", &format!(r#"{head}{record},"flags":{{"incomplete":true}}{rest}"#));
    assert_eq!(kind(store.layer(&container.layer)), ErrorKind::LayerUnknown);
    import(&store, "other", None, &[("a", "a")]);
    assert!(store.layer(&container.layer).unwrap().flags.is_empty());
    // Without the container's record, the layer was never acknowledged.
    let text = fixture.records("layers");
    let (head, tail) = text.split_at(text.find(&at).unwrap());
    let (record, rest) = tail.split_at(tail.find('}').unwrap());
    fixture
        .write_records("layers", &format!(r#"{head}{record},"flags":{{"incomplete":true}}{rest}"#));
    fixture.write_records("containers", "[]");
    import(&store, "another", None, &[("a", "a")]);
    assert!(!fixture.records("layers").contains(&container.layer));
}

#[test]
fn a_layer_that_awaits_its_container_goes_without_it_and_stays_with_it() {
    // Killed right before the container's record is written, or right after.
    let fixture = Fixture::new();
    let store = fixture.store();
    with_image(&store);
    let container = store.create_container(named_container("c")).unwrap();
    let flagged = fixture.records("layers").replacen(
        r#"","parent""#,
        r#"","flags":{"orlop-awaits-container":true},"parent""#,
        1,
    );
    fixture.write_records("layers", &flagged);
    assert!(store.layer(&container.layer).is_ok(), "readers see both");
    store.create_layer(named("a")).unwrap();
    assert!(store.layer(&container.layer).unwrap().flags.is_empty());
    fixture.write_records("layers", &flagged);
    fixture.write_records("containers", "[]");
    store.create_layer(named("b")).unwrap();
    assert!(!fixture.records("layers").contains(&container.layer));
}

#[test]
fn a_volatile_container_lives_in_the_volatile_files() {
    // store-format.md 16.8, 16.9
    let fixture = Fixture::new();
    let store = fixture.store();
    with_image(&store);
    let new = NewContainer { volatile: true, ..named_container("v") };
    let container = store.create_container(new).unwrap();
    assert_eq!(container.flags.get("Volatile"), Some(&true.into()));
    assert!(!fixture.records("containers").contains(&container.id));
    assert!(!fixture.records("layers").contains(&container.layer));
    assert_eq!(fixture.store().container("v").unwrap(), container);
    store.delete_container("v").unwrap();
    let file = format!("graph/{}-containers/volatile-containers.json", fixture.driver);
    assert_eq!(std::fs::read_to_string(fixture.path(&file)).unwrap(), "[]");
}

#[test]
fn a_transient_store_keeps_containers_in_the_run_root() {
    // store-format.md 16.9
    let fixture = Fixture::new();
    let options = StoreOptions { transient_store: true, ..fixture.options() };
    let store = Store::open(options.clone()).unwrap();
    with_image(&store);
    let container = store.create_container(named_container("t")).unwrap();
    let file = format!("run/{}-containers/volatile-containers.json", fixture.driver);
    assert!(std::fs::read_to_string(fixture.path(&file)).unwrap().contains(&container.id));
    assert!(fixture.store().containers().unwrap().is_empty(), "another mode, another list (14)");
    assert_eq!(Store::open(options).unwrap().containers().unwrap(), [container]);
}

#[test]
fn container_data_is_kept() {
    let fixture = Fixture::new();
    let store = fixture.store();
    with_image(&store);
    let new = NewContainer { big_data: vec![item("at-once", "1")], ..named_container("c") };
    store.create_container(new).unwrap();
    store.set_container_big_data("c", "later", b"22").unwrap();
    let read = fixture.store().container("c").unwrap();
    assert_eq!(read.big_data_names, ["at-once", "later"]);
    assert_eq!(store.container_big_data("c", "later").unwrap(), b"22");
    assert_eq!(
        read.big_data_digests.get("later").map(String::as_str),
        Some(digest_of(b"22").as_str())
    );
    let dir = store.container_dir("c").unwrap();
    std::fs::write(dir.join("file"), "12345").unwrap();
    assert_eq!(store.container_size("c").unwrap(), 3 + 5);
    store.delete_container("c").unwrap();
    assert!(!dir.exists());
}
