//! Layers of an additional layer store. A plain directory stands in for the daemon: it does not answer that it counts.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::inotify;

use super::ids::{maps, owner};
use crate::driver::tests::{TestStore, chain, change_list, id, mode, snapshot, tar_names, words};
use crate::driver::{
    AdditionalLayers, ApplyOptions, CreateOptions, DiffOptions, Driver, MountOptions,
};
use crate::sys::mount::mounts_below;
use crate::sys::refused::{self, Call};
use crate::{Digest, ErrorKind};

/// A layer in a store, with one file.
fn serve(store: &Path, toc: &Digest) -> PathBuf {
    let dir = store.join(toc.as_str());
    fs::create_dir_all(dir.join("diff/d")).unwrap();
    fs::write(dir.join("diff/f"), "served").unwrap();
    fs::write(dir.join("info"), "{\"size\": 6}").unwrap();
    fs::write(dir.join("blob"), "compressed").unwrap();
    dir
}

/// How often `use` was made in a directory since the last time.
struct Watch(rustix::fd::OwnedFd);

impl Watch {
    fn new(dir: &Path) -> Self {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, dir, inotify::WatchFlags::CREATE).unwrap();
        Self(watch)
    }

    fn uses(&self) -> usize {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.0, &mut buffer);
        let mut uses = 0;
        while let Ok(event) = events.next() {
            assert_eq!(event.file_name().unwrap().to_bytes(), b"use");
            uses += 1;
        }
        uses
    }
}

fn served_by(driver: &dyn Driver) -> &dyn AdditionalLayers {
    driver.additional_layers().unwrap()
}

fn text(mut file: fs::File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_served_layer_is_found_used_and_mounted() {
    // section 15, GET-2, REM-3, REM-15
    let store = TestStore::new();
    let served = store.beside("served");
    let toc = Digest::sha256(b"toc");
    let dir = serve(&served, &toc);
    let option = format!("additionallayerstore={}", served.display());
    let driver = store.overlay(&[&option]);
    let watch = Watch::new(&dir);
    let missing = served_by(&*driver).look_up(&Digest::sha256(b"other"), "x").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::LayerUnknown);

    let found = served_by(&*driver).look_up(&toc, "docker.io/library/x:1").unwrap();
    assert_eq!(watch.uses(), 1);
    assert_eq!(text(found.info().unwrap()), "{\"size\": 6}");
    assert_eq!(text(found.blob().unwrap()), "compressed");
    served_by(&*driver).create_from(&id("base"), None, &found).unwrap();
    assert_eq!(watch.uses(), 1);
    drop(found);
    assert_eq!(fs::read_link(store.home("base/diff")).unwrap(), dir.join("diff"));
    let pointer = store.home("base/additionallayer");
    assert_eq!(fs::read_to_string(&pointer).unwrap(), dir.to_str().unwrap());
    assert_eq!(mode(&pointer), 0o644);
    assert_eq!(
        text(served_by(&*driver).of_layer(&id("base")).unwrap().blob().unwrap()),
        "compressed"
    );

    let before = snapshot(&served);
    let options = CreateOptions::default();
    driver.create_read_write(&id("top"), Some(&id("base")), &options).unwrap();
    assert_eq!(mode(store.home("top/diff")), mode(dir.join("diff")));
    let merged = driver.get(&id("top"), &MountOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "served");
    fs::write(merged.join("f"), "changed").unwrap();
    fs::write(merged.join("d/new"), "").unwrap();
    driver.put(&id("top")).unwrap();
    let compare = DiffOptions::default();
    let changes = driver.changes(&id("top"), Some(&id("base")), &compare).unwrap();
    assert_eq!(change_list(&changes), ["A /d/new", "C /d", "C /f"]);
    let merged = driver.get(&id("base"), &words(&["ro"])).unwrap();
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "served");
    driver.put(&id("base")).unwrap();
    let mut tar = Vec::new();
    driver.diff(&id("base"), None, &compare, &mut tar).unwrap();
    assert_eq!(tar_names(&tar), ["d/", "f"]);
    assert_eq!(driver.diff_size(&id("base"), None, &compare).unwrap(), 6);
    assert_eq!(text(driver.file_source(&id("base")).unwrap().open_file(b"f").unwrap()), "served");
    let rows = driver.metadata(&id("top")).unwrap();
    assert_eq!(rows["LowerDir"], dir.join("diff").to_str().unwrap());

    // Nothing is written to it.
    for refused in [
        driver.get(&id("base"), &MountOptions::default()).unwrap_err(),
        driver.content(&id("base"), &ApplyOptions::default()).err().unwrap(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::ReadOnly, "{refused}");
    }
    assert_eq!(snapshot(&served), before);
    let e = served_by(&*driver).of_layer(&id("top")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::LayerUnknown);

    // The release is the removal of its directory, which an empty one does not survive.
    driver.remove(&id("top")).unwrap();
    for part in ["diff/d", "diff"] {
        fs::remove_file(dir.join("diff/f")).ok();
        fs::remove_dir(dir.join(part)).unwrap();
    }
    for part in ["info", "blob"] {
        fs::remove_file(dir.join(part)).unwrap();
    }
    driver.deferred_remove(&id("base")).unwrap().empty().unwrap();
    assert!(!dir.exists() && served.exists());
}

#[test]
fn a_store_may_tell_images_apart() {
    // section 15
    let store = TestStore::new();
    let served = store.beside("served");
    fs::create_dir(&served).unwrap();
    let toc = Digest::sha256(b"toc");
    // The base64 of it has a slash.
    let reference = "x?>y??.io/a:1";
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(reference);
    assert!(encoded.contains('/'), "{encoded}");
    serve(&served.join(&encoded), &toc);
    let driver = store.overlay(&[&format!("additionallayerstore={}:ref", served.display())]);
    assert!(served_by(&*driver).look_up(&toc, "other").is_err());
    let found = served_by(&*driver).look_up(&toc, reference).unwrap();
    served_by(&*driver).create_from(&id("a"), None, &found).unwrap();
    let merged = driver.get(&id("a"), &words(&["ro"])).unwrap();
    assert!(merged.join("f").exists());
    driver.put(&id("a")).unwrap();
}

#[test]
fn links_to_anywhere_else_open_nothing() {
    let store = TestStore::new();
    let (served, secret) = (store.beside("served"), store.beside("secret"));
    let toc = Digest::sha256(b"toc");
    let dir = serve(&served, &toc);
    serve(&secret, &toc);
    let option = format!("additionallayerstore={}", served.display());
    let driver = store.overlay(&[&option]);
    let found = served_by(&*driver).look_up(&toc, "").unwrap();
    served_by(&*driver).create_from(&id("a"), None, &found).unwrap();
    drop(found);
    let e = store.overlay(&[]).get(&id("a"), &words(&["ro"])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported, "a store that is not configured: {e}");
    chain(&*driver, &["b"]);
    for target in [
        secret.join(toc.as_str()).join("diff"),
        dir.clone(),
        dir.join("diff/d"),
        served.join("../secret").join(toc.as_str()).join("diff"),
        PathBuf::from("/diff"),
    ] {
        fs::remove_dir(store.home("b/diff"))
            .or_else(|_| fs::remove_file(store.home("b/diff")))
            .unwrap();
        symlink(&target, store.home("b/diff")).unwrap();
        let e = driver.get(&id("b"), &words(&["ro"])).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotSupported, "{target:?}: {e}");
        let mut tar = Vec::new();
        assert!(driver.diff(&id("b"), None, &DiffOptions::default(), &mut tar).is_err());
        assert!(driver.file_source(&id("b")).is_err());
    }
    // The pointer leads nowhere either, and a layer with a wrong one can be removed.
    fs::write(store.home("b/additionallayer"), secret.join(toc.as_str()).to_str().unwrap())
        .unwrap();
    assert_eq!(served_by(&*driver).of_layer(&id("b")).unwrap_err().kind(), ErrorKind::NotSupported);
    driver.remove(&id("b")).unwrap();
    assert!(!store.home("b").exists() && secret.join(toc.as_str()).join("diff/f").exists());

    // The daemon is gone.
    fs::rename(&served, store.beside("gone")).unwrap();
    let e = driver.get(&id("a"), &words(&["ro"])).unwrap_err();
    assert_eq!(e.os_error(), Some(std::io::ErrorKind::NotFound), "{e}");
    driver.remove(&id("a")).unwrap();
    assert!(!store.home("a").exists());
}

#[test]
fn additional_layers_are_mapped() {
    // GET-35, MAP-7, section 15
    let store = TestStore::new();
    let served = store.beside("served");
    let tocs = [b"one", b"two"].map(|toc| Digest::sha256(toc));
    for toc in &tocs {
        serve(&served, toc);
        fs::write(served.join(toc.as_str()).join("diff/d").join(&toc.as_str()[7..]), "").unwrap();
    }
    let driver = store.overlay(&[&format!("additionallayerstore={}", served.display())]);
    let mut parent = None;
    for (name, toc) in ["one", "two"].iter().zip(&tocs) {
        let found = served_by(&*driver).look_up(toc, "").unwrap();
        served_by(&*driver).create_from(&id(name), parent.as_ref(), &found).unwrap();
        parent = Some(id(name));
    }
    driver.create(&id("near"), parent.as_ref(), &CreateOptions::default()).unwrap();
    fs::write(store.home("near/diff/n"), "").unwrap();
    driver.create_read_write(&id("ctr"), Some(&id("near")), &CreateOptions::default()).unwrap();
    let before = snapshot(&served);
    let how =
        MountOptions { uid_map: maps().uids, gid_map: maps().gids, ..MountOptions::default() };
    let merged = driver.get(&id("ctr"), &how).unwrap();
    let of = |toc: &Digest| format!("d/{}", &toc.as_str()[7..]);
    for name in ["f", "n", "d", &of(&tocs[0]), &of(&tocs[1])] {
        assert_eq!(owner(merged.join(name)), (100_000, 200_000), "{name}");
    }
    assert_eq!(mounts_below(&store.home("tempdirs")).unwrap().len(), 0);
    driver.put(&id("ctr")).unwrap();
    assert_eq!(snapshot(&served), before);

    // A file system of the daemon's that maps none.
    let refusal = [(Call::MountSetattr, rustix::io::Errno::INVAL)];
    let e = refused::with(&refusal, || driver.get(&id("ctr"), &how).unwrap_err());
    assert!(e.to_string().contains("maps no owners"), "{e}");
    assert!(e.to_string().contains("disable_idmap"), "{e}");
}
