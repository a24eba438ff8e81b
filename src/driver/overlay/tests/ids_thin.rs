//! Other id maps for a layer on thin ones: its repository is in use for as long as the change takes, and no longer (`overlay-driver.md`
//! MAP-1, CVM-11).
//!
//! The driver mounts the repositories itself, by a stand-in for the client that binds a folder. It is found in `PATH`, so that each test
//! runs in a process of its own.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use super::cvmfs::{create, make, thin_of};
use super::ids::{maps, owner};
use crate::driver::tests::{TestStore, id, snapshot};
use crate::driver::{Driver, MountOptions, open, open_dialect};
use crate::sys::mount::{is_mount_point, mounts_below};
use crate::thin::stand_in::run_again;
use crate::{Dialect, ErrorKind, IdMap, IdMaps, Result};

const REPOSITORY: &str = "maps.cern.ch";

/// Tells where the client is.
const SITE: &str = "ORLOP_TEST_THIN_MAPS";

/// In `layers/2` a file has an owner that is not among them.
const KNOWN: [IdMap; 1] = [IdMap { container_id: 0, host_id: 0, size: 65_536 }];

struct Site {
    store: TestStore,
    dir: PathBuf,
    driver: Box<dyn Driver>,
}

impl Site {
    /// Begins the test of that name in a process whose `PATH` has the client; a site for it there, `None` where it was begun.
    fn of(test: &str) -> Option<Self> {
        if let Some(dir) = std::env::var_os(SITE) {
            let store = TestStore::new();
            let driver = open_dialect(Dialect::Cvmfs, &store.graph, &store.run, &[]).unwrap();
            return Some(Self { store, dir: dir.into(), driver });
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let published = dir.path().join("published");
        for layer in ["1", "2"] {
            let layer = published.join("layers").join(layer);
            fs::create_dir_all(&layer).unwrap();
            fs::write(layer.join("file"), "published").unwrap();
        }
        fs::write(published.join("layers/2/stranger"), "").unwrap();
        chown(published.join("layers/2/stranger"), Some(70_000), Some(70_000)).unwrap();
        let name = format!("driver::overlay::tests::ids_thin::{test}");
        run_again(&name, SITE, dir.path(), "! [ -e broken ] && exec mount --bind published \"$4\"");
        None
    }

    /// A container on a layer that lists `layer`.
    fn container(&self, layer: &str, name: &str) {
        let image = format!("{name}-image");
        make(&*self.driver, &image, None, &thin_of(REPOSITORY, &[layer]));
        create(&*self.driver, name, Some(&image)).unwrap();
    }

    fn change(&self, layer: &str) -> Result<()> {
        self.driver.update_id_maps(&id(layer), &IdMaps::new(&KNOWN, &KNOWN), &maps(), "")
    }

    fn mount(&self, layer: &str) -> PathBuf {
        self.driver.get(&id(layer), &MountOptions::default()).unwrap()
    }

    fn is_mounted(&self) -> bool {
        is_mount_point(&self.store.run.join("overlay/cvmfs").join(REPOSITORY)).unwrap()
    }

    /// How often the client was called.
    fn calls(&self) -> usize {
        fs::read_to_string(self.dir.join("calls")).unwrap_or_default().lines().count()
    }

    fn nothing_beside(&self) {
        let beside = self.store.home("tempdirs");
        assert_eq!(fs::read_dir(&beside).map_or(0, Iterator::count), 0);
        assert_eq!(mounts_below(&beside).unwrap().len(), 0);
    }
}

#[test]
fn the_repository_is_mounted_for_the_change() {
    let Some(site) = Site::of("the_repository_is_mounted_for_the_change") else { return };
    site.container("1", "box");
    site.change("box").unwrap();
    assert_eq!((site.calls(), site.is_mounted()), (1, false));
    site.nothing_beside();
    let root = site.mount("box");
    assert_eq!(owner(root.join("file")), (100_000, 200_000));
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "published");
    site.driver.put(&id("box")).unwrap();
    assert_eq!(owner(site.dir.join("published/layers/1/file")), (0, 0), "what is published stays");

    // Where another layer uses it, it stays in use.
    site.container("1", "user");
    site.container("1", "box2");
    let root = site.mount("user");
    let calls = site.calls();
    site.change("box2").unwrap();
    assert!(site.is_mounted());
    assert_eq!(site.calls(), calls);
    assert_eq!(owner(root.join("file")), (0, 0));
    site.driver.put(&id("user")).unwrap();
    assert!(!site.is_mounted(), "the change is no user any more");
}

#[test]
fn a_change_that_fails_gives_the_repository_back() {
    let Some(site) = Site::of("a_change_that_fails_gives_the_repository_back") else { return };
    let fails = |layer: &str, kind: ErrorKind, says: &str, calls: usize| {
        let before = (snapshot(&site.store.home(layer)), site.calls());
        let e = site.change(layer).unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
        assert!(e.to_string().contains(says), "{e}");
        assert!(!site.is_mounted(), "{e}");
        assert_eq!((snapshot(&site.store.home(layer)), site.calls()), (before.0, before.1 + calls));
        site.nothing_beside();
    };
    // In the middle of the copies.
    site.container("2", "strange");
    fails("strange", ErrorKind::InvalidArgument, "stranger", 1);
    // Before them: a layer that the repository does not have.
    site.container("9", "absent");
    fails("absent", ErrorKind::LayerUnknown, "layers/9", 1);
    // And where it cannot be mounted.
    site.container("1", "box");
    fs::write(site.dir.join("broken"), "").unwrap();
    fails("box", ErrorKind::Io, "exit code 1", 1);
    fs::remove_file(site.dir.join("broken")).unwrap();

    // A mounted layer is refused, and keeps what it uses.
    let root = site.mount("box");
    let e = site.change("box").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
    assert!(site.is_mounted());
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "published");
    site.driver.put(&id("box")).unwrap();
    assert!(!site.is_mounted());
    site.change("box").unwrap();
    assert!(!site.is_mounted());
}

#[test]
fn a_home_of_the_plugin_refuses_before_anything_is_mounted() {
    // 18.2: no remapping there
    let Some(site) = Site::of("a_home_of_the_plugin_refuses_before_anything_is_mounted") else {
        return;
    };
    let home = site.store.graph.join("overlay2");
    fs::create_dir_all(home.join("cvmfs")).unwrap();
    let driver = open("overlay2", &site.store.graph, &site.store.run, None, &[]).unwrap();
    assert_eq!(driver.dialect(), Some(Dialect::Cvmfs));
    make(&*driver, "image", None, &thin_of(REPOSITORY, &["1"]));
    create(&*driver, "box", Some("image")).unwrap();
    let before = snapshot(&home);
    let e = driver.update_id_maps(&id("box"), &IdMaps::default(), &maps(), "").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported);
    assert!(e.to_string().contains("dialect cvmfs"), "{e}");
    assert_eq!((site.calls(), snapshot(&home)), (0, before));
}
