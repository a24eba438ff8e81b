//! Comparisons with a layer further down look only at what the layers between name, and find what a comparison of everything finds.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::super::open_dir;
use super::redirects::Chance;
use crate::archive::changes_between;
use crate::driver::tests::{TestStore, chain, change_list, id, words};
use crate::driver::{DiffOptions, MountOptions};

/// Entries as layers can have them, under so few names that most are in several layers.
fn fill(chance: &mut Chance, dir: &Path, depth: usize) {
    for name in ["a", "b", "c"] {
        let path = dir.join(name);
        match chance.below(if depth == 0 { 4 } else { 9 }) {
            0 | 1 => {}
            2 => fs::write(&path, ["", "1", "22"][chance.below(3)]).unwrap(),
            3 => rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0)
                .unwrap(),
            kind => {
                fs::create_dir(&path).unwrap();
                if kind == 4 {
                    let key = "trusted.overlay.opaque";
                    rustix::fs::setxattr(&path, key, b"y", XattrFlags::empty()).unwrap();
                }
                fill(chance, &path, depth - 1);
            }
        }
    }
}

#[test]
fn what_the_layers_between_do_not_name_is_the_same() {
    // DIF-5, 9.2
    for seed in 0..12 {
        let store = TestStore::new();
        let driver = store.overlay(&["overlay.mountopt=redirect_dir=on"]);
        chain(&*driver, &["low", "base", "one", "two", "ctr"]);
        let mut chance = Chance(seed);
        for layer in ["low", "base", "one", "two"] {
            fill(&mut chance, &store.home(layer).join("diff"), 3);
        }
        let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
        let tops: Vec<_> = fs::read_dir(&merged).unwrap().map(|e| e.unwrap().path()).collect();
        if let Some(path) = chance.pick(&tops) {
            fs::rename(path, merged.join("moved")).unwrap();
        }
        fs::write(merged.join("new"), "").unwrap();
        driver.put(&id("ctr")).unwrap();
        for old in ["low", "base", "one"] {
            let quick =
                driver.changes(&id("ctr"), Some(&id(old)), &DiffOptions::default()).unwrap();
            let [new_tree, old_tree] = ["ctr", old].map(|layer| {
                open_dir(&driver.get(&id(layer), &words(&["ro", "redirect_dir=on"])).unwrap())
                    .unwrap()
            });
            let maps = DiffOptions::default();
            let whole =
                changes_between(new_tree.as_fd(), Some(old_tree.as_fd()), maps.comparison(false))
                    .unwrap();
            drop((new_tree, old_tree));
            driver.put(&id(old)).unwrap();
            driver.put(&id("ctr")).unwrap();
            assert_eq!(change_list(&quick), change_list(&whole), "seed {seed}, over {old}");
        }
    }
}

#[test]
fn layers_of_another_chain_are_compared_whole() {
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "ctr"]);
    driver.create(&id("other"), None, &Default::default()).unwrap();
    driver.create(&id("on-other"), Some(&id("other")), &Default::default()).unwrap();
    for (layer, name) in [("base", "base"), ("other", "other"), ("ctr", "ctr")] {
        fs::write(store.home(layer).join("diff").join(name), "").unwrap();
    }
    let over = |old: &str| {
        change_list(&driver.changes(&id("ctr"), Some(&id(old)), &DiffOptions::default()).unwrap())
    };
    assert_eq!(over("on-other"), ["A /base", "A /ctr", "D /other"]);
    assert_eq!(over("base"), ["A /ctr"]);
}

#[test]
fn chains_of_any_length_and_trees_of_any_depth_are_compared() {
    // ARC-2: more directories than are kept open
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let names: Vec<String> = (0..90).map(|n| format!("layer-{n}")).collect();
    chain(&*driver, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 80).collect();
    for layer in ["layer-0", "layer-5", "layer-89"] {
        let dir = store.home(layer).join("diff").join(&deep);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(layer), layer).unwrap();
        fs::write(store.home(layer).join("diff").join(layer), layer).unwrap();
    }
    for (old, added) in [("layer-0", 4), ("layer-6", 2), ("layer-60", 2)] {
        let changes =
            driver.changes(&id("layer-89"), Some(&id(old)), &DiffOptions::default()).unwrap();
        let list = change_list(&changes);
        assert_eq!(list.iter().filter(|line| line.starts_with("A ")).count(), added, "{list:?}");
        assert!(!list.iter().any(|line| line.starts_with("D ")), "{list:?}");
    }
}
