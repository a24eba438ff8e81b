//! Damaged and hostile homes of Docker's driver and of the plugin of CernVM-FS: each layer is refused by name, nothing is changed, nothing
//! outside is shown, and it can be removed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::cvmfs::{make, thin_of};
use crate::driver::tests::{TestStore, chain, id, mounted_at, snapshot, tar_of};
use crate::driver::{CreateOptions, Driver, MountOptions, open_dialect};
use crate::{Dialect, ErrorKind};

/// A home of one of the dialects, and what is outside of it.
struct Site {
    store: TestStore,
    dialect: Dialect,
}

impl Site {
    fn new(dialect: Dialect) -> Self {
        let site = Self { store: TestStore::new(), dialect };
        for dir in ["outside/diff", "cvmfs/r.example/layers/1"] {
            fs::create_dir_all(site.store.beside(dir)).unwrap();
        }
        fs::write(site.outside().join("secret"), "secret").unwrap();
        fs::create_dir_all(site.home("cvmfs")).unwrap();
        if dialect == Dialect::Moby {
            fs::remove_dir(site.home("cvmfs")).unwrap();
        }
        site
    }

    fn home(&self, path: &str) -> PathBuf {
        self.store.graph.join("overlay2").join(path)
    }

    fn outside(&self) -> PathBuf {
        self.store.beside("outside/diff")
    }

    fn driver(&self) -> Box<dyn Driver> {
        let (graph, run) = (&self.store.graph, &self.store.run);
        if self.dialect == Dialect::Moby {
            return open_dialect(self.dialect, graph, run, &[]).unwrap();
        }
        let root = format!("cvmfsRoot={}", self.store.beside("cvmfs").display());
        let options = ["cvmfsMountMethod=external".to_owned(), root];
        crate::driver::open("overlay2", graph, run, None, &options).unwrap()
    }

    fn link(&self, layer: &str) -> PathBuf {
        self.home("l").join(fs::read_to_string(self.home(layer).join("link")).unwrap())
    }

    /// Puts a link to there in the place of what is at `path`.
    fn lead(&self, path: &Path, to: &Path) {
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
        symlink(to, path).unwrap();
    }

    /// What cannot be mounted is refused with the name of the file, and nothing is otherwise than before.
    fn refuses(&self, layer: &str, says: &str) {
        let driver = self.driver();
        // But for who uses a repository.
        let everything = || {
            let mut all = snapshot(self.store.graph.parent().unwrap());
            all.retain(|path| !path.starts_with("\"graph/overlay2/cvmfs/"));
            all
        };
        driver.prepare().unwrap();
        let before = everything();
        let e = driver.get(&id(layer), &MountOptions::default()).unwrap_err();
        let kinds = [ErrorKind::Corrupt, ErrorKind::NotSupported];
        assert!(kinds.contains(&e.kind()), "{says}: {:?}: {e}", e.kind());
        assert!(e.to_string().contains(says), "{says}: {e}");
        assert!(mounted_at(&self.home(layer).join("merged")).is_none(), "{says}");
        assert_eq!(everything(), before, "{says}");
        driver.remove(&id(layer)).unwrap();
        assert!(self.home(layer).symlink_metadata().is_err(), "{says}");
        assert_eq!(fs::read_to_string(self.outside().join("secret")).unwrap(), "secret", "{says}");
    }
}

/// Spoils a home, in which `mid` lies on `base`, and `box`, a container's, on both; returns what the error must name.
type Spoil = fn(&Site) -> PathBuf;

/// Writes to a file.
fn write(site: &Site, path: &str, text: &str) -> PathBuf {
    fs::write(site.home(path), text).unwrap();
    site.home(path)
}

#[test]
fn dockers_layers_lead_nowhere_else() {
    // 17, ADD-1; 20, rule 4
    let cases: [Spoil; 16] = [
        |site| write(site, "box/lower", ""),
        |site| write(site, "box/lower", "/etc"),
        |site| write(site, "box/lower", "l/../../outside"),
        |site| {
            let mid = fs::read_to_string(site.home("mid/link")).unwrap();
            write(site, "box/lower", &format!("l/{mid}"))
        },
        |site| {
            let lower = site.home("box/lower");
            site.lead(&lower, &site.outside().join("secret"));
            lower
        },
        |site| {
            let link = site.link("mid");
            site.lead(&link, &site.outside());
            link
        },
        |site| {
            let link = site.link("mid");
            site.lead(&link, Path::new("../../outside/diff"));
            link
        },
        |site| {
            // Where its layer was, and to the layer itself.
            let link = site.link("mid");
            site.lead(&link, Path::new("../box/diff"));
            site.home("box")
        },
        |site| {
            let link = site.link("mid");
            fs::remove_file(&link).unwrap();
            fs::create_dir(&link).unwrap();
            link
        },
        |site| {
            site.lead(&site.home("mid/diff"), &site.outside());
            site.home("mid/diff")
        },
        |site| {
            site.lead(&site.home("base/diff"), &site.outside());
            site.home("base/diff")
        },
        |site| {
            fs::remove_dir_all(site.home("mid/diff")).unwrap();
            write(site, "mid/diff", "")
        },
        |site| {
            fs::remove_dir_all(site.home("base/diff")).unwrap();
            site.home("base/diff")
        },
        |site| {
            site.lead(&site.home("box/diff"), &site.outside());
            site.home("box/diff")
        },
        |site| {
            site.lead(&site.home("box/work"), &site.outside());
            site.home("box/work")
        },
        |site| {
            site.lead(&site.home("box/merged"), &site.outside());
            site.home("box/merged")
        },
    ];
    for spoil in cases {
        let site = Site::new(Dialect::Moby);
        chain(&*site.driver(), &["base", "mid", "box"]);
        let named = spoil(&site);
        site.refuses("box", named.to_str().unwrap());
    }
    // What is shown as it is leads nowhere, too.
    let site = Site::new(Dialect::Moby);
    chain(&*site.driver(), &["base", "mid"]);
    site.lead(&site.home("base/diff"), &site.outside());
    site.refuses("base", site.home("base/diff").to_str().unwrap());
}

#[test]
fn a_parent_that_cannot_be_frozen_has_no_child() {
    // MOB-10, ADD-10
    for marker in [true, false] {
        let site = Site::new(Dialect::Moby);
        let driver = site.driver();
        chain(&*driver, &["base", "mid"]);
        let committed = site.home("mid/committed");
        let links = site.home("l");
        match marker {
            true => symlink(site.outside().join("new"), &committed).unwrap(),
            // No link can be made: all else has been by then.
            false => {
                rustix::mount::mount_bind(&links, &links).unwrap();
                let flags = rustix::mount::MountFlags::RDONLY | rustix::mount::MountFlags::BIND;
                rustix::mount::mount_remount(&links, flags, "").unwrap();
            }
        }
        let before = snapshot(&site.store.graph);
        let e = driver.create(&id("top"), Some(&id("mid")), &CreateOptions::default()).unwrap_err();
        let named = if marker { &committed } else { &links };
        assert!(e.to_string().contains(named.to_str().unwrap()), "{e}");
        assert_eq!(snapshot(&site.store.graph), before, "{e}");
        assert!(!site.outside().join("new").exists());
    }
}

#[test]
fn the_plugins_layers_lead_nowhere_else() {
    // 18, ADD-12; `thin` lists `layers/1`, `init` lies on it, and `box` on that
    let cases: [Spoil; 12] = [
        |site| write(site, "init/thin_parent", ""),
        |site| write(site, "init/thin_parent", "../../outside"),
        |site| write(site, "init/thin_parent", "gone"),
        |site| {
            write(site, "init/thin_parent", "init");
            site.home("box/lower")
        },
        |site| {
            write(site, "init/thin_parent", "base");
            write(site, "base/thin_parent", "init");
            site.home("box/lower")
        },
        |site| {
            let parent = site.home("init/thin_parent");
            site.lead(&parent, &site.outside().join("secret"));
            parent
        },
        |site| {
            let own = fs::read_to_string(site.home("init/link")).unwrap();
            write(site, "box/lower", &format!("l/{own}"))
        },
        |site| write(site, "box/lower", "l/../../outside"),
        |site| {
            // Of the document, what the links lead to is nothing.
            let document = site.home("thin/diff/thin.json");
            fs::write(&document, "{").unwrap();
            document
        },
        |site| {
            let document = site.home("thin/diff/thin.json");
            site.lead(&document, &site.outside().join("secret"));
            document
        },
        |site| {
            site.lead(&site.store.beside("cvmfs/r.example/layers/1"), &site.outside());
            PathBuf::from("layers/1")
        },
        |site| {
            site.lead(&site.home("box/merged"), &site.outside());
            site.home("box/merged")
        },
    ];
    for spoil in cases {
        let site = Site::new(Dialect::Cvmfs);
        let driver = site.driver();
        make(&*driver, "base", None, &tar_of(&[("base", "b")]));
        make(&*driver, "thin", Some("base"), &thin_of("r.example", &["1"]));
        for (layer, parent) in [("init", "thin"), ("box", "init")] {
            driver.create(&id(layer), Some(&id(parent)), &CreateOptions::default()).unwrap();
        }
        let named = spoil(&site);
        site.refuses("box", named.to_str().unwrap());
    }
    // A link into a repository that leads out of it is not followed: the document says where the layer lies.
    let site = Site::new(Dialect::Cvmfs);
    let driver = site.driver();
    make(&*driver, "thin", None, &thin_of("r.example", &["1"]));
    driver.create(&id("box"), Some(&id("thin")), &CreateOptions::default()).unwrap();
    let lower = fs::read_to_string(site.home("thin/lower")).unwrap();
    site.lead(&site.home(&lower), Path::new("../cvmfs/../../outside/diff"));
    fs::write(site.store.beside("cvmfs/r.example/layers/1/file"), "").unwrap();
    let root = driver.get(&id("box"), &MountOptions::default()).unwrap();
    assert!(root.join("file").exists() && !root.join("secret").exists());
    driver.put(&id("box")).unwrap();
}
