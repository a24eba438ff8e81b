//! The dialect of thin images (`overlay-driver.md` 18), on repositories that somebody else has mounted; those that the driver mounts by
//! itself are tried in `thin` and by the command's tests.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::driver::tests::{TestStore, change_list, id, mode, mounted_at, tar_names, tar_of};
use crate::driver::{
    ApplyOptions, CreateOptions, DiffOptions, Driver, MountOptions, detect_dialect, open,
    open_dialect,
};
use crate::sys::silent::Silent;
use crate::thin::{CvmfsUrl, ThinImage, ThinLayer, write_archive};
use crate::{Dialect, Digest, ErrorKind};

/// In podman's layout, and in the plugin's.
const FORMS: [&str; 2] = ["overlay", "overlay2"];

/// A store, and a folder that stands for `/cvmfs` with some layers of `r.example`, each with a file of its own and one that all have.
struct Site {
    store: TestStore,
    name: &'static str,
}

impl Site {
    fn new(name: &'static str) -> Self {
        Self::on(TestStore::new(), name)
    }

    fn on(store: TestStore, name: &'static str) -> Self {
        let site = Self { store, name };
        for layer in ["1", "2", "3"] {
            let dir = site.layer(layer);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(layer), layer).unwrap();
            fs::write(dir.join("all"), layer).unwrap();
        }
        if name == "overlay2" {
            // As the plugin does when it begins.
            fs::create_dir_all(site.home().join("cvmfs")).unwrap();
        }
        site
    }

    fn layer(&self, layer: &str) -> PathBuf {
        self.store.beside("cvmfs").join("r.example/layers").join(layer)
    }

    fn home(&self) -> PathBuf {
        self.store.graph.join(self.name)
    }

    fn driver(&self) -> Box<dyn Driver> {
        self.open(&[])
    }

    fn open(&self, more: &[&str]) -> Box<dyn Driver> {
        let root = format!("cvmfsRoot={}", self.store.beside("cvmfs").display());
        let options = ["overlay2.cvmfsMountMethod=external", root.as_str()];
        let options: Vec<String> =
            options.iter().chain(more).map(|&option| option.to_owned()).collect();
        let (graph, run) = (&self.store.graph, &self.store.run);
        match self.name {
            "overlay" => open_dialect(Dialect::Cvmfs, graph, run, &options).unwrap(),
            name => open(name, graph, run, None, &options).unwrap(),
        }
    }
}

fn layer_at(folder: &str) -> ThinLayer {
    layer_of("r.example", folder)
}

fn layer_of(repository: &str, folder: &str) -> ThinLayer {
    let url = CvmfsUrl::parse(&format!("cvmfs://{repository}/{folder}")).unwrap();
    ThinLayer { digest: Digest::sha256(folder.as_bytes()), url: Some(url) }
}

/// Base first.
fn thin(layers: &[&str]) -> Vec<u8> {
    thin_of("r.example", layers)
}

pub(super) fn thin_of(repository: &str, layers: &[&str]) -> Vec<u8> {
    let layers = layers.iter().map(|layer| layer_of(repository, &format!("layers/{layer}")));
    let mut tar = Vec::new();
    write_archive(&ThinImage::of(layers), &mut tar).unwrap();
    tar
}

pub(super) fn create(driver: &dyn Driver, layer: &str, parent: Option<&str>) -> crate::Result<()> {
    driver.create(&id(layer), parent.map(id).as_ref(), &CreateOptions::default())
}

fn apply(driver: &dyn Driver, layer: &str, mut tar: &[u8]) -> crate::Result<()> {
    driver.apply_diff(&id(layer), &ApplyOptions::default(), &mut tar).map(drop)
}

pub(super) fn make(driver: &dyn Driver, layer: &str, parent: Option<&str>, tar: &[u8]) {
    create(driver, layer, parent).unwrap();
    apply(driver, layer, tar).unwrap();
}

fn container(driver: &dyn Driver, layer: &str, parent: &str) -> PathBuf {
    let options = CreateOptions::default();
    driver.create_read_write(&id(layer), Some(&id(parent)), &options).unwrap();
    driver.get(&id(layer), &MountOptions::default()).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_container_sees_the_layers_that_its_image_lists() {
    // CVM-4, CVM-8, CVM-11, CVM-13, CVM-14, ADD-11
    for form in FORMS {
        let site = Site::new(form);
        let driver = site.driver();
        assert_eq!(driver.dialect(), Some(Dialect::Cvmfs));
        make(&*driver, "thin", None, &thin(&["1", "2"]));
        let plain = driver.get(&id("thin"), &MountOptions::default()).unwrap();
        assert_eq!(plain, site.home().join("thin/diff"));
        assert_eq!(names(&plain), ["thin.json"]);
        driver.put(&id("thin")).unwrap();

        let root = container(&*driver, "box", "thin");
        assert_eq!(names(&root), ["1", "2", "all"], "{form}");
        assert_eq!(read(root.join("all")), "2", "the newest is on top");
        fs::write(root.join("new"), "n").unwrap();
        fs::remove_file(root.join("1")).unwrap();
        let options = DiffOptions::default();
        let changes = |driver: &dyn Driver| {
            change_list(&driver.changes(&id("box"), Some(&id("thin")), &options).unwrap())
        };
        assert_eq!(changes(&*driver), ["A /new", "D /1"], "{form}");
        driver.put(&id("box")).unwrap();
        assert_eq!(changes(&*driver), ["A /new", "D /1"], "unmounted");
        let mut tar = Vec::new();
        driver.diff(&id("box"), Some(&id("thin")), &options, &mut tar).unwrap();
        let members = tar_names(&tar);
        let members: Vec<_> = members.iter().filter(|name| *name != "./").collect();
        assert_eq!(members, [".wh.1", "new"], "{form}");
        assert_eq!(driver.diff_size(&id("box"), Some(&id("thin")), &options).unwrap(), 1);

        // One more regular layer between: the thin one is found further up.
        make(&*driver, "upper", Some("thin"), &tar);
        let root = container(&*driver, "box2", "upper");
        assert_eq!(names(&root), ["2", "all", "new"], "{form}");
        driver.put(&id("box2")).unwrap();
        driver.cleanup().unwrap();
    }
}

#[test]
fn the_plugins_links_and_lists_are_made() {
    // CVM-3, CVM-6, CVM-7, CVM-14, CVM-16, ADD-12
    let site = Site::new("overlay2");
    let driver = site.driver();
    let home = site.home();
    make(&*driver, "base", None, &tar_of(&[("base", "b")]));
    make(&*driver, "thin", Some("base"), &thin(&["1", "2"]));
    create(&*driver, "init", Some("thin")).unwrap();
    create(&*driver, "box", Some("init")).unwrap();
    assert_eq!(names(&home.join("base")), ["diff", "link"]);
    assert_eq!(names(&home.join("thin")), ["diff", "link", "lower", "merged", "work"]);
    let child = ["diff", "link", "lower", "merged", "thin_parent", "work"];
    assert_eq!(names(&home.join("init")), child);
    assert_eq!((mode(home.join("l")), mode(home.join("init"))), (0o700, 0o700));
    assert_eq!((mode(home.join("init/diff")), mode(home.join("init/merged"))), (0o755, 0o700));
    assert!(mounted_at(&home).is_none());
    let (thin_parent, lower) = (read(home.join("init/thin_parent")), read(home.join("thin/lower")));
    assert_eq!((thin_parent.as_str(), mode(home.join("init/thin_parent"))), ("thin", 0o644));
    assert_eq!(read(home.join("init/lower")), lower, "no word for the thin parent");
    assert_eq!(read(home.join("box/lower")), format!("l/{}:{lower}", read(home.join("init/link"))));
    let targets: Vec<_> =
        lower.split(':').map(|word| fs::read_link(home.join(word)).unwrap()).collect();
    let expected = ["../cvmfs/r.example/layers/2", "../cvmfs/r.example/layers/1", "../base/diff"];
    assert_eq!(targets, expected.map(PathBuf::from));

    let root = driver.get(&id("box"), &MountOptions::default()).unwrap();
    assert_eq!(names(&root), ["1", "2", "all", "base"], "regular parents are not lost");
    driver.put(&id("box")).unwrap();
    // CVM-12
    assert!(home.join("box/merged").is_dir(), "it stays");
    assert_eq!(mode(home.join("box/work/work")), 0);
    let map = vec![crate::IdMap { container_id: 0, host_id: 1000, size: 1000 }];
    let mapped = MountOptions { uid_map: map.clone(), gid_map: map, ..MountOptions::default() };
    driver.get(&id("box"), &mapped).unwrap();
    let about = home.join("box/work/work").metadata().unwrap();
    assert_eq!((about.uid(), about.gid()), (1000, 1000));
    driver.put(&id("box")).unwrap();

    let count = || names(&home.join("l")).len();
    assert_eq!(count(), 6);
    driver.remove(&id("box")).unwrap();
    driver.remove(&id("init")).unwrap();
    assert_eq!(count(), 4, "a child has no part in its parents' links");
    driver.remove(&id("thin")).unwrap();
    assert_eq!(names(&home.join("l")), [read(home.join("base/link"))]);
}

#[test]
fn layers_of_the_plugin_itself_are_read() {
    // ACC-16, CVM-6, CVM-7, CVM-14: ADD-12's loss of parents included, which is what they were written with
    let site = Site::new("overlay2");
    let home = site.home();
    let link = |n: usize| "ABCDEFGHIJKLMNOPQRSTUVWXY".to_owned() + &"234567"[n..=n];
    let layer = |name: &str, n: usize, files: &[(&str, &str)]| {
        for dir in ["diff", "work", "merged"] {
            fs::create_dir_all(home.join(name).join(dir)).unwrap();
        }
        for (file, text) in files.iter().chain([&("link", link(n).as_str())]) {
            fs::write(home.join(name).join(file), text).unwrap();
        }
        symlink(format!("../{name}/diff"), home.join("l").join(link(n))).unwrap();
    };
    fs::create_dir_all(home.join("l")).unwrap();
    let nested = link(5);
    symlink("../cvmfs/r.example/layers/3", home.join("l").join(&nested)).unwrap();
    let words = format!("l/{nested}");
    layer("image", 0, &[("lower", &words)]);
    let document = ThinImage::of([layer_at("layers/3")]).to_json().unwrap();
    fs::write(home.join("image/diff/thin.json"), document).unwrap();
    layer("box-init", 1, &[("lower", &words), ("thin_parent", "image")]);
    layer("box", 2, &[("lower", &format!("l/{}:{words}", link(1)))]);

    assert_eq!(detect_dialect(&home).unwrap(), Some(Dialect::Cvmfs));
    let driver = site.driver();
    let root = driver.get(&id("box"), &MountOptions::default()).unwrap();
    assert_eq!(names(&root), ["3", "all"]);
    driver.put(&id("box")).unwrap();
    let of_box = driver.changes(&id("box"), Some(&id("box-init")), &DiffOptions::default());
    assert_eq!(of_box.unwrap().len(), 0);
    // A list that lost a word, as power loss can leave it, is no smaller image.
    fs::write(home.join("box/lower"), format!("l/{}", link(1))).unwrap();
    let e = driver.get(&id("box"), &MountOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
    assert!(e.to_string().contains("lacks the links of image"), "{e}");
}

#[test]
fn a_container_cannot_make_itself_thin() {
    // 18.1, "is thin" test
    for form in FORMS {
        let site = Site::new(form);
        let driver = site.driver();
        make(&*driver, "thin", None, &thin(&["1"]));
        let root = container(&*driver, "box", "thin");
        fs::write(root.join("thin.json"), ThinImage::of([layer_at("layers/3")]).to_json().unwrap())
            .unwrap();
        driver.put(&id("box")).unwrap();
        let root = driver.get(&id("box"), &MountOptions::default()).unwrap();
        assert_eq!(names(&root), ["1", "all", "thin.json"], "{form}");
        driver.put(&id("box")).unwrap();
        // Nor does an image with other files become one.
        let document = ThinImage::of([layer_at("layers/3")]).to_json().unwrap();
        make(&*driver, "other", None, &tar_of(&[("a", "b"), ("thin.json", &document)]));
        let root = container(&*driver, "on-other", "other");
        assert_eq!(names(&root), ["a", "thin.json"], "{form}");
        driver.put(&id("on-other")).unwrap();
    }
}

#[test]
fn what_cannot_be_mounted_is_refused_and_leaves_nothing() {
    // CVM-14, 18.3: errors are not ignored
    for form in FORMS {
        let site = Site::new(form);
        let driver = site.driver();
        create(&*driver, "bad", None).unwrap();
        let links = || names(&site.home().join("l"));
        let before = links();
        for document in [
            "{",
            r#"{"version":"1.0","layers":[{"digest":"x","url":"cvmfs://r/x"}]}"#,
            &format!(
                r#"{{"version":"1.0","layers":[{{"digest":"{}","url":"cvmfs://r/../x"}}]}}"#,
                "a".repeat(64)
            ),
        ] {
            let e = apply(&*driver, "bad", &tar_of(&[("thin.json", document)])).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
            assert_eq!(links(), before, "{form}");
        }
        // A repository that nobody has mounted, a layer that is not in it, one that a link stands for.
        symlink("/etc", site.layer("link")).unwrap();
        for (name, layers, kind, says) in [
            ("gone", &["1", "9"][..], ErrorKind::LayerUnknown, "layers/9"),
            ("link", &["link"], ErrorKind::Corrupt, "not a directory"),
        ] {
            make(&*driver, name, None, &thin(layers));
            create(&*driver, &format!("{name}-box"), Some(name)).unwrap();
            let child = id(&format!("{name}-box"));
            let e = driver.get(&child, &MountOptions::default()).unwrap_err();
            assert_eq!(e.kind(), kind, "{e}");
            assert!(e.to_string().contains(says), "{e}");
            assert!(mounted_at(&site.home().join(child.as_str()).join("merged")).is_none());
        }
        make(&*driver, "far", None, &thin(&["1"]));
        create(&*driver, "far-box", Some("far")).unwrap();
        fs::rename(site.store.beside("cvmfs/r.example"), site.store.beside("cvmfs/away")).unwrap();
        let e = driver.get(&id("far-box"), &MountOptions::default()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Prerequisites, "{e}");
        assert!(e.to_string().contains("nobody has mounted it there"), "{e}");
    }
}

#[test]
fn a_repository_that_does_not_answer_is_an_error_in_time() {
    // CVM-4, CVM-11, 18.3: mounted right where it is shown
    for form in FORMS {
        let site = Site::new(form);
        let driver = site.open(&["cvmfsMountTimeout=1"]);
        make(&*driver, "thin", None, &thin(&["1"]));
        create(&*driver, "box", Some("thin")).unwrap();
        let above = if form == "overlay" { site.store.run.join(form) } else { site.home() };
        let place = above.join("cvmfs/r.example");
        fs::create_dir_all(&place).unwrap();
        let Some(_silent) = Silent::at(&place) else { return };
        let (child, parent, options) = (id("box"), id("thin"), DiffOptions::default());
        let thin = driver.thin_layers().unwrap();
        for outcome in [
            driver.get(&child, &MountOptions::default()).map(drop),
            driver.changes(&child, Some(&parent), &options).map(drop),
            thin.bring_for_mount(&child).map(drop),
            thin.bring_for_diff(&child, Some(&parent)).map(drop),
        ] {
            let e = outcome.unwrap_err();
            assert_eq!((e.kind(), e.file()), (ErrorKind::Io, Some(place.as_path())), "{e}");
            assert!(e.to_string().contains("has not answered for 1 s"), "{e}");
        }
        // What needs none is not kept waiting by it, and what is damaged is for the mount to say.
        drop(thin.bring_for_mount(&parent).unwrap());
        drop(thin.bring_for_diff(&parent, None).unwrap());
        drop(thin.bring_for_mount(&id("unknown")).unwrap());
    }
    let store = TestStore::new();
    let driver = open("overlay", &store.graph, &store.run, None, &[]).unwrap();
    assert!(driver.thin_layers().is_none(), "stores of other dialects prepare nothing");
}

#[test]
fn nested_layers_count_against_the_depth() {
    // CVM-7
    let site = Site::new("overlay2");
    let driver = site.driver();
    let deep = vec!["1"; 128];
    make(&*driver, "thin", None, &thin(&deep));
    create(&*driver, "box", Some("thin")).unwrap();
    let e = create(&*driver, "deeper", Some("box")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::MaxDepth);
    assert!(!site.home().join("deeper").exists());
}

#[test]
fn homes_are_told_apart_and_options_read() {
    // CVM-2, CVM-4
    let site = Site::new("overlay");
    let home = site.home();
    let (graph, run) = (&site.store.graph, &site.store.run);
    let driver = site.driver();
    assert_eq!(detect_dialect(&home).unwrap(), None);
    make(&*driver, "thin", None, &thin(&["1"]));
    assert_eq!(detect_dialect(&home).unwrap(), Some(Dialect::Cvmfs));
    let found = open("overlay", graph, run, None, &[]).unwrap();
    assert_eq!((found.dialect(), found.name()), (Some(Dialect::Cvmfs), "overlay"));
    assert!(!names(&home).contains(&"cvmfs".to_owned()), "podman would take it for a layer");
    for (options, says) in [
        (["cvmfsMountMethod=fast"], "\"internal\" or \"external\""),
        (["cvmfsRoot=relative"], "not absolute"),
        (["cvmfsMountTimeout=0"], "number of seconds"),
        (["cvmfsMountTimeout=1h"], "number of seconds"),
    ] {
        let options = options.map(str::to_owned);
        let e = open_dialect(Dialect::Cvmfs, graph, run, &options).err().unwrap();
        assert!(e.kind() == ErrorKind::Config && e.to_string().contains(says), "{e}");
    }
    let plugin = Site::new("overlay2");
    let open = |option: &str| {
        open("overlay2", &plugin.store.graph, &plugin.store.run, None, &[option.to_owned()])
    };
    assert!(open("overlay2.override_kernel_check=true").is_ok());
    assert!(open("overlay2.CVMFSmountmethod=internal").is_ok());
    assert!(open("overlay2.cvmfsMountTimeout=120").is_ok());
    let e = open("overlay2.size=1g").err().unwrap();
    assert!(e.to_string().contains("overlay2: Unknown option size"), "{e}");
}

#[test]
fn more_layers_than_a_page_can_name_are_mounted_from_any_path() {
    // CVM-9, CVM-10
    for form in FORMS {
        let site = Site::on(TestStore::named("a:b,c\\d"), form);
        let layers: Vec<String> = (0..100).map(|n| format!("{n}-{}", "x".repeat(60))).collect();
        for layer in &layers {
            fs::create_dir_all(site.layer(layer)).unwrap();
            fs::write(site.layer(layer).join(layer), "").unwrap();
        }
        let driver = site.driver();
        let names_of: Vec<&str> = layers.iter().map(String::as_str).collect();
        make(&*driver, "thin", None, &thin(&names_of));
        let root = container(&*driver, "box", "thin");
        assert_eq!(names(&root).len(), 100, "{form}");
        driver.put(&id("box")).unwrap();
    }
}

#[test]
fn limits_and_the_probe_are_those_of_the_other_dialects() {
    // CVM-5, CVM-24
    let site = Site::new("overlay2");
    let driver = site.driver();
    let storage_opt = [("size".to_owned(), "1g".to_owned())].into();
    let sized = CreateOptions { storage_opt, ..CreateOptions::default() };
    // It depends on the disk, not on the kind of layer.
    match driver.create(&id("sized"), None, &sized) {
        Ok(()) => driver.remove(&id("sized")).unwrap(),
        Err(e) => assert!(e.to_string().contains("pquota"), "{e}"),
    }
    assert!(!site.home().join("sized").exists());
    create(&*driver, "plain", None).unwrap();
    let rows = driver.status();
    assert!(rows.iter().any(|(name, _)| name == "Native Overlay Diff"), "{rows:?}");
}
