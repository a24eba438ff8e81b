//! Sharing on a file system that can, and on one that cannot.

use std::fs;
use std::path::Path;

use super::DedupMethod;
use crate::LayerId;
use crate::driver::tests::{TestStore, Xfs, chain, id, snapshot};

const MEGABYTE: usize = 1 << 20;

fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    };
    (0..MEGABYTE / 8).flat_map(|_| next()).collect()
}

fn fill(store: &TestStore) {
    for layer in ["base", "top"] {
        let diff = store.home(layer).join("diff");
        fs::create_dir(diff.join("d")).unwrap();
        fs::write(diff.join("d/same"), noise(1)).unwrap();
        fs::hard_link(diff.join("d/same"), diff.join("d/twin")).unwrap();
        fs::write(diff.join("empty"), "").unwrap();
        // As long as the others, and other at the very end.
        let mut other = noise(1);
        *other.last_mut().unwrap() ^= u8::try_from(layer.len()).unwrap();
        fs::write(diff.join("other"), other).unwrap();
        std::os::unix::fs::symlink("d/same", diff.join("link")).unwrap();
    }
}

fn free(path: &Path) -> u64 {
    rustix::fs::syncfs(fs::File::open(path).unwrap()).unwrap();
    let about = rustix::fs::statvfs(path).unwrap();
    about.f_bfree * about.f_frsize
}

#[test]
fn equal_files_share_their_space() {
    // REM-16
    let xfs = match Xfs::new() {
        Ok(xfs) => xfs,
        Err(why) => {
            println!("skipped: deduplication on xfs: {why}");
            return;
        }
    };
    for (n, method) in
        [DedupMethod::Crc, DedupMethod::Size, DedupMethod::Sha256].into_iter().enumerate()
    {
        for driver in ["overlay", "vfs"] {
            let dir = xfs.root().join(format!("{driver}-{n}"));
            fs::create_dir(&dir).unwrap();
            let store = TestStore::within(&dir);
            let opened = store.open(driver, None, &[]);
            let layers: [LayerId; 3] = [id("base"), id("top"), id("missing")];
            chain(&*opened, &["base", "top"]);
            let home = if driver == "vfs" {
                for layer in ["base", "top"] {
                    fs::create_dir_all(store.home(layer)).unwrap();
                    let tree = store.graph.join("vfs/dir").join(layer);
                    std::os::unix::fs::symlink(&tree, store.home(layer).join("diff")).unwrap();
                }
                store.graph.join("vfs")
            } else {
                store.graph.join("overlay")
            };
            fill(&store);
            let (before, room) = (snapshot(&home), free(&dir));
            let shared = opened.dedup(&layers, method).unwrap();
            assert_eq!(shared, MEGABYTE as u64, "{driver} {method:?}");
            let gained = free(&dir).saturating_sub(room);
            assert!(gained >= MEGABYTE as u64 * 9 / 10, "{gained} bytes gained");
            assert_eq!(snapshot(&home), before);
            // What is shared already counts again, and is none the worse for it.
            assert_eq!(opened.dedup(&layers, method).unwrap(), MEGABYTE as u64);
            assert_eq!(opened.dedup(&layers[..1], method).unwrap(), 0);
        }
    }
}

#[test]
fn a_file_system_that_cannot_share_is_left_alone() {
    // REM-16: on the machine's own, which is ext4 or tmpfs
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    fill(&store);
    let magic = crate::sys::mount::fs_magic(&store.graph).unwrap();
    if [0x9123_683e, 0x5846_5342].contains(&magic) {
        println!("skipped: a file system that cannot share: this one can");
        return;
    }
    let before = snapshot(&store.graph);
    assert_eq!(driver.dedup(&[id("base"), id("top")], DedupMethod::Crc).unwrap(), 0);
    assert_eq!(snapshot(&store.graph), before);
}

#[test]
fn layers_of_additional_stores_stay_as_they_are() {
    // REM-16, ADD-2
    let xfs = match Xfs::new() {
        Ok(xfs) => xfs,
        Err(why) => {
            println!("skipped: deduplication on xfs: {why}");
            return;
        }
    };
    let dir = |name: &str| {
        let dir = xfs.root().join(name);
        fs::create_dir(&dir).unwrap();
        dir
    };
    let shared = TestStore::within(&dir("shared"));
    chain(&*shared.overlay(&[]), &["base", "top"]);
    fill(&shared);
    let store = TestStore::within(&dir("own"));
    let driver = store.overlay(&[&format!("imagestore={}", shared.graph.display())]);
    assert_eq!(driver.dedup(&[id("base"), id("top")], DedupMethod::Crc).unwrap(), 0);
}
