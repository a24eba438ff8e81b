//! A change of id maps that is stopped between two moves: the layer is as before or as after.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::IdMap;
use crate::driver::tests::{TestStore, chain, id, mode};
use crate::driver::{Driver, MountOptions};

const TARGET: [IdMap; 1] = [IdMap { container_id: 0, host_id: 100_000, size: 65_536 }];

fn open(store: &TestStore) -> Overlay {
    Overlay::open("overlay", &store.graph, &store.run, None, &[], None).unwrap()
}

/// A container on an image, with older uppers, and perhaps something in its own.
fn make(store: &TestStore, older: usize, has_content: bool) -> LayerDir {
    let driver = open(store);
    chain(&driver, &["base", "ctr"]);
    fs::write(store.home("base/diff/below"), "below").unwrap();
    for n in 1..=older {
        let dir = store.home(format!("ctr/diff{n}"));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o555)).unwrap();
        fs::write(dir.join(format!("older{n}")), "").unwrap();
        fs::write(dir.join("all"), n.to_string()).unwrap();
    }
    if has_content {
        fs::write(store.home("ctr/diff/own"), "own").unwrap();
        fs::write(store.home("ctr/diff/all"), "own").unwrap();
    }
    open(store).locate(&id("ctr")).unwrap()
}

/// What the mounted layer shows: names, owners, content; its root's owner and mode first.
fn seen(driver: &Overlay) -> Vec<(String, u32, String)> {
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    let mut all: Vec<_> = fs::read_dir(&merged)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, path.metadata().unwrap().uid(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    all.sort();
    let look = DirLook::of(&merged).unwrap();
    all.insert(0, (".".to_owned(), look.uid, format!("{:o}", look.mode)));
    driver.put(&id("ctr")).unwrap();
    all
}

fn prepared(driver: &Overlay, layer: &LayerDir) -> Result<Remapped> {
    let (from, to) = (IdMaps::default(), IdMaps::new(&TARGET, &TARGET));
    let root = DirLook::of_root(&to, 0o700).unwrap();
    driver.remap(layer, root, |tree| change_owners(tree, &from, &to), "")
}

#[test]
fn killed_at_any_move_the_layer_is_as_before_or_as_after() {
    // ADD-4, MAP-1
    for (older, has_content) in [(0, false), (0, true), (1, false), (3, false), (3, true)] {
        let mut stop = 0;
        loop {
            let store = TestStore::new();
            let layer = make(&store, older, has_content);
            let driver = open(&store);
            let before = seen(&driver);
            let remapped = prepared(&driver, &layer).unwrap();
            let last = remapped.moves.len();
            let committed =
                remapped.moves.iter().take(stop).any(|m| m.to == layer.older_dir(1) && older == 0)
                    || stop + 1 >= last;
            remapped.moves.iter().take(stop).for_each(|m| m.carry_out().unwrap());
            // As a killed process leaves it: nothing is tidied up.
            std::mem::forget(remapped);

            let what = format!("{older} older, content {has_content}, {stop} of {last} moves");
            let later = open(&store);
            // Before it is healed, too, nothing is out of sight.
            let own = usize::from(has_content);
            let older_dirs = layer.older().unwrap().into_iter().map(|n| layer.older_dir(n));
            let uppers = std::iter::once(layer.diff())
                .chain(older_dirs)
                .filter(|d| d.exists() && has_entries(d).unwrap());
            assert!(uppers.count() >= older + own, "{what}");
            let after: Vec<_> = before
                .iter()
                .map(|(name, uid, text)| (name.clone(), uid + 100_000, text.clone()))
                .collect();
            let found = seen(&later);
            assert!(found == before || found == after, "{what}: {found:?}");
            assert_eq!(found == after, committed, "{what}: {found:?}");
            let numbers = layer.older().unwrap();
            assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "{what}");

            // And it can be done again, from whichever it is.
            if found == before {
                prepared(&later, &layer).unwrap().commit().unwrap();
                assert_eq!(seen(&later), after, "{what}");
            }
            if stop == last {
                break;
            }
            stop += 1;
        }
    }
}

#[test]
fn what_other_versions_leave_of_a_rotation_is_healed() {
    // ADD-4: diff1 was moved on to diff2, and diff was not
    let store = TestStore::new();
    let layer = make(&store, 3, true);
    let driver = open(&store);
    let before = seen(&driver);
    for n in [3, 2, 1] {
        fs::rename(layer.older_dir(n), layer.older_dir(n + 1)).unwrap();
    }
    let files = driver.file_source(&id("ctr")).unwrap();
    assert!(files.open_file(b"older3").is_ok(), "read past the gap, which stays");
    assert_eq!(layer.older().unwrap(), [2, 3, 4]);
    assert_eq!(seen(&driver), before);
    assert_eq!(layer.older().unwrap(), [1, 2, 3]);
    // Killed after the move of diff: it is made again.
    fs::rename(layer.older_dir(3), layer.older_dir(4)).unwrap();
    fs::rename(layer.older_dir(2), layer.older_dir(3)).unwrap();
    fs::rename(layer.older_dir(1), layer.older_dir(2)).unwrap();
    fs::rename(layer.diff(), layer.older_dir(1)).unwrap();
    assert_eq!(seen(&driver), before);
    assert_eq!(mode(layer.diff()), 0o555);
}

#[test]
fn a_change_that_fails_leaves_the_layer_and_nothing_beside_it() {
    let store = TestStore::new();
    let layer = make(&store, 1, true);
    let driver = open(&store);
    let before = (seen(&driver), crate::driver::tests::snapshot(&store.home("ctr")));
    let root = DirLook::root(0o700);
    let wrong = |_: BorrowedFd<'_>| Err(Error::new(ErrorKind::Internal, "as a test"));
    let e = driver.remap(&layer, root, wrong, "").err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Internal);
    drop(prepared(&driver, &layer).unwrap());
    assert_eq!(crate::driver::tests::snapshot(&store.home("ctr")), before.1);
    assert_eq!(fs::read_dir(store.home("tempdirs")).unwrap().count(), 0);
    assert_eq!(crate::sys::mount::mounts_below(&store.home("tempdirs")).unwrap().len(), 0);
}
