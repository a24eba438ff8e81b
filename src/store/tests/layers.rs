use super::*;
use crate::ErrorKind;

#[test]
fn reading_creates_nothing() {
    let fixture = Fixture::new();
    let store = fixture.store();
    assert!(store.layers().unwrap().is_empty());
    assert!(store.images().unwrap().is_empty());
    assert!(store.containers().unwrap().is_empty());
    assert_eq!(kind(store.lookup("x")), ErrorKind::NotFound);
    assert_eq!(fixture.listing(""), Vec::<PathBuf>::new());
}

#[test]
fn an_imported_layer_gives_its_bytes_back() {
    // IDN-8
    for driver in ["overlay", "vfs"] {
        if driver == "overlay" && !rustix::process::geteuid().is_root() {
            println!("skipped: the kernel's overlay needs root");
            continue;
        }
        let fixture = Fixture::with_driver(driver);
        let store = fixture.store();
        let tar = tar_of(&[("etc/", ""), ("etc/hello", "hello\n"), ("empty", "")]);
        let layer = store.import_layer(named("base"), &mut tar.as_slice()).unwrap();
        assert_eq!(layer.diff_digest, digest_of(&tar).as_str());
        assert_eq!(layer.diff_size, tar.len() as i64);
        assert_eq!(layer.compressed_digest, layer.diff_digest);
        assert_eq!(
            (layer.uid_set.as_slice(), layer.gid_set.as_slice()),
            ([0].as_slice(), [0].as_slice())
        );
        assert!(layer.flags.is_empty());
        // Another handle reads what was written.
        let mut out = Vec::new();
        let bytes = fixture.store().diff("base", None, None, &mut out).unwrap();
        assert_eq!((out == tar, bytes), (true, tar.len() as u64));
        let home = fixture.path("graph").join(driver);
        assert!(std::fs::read_dir(home.join("tempdirs")).map_or(0, Iterator::count) == 0);
    }
}

#[test]
fn a_taken_id_or_name_is_refused_and_changes_nothing() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let base = import(&store, "base", None, &[("a", "a")]);
    let before = (fixture.listing("graph"), fixture.records("layers"));
    let again = NewLayer { id: Some(base.id.clone()), ..NewLayer::default() };
    assert_eq!(kind(store.create_layer(again)), ErrorKind::DuplicateId);
    assert_eq!(kind(store.create_layer(named("base"))), ErrorKind::DuplicateName);
    let orphan = NewLayer { parent: Some("nobody".into()), ..NewLayer::default() };
    assert_eq!(kind(store.create_layer(orphan)), ErrorKind::LayerUnknown);
    let escape = NewLayer { id: Some("../x".into()), ..NewLayer::default() };
    assert_eq!(kind(store.create_layer(escape)), ErrorKind::InvalidArgument);
    assert_eq!((fixture.listing("graph"), fixture.records("layers")), before);
}

#[test]
fn a_damaged_stream_leaves_nothing() {
    // DEF-26
    let fixture = Fixture::new();
    let store = fixture.store();
    import(&store, "base", None, &[("a", "a")]);
    let before = (fixture.listing("graph"), fixture.records("layers"));
    let tar = tar_of(&[("b", "some content")]);
    let cut = tar.get(..515).unwrap();
    assert!(store.import_layer(named("cut"), &mut &*cut).is_err());
    let wrong = NewLayer { expected_diff_digest: Some(digest_of(b"other")), ..named("wrong") };
    assert_eq!(kind(store.import_layer(wrong, &mut tar.as_slice())), ErrorKind::DigestMismatch);
    assert_eq!((fixture.listing("graph"), fixture.records("layers")), before);
}

#[test]
fn handles_see_each_others_changes() {
    // store-format.md 16.6
    let fixture = Fixture::new();
    let (one, two) = (fixture.store(), fixture.store());
    import(&one, "a", None, &[("a", "a")]);
    assert_eq!(two.layers().unwrap().len(), 1);
    import(&two, "top", Some("a"), &[("b", "b")]);
    assert_eq!(one.layer("top").unwrap().parent, one.layer("a").unwrap().id);
    two.delete_layer("top").unwrap();
    assert_eq!(kind(one.layer("top")), ErrorKind::LayerUnknown);
}

#[test]
fn an_edit_by_hand_is_noticed() {
    // Trap 17 and 7 of store-format.md 16: the last-writer record alone is not enough.
    let fixture = Fixture::new();
    let store = fixture.store();
    import(&store, "a", None, &[("a", "a")]);
    let text = fixture.records("layers").replace(r#""names":["a"]"#, r#""names":["renamed"]"#);
    fixture.write_records("layers", &text);
    assert_eq!(store.layer("renamed").unwrap().names, ["renamed"]);
}

#[test]
fn unknown_fields_survive_a_rewrite() {
    let fixture = Fixture::new();
    let store = fixture.store();
    import(&store, "a", None, &[("a", "a")]);
    let text = fixture.records("layers").replace("}]", r#","from-the-future":{"b":1,"a":[2]}}]"#);
    fixture.write_records("layers", &text);
    store.set_names("a", &["b".to_owned()]).unwrap();
    let kept = fixture.records("layers");
    assert!(kept.contains(r#""from-the-future":{"b":1,"a":[2]}"#), "{kept}");
    assert!(kept.contains(r#""names":["b"]"#), "{kept}");
}

#[test]
fn names_are_taken_over_and_given_back() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let a = import(&store, "a", None, &[("a", "a")]);
    let b = import(&store, "b", None, &[("a", "a")]);
    store.add_names(&b.id, &["a".to_owned(), "c".to_owned()]).unwrap();
    assert_eq!(store.layer(&b.id).unwrap().names, ["a", "c", "b"]);
    assert!(store.layer(&a.id).unwrap().names.is_empty());
    store.remove_names(&b.id, &["c".to_owned(), "x".to_owned()]).unwrap();
    assert_eq!(fixture.store().layer("a").unwrap().names, ["a", "b"]);
}

#[test]
fn layers_are_found_by_name_prefix_and_digest() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let a = import(&store, "a", None, &[("a", "a")]);
    let twin = import(&store, "twin", None, &[("a", "a")]);
    let prefix = a.id.get(..40).unwrap();
    assert_eq!(store.layer(prefix).unwrap().id, a.id);
    let digest = Digest::parse(a.diff_digest.as_str()).unwrap();
    let found: Vec<_> =
        store.layers_by_diff_digest(&digest).unwrap().into_iter().map(|l| l.record.id).collect();
    assert_eq!(found, [a.id.clone(), twin.id.clone()]);
    assert_eq!(kind(store.layer("")), ErrorKind::LayerUnknown);
}

#[test]
fn an_incomplete_layer_is_hidden_and_then_removed() {
    // store-format.md 16.12
    // store-format.md 10.2: what a killed import leaves.
    let fixture = Fixture::new();
    let store = fixture.store();
    let layer = import(&store, "half", None, &[("a", "a")]);
    let text =
        fixture.records("layers").replace(r#""uidset""#, r#""flags":{"incomplete":true},"uidset""#);
    fixture.write_records("layers", &text);
    assert_eq!(kind(store.layer("half")), ErrorKind::LayerUnknown);
    assert!(fixture.records("layers").contains("incomplete"), "reading must not repair");
    import(&store, "next", None, &[("a", "a")]);
    assert!(!fixture.records("layers").contains(&layer.id));
    let left = fixture.listing("graph");
    assert!(left.iter().all(|p| !p.to_string_lossy().contains(&layer.id)), "{left:?}");
}

#[test]
fn a_used_layer_is_not_deleted() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let a = import(&store, "a", None, &[("a", "a")]);
    import(&store, "b", Some("a"), &[("b", "b")]);
    assert_eq!(kind(store.delete_layer("a")), ErrorKind::LayerHasChildren);
    store.delete_layer("b").unwrap();
    let image = NewImage { layer: Some(a.id.clone()), ..NewImage::default() };
    let image = store.create_image(image).unwrap();
    assert_eq!(kind(store.delete_layer("a")), ErrorKind::LayerUsedByImage);
    store.delete_image(&image.id, false).unwrap();
    assert_eq!(kind(store.delete_layer("a")), ErrorKind::NotALayer);
    assert_eq!(fixture.records("layers"), "[]");
}

#[test]
fn a_diff_is_applied_over_a_layer() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let layer = store.create_layer(NewLayer::default()).unwrap();
    let tar = tar_of(&[("new", "content")]);
    assert_eq!(store.apply_diff(&layer.id, &mut tar.as_slice()).unwrap(), 7);
    let layer = store.layer(&layer.id).unwrap();
    assert_eq!(layer.diff_digest, digest_of(&tar).as_str());
    let mut out = Vec::new();
    store.diff(&layer.id, None, None, &mut out).unwrap();
    assert!(out == tar);
}

#[test]
fn layer_data_is_kept() {
    let fixture = Fixture::new();
    let store = fixture.store();
    import(&store, "a", None, &[("a", "a")]);
    store.set_layer_big_data("a", "Weird Key", &mut b"data".as_slice()).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut store.layer_big_data("a", "Weird Key").unwrap(), &mut text)
        .unwrap();
    assert_eq!(text, "data");
    assert_eq!(store.layer("a").unwrap().big_data_names, ["Weird Key"]);
    assert_eq!(kind(store.layer_big_data("a", "none")), ErrorKind::DataUnknown);
    assert_eq!(
        kind(store.set_layer_big_data("a", "..", &mut b"".as_slice())),
        ErrorKind::InvalidDataName
    );
}

#[test]
fn data_for_no_layer_are_not_read() {
    struct Broken(u32);
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            Err(std::io::Error::other("broken"))
        }
    }
    let fixture = Fixture::new();
    let store = fixture.store();
    let mut data = Broken(0);
    assert_eq!(kind(store.set_layer_big_data("a", "k", &mut data)), ErrorKind::LayerUnknown);
    assert_eq!(data.0, 0);
    import(&store, "a", None, &[("a", "a")]);
    let e = store.set_layer_big_data("a", "k", &mut data).unwrap_err();
    // It is a stream that fails, no file of a name.
    assert_eq!((e.kind(), e.file(), data.0), (ErrorKind::Io, None, 1));
    assert!(e.to_string().contains("broken"), "{e}");
}

#[test]
fn a_layer_whose_link_file_is_empty_is_removed() {
    // A process killed between making the file and writing it, or a power cut, leaves it so (10.2).
    let fixture = Fixture::new();
    if fixture.driver != "overlay" {
        return eprintln!("skipped: only the overlay driver has link files");
    }
    let store = fixture.store();
    let layer = import(&store, "l", None, &[("f", "x")]);
    std::fs::write(fixture.path("graph/overlay").join(&layer.id).join("link"), "").unwrap();
    let flagged = fixture.records("layers").replacen(
        r#""diff-size""#,
        r#""flags":{"incomplete":true},"diff-size""#,
        1,
    );
    fixture.write_records("layers", &flagged);
    let again = NewLayer { id: Some(layer.id.clone()), ..named("l") };
    store.import_layer(again, &mut tar_of(&[("f", "x")]).as_slice()).unwrap();
    assert_eq!(std::fs::read_dir(fixture.path("graph/overlay/l")).unwrap().count(), 1);
}

#[test]
fn a_name_given_twice_is_recorded_once() {
    // store-format.md 16.17
    // store-format 11: Go takes a name away from a record that has it twice.
    let fixture = Fixture::new();
    let names = vec!["a".to_owned(), "b".to_owned(), "a".to_owned()];
    fixture.store().create_layer(NewLayer { names, ..NewLayer::default() }).unwrap();
    assert!(fixture.records("layers").contains(r#""names":["a","b"]"#));
}

#[test]
fn the_first_look_up_finds_and_refuses_what_later_ones_do() {
    // store-format.md 3.1, 11
    let fixture = Fixture::new();
    fixture.store().create_layer(NewLayer::default()).unwrap();
    let volatile =
        fixture.path("graph").join(format!("{}-layers/volatile-layers.json", fixture.driver));
    let stable = r#"{"id":"aa","names":["n","own","own"]},{"id":"ab","names":["n"]}"#;
    let both = r#"[{"id":"aa","names":["n"]},{"id":"b","names":["own"]}]"#;
    for (stable, more) in [
        (format!("[{stable}]"), None),
        (format!("[{stable}]"), Some(both)),
        ("[]".to_owned(), Some(both)),
        (format!("[{stable},{{\"id\":\"c\",\"names\":7}}]"), None),
        (format!("[{stable}] x"), None),
        (String::new(), None),
    ] {
        fixture.write_records("layers", &stable);
        match more {
            Some(text) => std::fs::write(&volatile, text).unwrap(),
            None => drop(std::fs::remove_file(&volatile)),
        }
        for key in ["aa", "ab", "n", "own", "a", "b", ""] {
            let store = fixture.store();
            let told = |found: crate::Result<LayerInfo>| match found {
                Ok(layer) => format!("{:?}", layer.record),
                Err(error) => error.to_string(),
            };
            let first = told(store.layer(key));
            assert_eq!(store.layers.is_kept(), more.is_some(), "of one file it keeps nothing");
            assert_eq!(first, told(store.layer(key)), "{key:?} in {stable} and {more:?}");
        }
    }
}
