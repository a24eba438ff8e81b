//! Containers on thin images (`overlay-driver.md` 18): a client or a repository that hangs keeps nobody from the store.
//!
//! The driver mounts the repositories itself, by a stand-in for the client that binds a folder. It is found in `PATH`, so that each test
//! runs in a process of its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::*;
use crate::IdMap;
use crate::sys::mount::is_mount_point;
use crate::sys::silent::Silent;
use crate::thin::stand_in::run_again;
use crate::thin::{CvmfsUrl, FILE_NAME, ThinImage, ThinLayer};

const REPOSITORY: &str = "store.cern.ch";

/// Tells where the client is.
const SITE: &str = "ORLOP_TEST_THIN_STORE";

const CLIENT: &str = r#"
    [ -e hangs ] || exec mount --bind published "$4"
    while [ -e hangs ]; do sleep 0.1; done
    echo no proxy answers >&2
    exit 3"#;

struct Site {
    fixture: Fixture,
    dir: PathBuf,
}

impl Site {
    /// Begins the test of that name in a process whose `PATH` has the client; a site for it there, `None` where it was begun.
    fn of(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: mounting needs root");
            return None;
        }
        if let Some(dir) = std::env::var_os(SITE) {
            return Some(Self { fixture: Fixture::with_driver("overlay"), dir: dir.into() });
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let layer = dir.path().join("published/layers/1");
        fs::create_dir_all(&layer).unwrap();
        fs::write(layer.join("file"), "published").unwrap();
        let name = format!("store::tests::thin::{test}");
        run_again(&name, SITE, dir.path(), CLIENT);
        None
    }

    /// A handle that shares nothing in memory with others, as another process has one.
    fn store(&self) -> Store {
        let dialect = Some(Dialect::Cvmfs);
        Store::open(StoreOptions { dialect, ..self.fixture.options() }).unwrap()
    }

    /// A `thin.json` that lists `layers/<layer>`.
    fn document(&self, layer: &str) -> String {
        let url = CvmfsUrl::parse(&format!("cvmfs://{REPOSITORY}/layers/{layer}")).unwrap();
        let thin = ThinLayer { digest: digest_of(layer.as_bytes()), url: Some(url) };
        ThinImage::of([thin]).to_json().unwrap()
    }

    /// A layer on one that lists `layers/<layer>`.
    fn container(&self, store: &Store, name: &str, layer: &str) {
        let document = self.document(layer);
        let image = import(store, &format!("{name}-image"), None, &[(FILE_NAME, &document)]);
        let new = NewLayer { names: vec![name.to_owned()], ..NewLayer::default() };
        store.create_layer(NewLayer { parent: Some(image.id.clone()), ..new }).unwrap();
    }

    fn place(&self) -> PathBuf {
        self.fixture.path("run/overlay/cvmfs").join(REPOSITORY)
    }

    fn is_mounted(&self) -> bool {
        is_mount_point(&self.place()).unwrap()
    }

    fn hangs(&self, hangs: bool) {
        let path = self.dir.join("hangs");
        if hangs { fs::write(path, "").unwrap() } else { fs::remove_file(path).unwrap() }
    }

    /// How often the client was called.
    fn calls(&self) -> usize {
        fs::read_to_string(self.dir.join("calls")).unwrap_or_default().lines().count()
    }

    /// Runs `work`; when it hangs, as `begun` tells, uses the store by another handle, and then lets `work` come to an end.
    fn meanwhile(
        &self,
        what: &str,
        begun: impl Fn() -> bool,
        work: impl FnOnce() -> crate::Result<()> + Send,
        then: impl FnOnce(),
    ) -> crate::Result<()> {
        let other = self.store();
        std::thread::scope(|scope| {
            let hanging = scope.spawn(work);
            let since = Instant::now();
            while !begun() {
                assert!(since.elapsed() < Duration::from_secs(60), "{what}");
                std::thread::sleep(Duration::from_millis(10));
            }
            let before = other.layers().unwrap().len();
            let made = import(&other, "meanwhile", None, &[("a", "b")]);
            assert_eq!(other.layers().unwrap().len(), before + 1);
            other.mount(&made.id, &MountRequest::default()).unwrap();
            other.unmount(&made.id, false).unwrap();
            other.delete_layer(&made.id).unwrap();
            assert!(!hanging.is_finished(), "{what}: it was waited for");
            then();
            hanging.join().unwrap()
        })
    }
}

#[test]
fn a_client_that_hangs_keeps_nobody_from_the_store() {
    // CVM-11, CVM-18, 18.3
    let Some(site) = Site::of("a_client_that_hangs_keeps_nobody_from_the_store") else { return };
    let store = site.store();
    site.container(&store, "box", "1");
    let mut calls = 0;
    for what in ["mount", "changes", "diff", "size"] {
        site.hangs(true);
        calls += 1;
        let work = || match what {
            "mount" => store.mount("box", &MountRequest::default()).map(drop),
            "changes" => store.changes("box", None).map(drop),
            "diff" => store.diff("box", None, None, &mut Vec::new()).map(drop),
            _ => store.diff_size("box", None).map(drop),
        };
        let outcome = site.meanwhile(what, || site.calls() == calls, work, || site.hangs(false));
        let e = outcome.unwrap_err();
        assert_eq!(e.kind(), crate::ErrorKind::Io);
        for says in [REPOSITORY, "no proxy answers (exit code 3)"] {
            assert!(e.to_string().contains(says), "{what}: {says}: {e}");
        }
        assert_eq!(site.calls(), calls, "{what}: it is not tried again under the locks");
        assert!(!site.is_mounted(), "{what}");
        assert_eq!(store.mounted("box").unwrap(), 0, "{what}");
    }
    let root = store.mount("box", &MountRequest::default()).unwrap();
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "published");
    store.unmount("box", false).unwrap();
    assert!(!site.is_mounted());
}

#[test]
fn a_thin_layer_that_is_applied_to_one_is_one() {
    // CVM-14
    let Some(site) = Site::of("a_thin_layer_that_is_applied_to_one_is_one") else { return };
    let store = site.store();
    let new = |name: &str, parent| NewLayer {
        parent,
        names: vec![name.to_owned()],
        ..NewLayer::default()
    };
    let image = store.create_layer(new("image", None)).unwrap().id.clone();
    store.apply_diff("image", &mut tar_of(&[(FILE_NAME, &site.document("1"))]).as_slice()).unwrap();
    store.create_layer(new("box", Some(image))).unwrap();
    let root = store.mount("box", &MountRequest::default()).unwrap();
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "published");
    store.unmount("box", false).unwrap();
}

#[test]
fn copies_of_what_is_published_keep_nobody_from_the_store() {
    // ADD-4, MAP-1, CVM-11
    let Some(site) = Site::of("copies_of_what_is_published_keep_nobody_from_the_store") else {
        return;
    };
    // Where no mount maps owners, as those of file systems in user space.
    let mut options = StoreOptions { dialect: Some(Dialect::Cvmfs), ..site.fixture.options() };
    options.driver_options.push("overlay.disable_idmap=true".to_owned());
    let store = Store::open(options).unwrap();
    site.container(&store, "box", "1");
    let layer = store.layer("box-image").unwrap().id.clone();
    let image = Some("image".to_owned());
    store
        .create_image(NewImage { id: image.clone(), layer: Some(layer), ..NewImage::default() })
        .unwrap();
    let map = vec![IdMap { container_id: 0, host_id: 5000, size: 1000 }];
    let create = || {
        let (uid_map, gid_map, id) = (map.clone(), map.clone(), Some("mapped".to_owned()));
        let new =
            NewContainer { id, image: image.clone(), uid_map, gid_map, ..NewContainer::default() };
        store.create_container(new).map(drop)
    };
    site.hangs(true);
    let outcome = site.meanwhile("copy", || site.calls() == 1, create, || site.hangs(false));
    let e = outcome.unwrap_err();
    assert!(e.to_string().contains("no proxy answers (exit code 3)"), "{e}");
    assert_eq!(site.calls(), 1, "it is not tried again under the locks");
    assert!(store.image("image").unwrap().mapped_layers.is_empty());

    create().unwrap();
    assert_eq!((site.calls(), site.is_mounted()), (2, false));
    let root = store.mount("mapped", &MountRequest::default()).unwrap();
    let file = root.join("file");
    assert_eq!(file.metadata().unwrap().uid(), 5000);
    assert_eq!(fs::read_to_string(&file).unwrap(), "published");
    store.unmount("mapped", false).unwrap();
    let [copy] = &store.image("image").unwrap().mapped_layers[..] else { panic!("no copy") };
    assert!(site.fixture.path("graph/overlay").join(copy).join("diff1/file").is_file());
}

#[test]
fn a_repository_that_does_not_answer_keeps_nobody_from_the_store() {
    // 18.3
    let Some(site) = Site::of("a_repository_that_does_not_answer_keeps_nobody_from_the_store")
    else {
        return;
    };
    let store = site.store();
    site.container(&store, "box", "1");
    fs::create_dir_all(site.place()).unwrap();
    let on_its_way = || {
        std::thread::sleep(Duration::from_millis(500));
        true
    };
    for (n, what) in ["mount", "changes"].into_iter().enumerate() {
        let Some(mut silent) = Silent::at(&site.place()) else { return };
        let work = || match what {
            "mount" => store.mount("box", &MountRequest::default()).map(drop),
            _ => store.changes("box", None).map(drop),
        };
        let calls = site.calls();
        // At last its process dies, and it is mounted again.
        site.meanwhile(what, on_its_way, work, || {
            assert_eq!((calls, site.calls()), (n, n), "{what}");
            silent.die();
        })
        .unwrap();
        assert_eq!(site.calls(), n + 1, "{what}");
        store.unmount("box", false).unwrap();
        assert!(!site.is_mounted(), "{what}");
    }
}

#[test]
fn a_repository_is_in_use_for_as_long_as_it_is_needed() {
    // CVM-11, CVM-17, 18.3
    let Some(site) = Site::of("a_repository_is_in_use_for_as_long_as_it_is_needed") else { return };
    let store = site.store();
    for (name, layer) in [("box", "1"), ("box2", "1"), ("gone", "9")] {
        site.container(&store, name, layer);
    }
    let mount = |name: &str| store.mount(name, &MountRequest::default());
    mount("box").unwrap();
    assert!(site.is_mounted(), "a mount keeps it");
    assert_eq!(site.calls(), 1, "mounted once, and found ready under the locks");
    mount("box").unwrap();
    store.diff("box", None, None, &mut Vec::new()).unwrap();
    mount("box2").unwrap();
    assert!(mount("gone").unwrap_err().to_string().contains("layers/9"));
    store.unmount("box", false).unwrap();
    store.unmount("box2", false).unwrap();
    assert_eq!((site.is_mounted(), site.calls()), (true, 1), "the first one is mounted twice");
    store.unmount("box", false).unwrap();
    assert!(!site.is_mounted());

    // Comparisons give it back, and so does what fails behind it.
    for (n, what) in ["changes", "diff", "size", "gone", "words"].into_iter().enumerate() {
        let words = MountRequest { options: vec!["no-such".into()], ..MountRequest::default() };
        let (done, well) = match what {
            "changes" => (store.changes("box", None).map(drop), true),
            "diff" => (store.diff("box", None, None, &mut Vec::new()).map(drop), true),
            "size" => (store.diff_size("box", None).map(drop), true),
            "gone" => (mount("gone").map(drop), false),
            _ => (store.mount("box", &words).map(drop), false),
        };
        assert_eq!(done.is_ok(), well, "{what}: {done:?}");
        assert_eq!((site.is_mounted(), site.calls()), (false, n + 2), "{what}");
    }
    // What is mounted needs nothing more: it has mounts of its own.
    mount("box").unwrap();
    crate::sys::mount::detach(&site.place()).unwrap();
    let calls = site.calls();
    mount("box").unwrap();
    assert_eq!(site.calls(), calls);
    store.unmount("box", true).unwrap();
    // A thin layer itself is a directory with a document.
    store.mount("box-image", &MountRequest { read_only: true, ..MountRequest::default() }).unwrap();
    assert_eq!(site.calls(), calls);
}
