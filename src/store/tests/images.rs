use super::*;
use crate::ErrorKind;

fn image(store: &Store, name: &str, layer: Option<&str>) -> ImageInfo {
    let new = NewImage {
        names: vec![name.to_owned()],
        layer: layer.map(str::to_owned),
        big_data: vec![item("manifest", "{}"), item("Config", "{\"a\":1}")],
        ..NewImage::default()
    };
    store.create_image(new).unwrap()
}

#[test]
fn an_image_keeps_its_data_sizes_and_digests() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let made = image(&store, "i", None);
    let read = fixture.store().image("i").unwrap();
    assert_eq!(read, made);
    assert_eq!(read.big_data_names, ["manifest", "Config"]);
    assert_eq!(read.big_data_sizes.get("Config"), Some(&7));
    assert_eq!(read.digest, digest_of(b"{}").as_str(), "filled from the manifest (4)");
    assert_eq!(store.image_big_data("i", "Config").unwrap(), b"{\"a\":1}");
    assert_eq!(kind(store.image_big_data("i", "none")), ErrorKind::DataUnknown);
    assert_eq!(store.image_size("i").unwrap(), 9);
    let found = store.images_by_digest(&digest_of(b"{}")).unwrap();
    assert_eq!(found.first().map(|i| i.id.clone()), Some(made.id.clone()));
}

#[test]
fn an_image_that_cannot_be_made_leaves_nothing() {
    let fixture = Fixture::new();
    let store = fixture.store();
    image(&store, "i", None);
    let before = (fixture.listing("graph"), fixture.records("images"));
    let taken = NewImage { names: vec!["i".into()], ..NewImage::default() };
    assert_eq!(kind(store.create_image(taken)), ErrorKind::DuplicateName);
    let no_layer = NewImage { layer: Some("nobody".into()), ..NewImage::default() };
    assert_eq!(kind(store.create_image(no_layer)), ErrorKind::LayerUnknown);
    let bad_key = NewImage { big_data: vec![item("a", ""), item("..", "")], ..NewImage::default() };
    assert_eq!(kind(store.create_image(bad_key)), ErrorKind::InvalidDataName);
    assert_eq!((fixture.listing("graph"), fixture.records("images")), before);
}

#[test]
fn names_leave_a_history() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let one = image(&store, "1", None);
    assert!(one.names_history.is_empty(), "not touched at creation (11)");
    store.set_names(&one.id, &["a".to_owned(), "b".to_owned()]).unwrap();
    assert_eq!(store.image(&one.id).unwrap().names_history, ["b", "a"]);
    let two = image(&store, "2", None);
    store.add_image_names(&two.id, &["a".to_owned()]).unwrap();
    assert_eq!(store.image(&one.id).unwrap().names, ["b"]);
    assert_eq!(store.image(&one.id).unwrap().names_history, ["b", "a"]);
    assert_eq!(store.image(&two.id).unwrap().names, ["a", "2"]);
}

#[test]
fn deleting_an_image_takes_what_nothing_else_needs() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let base = import(&store, "", None, &[("a", "a")]);
    store.set_names(&base.id, &[]).unwrap();
    let mid = import(&store, "mid", Some(&base.id), &[("b", "b")]);
    let top = import(&store, "top", Some(&mid.id), &[("c", "c")]);
    let one = image(&store, "one", Some(&top.id));
    let found = store.images_by_top_layer(&top.id).unwrap();
    assert_eq!(found.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), [one.id.as_str()]);
    image(&store, "two", Some(&base.id));
    let expected = [top.id.clone(), mid.id.clone()];
    assert_eq!(store.delete_image("one", true).unwrap(), expected);
    assert_eq!(store.layers().unwrap().len(), 3, "a test deletes nothing");
    assert_eq!(store.delete_image("one", false).unwrap(), expected);
    let left: Vec<_> = store.layers().unwrap().into_iter().map(|l| l.record.id).collect();
    assert_eq!(left, std::slice::from_ref(&base.id));
    assert_eq!(kind(store.image(&one.id)), ErrorKind::ImageUnknown);
    assert_eq!(kind(store.delete_image("one", false)), ErrorKind::NotAnImage);
    let traces = fixture.listing("graph");
    assert!(traces.iter().all(|p| !p.to_string_lossy().contains(&top.id)));
}

#[test]
fn an_image_in_use_is_not_deleted() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let base = import(&store, "base", None, &[("a", "a")]);
    image(&store, "i", Some(&base.id));
    let new = NewContainer { image: Some("i".into()), ..NewContainer::default() };
    let container = store.create_container(new).unwrap();
    assert_eq!(kind(store.delete_image("i", false)), ErrorKind::ImageUsedByContainer);
    store.delete_container(&container.id).unwrap();
    store.delete_image("i", false).unwrap();
    assert_eq!(fixture.records("layers"), "[]");
}

#[test]
fn a_bad_digest_in_one_image_is_named() {
    // store-format.md 16.14
    // Trap 14: Go refuses the whole file; so that both agree on what there is, so do we, and say where.
    let fixture = Fixture::new();
    let store = fixture.store();
    image(&store, "i", None);
    let good = digest_of(b"{}");
    let text = fixture.records("images").replace(good.as_str(), "sha256:XYZ");
    fixture.write_records("images", &text);
    let error = store.images().unwrap_err();
    assert!(error.to_string().contains("images.json"), "{error}");
}

#[test]
fn setting_data_updates_the_record_and_the_digest() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let made = image(&store, "i", None);
    store.set_image_big_data("i", item("new", "12345")).unwrap();
    let read = fixture.store().image(&made.id).unwrap();
    assert_eq!(read.big_data_names, ["manifest", "Config", "new"]);
    assert_eq!(read.big_data_sizes.get("new"), Some(&5));
}

#[test]
fn everything_is_wiped() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let base = import(&store, "base", None, &[("a", "a")]);
    let top = import(&store, "top", Some(&base.id), &[("b", "b")]);
    image(&store, "i", Some(&top.id));
    let new = NewContainer { image: Some("i".into()), ..NewContainer::default() };
    store.create_container(new).unwrap();
    store.wipe().unwrap();
    for kind in ["layers", "images", "containers"] {
        assert_eq!(fixture.records(kind), "[]", "{kind}");
    }
}

#[test]
fn an_id_that_names_a_file_of_the_store_does_not_reach_it() {
    // store-format 16.33: ids are not validated by those who write them
    let fixture = Fixture::new();
    let store = fixture.store();
    image(&store, "kept", None);
    store.create_container(NewContainer::default()).unwrap();
    for (which, odd) in [("images", "images.json"), ("containers", "containers.lock")] {
        let text = fixture.records(which);
        let head =
            format!(r#"[{{"id":"{odd}","image":"","layer":"","created":"2026-11-21T07:02:46Z"}},"#);
        fixture.write_records(which, &text.replacen('[', &head, 1));
    }
    let lock = fixture.path("graph").join(format!("{}-containers/containers.lock", fixture.driver));
    store.delete_image("images.json", false).unwrap();
    store.delete_container("containers.lock").unwrap();
    assert_eq!(fixture.store().images().unwrap().len(), 1);
    assert_eq!(fixture.store().containers().unwrap().len(), 1);
    assert!(lock.exists());
    let new = NewImage { id: Some("images.lock".into()), ..NewImage::default() };
    assert_eq!(kind(store.create_image(new)), ErrorKind::InvalidArgument);
}

#[test]
fn mapped_layers_that_something_else_needs_stay() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let top = import(&store, "top", None, &[("f", "x")]);
    let free = import(&store, "free", None, &[("f", "x")]);
    let needed = import(&store, "needed", None, &[("f", "x")]);
    let child = import(&store, "child", Some("needed"), &[("g", "x")]);
    let made = image(&store, "i", Some("top"));
    let mapped = format!(r#""mapped-layers":["{}","{}"],"#, free.id, needed.id);
    let text = fixture.records("images");
    let text = text.replacen(r#""big-data-names""#, &format!("{mapped}\"big-data-names\""), 1);
    fixture.write_records("images", &text);
    let store = fixture.store();
    // As in Go, the layer that the copies were made of stays as long as one of them does.
    assert_eq!(store.delete_image(&made.id, false).unwrap(), std::slice::from_ref(&free.id));
    let left: Vec<String> = store.layers().unwrap().iter().map(|l| l.id.clone()).collect();
    assert_eq!(left, [top.id.clone(), needed.id.clone(), child.id.clone()]);
}
