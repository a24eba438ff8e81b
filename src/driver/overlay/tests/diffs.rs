//! Changes of layers, and what is remembered of the kernel.

use std::fs;
use std::time::Instant;

use crate::LayerId;
use crate::driver::tests::{TestStore, chain, change_list, id, snapshot, tar_names, tar_of, words};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, Driver, MountOptions};

/// An image of two layers and a container on it, in which files were changed, deleted and made anew.
fn changed_container(driver: &dyn Driver) -> LayerId {
    chain(driver, &["base", "mid"]);
    let base = tar_of(&[
        ("etc/", ""),
        ("etc/kept", "kept"),
        ("etc/changed", "old"),
        ("etc/gone", "gone"),
        ("old/", ""),
        ("old/inner", "inner"),
        ("replaced/", ""),
        ("replaced/before", "before"),
    ]);
    driver.apply_diff(&id("base"), &ApplyOptions::default(), &mut base.as_slice()).unwrap();
    driver
        .apply_diff(&id("mid"), &ApplyOptions::default(), &mut tar_of(&[("mid", "mid")]).as_slice())
        .unwrap();
    let container = id("ctr");
    driver.create_read_write(&container, Some(&id("mid")), &CreateOptions::default()).unwrap();
    let merged = driver.get(&container, &MountOptions::default()).unwrap();
    fs::write(merged.join("etc/changed"), "changed").unwrap();
    fs::remove_file(merged.join("etc/gone")).unwrap();
    fs::remove_dir_all(merged.join("old")).unwrap();
    fs::remove_dir_all(merged.join("replaced")).unwrap();
    fs::create_dir(merged.join("replaced")).unwrap();
    fs::write(merged.join("replaced/after"), "after").unwrap();
    fs::write(merged.join("new"), "12345").unwrap();
    fs::hard_link(merged.join("new"), merged.join("new2")).unwrap();
    driver.put(&container).unwrap();
    container
}

/// The tree of `layer`, as mounted.
fn tree(driver: &dyn Driver, layer: &LayerId) -> Vec<String> {
    let merged = driver.get(layer, &words(&["ro"])).unwrap();
    let seen = snapshot(&merged);
    driver.put(layer).unwrap();
    seen
}

/// What comes of applying `diff` to a new child of mid.
fn applied(driver: &dyn Driver, diff: &[u8]) -> Vec<String> {
    let copy = id("copy");
    driver.create(&copy, Some(&id("mid")), &CreateOptions::default()).unwrap();
    driver.apply_diff(&copy, &ApplyOptions::default(), &mut &*diff).unwrap();
    let seen = tree(driver, &copy);
    driver.remove(&copy).unwrap();
    seen
}

#[test]
fn a_containers_diff_makes_the_same_tree_elsewhere() {
    // ACC-9, DIF-1, DIF-5, DIF-4, REM-12, DIF-2, DIF-3, 10.2
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let container = changed_container(&*driver);
    let mut diff = Vec::new();
    driver.diff(&container, Some(&id("mid")), &DiffOptions::default(), &mut diff).unwrap();
    assert_eq!(
        tar_names(&diff),
        [
            "etc/",
            "etc/changed",
            "etc/.wh.gone",
            "new",
            "new2",
            ".wh.old",
            "replaced/",
            "replaced/.wh..wh..opq",
            "replaced/after"
        ]
    );
    assert_eq!(applied(&*driver, &diff), tree(&*driver, &container));
    let changes = driver.changes(&container, Some(&id("mid")), &DiffOptions::default()).unwrap();
    assert_eq!(
        change_list(&changes),
        [
            "A /new",
            "A /new2",
            "A /replaced/after",
            "C /etc",
            "C /etc/changed",
            "D /etc/gone",
            "D /old",
            "D /replaced"
        ]
    );
    let size = driver.diff_size(&container, Some(&id("mid")), &DiffOptions::default()).unwrap();
    assert_eq!(size, 5 + 7 + 5, "hard links once");
    assert_eq!(driver.disk_usage(&container).unwrap().size, size);

    // Over nothing: the whole tree.
    let mut whole = Vec::new();
    driver.diff(&container, None, &DiffOptions::default(), &mut whole).unwrap();
    let names = tar_names(&whole);
    assert!(names.contains(&"etc/kept".to_owned()) && names.contains(&"mid".to_owned()));
    assert!(!names.iter().any(|n| n.contains(".wh.")), "{names:?}");
}

#[test]
fn a_layer_is_told_without_a_mount_whatever_its_uppers_look_like() {
    // DIF-2, DEF-8, DEF-12, DEF-31
    let metacopy = "mountopt=metacopy=on,redirect_dir=on";
    for (options, older) in [(&[metacopy][..], false), (&[], true)] {
        let store = TestStore::new();
        let driver = store.overlay(options);
        let container = changed_container(&*driver);
        if older {
            // What a change of owners does: the content moves to diff1.
            fs::rename(store.home("ctr/diff"), store.home("ctr/diff1")).unwrap();
            fs::create_dir(store.home("ctr/diff")).unwrap();
            let look = |name: &str| store.home(name).symlink_metadata().unwrap().permissions();
            fs::set_permissions(store.home("ctr/diff"), look("ctr/diff1")).unwrap();
        }
        let merged = driver.get(&container, &MountOptions::default()).unwrap();
        fs::write(merged.join("late"), "late").unwrap();
        fs::remove_file(merged.join("new2")).unwrap();
        let tell = |parent: &str| {
            let mut diff = Vec::new();
            let parent = id(parent);
            driver.diff(&container, Some(&parent), &DiffOptions::default(), &mut diff).unwrap();
            let list = driver.changes(&container, Some(&parent), &DiffOptions::default()).unwrap();
            let size = driver.diff_size(&container, Some(&parent), &DiffOptions::default());
            (diff, change_list(&list), size.unwrap())
        };
        let (diff, changes, size) = tell("mid");
        // Three waits for the next second would take two of them however often; a busy machine is slow now and then.
        let is_quick = |_| {
            let started = Instant::now();
            tell("mid");
            started.elapsed().as_millis() < 900
        };
        assert!((0..10).any(is_quick), "no wait for the clock");
        assert_eq!(size, 4 + 5 + 7 + 5);
        if older {
            // Older uppers may hold what is the parent's but for its owners: there is something to mount.
            driver.put(&container).unwrap();
            assert_eq!(applied(&*driver, &diff), tree(&*driver, &container));
            let told = ["A /late", "A /new", "C /etc/changed", "D /etc/gone", "D /old"];
            assert!(told.iter().all(|t| changes.contains(&(*t).to_owned())), "{changes:?}");
            continue;
        }
        let away = store.home("mid/aside");
        fs::rename(store.home("mid/merged"), &away).unwrap();
        assert_eq!(
            tell("mid"),
            (diff.clone(), changes.clone(), size),
            "there is nothing to mount at"
        );
        fs::rename(&away, store.home("mid/merged")).unwrap();
        assert!(driver.is_mounted(&merged), "a running container stays mounted");
        driver.put(&container).unwrap();
        let mut names = tar_names(&diff);
        // The one upper of a layer is told as it is.
        names.retain(|name| name != ".wh.new2");
        assert_eq!(
            names,
            [
                "etc/",
                "etc/changed",
                "etc/.wh.gone",
                "late",
                "new",
                ".wh.old",
                "replaced/",
                "replaced/.wh..wh..opq",
                "replaced/after"
            ]
        );
        assert_eq!(applied(&*driver, &diff), tree(&*driver, &container));
        assert_eq!(
            changes,
            [
                "A /late",
                "A /new",
                "A /replaced/after",
                "C /etc",
                "C /etc/changed",
                "D /etc/gone",
                "D /old",
                "D /replaced"
            ]
        );

        // Over another layer than the parent: two mounted trees.
        let (diff, changes, size) = tell("base");
        let names = tar_names(&diff);
        for name in ["mid", "late", "etc/.wh.gone", ".wh.old", "replaced/.wh.before"] {
            assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
        }
        for change in ["A /mid", "C /etc/changed", "D /old", "D /replaced/before"] {
            assert!(changes.contains(&change.to_owned()), "{change}: {changes:?}");
        }
        assert_eq!(size, 3 + 4 + 5 + 7 + 5);
        for layer in ["base", "mid", "ctr"] {
            assert!(!driver.is_mounted(&store.home(layer).join("merged")), "{layer}");
        }
    }
}

#[test]
fn what_the_kernel_left_in_a_lower_layer_is_found_there() {
    // ACC-13, DIF-11, DIF-8, DEF-2: written with metacopy, read without
    let store = TestStore::new();
    let writer = store.overlay(&["mountopt=metacopy=on"]);
    chain(&*writer, &["mid", "ctr"]);
    let below = tar_of(&[("f", "hello"), ("dir/", ""), ("dir/inner", "inner")]);
    writer.apply_diff(&id("mid"), &ApplyOptions::default(), &mut below.as_slice()).unwrap();
    let merged = writer.get(&id("ctr"), &MountOptions::default()).unwrap();
    let narrow = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(merged.join("f"), narrow).unwrap();
    fs::rename(merged.join("dir"), merged.join("moved")).unwrap();
    writer.put(&id("ctr")).unwrap();

    let reader = store.overlay(&[]);
    let mut diff = Vec::new();
    reader.diff(&id("ctr"), Some(&id("mid")), &DiffOptions::default(), &mut diff).unwrap();
    assert_eq!(tar_names(&diff), [".wh.dir", "f", "moved/", "moved/inner"]);
    assert!(String::from_utf8_lossy(&diff).contains("hello"));
    assert_eq!(applied(&*reader, &diff), tree(&*writer, &id("ctr")));
    let changes = change_list(
        &reader.changes(&id("ctr"), Some(&id("mid")), &DiffOptions::default()).unwrap(),
    );
    assert_eq!(changes, ["A /moved", "A /moved/inner", "C /f", "D /dir"]);
    // Over another layer, and over nothing: the truth or an error.
    let mut whole = Vec::new();
    if reader.diff(&id("ctr"), None, &DiffOptions::default(), &mut whole).is_ok() {
        assert!(String::from_utf8_lossy(&whole).contains("hello"));
    }

    // The upper alone is never packed.
    let upper = super::super::open_dir(&store.home("ctr/diff")).unwrap();
    let own = std::os::fd::AsFd::as_fd(&upper);
    let upper = crate::archive::Upper { own, lowers: &[], prefix: "trusted.overlay." };
    let e = crate::archive::pack_upper(
        &upper,
        &crate::archive::PackOptions::default(),
        &mut Vec::new(),
    );
    let text = e.unwrap_err().to_string();
    assert!(text.contains("metacopy") && text.contains('f'), "{text}");
}

#[test]
fn a_failed_diff_leaves_nothing_mounted() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let container = changed_container(&*driver);
    for parent in [Some(id("mid")), Some(id("base")), None] {
        assert!(
            driver.diff(&container, parent.as_ref(), &DiffOptions::default(), &mut Full).is_err()
        );
    }
    assert!(
        driver
            .diff(&container, Some(&id("none")), &DiffOptions::default(), &mut Vec::new())
            .is_err()
    );
    for layer in ["base", "mid", "ctr"] {
        assert!(!driver.is_mounted(&store.home(layer).join("merged")), "{layer}");
    }
}

#[test]
fn metacopy_words_follow_the_kernel() {
    // GET-16, GET-17
    let store = TestStore::new();
    let driver = store.overlay(&["mountopt=metacopy=on,nodev"]);
    chain(&*driver, &["a"]);
    let shown = |how: &MountOptions| {
        let merged = driver.get(&id("a"), how).unwrap();
        let told = crate::driver::tests::super_options(&merged);
        driver.put(&id("a")).unwrap();
        told.contains("metacopy=on")
    };
    assert!(shown(&MountOptions::default()));
    assert!(shown(&words(&["nosuid"])), "kept although the caller has words of its own");
    fs::remove_file(store.run.join("overlay/metacopy(metacopy=on,nodev)-true")).unwrap();
    fs::write(store.run.join("overlay/metacopy(metacopy=on,nodev)-false"), "").unwrap();
    assert!(!shown(&MountOptions::default()), "left out where the kernel does not do it");
}

#[test]
fn probes_leave_their_answers_under_the_common_names() {
    // ACC-1, INI-8, DEF-20, ADD-5, INI-10
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
    assert!(["extfs", "xfs"].contains(&row(&rows, "Backing Filesystem").as_str()));
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
            "idmapped-lower-dir-true",
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
    assert_eq!(fs::read_dir(store.home("")).unwrap().count(), 4, "and tempdirs, which is empty");
    assert_eq!(fs::read_dir(store.home("tempdirs")).unwrap().count(), 0);

    let plain = store.overlay(&[]).status();
    assert_eq!(
        (row(&plain, "Native Overlay Diff"), row(&plain, "Using metacopy")),
        ("true".into(), "false".into())
    );
    assert!(store.run.join("overlay/native-diff()-true").is_file());
    assert!(store.run.join("overlay/metacopy()-false").is_file());
    let composed = store.overlay(&["use_composefs=true"]).status();
    assert_eq!(row(&composed, "Native Overlay Diff"), "false", "4.5: whatever the kernel does");
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
