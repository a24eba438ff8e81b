//! Layers with mapped owners, made by the Go library and by this one, and mounted by the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ids::{maps, owner};
use crate::IdMaps;
use crate::driver::tests::{TestStore, id, mode, mounted_at, snapshot};
use crate::driver::{CreateOptions, MountOptions};

const MAPS: [&str; 4] = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];

struct Go<'a> {
    program: PathBuf,
    store: &'a TestStore,
}

impl Go<'_> {
    fn of(store: &TestStore) -> Option<Go<'_>> {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("build/reference/containers-storage");
        if !program.exists() {
            println!("skipped: beside the Go library: `make reference` has not built {program:?}");
            return None;
        }
        Some(Go { program, store })
    }

    /// `copies`: layers get other owners by copies, not by their mounts.
    fn run(&self, copies: bool, command: &str, args: &[&str]) -> String {
        let mut run = Command::new(&self.program);
        run.arg(command).arg("--graph").arg(&self.store.graph).arg("--run").arg(&self.store.run);
        run.args(["--storage-driver", "overlay", "--storage-opt", "sync=none"]).args(args);
        if copies {
            run.env("_CONTAINERS_OVERLAY_DISABLE_IDMAP", "yes");
        }
        let output = run.output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// As [`super::ids::fill`], without names of one character, which Go passes over (DEF-6).
fn fill(dir: &Path) {
    super::ids::fill(dir);
    for (old, new) in [("a", "aa"), ("o", "oo"), ("z", "zz"), ("s", "ss")] {
        fs::rename(dir.join(old), dir.join(new)).unwrap();
    }
}

fn owners(tree: &Path) -> Vec<String> {
    snapshot(tree).into_iter().filter(|line| !line.contains("work")).collect()
}

#[test]
fn both_change_a_layer_alike_and_mount_each_others() {
    // MAP-1 to MAP-6
    let store = TestStore::new();
    let Some(go) = Go::of(&store) else { return };
    for layer in [&["--readonly", "--id", "base"][..], &["--id", "ours", "base"]] {
        go.run(true, "create-layer", layer);
    }
    fill(&store.home("base/diff"));
    go.run(true, "create-layer", &[&MAPS[..], &["--id", "theirs", "base"]].concat());
    let driver = store.overlay(&["sync=none"]);
    // As the store would have: a fresh layer for these maps.
    driver.remove(&id("ours")).unwrap();
    let (uid_map, gid_map) = (maps().uids, maps().gids);
    let options = CreateOptions { uid_map, gid_map, ..CreateOptions::default() };
    driver.create_read_write(&id("ours"), Some(&id("base")), &options).unwrap();
    driver.update_id_maps(&id("ours"), &IdMaps::default(), &maps(), "").unwrap();

    let [ours, theirs] = ["ours", "theirs"].map(|layer| store.home(layer));
    assert_eq!(owners(&ours.join("diff1")), owners(&theirs.join("diff1")));
    assert_eq!(owners(&ours.join("diff1")).len(), 15, "all that there is");
    for dir in ["", "diff", "work"] {
        let look = |layer: &Path| (mode(layer.join(dir)), owner(layer.join(dir)));
        assert_eq!(look(&ours), look(&theirs), "{dir:?}");
    }
    let mount = |layer: &str| PathBuf::from(go.run(true, "mount", &[layer]));
    let by_go = ["ours", "theirs"].map(|layer| {
        let seen = snapshot(&mount(layer));
        go.run(true, "unmount", &[layer]);
        seen
    });
    let by_us = ["ours", "theirs"].map(|layer| {
        let merged = driver.get(&id(layer), &MountOptions::default()).unwrap();
        let seen = snapshot(&merged);
        driver.put(&id(layer)).unwrap();
        seen
    });
    assert_eq!(by_go[0], by_go[1]);
    assert_eq!(by_us, by_go);
    assert!(by_us[0].iter().any(|line| line.contains("100007:200008")), "{:?}", by_us[0]);
}

#[test]
fn both_see_a_container_with_the_same_mapped_owners() {
    // GET-33 to GET-37
    let store = TestStore::new();
    let Some(go) = Go::of(&store) else { return };
    go.run(false, "create-layer", &["--readonly", "--id", "base"]);
    fill(&store.home("base/diff"));
    go.run(false, "create-image", &["--name", "img", "base"]);
    go.run(false, "create-container", &[&MAPS[..], &["--id", "ctr", "img"]].concat());
    let merged = PathBuf::from(go.run(false, "mount", &["ctr"]));
    let layer = merged.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    fs::write(merged.join("written"), "by Go").unwrap();
    let by_go = snapshot(&merged);
    let driver = store.overlay(&[]);
    let how =
        MountOptions { uid_map: maps().uids, gid_map: maps().gids, ..MountOptions::default() };
    // Its mount counts for ours.
    assert_eq!(driver.get(&id(&layer), &how).unwrap(), merged);
    driver.put(&id(&layer)).unwrap();
    go.run(false, "unmount", &["ctr"]);
    assert!(mounted_at(&merged).is_none());
    assert!(store.run.join("overlay/idmapped-lower-dir-true").exists(), "and so does its probe");
    driver.get(&id(&layer), &how).unwrap();
    assert_eq!(snapshot(&merged), by_go);
    assert_eq!(owner(&merged), (100_000, 200_000));
    driver.put(&id(&layer)).unwrap();
}
