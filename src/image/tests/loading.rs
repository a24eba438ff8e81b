use super::*;

/// Asserts that image records are those recorded by Go, which leaves out a time that is the loading's.
fn assert_images(found: &[Value], wanted: &[Value]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        let mut found = found.clone();
        if wanted.get("created").is_none() {
            found.as_object_mut().unwrap().shift_remove("created");
        }
        assert_eq!(&found, wanted);
        // The order of the items is part of the record.
        assert_eq!(found["big-data-names"], wanted["big-data-names"]);
    }
}

#[test]
fn records_are_those_of_the_go_library() {
    let f = Fixture::new();
    let store = f.store();
    let loaded = load_path(&store, &f.file("docker.tar", &gunzip(DOCKER))).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].names, ["localhost/x:tag", "quay.io/a/b:c"]);
    let loaded = load_path(&store, &f.file("oci.tar.gz", OCI)).unwrap();
    assert_eq!(
        loaded.iter().flat_map(|l| &l.names).collect::<Vec<_>>(),
        ["localhost/many:1", "localhost/three:1"]
    );
    let (layers, images) = recorded();
    assert_eq!(f.layers(), layers);
    assert_images(&f.records("images"), &images);
    for image in f.records("images") {
        for (key, digest) in image["big-data-digests"].as_object().unwrap() {
            let data = store.image_big_data(image["id"].as_str().unwrap(), key).unwrap();
            assert_eq!(crate::Digest::sha256(&data).as_str(), digest.as_str().unwrap());
        }
    }
}

#[test]
fn directories_and_streams_give_the_same_records() {
    let (layers, images) = recorded();
    let f = Fixture::new();
    let store = f.store();
    load_bytes(&store, DOCKER).unwrap();
    load_path(&store, &f.unpacked("layout", OCI)).unwrap();
    assert_eq!(f.layers(), layers);
    assert_images(&f.records("images"), &images);
}

#[test]
fn what_is_there_is_not_made_again() {
    let f = Fixture::new();
    let store = f.store();
    load_bytes(&store, DOCKER).unwrap();
    load_bytes(&store, OCI).unwrap();
    let (layers, images) = (f.records("layers"), f.records("images"));
    load_bytes(&store, OCI).unwrap();
    load_bytes(&store, DOCKER).unwrap();
    assert_eq!(f.records("layers"), layers);
    let again = f.records("images");
    assert_eq!(again.len(), images.len());
    assert!(
        again.iter().zip(&images).all(|(a, b)| a["id"] == b["id"] && a["created"] == b["created"])
    );
}

#[test]
fn names_move_to_the_image_loaded_last() {
    let f = Fixture::new();
    let store = f.store();
    let name = || LoadOptions { names: Some(vec!["moving".into()]), ..options() };
    let docker = load(&store, Source::Stream(Box::new(DOCKER)), &name()).unwrap();
    assert_eq!(docker[0].names, ["localhost/moving:latest"]);
    let f2 = Fixture::new();
    // Two images cannot have the one name.
    let e = load(&f2.store(), Source::Stream(Box::new(OCI)), &name()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArgument);
    assert!(f2.records("images").is_empty());

    let layout = f.unpacked("layout", OCI);
    let index: Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let one = serde_json::json!({"schemaVersion": 2, "manifests": [index["manifests"][1]]});
    std::fs::write(layout.join("index.json"), one.to_string()).unwrap();
    let oci = load(&store, Source::Path(layout), &name()).unwrap();
    assert_eq!(store.image("localhost/moving:latest").unwrap().id, oci[0].image_id);
    assert!(store.image(&docker[0].image_id).unwrap().names.is_empty());
}

#[test]
fn the_platform_is_chosen() {
    let f = Fixture::new();
    let store = f.store();
    let arm =
        LoadOptions { platform: Some("linux/arm64".parse().unwrap()), ..LoadOptions::default() };
    let loaded = load(&store, Source::Stream(Box::new(OCI)), &arm).unwrap();
    let config = store
        .image_big_data(&loaded[0].image_id, &format!("sha256:{}", loaded[0].image_id))
        .unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["architecture"], "arm64");
    let s390 =
        LoadOptions { platform: Some("linux/s390x".parse().unwrap()), ..LoadOptions::default() };
    let e = load(&store, Source::Stream(Box::new(OCI)), &s390).unwrap_err();
    assert!(e.to_string().contains("linux/s390x"), "{e}");
}
