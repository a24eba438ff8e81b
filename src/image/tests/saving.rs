use super::*;
use crate::image::durable::Durable;

/// Diff digests of an image's layers, base first.
fn diffs(store: &Store, image: &str) -> Vec<String> {
    let top = store.image(image).unwrap().layer.clone();
    stored::chain(store, &top).unwrap().iter().map(|l| l.diff.to_string()).collect()
}

fn save_to(store: &Store, images: &[&str], format: SaveFormat, path: &Path) -> Result<()> {
    let images: Vec<String> = images.iter().map(|i| i.to_string()).collect();
    save(store, &images, format, Output::Path(path.into()), &SaveOptions::default())
}

#[test]
fn saved_images_load_as_themselves() {
    let f = Fixture::new();
    let store = f.store();
    let ids: Vec<String> = [DOCKER, OCI]
        .iter()
        .flat_map(|bytes| load_bytes(&store, bytes).unwrap())
        .map(|l| l.image_id)
        .collect();
    let names = ["x:tag", "quay.io/a/b:c", "many:1", "localhost/three:1"];
    for (format, file) in [
        (SaveFormat::DockerArchive, "d.tar"),
        (SaveFormat::OciArchive, "o.tar"),
        (SaveFormat::OciDir, "layout"),
    ] {
        let path = f.path(file);
        save_to(&store, &names, format, &path).unwrap();
        let other = Fixture::new();
        let second = other.store();
        let loaded = load_path(&second, &path).unwrap();
        assert_eq!(
            loaded.iter().map(|l| &l.image_id).collect::<Vec<_>>(),
            ids.iter().collect::<Vec<_>>(),
            "{format:?}"
        );
        assert_eq!(loaded[0].names, ["localhost/x:tag", "quay.io/a/b:c"], "{format:?}");
        assert_eq!(loaded[2].names, ["localhost/three:1"]);
        for id in &ids {
            assert_eq!(diffs(&store, id), diffs(&second, id));
        }
        // What is there is not overwritten, and the same bytes come out again.
        assert_eq!(
            save_to(&store, &names, format, &path).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
        if format != SaveFormat::OciDir {
            let again = f.path("again.tar");
            save_to(&store, &names, format, &again).unwrap();
            assert!(
                std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap(),
                "{format:?} differs"
            );
            std::fs::remove_file(again).unwrap();
        }
    }
    assert!(
        std::fs::read_dir(f.dir.path())
            .unwrap()
            .flatten()
            .all(|e| !e.file_name().as_encoded_bytes().starts_with(b"."))
    );
}

#[test]
fn an_image_saved_by_id_has_no_name() {
    let f = Fixture::new();
    let store = f.store();
    let id = load_bytes(&store, DOCKER).unwrap().remove(0).image_id;
    let mut bytes = Vec::new();
    save(
        &store,
        &[id[..12].to_string()],
        SaveFormat::DockerArchive,
        Output::Writer(&mut bytes),
        &SaveOptions::default(),
    )
    .unwrap();
    let other = Fixture::new();
    let loaded = load_bytes(&other.store(), &bytes).unwrap();
    assert_eq!(loaded, [Loaded { image_id: id, names: vec![] }]);
}

#[test]
fn what_cannot_be_saved_is_refused() {
    let f = Fixture::new();
    let store = f.store();
    load_bytes(&store, DOCKER).unwrap();
    let path = f.path("out.tar");
    assert_eq!(
        save_to(&store, &["x:tag", "nothing"], SaveFormat::DockerArchive, &path)
            .unwrap_err()
            .kind(),
        ErrorKind::ImageUnknown
    );
    assert!(save_to(&store, &[], SaveFormat::DockerArchive, &path).is_err());
    let mut sink = Vec::new();
    let e = save(
        &store,
        &["x:tag".into()],
        SaveFormat::OciDir,
        Output::Writer(&mut sink),
        &SaveOptions::default(),
    );
    assert_eq!(e.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(!path.exists());
}

#[test]
fn a_changed_layer_is_not_saved() {
    // store-format.md 16.24
    let f = Fixture::new();
    let store = f.store();
    load_bytes(&store, DOCKER).unwrap();
    let base = f.layers()[0]["id"].as_str().unwrap().to_string();
    let root = match f.driver {
        "overlay" => f.path("graph/overlay").join(&base).join("diff"),
        _ => f.path("graph/vfs/dir").join(&base),
    };
    std::fs::write(root.join("etc/hello"), b"HELLO\n").unwrap();
    let path = f.path("out.tar");
    assert!(save_to(&store, &["x:tag"], SaveFormat::DockerArchive, &path).is_err());
    assert!(save_to(&store, &["x:tag"], SaveFormat::OciDir, &path).is_err());
    assert!(!path.exists());
    assert!(
        std::fs::read_dir(f.dir.path())
            .unwrap()
            .flatten()
            .all(|e| !e.file_name().as_encoded_bytes().starts_with(b"."))
    );
}

#[test]
fn an_empty_file_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new();
    let store = f.store();
    load_bytes(&store, DOCKER).unwrap();
    let path = f.file("private.tar", b"");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    save_to(&store, &["x:tag"], SaveFormat::DockerArchive, &path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let other = Fixture::new();
    assert_eq!(load_path(&other.store(), &path).unwrap()[0].names, ["localhost/x:tag"]);
}

#[test]
fn an_empty_directory_keeps_its_mode() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let f = Fixture::new();
    let store = f.store();
    load_bytes(&store, DOCKER).unwrap();
    let path = f.path("private");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let before = path.metadata().unwrap();
    // By a link, as the directory of a mount or of a user may be named.
    std::os::unix::fs::symlink("private", f.path("link")).unwrap();
    save_to(&store, &["x:tag"], SaveFormat::OciDir, &f.path("link")).unwrap();
    let after = path.metadata().unwrap();
    assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
    let mut names: Vec<_> =
        std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
    let other = Fixture::new();
    assert_eq!(load_path(&other.store(), &path).unwrap()[0].names, ["localhost/x:tag"]);
    // After a failure it is empty as before.
    let empty = f.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let fail = |_: &Path| Err(crate::Error::new(ErrorKind::Io, "failing"));
    assert!(save::to_directory(&empty, Durable(true), fail).is_err());
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
}

/// What has come to the path while the archive was written is not lost, and a file under way has no name to leave behind.
#[test]
fn nothing_is_overwritten_in_the_end() {
    let f = Fixture::new();
    let path = f.path("out.tar");
    let before = std::fs::read_dir(f.dir.path()).unwrap().count();
    let made = save::to_file(&path, Durable(true), |out| {
        out.write_all(b"archive").unwrap();
        assert_eq!(std::fs::read_dir(f.dir.path()).unwrap().count(), before);
        std::fs::write(&path, b"precious").unwrap();
        Ok(())
    });
    assert_eq!(made.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    assert_eq!(std::fs::read_dir(f.dir.path()).unwrap().count(), before + 1);
    std::os::unix::fs::symlink("nowhere", f.path("dangling")).unwrap();
    assert!(save::to_file(&f.path("dangling"), Durable(true), |_| Ok(())).is_err());
    assert!(f.path("dangling").is_symlink());
}
