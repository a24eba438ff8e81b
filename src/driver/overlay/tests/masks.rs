//! Layers of a store whose files all have one mode on the disk (`force_mask`).

use std::fs;

use crate::ErrorKind;
use crate::driver::CreateOptions;
use crate::driver::tests::{TestStore, id, mode};

const NOTE: &str = "user.containers.override_stat";

#[test]
fn a_forced_mode_hides_what_a_note_keeps() {
    // CRE-2, CRE-8
    let store = TestStore::new();
    let driver = store.overlay(&["force_mask=0710"]);
    let options = CreateOptions::default();
    let note = |layer: &str| {
        let mut buffer = [0; 64];
        let length =
            rustix::fs::getxattr(store.home(layer).join("diff"), NOTE, &mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    driver.create(&id("base"), None, &options).unwrap();
    assert_eq!((mode(store.home("base/diff")), note("base").as_str()), (0o710, "0:0:0555:dir"));
    let flags = rustix::fs::XattrFlags::REPLACE;
    rustix::fs::setxattr(store.home("base/diff"), NOTE, b"5:6:01751:dir", flags).unwrap();
    driver.create(&id("top"), Some(&id("base")), &options).unwrap();
    assert_eq!((mode(store.home("top/diff")), note("top").as_str()), (0o710, "5:6:1751:dir"));

    // Only a program shows a container what the note says.
    let e = driver.create_read_write(&id("ctr"), Some(&id("top")), &options).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported);
    assert!(e.to_string().contains("mount_program"), "{e}");
    assert!(!driver.exists(&id("ctr")));
    assert_eq!(fs::read_dir(store.home("l")).unwrap().count(), 2);
}
