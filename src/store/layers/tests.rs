//! When the content of what fails to become a layer goes.

use std::any::Any;
use std::os::fd::BorrowedFd;

use super::*;
use crate::archive::UnpackOptions;
use crate::config::StoreOptions;
use crate::sys::lock::{LockAccess, LockFile};

/// Content that, when it is let go, finds the lock free.
struct Watch {
    inner: Box<dyn Staging>,
    lock: PathBuf,
}

impl Staging for Watch {
    fn root(&self) -> BorrowedFd<'_> {
        self.inner.root()
    }
    fn unpack_options(&self) -> &UnpackOptions {
        self.inner.unpack_options()
    }
    fn keep_root(&mut self) {
        self.inner.keep_root();
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let lock = LockFile::open(&self.lock, LockAccess::ReadWrite).unwrap();
        assert!(lock.try_write().unwrap().is_some(), "deleted under the lock");
    }
}

#[test]
fn content_that_cannot_become_a_layer_is_deleted_after_the_lock_is_released() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let store = Store::open(StoreOptions {
        graph_root: dir.path().join("graph"),
        run_root: dir.path().join("run"),
        driver: "vfs".to_owned(),
        ..StoreOptions::default()
    })
    .unwrap();
    let layer = |id: &str| NewLayer { id: Some(id.to_owned()), ..NewLayer::default() };
    let staged = || {
        let mut staged = store.stage_layer(None, &mut &[0; 1024][..]).unwrap();
        let lock = store.paths.layer_locks().remove(0);
        staged.staging = Box::new(Watch { inner: staged.staging, lock });
        staged
    };
    let content = || Source::Staged(Box::new(staged()));
    store.create_layer(layer("taken")).unwrap();
    let e = store.commit_layer(layer("taken"), staged()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DuplicateId, "{e}");
    // The first of two is refused, for its id or by the driver, and the second never begun.
    let new = ["taken", "other"].map(|id| (layer(id), content()));
    assert_eq!(store.add_layers(new.into(), false).unwrap_err().kind(), ErrorKind::DuplicateId);
    let strange = NewLayer { storage_opt: [("size".into(), "1".into())].into(), ..layer("one") };
    let new = vec![(strange, Source::Empty), (layer("two"), content())];
    assert!(store.add_layers(new, false).is_err());
    assert_eq!(store.layers().unwrap().len(), 1);
}
