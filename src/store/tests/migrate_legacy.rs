//! A store of 2016 that others work on stays what it is.

use std::fs;

use rustix::io::Errno;

use super::*;
use crate::ErrorKind;
use crate::driver::legacy::tests::store::{Layer, turn_back};
use crate::sys::lock::{LockAccess, LockFile};
use crate::sys::refused::{self, Call};

#[test]
fn while_another_holds_a_lock_nothing_is_migrated() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can migrate");
    }
    let fixture = Fixture::new();
    let store = fixture.store();
    let files: [&[(&str, &str)]; 2] = [&[("a", "1"), ("b", "2")], &[("a", "3")]];
    let base = import(&store, "base", None, files[0]).record.id.clone();
    let next = import(&store, "next", Some("base"), files[1]).record.id.clone();
    store.shutdown(false).unwrap();
    let graph = fixture.path("graph");
    let layer = |id, parent, n: usize| Layer { id, parent, tar: Some(tar_of(files[n])) };
    turn_back(&graph, &[layer(&base, None, 0), layer(&next, Some(&base), 1)]);
    let store = fixture.store();
    let locks = [
        graph.join("storage.lock"),
        graph.join("overlay-layers/layers.lock"),
        graph.join("overlay-images/images.lock"),
        graph.join("overlay-containers/containers.lock"),
    ];
    for lock in locks {
        let held = LockFile::open(&lock, LockAccess::ReadWrite).unwrap().write().unwrap();
        let failed = store.migrate_legacy(LegacyMigration { remove: true, ..Default::default() });
        assert_eq!(kind(failed), ErrorKind::Busy, "{lock:?}");
        assert!(graph.join("overlay").join(&next).join("root/a").exists(), "{lock:?}");
        drop(held);
    }
    // A layer is not damaged because there are no more threads; what fails so leaves the store as it was.
    let e = refused::with(&[(Call::Clone, Errno::AGAIN)], || {
        store.migrate_legacy(LegacyMigration::default()).unwrap_err()
    });
    let told = format!("{e} {:?}", e.advice());
    assert!(told.contains(&*base) && told.contains("ulimit -u"), "{told}");
    assert!(!told.contains("verification"), "{told}");
    assert!(graph.join("overlay").join(&next).join("root/a").exists());
    let damaged = graph.join("overlay").join(&base).join("root/b");
    fs::write(&damaged, "3").unwrap();
    let e = store.migrate_legacy(LegacyMigration::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DigestMismatch);
    assert!(e.advice().is_some_and(|advice| advice.contains("without verification")), "{e}");
    fs::write(&damaged, "2").unwrap();
    let done = store.migrate_legacy(LegacyMigration::default()).unwrap();
    assert_eq!((done.images, done.verified, done.files), (2, 2, 3));
    // The digests are those of the records, and so are the files.
    let mut tar = Vec::new();
    fixture.store().diff(&next, None, None, &mut tar).unwrap();
    assert_eq!(tar, tar_of(files[1]));
}
