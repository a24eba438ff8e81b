use super::*;

/// A docker archive from parts.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn assert_nothing_kept(f: &Fixture) {
    assert!(f.records("images").is_empty());
    assert!(f.records("layers").is_empty());
    // What was staged is gone too, whose temp dirs stand beside the layers and beside their records.
    for dir in
        [f.driver.to_string(), format!("{}-layers", f.driver), format!("{}-images", f.driver)]
    {
        let temps = std::fs::read_dir(f.path("graph").join(dir).join("tempdirs"));
        let kept: Vec<_> = temps.into_iter().flatten().collect();
        assert!(kept.is_empty(), "{kept:?}");
    }
    let home = f.path("graph").join(f.driver);
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        assert!(entry.file_name().len() < 64, "{entry:?} was kept");
    }
}

fn blobs(layout: &Path) -> PathBuf {
    layout.join("blobs/sha256")
}

#[test]
fn a_damaged_layer_leaves_nothing() {
    let f = Fixture::new();
    let store = f.store();
    let layout = f.unpacked("layout", OCI);
    // The top layer of the first image; the base layer is made before it.
    let blob =
        blobs(&layout).join("075c991981711a51839f0319ff9bb950148657d67ae13a494b70e921a1943b56");
    let mut bytes = std::fs::read(&blob).unwrap();
    let last = bytes.len() - 6;
    bytes[last] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    let e = load_path(&store, &layout).unwrap_err();
    assert!(e.to_string().contains("sha256:075c9919"), "{e}");
    assert_nothing_kept(&f);
    std::fs::write(&blob, &bytes[..40]).unwrap();
    assert!(load_path(&store, &layout).is_err());
    std::fs::remove_file(&blob).unwrap();
    let e = load_path(&store, &layout).unwrap_err();
    assert!(e.to_string().contains("is missing"), "{e}");
    assert_nothing_kept(&f);
}

#[test]
fn a_layer_that_others_use_stays() {
    let f = Fixture::new();
    let store = f.store();
    let layout = f.unpacked("layout", OCI);
    load_path(&store, &layout).unwrap();
    let before = (f.records("images"), f.records("layers"));
    let index: Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let mut broken = index.clone();
    broken["manifests"][1]["size"] = 1.into();
    std::fs::write(layout.join("index.json"), broken.to_string()).unwrap();
    assert_eq!(load_path(&store, &layout).unwrap_err().kind(), ErrorKind::DigestMismatch);
    assert_eq!((f.records("images"), f.records("layers")), before);
}

#[test]
fn truncated_files_are_refused() {
    let f = Fixture::new();
    let store = f.store();
    let whole = gunzip(DOCKER);
    for cut in [0, 1, 511, 512, 700, 1500, whole.len() / 2, whole.len() - 12_000] {
        let e = load_bytes(&store, &whole[..cut]).unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::InvalidArchive), "{cut}: {e}");
    }
    for cut in [5, 20, DOCKER.len() / 2, DOCKER.len() - 4] {
        assert!(load_bytes(&store, &DOCKER[..cut]).is_err(), "{cut}");
    }
    assert_nothing_kept(&f);
}

#[test]
fn foreign_files_are_refused_by_name() {
    let f = Fixture::new();
    let store = f.store();
    for (bytes, word) in [
        (archive(&[("etc/passwd", b"root")]), "neither manifest.json"),
        (b"not a tar at all".repeat(100).to_vec(), "archive"),
        (archive(&[("manifest.json", b"[]")]), "lists no image"),
        (archive(&[("manifest.json", b"{")]), "manifest.json"),
        (archive(&[("manifest.json", br#"[{"Config":"c.json","Layers":[]}]"#)]), "c.json"),
        (archive(&[("manifest.json", br#"[{"Config":"c","Layers":[]}]"#), ("c", b"{}")]), "rootfs"),
        (
            archive(&[
                ("manifest.json", br#"[{"Config":"c","Layers":["l"]}]"#),
                ("c", br#"{"rootfs":{}}"#),
            ]),
            "1 layers",
        ),
        (archive(&[("manifest.json", &vec![b' '; (1 << 20) + 1])]), "larger"),
        (archive(&[("index.json", br#"{"manifests":[]}"#)]), "lists no image"),
        (archive(&[("index.json", br#"{"manifests":[{"digest":"sha256:../../etc"}]}"#)]), "digest"),
    ] {
        let e = load_bytes(&store, &bytes).unwrap_err();
        assert!(e.to_string().contains(word), "{word}: {e}");
    }
    let e = load_path(&store, &f.path("no such file")).unwrap_err();
    assert_eq!(e.os_error(), Some(std::io::ErrorKind::NotFound));
    let e = load_path(&store, f.dir.path()).unwrap_err();
    assert!(e.to_string().contains("no index.json"), "{e}");
    assert_nothing_kept(&f);
}

#[test]
fn a_layer_unlike_its_config_is_refused() {
    let f = Fixture::new();
    let config = format!(r#"{{"rootfs":{{"diff_ids":["sha256:{}"]}}}}"#, "0".repeat(64));
    let bytes = archive(&[
        ("manifest.json", br#"[{"Config":"c","Layers":["l"]}]"#),
        ("c", config.as_bytes()),
        ("l", &archive(&[("file", b"x")])),
    ]);
    assert_eq!(load_bytes(&f.store(), &bytes).unwrap_err().kind(), ErrorKind::DigestMismatch);
    assert_nothing_kept(&f);
}

#[test]
fn artifacts_are_refused() {
    let f = Fixture::new();
    let layout = f.path("artifact");
    std::fs::create_dir_all(blobs(&layout)).unwrap();
    let put = |bytes: &[u8]| {
        let digest = crate::Digest::sha256(bytes);
        std::fs::write(blobs(&layout).join(digest.hex()), bytes).unwrap();
        serde_json::json!({"digest": digest.as_str(), "size": bytes.len()})
    };
    let mut config = put(b"{}");
    config["mediaType"] = "application/vnd.oci.empty.v1+json".into();
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []});
    let mut entry = put(manifest.to_string().as_bytes());
    entry["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]});
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let e = load_path(&f.store(), &layout).unwrap_err();
    assert!(e.to_string().contains("artifact"), "{e}");
}

#[test]
fn the_policy_is_obeyed() {
    let f = Fixture::new();
    let store = f.store();
    let layout = f.unpacked("layout", OCI);
    let scope = layout.canonicalize().unwrap();
    let text = serde_json::json!({
        "default": [{"type": "reject"}],
        "transports": {"oci": {
            f.dir.path().canonicalize().unwrap().to_str().unwrap(): [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}],
            scope.to_str().unwrap(): [{"type": "insecureAcceptAnything"}],
        }},
    });
    let policy = f.file("policy.json", text.to_string().as_bytes());
    let with = |path: &Path| {
        load(
            &store,
            Source::Path(path.into()),
            &LoadOptions { policy: Some(policy.clone()), ..options() },
        )
    };
    let docker = f.file("docker.tar.gz", DOCKER);
    assert_eq!(with(&docker).unwrap_err().kind(), ErrorKind::PolicyRejected);
    let other = f.unpacked("other", OCI);
    let e = with(&other).unwrap_err();
    assert!(e.to_string().contains("policy.json") && e.to_string().contains("signedBy"), "{e}");
    assert_nothing_kept(&f);
    // A link leads to what is accepted under its real name.
    std::os::unix::fs::symlink(&layout, f.path("link")).unwrap();
    with(&f.path("link")).unwrap();
    let broken = f.file("broken.json", b"{}");
    let e = load(&store, Source::Path(layout), &LoadOptions { policy: Some(broken), ..options() })
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Config);
}

/// A layout from documents: blobs are put in, `index.json` is written from the entries.
pub(super) fn layout(f: &Fixture, name: &str) -> (PathBuf, impl Fn(&str, &[u8]) -> Value + use<>) {
    let dir = f.path(name);
    std::fs::create_dir_all(blobs(&dir)).unwrap();
    std::fs::write(dir.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let at = blobs(&dir);
    let put = move |media_type: &str, bytes: &[u8]| {
        let digest = crate::Digest::sha256(bytes);
        std::fs::write(at.join(digest.hex()), bytes).unwrap();
        serde_json::json!({"mediaType": media_type, "digest": digest.as_str(), "size": bytes.len()})
    };
    (dir, put)
}

/// One large config that many images share on paper must not be held once for each.
#[test]
fn many_images_with_one_large_config_are_refused() {
    let f = Fixture::new();
    let store = f.store();
    let mut config = br#"{"rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
    config.resize(4 << 20, b' ');
    let items: Vec<Value> =
        (0..2000).map(|_| serde_json::json!({"Config": "c", "Layers": []})).collect();
    let bytes =
        archive(&[("manifest.json", Value::from(items).to_string().as_bytes()), ("c", &config)]);
    let e = load_bytes(&store, &bytes).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArchive);
    assert!(e.to_string().contains("together"), "{e}");

    let (dir, put) = layout(&f, "layout");
    let config = put(model::OCI_CONFIG, &config);
    let entries: Vec<Value> = (0..2000)
        .map(|n| {
            let manifest = serde_json::json!({"schemaVersion": 2, "config": config,
                "layers": [], "annotations": {"n": n.to_string()}});
            put(model::OCI_MANIFEST, manifest.to_string().as_bytes())
        })
        .collect();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    let e = load_path(&store, &dir).unwrap_err();
    assert!(e.to_string().contains("together"), "{e}");
    assert_nothing_kept(&f);
}

#[test]
fn lists_of_millions_are_refused() {
    let f = Fixture::new();
    let store = f.store();
    let many = |head: &str, item: &str, tail: &str, room: usize| {
        let list = vec![item; (room - 100) / (item.len() + 1)].join(",");
        format!("{head}[{list}]{tail}")
    };
    let docker = many("", "{}", "", 1 << 20);
    let e = load_bytes(&store, &archive(&[("manifest.json", docker.as_bytes())])).unwrap_err();
    assert!(e.to_string().contains("more than"), "{e}");
    let index = many(r#"{"manifests":"#, "{}", "}", 4 << 20);
    let e = load_bytes(&store, &archive(&[("index.json", index.as_bytes())])).unwrap_err();
    assert!(e.to_string().contains("more than"), "{e}");
    // A config with more diffs than any driver could mount, of which the archive needs to hold but one.
    let diff = format!("\"sha256:{}\"", "0".repeat(64));
    let config = many(r#"{"rootfs":{"diff_ids":"#, &diff, "}}", 1 << 20);
    let layers = many(r#"[{"Config":"c","Layers":"#, "\"l\"", "}]", 60_000);
    let bytes = archive(&[
        ("manifest.json", layers.as_bytes()),
        ("c", config.as_bytes()),
        ("l", &archive(&[("file", b"x")])),
    ]);
    let e = load_bytes(&store, &bytes).unwrap_err();
    assert!(e.to_string().contains("more than"), "{e}");
    assert_nothing_kept(&f);
}
