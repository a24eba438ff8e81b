use super::*;
use crate::record::Timestamp;
use crate::store::{MountRequest, NewContainer};

/// A container of the docker fixture with a file more and a file less.
pub(super) fn changed(store: &Store) -> String {
    let image = load_bytes(store, DOCKER).unwrap().remove(0).image_id;
    let container = store
        .create_container(NewContainer { image: Some(image), ..NewContainer::default() })
        .unwrap();
    let root = store.mount(&container.id, &MountRequest::default()).unwrap();
    std::fs::write(root.join("etc/new"), b"new\n").unwrap();
    std::fs::remove_file(root.join("etc/two")).unwrap();
    store.unmount(&container.id, false).unwrap();
    container.id
}

fn config(store: &Store, id: &str) -> Value {
    serde_json::from_slice(&store.image_big_data(id, &format!("sha256:{id}")).unwrap()).unwrap()
}

#[test]
fn a_container_becomes_an_image() {
    let f = Fixture::new();
    let store = f.store();
    let container = changed(&store);
    let options = CommitOptions {
        author: Some("Me <a@b>".into()),
        message: Some("why".into()),
        changes: vec!["ENV A=b".into(), r#"CMD ["/bin/x"]"#.into()],
        created: Some(Timestamp::parse("2024-01-02T03:04:05Z").unwrap()),
        ..CommitOptions::default()
    };
    let id = commit(&store, &container, "mine", &options).unwrap();
    let image = store.image("localhost/mine:latest").unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.created, Timestamp::parse("2024-01-02T03:04:05Z").unwrap());
    // store-format.md 16.15
    assert_eq!(image.metadata, "{}");
    let config = config(&store, &id);
    assert_eq!(config["created"], "2024-01-02T03:04:05Z");
    assert_eq!(config["author"], "Me <a@b>");
    assert_eq!(config["config"]["Env"], serde_json::json!(["PATH=/bin", "A=b"]));
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["/bin/x"]));
    assert_eq!(config["history"].as_array().unwrap().len(), 3);
    assert_eq!(config["history"][2]["comment"], "why");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
    let manifest: Value =
        serde_json::from_slice(&store.image_big_data(&id, "manifest").unwrap()).unwrap();
    assert_eq!(manifest["mediaType"], model::OCI_MANIFEST);
    for (layer, diff) in manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .zip(config["rootfs"]["diff_ids"].as_array().unwrap())
    {
        assert_eq!(layer["mediaType"], model::OCI_LAYER);
        assert_eq!(&layer["digest"], diff);
    }
    // The same again is the same image.
    assert_eq!(commit(&store, &container, "", &options).unwrap(), id);

    // And what was changed is in it, here and where it is loaded.
    let path = f.path("mine.tar");
    save(
        &store,
        &["mine".into()],
        SaveFormat::OciArchive,
        Output::Path(path.clone()),
        &SaveOptions::default(),
    )
    .unwrap();
    let other = Fixture::new();
    let second = other.store();
    assert_eq!(load_path(&second, &path).unwrap()[0].image_id, id);
    let copy = second
        .create_container(NewContainer { image: Some(id), ..NewContainer::default() })
        .unwrap();
    let root = second.mount(&copy.id, &MountRequest::default()).unwrap();
    assert_eq!(std::fs::read(root.join("etc/new")).unwrap(), b"new\n");
    assert_eq!(std::fs::read(root.join("etc/hello")).unwrap(), b"hello\n");
    assert!(!root.join("etc/two").exists());
    second.unmount(&copy.id, true).unwrap();
}

#[test]
fn the_docker_format_has_dockers_fields() {
    let f = Fixture::new();
    let store = f.store();
    let container = changed(&store);
    let options = CommitOptions {
        message: Some("msg".into()),
        changes: vec!["ONBUILD RUN x".into()],
        format: CommitFormat::Docker,
        ..CommitOptions::default()
    };
    let id = commit(&store, &container, "d:1", &options).unwrap();
    let config = config(&store, &id);
    assert_eq!(config["comment"], "msg");
    assert_eq!(config["container"], container.as_str());
    assert_eq!(config["config"]["OnBuild"], serde_json::json!(["RUN x"]));
    let manifest: Value =
        serde_json::from_slice(&store.image_big_data(&id, "manifest").unwrap()).unwrap();
    assert_eq!(manifest["mediaType"], model::DOCKER_MANIFEST);
}

#[test]
fn a_container_without_changes_and_one_without_an_image() {
    let f = Fixture::new();
    let store = f.store();
    let image = load_bytes(&store, DOCKER).unwrap().remove(0).image_id;
    let plain = store
        .create_container(NewContainer { image: Some(image), ..NewContainer::default() })
        .unwrap();
    let id = commit(&store, &plain.id, "plain", &CommitOptions::default()).unwrap();
    assert_eq!(config(&store, &id)["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
    assert_eq!(config(&store, &id)["history"][2]["comment"], "FROM quay.io/a/b:c");

    let scratch = store.create_container(NewContainer::default()).unwrap();
    let root = store.mount(&scratch.id, &MountRequest::default()).unwrap();
    std::fs::write(root.join("only"), b"x").unwrap();
    store.unmount(&scratch.id, false).unwrap();
    let id = commit(&store, &scratch.id, "scratch", &CommitOptions::default()).unwrap();
    assert_eq!(config(&store, &id)["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
    assert_eq!(config(&store, &id)["os"], "linux");
}

#[test]
fn bad_requests_change_nothing() {
    let f = Fixture::new();
    let store = f.store();
    let container = changed(&store);
    let before = (f.records("images"), f.records("layers"));
    let with = |changes: &[&str]| CommitOptions {
        changes: changes.iter().map(|c| c.to_string()).collect(),
        ..CommitOptions::default()
    };
    for (name, changes) in [("Bad Name", &[][..]), ("ok", &["FOO x"]), ("ok", &["ONBUILD RUN x"])] {
        let e = commit(&store, &container, name, &with(changes)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(
        commit(&store, "nobody", "ok", &with(&[])).unwrap_err().kind(),
        ErrorKind::ContainerUnknown
    );
    assert_eq!((f.records("images"), f.records("layers")), before);
}

/// The layer of the same content that another image brought is deleted with that image before this one is recorded.
#[test]
fn a_layer_that_vanishes_meanwhile_is_made_again() {
    use crate::progress::{Progress, ProgressItem};
    use std::sync::{Arc, Mutex};

    struct Rmi(Arc<Mutex<Option<(Store, String)>>>);
    impl Progress for Rmi {
        fn start(&self, _: &str, _: Option<u64>) -> Box<dyn ProgressItem> {
            Box::new(Rmi(Arc::clone(&self.0)))
        }
    }
    impl ProgressItem for Rmi {
        fn advance(&self, _: u64) {}
        fn finish(&self, note: &str) {
            let mut once = self.0.lock().unwrap();
            if note == "already exists"
                && let Some((store, image)) = once.take()
            {
                store.delete_image(&image, false).unwrap();
            }
        }
    }

    let f = Fixture::new();
    let store = f.store();
    let container = changed(&store);
    let first = commit(&store, &container, "", &CommitOptions::default()).unwrap();
    let rmi = Rmi(Arc::new(Mutex::new(Some((f.store(), first.clone())))));
    let options = CommitOptions {
        changes: vec!["ENV A=b".into()],
        progress: &rmi,
        ..CommitOptions::default()
    };
    let second = commit(&store, &container, "second", &options).unwrap();
    assert!(rmi.0.lock().unwrap().is_none());
    assert_eq!(store.image(&first).unwrap_err().kind(), ErrorKind::ImageUnknown);
    let image = store.image("localhost/second:latest").unwrap();
    assert_eq!(image.id, second);
    assert!(store.layer(&image.layer).is_ok());
}
