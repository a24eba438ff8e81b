//! The driver in the legacy dialect (`overlay-driver.md` LEG-1 to LEG-13).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::Dialect;
use crate::archive::unpack;
use crate::driver::tests::{change_list, mode, mounted_at, tar_names, tar_of};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, Driver, open_dialect};

fn open(store: &TestStore) -> Box<dyn Driver> {
    open_dialect(Dialect::Legacy, &store.graph, &store.run, &[]).unwrap()
}

fn none() -> CreateOptions {
    CreateOptions::default()
}

/// Makes a layer with the content of `tar`, as an import does.
fn import(driver: &dyn Driver, name: &str, parent: Option<&str>, tar: &[u8]) {
    let parent = parent.map(id);
    let staging = driver.stage(parent.as_ref(), &ApplyOptions::default()).unwrap();
    unpack(&mut &tar[..], staging.root(), staging.unpack_options()).unwrap();
    driver.create_staged(&id(name), parent.as_ref(), &none(), staging).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_home_is_known_by_its_layers_and_only_read() {
    // LEG-1, LEG-6, LEG-11, LEG-12; spec section 20, rule 4
    let store = TestStore::new();
    let home = LegacyHome::new(&store.graph);
    fill(&home);
    let before = (all_seen(&home), snapshot(&store.graph));
    let driver = store.overlay(&["overlay.nonsense=1"]);
    assert_eq!((driver.dialect(), driver.name()), (Some(Dialect::Legacy), "overlay"));
    let top = store.home("top/root");
    assert_eq!(driver.get(&id("top"), &words(&["ro"])).unwrap(), top);
    driver.put(&id("top")).unwrap();
    let rows = driver.metadata(&id("top")).unwrap();
    assert_eq!(rows, BTreeMap::from([("RootDir".to_owned(), top.display().to_string())]));
    let (options, middle) = (DiffOptions::default(), id("middle"));
    let mut tar = Vec::new();
    driver.diff(&id("top"), Some(&middle), &options, &mut tar).unwrap();
    // Besides, directories whose time is that of the copy (LEG-10).
    let mut told = tar_names(&tar);
    told.retain(|name| !name.ends_with('/') || name == "gone/");
    assert_eq!(told, [".wh.fifo", "gone/", "gone/again"]);
    let changes = driver.changes(&id("top"), Some(&middle), &options).unwrap();
    let mut told = change_list(&changes);
    told.retain(|change| !change.starts_with("C "));
    assert_eq!(told, ["A /gone", "A /gone/again", "D /fifo"]);
    assert_eq!(driver.diff_size(&id("top"), Some(&middle), &options).unwrap(), 5);
    assert!(driver.disk_usage(&id("base")).unwrap().size > 0);
    assert!(driver.file_source(&id("base")).unwrap().open_file(b"etc/b").is_ok());
    let order = driver.list_layers().unwrap();
    assert_eq!(order, ["first", "second", "base", "middle", "top"], "containers before images");
    let text = |path: &str| store.home(path).display().to_string();
    let rows = driver.metadata(&id("second")).unwrap();
    let expected = [
        ("LowerDir", text("top/root")),
        ("MergedDir", text("second/merged")),
        ("UpperDir", text("second/upper")),
        ("WorkDir", text("second/work")),
    ];
    assert_eq!(rows, expected.map(|(name, path)| (name.to_owned(), path)).into());
    assert_eq!(snapshot(&store.graph), before.1);

    for (layer, seen_before) in LAYERS.iter().zip(&before.0).skip(3) {
        let at = driver.get(&id(layer), &MountOptions::default()).unwrap();
        assert_eq!(at, store.home(layer).join("merged"));
        assert_eq!(seen(&at), *seen_before);
        // LEG-7
        driver.put(&id(layer)).unwrap();
        assert!(at.exists() && mounted_at(&at).is_none());
        let at = driver.get(&id(layer), &words(&["ro"])).unwrap();
        assert_eq!(seen(&at), *seen_before, "{layer}");
        driver.put(&id(layer)).unwrap();
    }
    driver.cleanup().unwrap();
    assert_eq!(snapshot(&store.graph), before.1);
    assert_eq!(
        driver.status().iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ["Backing Filesystem"]
    );
    driver.cleanup().unwrap();
}

#[test]
fn layers_are_made_by_the_checklist() {
    // LEG-3, LEG-4, LEG-5, LEG-8, LEG-13; the bare mount of tests/legacy/store.rs reads what is made
    let store = TestStore::new();
    let driver = open(&store);
    import(
        &*driver,
        "base",
        None,
        &tar_of(&[("etc/", ""), ("etc/a", "1"), ("etc/b", "2"), ("t", "t")]),
    );
    import(
        &*driver,
        "next",
        Some("base"),
        &tar_of(&[("etc/a", "new"), (".wh.t", ""), ("etc/.wh.b", "")]),
    );
    for layer in ["base", "next"] {
        assert_eq!(names(&store.home(layer)), ["root"]);
        assert_eq!((mode(store.home(layer)), mode(store.home(layer).join("root"))), (0o700, 0o755));
    }
    assert_eq!(mode(store.home("")), 0o700);
    let ino = |path: &str| store.home(path).metadata().unwrap().ino();
    assert_ne!(ino("base/root/etc/a"), ino("next/root/etc/a"));
    assert_eq!(fs::read_to_string(store.home("base/root/etc/a")).unwrap(), "1");
    assert_eq!(names(&store.home("next/root")), ["etc"]);
    assert_eq!(names(&store.home("next/root/etc")), ["a"]);
    import(&*driver, "third", Some("next"), &tar_of(&[("x", "x")]));
    assert_eq!(ino("third/root/etc/a"), ino("next/root/etc/a"));

    driver.create_read_write(&id("ctr"), Some(&id("third")), &none()).unwrap();
    assert_eq!(names(&store.home("ctr")), ["lower-id", "merged", "upper", "work"]);
    let modes = ["merged", "upper", "work"].map(|name| mode(store.home("ctr").join(name)));
    assert_eq!(modes, [0o700, 0o755, 0o700]);
    let at = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    fs::write(at.join("mine"), "mine").unwrap();
    fs::remove_file(at.join("x")).unwrap();
    driver.put(&id("ctr")).unwrap();
    driver.create_read_write(&id("copy"), Some(&id("ctr")), &none()).unwrap();
    assert_eq!(fs::read_to_string(store.home("copy/lower-id")).unwrap(), "third");
    assert_ne!(ino("copy/upper/mine"), ino("ctr/upper/mine"));
    driver.cleanup().unwrap();
    let home = LegacyHome(store.home("").components().collect());
    for layer in ["ctr", "copy"] {
        assert_eq!(home.show(layer, names), ["etc", "mine"], "{layer}");
    }
    // A layer's tar over a container's content.
    let (root, options) = driver.content(&id("copy"), &ApplyOptions::default()).unwrap();
    use std::os::fd::AsFd;
    unpack(&mut &tar_of(&[(".wh.mine", ""), ("more", "")])[..], root.as_fd(), &options).unwrap();
    drop(root);
    driver.cleanup().unwrap();
    assert_eq!(home.show("copy", names), ["etc", "more"]);

    let sized = CreateOptions { storage_opt: [("size".into(), "1g".into())].into(), ..none() };
    let e = driver.create_read_write(&id("no"), Some(&id("ctr")), &sized).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported);
    let e = driver.create(&id("no"), Some(&id("missing")), &none()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::LayerUnknown);
    assert!(!store.home("no").exists());
    for layer in ["copy", "ctr", "third", "next", "base"] {
        driver.remove(&id(layer)).unwrap();
    }
    driver.cleanup().unwrap();
    assert_eq!(names(&store.home("")), Vec::<String>::new());
}

#[test]
fn an_image_on_a_container_shares_nothing_with_it() {
    // LEG-8's fallback: a container's files are written to in place
    let store = TestStore::new();
    let home = LegacyHome::new(&store.graph);
    fill(&home);
    let before = home.show("first", snapshot);
    let driver = store.overlay(&[]);
    import(&*driver, "image", Some("first"), &tar_of(&[("added", "added")]));
    let ino = |path: &str| store.home(path).metadata().unwrap().ino();
    assert_ne!(ino("image/root/mine"), ino("first/upper/mine"));
    fs::remove_file(store.home("image/root/added")).unwrap();
    assert_eq!(snapshot(&store.home("image/root")), before);
    driver.cleanup().unwrap();
}

#[test]
fn a_link_does_not_change_the_parents_file() {
    // LEG-9, LEG-14
    let store = TestStore::new();
    let driver = open(&store);
    import(&*driver, "base", None, &tar_of(&[("a", "a"), ("b", "b"), ("c", "c")]));
    let parent = |name: &str| store.home("base/root").join(name);
    mode_of(&parent("b"), 0o600);
    set_mtime(&parent("c"), 77);
    let before = snapshot(&store.home("base/root"));
    import(
        &*driver,
        "next",
        Some("base"),
        &tar_of(&[("a2", "->a"), ("b2", "->b"), ("c2", "->c"), ("b3", "->b2")]),
    );
    assert_eq!(snapshot(&store.home("base/root")), before);
    assert_eq!(parent("c").metadata().unwrap().mtime(), 77);
    let child = |name: &str| store.home("next/root").join(name).metadata().unwrap();
    assert_eq!(child("a2").ino(), parent("a").metadata().unwrap().ino(), "all is the same");
    for (name, target) in [("b2", "b"), ("b3", "b"), ("c2", "c")] {
        assert_eq!(child(name).ino(), child(target).ino());
        assert_ne!(child(name).ino(), parent(target).metadata().unwrap().ino());
        assert_eq!((child(name).mode() & 0o7777, child(name).mtime()), (0o644, 1_000_000_000));
    }
    assert_eq!(names(&store.home("next/root")), ["a", "a2", "b", "b2", "b3", "c", "c2"]);
    driver.cleanup().unwrap();
}

fn mode_of(path: &Path, mode: u32) {
    super::mode(path, mode);
}

#[test]
fn damaged_layers_are_refused_by_name() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 7] = [
        ("first/lower-id", |home| fs::write(home.join("first/lower-id"), "../top").unwrap()),
        ("first/lower-id", |home| fs::write(home.join("first/lower-id"), "second").unwrap()),
        ("first/lower-id", |home| fs::write(home.join("first/lower-id"), "gone").unwrap()),
        ("first/upper", |home| {
            fs::remove_dir_all(home.join("first/upper")).unwrap();
            symlink("/etc", home.join("first/upper")).unwrap();
        }),
        ("first/upper", |home| fs::remove_dir_all(home.join("first/upper")).unwrap()),
        ("top/root", |home| {
            fs::rename(home.join("top/root"), home.join("elsewhere")).unwrap();
            symlink("../elsewhere", home.join("top/root")).unwrap();
        }),
        ("first/merged", |home| {
            fs::remove_dir(home.join("first/merged")).unwrap();
            symlink("/mnt", home.join("first/merged")).unwrap();
        }),
    ];
    for (n, (file, damage)) in cases.into_iter().enumerate() {
        let store = TestStore::new();
        fill(&LegacyHome::new(&store.graph));
        damage(&store.home(""));
        let driver = store.overlay(&[]);
        let before = snapshot(&store.graph);
        let e = driver.get(&id("first"), &MountOptions::default()).unwrap_err();
        assert_eq!(
            (e.kind(), e.file()),
            (ErrorKind::Corrupt, Some(&*store.home(file))),
            "{n}: {e}"
        );
        driver.cleanup().unwrap();
        assert_eq!(snapshot(&store.graph), before, "{n}");
        // It can be removed all the same, and nothing else goes with it.
        driver.remove(&id("first")).unwrap();
        assert!(!store.home("first").exists() && store.home("base/root/a").exists(), "{n}");
        driver.cleanup().unwrap();
    }
}

#[test]
fn a_home_that_was_migrated_meanwhile_is_not_written_to() {
    // 20, rule 4: writing keeps the dialect of the home
    let store = TestStore::new();
    fill(&LegacyHome::new(&store.graph));
    let driver = open(&store);
    driver.prepare().unwrap();
    driver.cleanup().unwrap();
    fs::rename(store.home(""), store.beside("old")).unwrap();
    let today = store.overlay(&[]);
    today.create(&id("base"), None, &none()).unwrap();
    let e = driver.prepare().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
    today.cleanup().unwrap();
}
