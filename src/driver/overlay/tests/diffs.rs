//! Changes of layers, and what is remembered of the kernel.

use std::fs;

use crate::driver::test_store::{TestStore, chain, id};

#[test]
fn probes_leave_their_answers_under_the_common_names() {
    // 2.3, REM-10, REM-11, DEF-17
    let store = TestStore::new();
    let driver = store.overlay(&["mountopt=nodev,metacopy=on"]);
    chain(&*driver, &["a"]);
    let row = |rows: &[(String, String)], name: &str| {
        rows.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap()
    };
    let rows = driver.status();
    let names: Vec<_> = rows.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(
        names,
        [
            "Backing Filesystem",
            "Supports d_type",
            "Native Overlay Diff",
            "Using metacopy",
            "Supports shifting",
            "Supports volatile"
        ]
    );
    assert_eq!(row(&rows, "Backing Filesystem"), "extfs");
    assert_eq!(
        (row(&rows, "Native Overlay Diff"), row(&rows, "Using metacopy")),
        ("false".into(), "true".into())
    );
    let mut cache: Vec<_> = fs::read_dir(store.run.join("overlay"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    cache.sort();
    assert_eq!(
        cache,
        [
            "metacopy(nodev,metacopy=on)-true",
            "native-diff(nodev,metacopy=on)-false",
            "overlay-true",
            "volatile-true"
        ]
    );
    let why =
        fs::read_to_string(store.run.join("overlay/native-diff(nodev,metacopy=on)-false")).unwrap();
    assert!(why.starts_with("Not using native diff for overlay"), "{why}");
    assert_eq!(driver.list_layers().unwrap(), ["a"], "no probe is left");
    assert_eq!(fs::read_dir(store.home("")).unwrap().count(), 3);

    let plain = store.overlay(&[]).status();
    assert_eq!(
        (row(&plain, "Native Overlay Diff"), row(&plain, "Using metacopy")),
        ("true".into(), "false".into())
    );
    assert!(store.run.join("overlay/native-diff()-true").is_file());
    assert!(store.run.join("overlay/metacopy()-false").is_file());
    // What is remembered is believed.
    fs::remove_file(store.run.join("overlay/native-diff()-true")).unwrap();
    fs::write(store.run.join("overlay/native-diff()-false"), "because").unwrap();
    assert_eq!(row(&store.overlay(&[]).status(), "Native Overlay Diff"), "false");
    fs::remove_file(store.run.join("overlay/overlay-true")).unwrap();
    fs::write(
        store.run.join("overlay/overlay-false"),
        "kernel does not support overlay fs: 'overlay' is not supported over x",
    )
    .unwrap();
    let e = store.overlay(&[]).prepare().unwrap_err();
    assert_eq!(e.kind(), crate::ErrorKind::IncompatibleFs, "ADD-5: {e}");
}
