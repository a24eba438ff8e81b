//! Partial pulls: content that the caller writes itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::layers::Holder;
use crate::archive::Whiteouts;
use crate::driver::tests::{TestStore, chain, id, mode, words};
use crate::driver::{ApplyOptions, CreateOptions, Driver, PartialPulls, open_dialect};
use crate::{Dialect, ErrorKind, LayerId};

fn pulls(driver: &dyn Driver) -> &dyn PartialPulls {
    driver.partial_pulls().unwrap()
}

fn begin(driver: &dyn Driver) -> PathBuf {
    let partial = pulls(driver).begin(&ApplyOptions::default()).unwrap();
    assert!(matches!(partial.unpack.whiteouts, Whiteouts::Overlay(_)));
    fs::write(partial.target.join("f"), "partial").unwrap();
    partial.target
}

fn create(driver: &dyn Driver, name: &str, parent: Option<&LayerId>) {
    driver.create(&id(name), parent, &CreateOptions::default()).unwrap();
}

#[test]
fn a_partial_pull_becomes_a_layer() {
    // APL-5, APL-6
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    create(&*driver, "base", None);
    fs::set_permissions(store.home("base/diff"), PermissionsExt::from_mode(0o1751)).unwrap();
    let target = begin(&*driver);
    assert_eq!(mode(&target), 0o555);
    let dir = target.parent().unwrap().to_path_buf();
    assert_eq!((dir.parent().unwrap(), mode(&dir)), (&*store.home("staging"), 0o700));
    assert!(dir.join("staging.lock").is_file());

    create(&*driver, "top", Some(&id("base")));
    pulls(&*driver).commit(&id("top"), Some(&id("base")), &target, false).unwrap();
    assert_eq!(mode(store.home("top/diff")), 0o1751, "the parent's");
    assert!(!dir.exists());
    // A caller that tidies up after itself finds nothing to do.
    pulls(&*driver).discard(&target).unwrap();
    let merged = driver.get(&id("top"), &words(&["ro"])).unwrap();
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "partial");
    driver.put(&id("top")).unwrap();
    assert_eq!(pulls(&*driver).content_path(&id("top")).unwrap(), store.home("top/diff"));

    // With a mode of its own, in place of content that there was, and by another driver of the process.
    let target = begin(&*driver);
    fs::set_permissions(&target, PermissionsExt::from_mode(0o711)).unwrap();
    create(&*driver, "other", Some(&id("base")));
    fs::write(store.home("other/diff/old"), "").unwrap();
    let second = store.overlay(&[]);
    pulls(&*second).commit(&id("other"), Some(&id("base")), &target, true).unwrap();
    assert_eq!(mode(store.home("other/diff")), 0o711);
    assert!(store.home("other/diff/f").exists() && !store.home("other/diff/old").exists());
    assert_eq!(fs::read_dir(store.home("staging")).unwrap().count(), 0);
}

#[test]
fn a_failed_commit_gives_the_staging_directory_up() {
    // APL-6, APL-7
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    create(&*driver, "base", None);
    let target = begin(&*driver);
    let e = pulls(&*driver).commit(&id("missing"), None, &target, true).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::LayerUnknown);
    assert!(target.join("f").exists() && !target.with_file_name("staging.lock").exists());
    pulls(&*driver).discard(&target).unwrap();
    assert!(!target.parent().unwrap().exists());

    // No other directory is moved or removed.
    for wrong in [store.home("base/diff"), store.home("staging/dir"), store.beside("x/dir")] {
        fs::create_dir_all(&wrong).unwrap();
        let e = pulls(&*driver).commit(&id("base"), None, &wrong, true).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{wrong:?}");
        let e = pulls(&*driver).discard(&wrong).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{wrong:?}");
        assert!(wrong.is_dir());
    }
    assert!(store.open("vfs", None, &[]).partial_pulls().is_none());
    for dialect in Dialect::ALL {
        let driver = open_dialect(dialect, &store.graph, &store.run, &[]).unwrap();
        let has = driver.partial_pulls().is_some();
        assert_eq!(has, dialect == Dialect::Containers, "{dialect} has a place for them");
    }
    // What would have to become a composefs layer, whose files cannot have other modes.
    let wants_image = store.overlay(&["use_composefs=true", "force_mask=700"]);
    let e = pulls(&*wants_image).begin(&ApplyOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported);
    assert!(e.to_string().contains("use_composefs"), "{e}");
    assert_eq!(fs::read_dir(store.home("staging")).unwrap().count(), 1, "what was made above");
}

#[test]
fn what_killed_processes_have_staged_goes_with_the_next() {
    // REM-6
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let own = begin(&*driver);
    for pull in ["stale", "live"] {
        fs::create_dir_all(store.home("staging").join(pull).join("dir/d")).unwrap();
    }
    let mut holder = Holder::start(&store.home("staging/live/staging.lock"));
    let next = begin(&*driver);
    assert!(!store.home("staging/stale").exists());
    assert!(own.exists() && store.home("staging/live/dir/d").exists());
    let e = pulls(&*driver).discard(&store.home("staging/live/dir")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy);
    holder.end();
    pulls(&*driver).discard(&next).unwrap();
    driver.cleanup().unwrap();
    assert!(own.exists() && !store.home("staging/live").exists(), "this process's stays");
    pulls(&*driver).discard(&own).unwrap();
    chain(&*driver, &["a"]);
    driver.cleanup().unwrap();
}
