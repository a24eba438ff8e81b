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
    // store-format.md 16.15
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

/// As Go does: the record in this store keeps the names of the other, and no layer is made again.
#[test]
fn an_image_of_an_additional_store_gets_a_record_here() {
    let shared = Fixture::new();
    load_bytes(&shared.store(), DOCKER).unwrap();
    let f = Fixture::new();
    let store = Store::open(StoreOptions {
        graph_root: f.path("graph"),
        run_root: f.path("run"),
        driver: f.driver.to_owned(),
        driver_options: vec![format!("{}.imagestore={}", f.driver, shared.path("graph").display())],
        ..StoreOptions::default()
    })
    .unwrap();
    let named = LoadOptions { names: Some(vec!["mine:1".into()]), ..options() };
    let loaded = load(&store, Source::Stream(Box::new(DOCKER)), &named).unwrap();
    assert_eq!(loaded[0].names, ["localhost/mine:1"]);
    assert!(f.records("layers").is_empty());
    let images = f.records("images");
    assert_eq!(
        images[0]["names"],
        serde_json::json!(["localhost/mine:1", "quay.io/a/b:c", "localhost/x:tag"])
    );
    assert_eq!(
        images[0]["names-history"],
        serde_json::json!(["localhost/x:tag", "quay.io/a/b:c", "localhost/mine:1"])
    );
}

/// What dockers from 25 on write is both; podman takes it for an OCI archive where that holds one image.
#[test]
fn an_archive_that_is_both_is_read_as_podman_does() {
    let f = Fixture::new();
    let dir = f.unpacked("both", OCI);
    let index: Value =
        serde_json::from_slice(&std::fs::read(dir.join("index.json")).unwrap()).unwrap();
    let blob = |digest: &Value| {
        format!("blobs/sha256/{}", digest.as_str().unwrap().trim_start_matches("sha256:"))
    };
    let three = &index["manifests"][1];
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(dir.join(blob(&three["digest"]))).unwrap()).unwrap();
    let files: Vec<String> =
        manifest["layers"].as_array().unwrap().iter().map(|l| blob(&l["digest"])).collect();
    let item = serde_json::json!([{"Config": blob(&manifest["config"]["digest"]),
        "RepoTags": ["docker:1"], "Layers": files}]);
    std::fs::write(dir.join("manifest.json"), item.to_string()).unwrap();
    let pack = || {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_dir_all(".", &dir).unwrap();
        builder.into_inner().unwrap()
    };
    // Two entries: the docker part, which knows of one image.
    let loaded = load_bytes(&f.store(), &pack()).unwrap();
    assert_eq!(
        loaded.iter().map(|l| l.names.join(" ")).collect::<Vec<_>>(),
        ["localhost/docker:1"]
    );
    let one = serde_json::json!({"schemaVersion": 2, "manifests": [three]});
    std::fs::write(dir.join("index.json"), one.to_string()).unwrap();
    let loaded = load_bytes(&f.store(), &pack()).unwrap();
    assert_eq!(loaded.iter().map(|l| l.names.join(" ")).collect::<Vec<_>>(), ["localhost/three:1"]);
}

/// Each layer is staged upon the one before while that is staged itself, on either driver.
#[test]
fn all_layers_are_synced_by_one_call() {
    for driver in [Fixture::new().driver, "vfs"] {
        let f = Fixture::on(driver);
        let store = f.store();
        let syncs = || crate::store::SYNCS.with(std::cell::Cell::get);
        let before = syncs();
        load_path(&store, &f.file("oci.tar.gz", OCI)).unwrap();
        assert!(f.layers().len() > 2);
        assert_eq!(syncs() - before, 1, "{driver}");
        // What was unpacked is what came in.
        for layer in f.layers() {
            let mut tar = Vec::new();
            let id = layer["id"].as_str().unwrap();
            store.diff(id, None, Some(crate::archive::Compression::None), &mut tar).unwrap();
            assert_eq!(
                crate::Digest::sha256(&tar).as_str(),
                layer["diff-digest"].as_str().unwrap()
            );
        }
        if driver == "vfs" {
            // A child holds its parent's files, and its root is like the parent's.
            let of = |id: &Value| f.path("graph/vfs/dir").join(id.as_str().unwrap());
            use std::os::unix::fs::MetadataExt;
            for layer in f.layers().iter().filter(|l| l.get("parent").is_some()) {
                let (child, parent) = (of(&layer["id"]), of(&layer["parent"]));
                assert_eq!(child.metadata().unwrap().mode(), parent.metadata().unwrap().mode());
                assert!(std::fs::read_dir(&child).unwrap().count() > 0);
            }
        }
    }
}

/// A shell's `<(command)` and `/dev/stdin` are links to pipes, which have no path.
#[test]
fn a_pipe_without_a_name_is_loaded() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let f = Fixture::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let feed = std::thread::spawn(move || writer.write_all(DOCKER).unwrap());
    let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
    let loaded = load_path(&f.store(), &path);
    drop(reader);
    feed.join().unwrap();
    assert_eq!(loaded.unwrap().len(), 1);
}
