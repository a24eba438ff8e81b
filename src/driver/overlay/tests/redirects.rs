//! Layers whose content is partly in the layers below, or in older uppers: chance does to a mounted container what programs do,
//! and what is told of it must make the same tree elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::super::open_dir;
use crate::archive::{Change, ChangeKind, changes_between};
use crate::driver::tests::{TestStore, chain, id, super_options, tar_names, words};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, Driver, MountOptions, naive};

/// Numbers that look like chance, the same ones for each seed (splitmix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}

/// Every path below `root`, directories before what is in them; the root first.
fn paths(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.to_path_buf()];
    let mut at = 0;
    while at < all.len() {
        if all[at].symlink_metadata().unwrap().is_dir() {
            let mut inside: Vec<_> =
                fs::read_dir(&all[at]).unwrap().map(|e| e.unwrap().path()).collect();
            inside.sort();
            all.extend(inside);
        }
        at += 1;
    }
    all
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0u8; 4096];
    let n = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap();
    let names = names[..n].split(|b| *b == 0).filter(|n| !n.is_empty());
    names
        .map(|name| {
            let mut value = vec![0u8; 4096];
            let n = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
            value.truncate(n);
            (String::from_utf8(name.to_vec()).unwrap(), value)
        })
        .collect()
}

/// All that a tar can carry of a tree; files with several names are told by the first of them.
fn listing(root: &Path) -> Vec<String> {
    let mut first = BTreeMap::new();
    paths(root)
        .iter()
        .skip(1)
        .map(|path| {
            let about = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let content = if about.is_symlink() {
                format!("{:?}", fs::read_link(path).unwrap())
            } else if about.is_file() {
                format!("{:?}", String::from_utf8_lossy(&fs::read(path).unwrap()))
            } else {
                String::new()
            };
            let same = match about.is_dir() {
                true => String::new(),
                false => {
                    let file = (about.dev(), about.ino());
                    first.entry(file).or_insert_with(|| name.clone()).clone()
                }
            };
            format!(
                "{name} {:o} {}:{} {} {:x} {:?} {content} {same}",
                about.mode(),
                about.uid(),
                about.gid(),
                about.mtime(),
                about.rdev(),
                xattrs(path)
            )
        })
        .collect()
}

/// The name in a line of [`listing`], and the first name of that file.
fn file_of(line: &str) -> (String, String) {
    let name = line.split(' ').next().unwrap();
    (name.to_owned(), line.rsplit_once(' ').unwrap().1.to_owned())
}

/// One thing that a program may do; what the kernel refuses is not done.
fn step(chance: &mut Chance, root: &Path, number: usize) -> std::io::Result<()> {
    let all = paths(root);
    let of = |want: fn(&fs::Metadata) -> bool| -> Vec<PathBuf> {
        let inside = all.iter().skip(1);
        inside.filter(|p| want(&p.symlink_metadata().unwrap())).cloned().collect()
    };
    let files = of(fs::Metadata::is_file);
    let dirs = of(fs::Metadata::is_dir);
    let any = of(|_| true);
    let mut folders = dirs.clone();
    folders.push(root.to_path_buf());
    let folder = chance.pick(&folders).unwrap().clone();
    let old_name = any.get(chance.below(any.len().max(1))).and_then(|p| p.file_name());
    let name = match (chance.below(3), old_name) {
        (0, Some(name)) => name.to_owned(),
        _ => format!("n{number}").into(),
    };
    let target = folder.join(name);
    let none = || std::io::Error::other("nothing of that kind");
    let file = chance.pick(&files).cloned().ok_or_else(none);
    let dir = chance.pick(&dirs).cloned().ok_or_else(none);
    match chance.below(16) {
        0 => fs::write(file?, format!("written {number}")),
        1 | 2 => {
            let mode = [0o600, 0o644, 0o755, 0o4711][chance.below(4)];
            fs::set_permissions(file?, fs::Permissions::from_mode(mode))
        }
        3 => chown(file?, Some(chance.below(4) as u32), Some(7)),
        4 => {
            let mode = [0o700, 0o755, 0o1777][chance.below(3)];
            fs::set_permissions(dir?, fs::Permissions::from_mode(mode))
        }
        5 => rustix::fs::setxattr(
            chance.pick(&[file?, dir?]).unwrap(),
            "user.mark",
            number.to_string().as_bytes(),
            rustix::fs::XattrFlags::empty(),
        )
        .map_err(Into::into),
        6 => fs::hard_link(file?, target),
        7 => fs::rename(file?, target),
        8..=10 => fs::rename(dir?, target),
        11 => fs::remove_file(file?),
        12 => {
            let dir = dir?;
            fs::remove_dir_all(&dir)?;
            if chance.below(2) == 0 {
                fs::create_dir(&dir)?;
                fs::write(dir.join("again"), "made anew")?;
            }
            Ok(())
        }
        13 => fs::create_dir(&target).and_then(|()| fs::write(target.join("in"), "new")),
        14 => {
            symlink("/etc/../elsewhere", &target)?;
            chown(root, Some(0), Some(0))
        }
        _ => {
            let file = file?;
            fs::remove_file(&file)?;
            fs::create_dir(&file)
        }
    }
}

fn content(driver: &dyn Driver) {
    let base = crate::driver::tests::tar_of(&[
        ("a/", ""),
        ("a/b/", ""),
        ("a/b/c/", ""),
        ("a/b/c/deep", "deep content"),
        ("a/b/one", "one"),
        ("a/b/two", "->a/b/one"),
        ("a/file", "in a"),
        ("d/", ""),
        ("d/e/", ""),
        ("d/e/f", "f of e"),
        ("d/g", "g"),
        ("x", "top file"),
        ("y", "another"),
    ]);
    let mid = crate::driver::tests::tar_of(&[
        ("a/b/c/", ""),
        ("a/b/c/more", "more"),
        ("a/.wh.file", ""),
        ("d/e/", ""),
        ("d/e/.wh..wh..opq", ""),
        ("d/e/fresh", "fresh"),
        ("h/", ""),
        ("h/i/", ""),
        ("h/i/j", "j"),
    ]);
    for (layer, tar) in [("base", base), ("mid", mid)] {
        driver.apply_diff(&id(layer), &ApplyOptions::default(), &mut tar.as_slice()).unwrap();
    }
}

/// Does many things to the mounted layer.
fn live(driver: &dyn Driver, layer: &str, chance: &mut Chance, steps: usize) -> usize {
    let merged = driver.get(&id(layer), &MountOptions::default()).unwrap();
    let told = super_options(&merged);
    assert!(told.contains("metacopy=on"), "{told}");
    let mut done = 0;
    for number in 0..steps {
        done += usize::from(step(chance, &merged, number).is_ok());
    }
    driver.put(&id(layer)).unwrap();
    done
}

/// What a change of owners does: the content so far becomes older.
fn age(store: &TestStore, layer: &str) {
    let dir = store.home(layer);
    if dir.join("diff1").exists() {
        fs::rename(dir.join("diff1"), dir.join("diff2")).unwrap();
    }
    fs::rename(dir.join("diff"), dir.join("diff1")).unwrap();
    fs::create_dir(dir.join("diff")).unwrap();
    let look = dir.join("diff1").symlink_metadata().unwrap();
    fs::set_permissions(dir.join("diff"), look.permissions()).unwrap();
    fs::remove_dir_all(dir.join("work")).unwrap();
    fs::create_dir(dir.join("work")).unwrap();
}

fn apply(driver: &dyn Driver, diff: &[u8]) -> Vec<String> {
    let copy = id("copy");
    driver.create(&copy, Some(&id("low")), &CreateOptions::default()).unwrap();
    driver.apply_diff(&copy, &ApplyOptions::default(), &mut &*diff).unwrap();
    let merged = driver.get(&copy, &words(&["ro"])).unwrap();
    let seen = listing(&merged);
    driver.put(&copy).unwrap();
    driver.remove(&copy).unwrap();
    seen
}

/// Bytes of content in a tar, a link's text for a link.
fn content_size(tar: &[u8]) -> u64 {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.header().entry_type() {
            tar::EntryType::Symlink => entry.link_name_bytes().unwrap().len() as u64,
            _ => entry.size(),
        })
        .sum()
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// What the comparison of the trees finds is in the layer's own list, and what that deletes is gone or replaced.
fn same_changes(own: &[Change], trees: &[Change], tree: &[String], seed: u64) {
    let of = |wanted: &[ChangeKind]| -> BTreeSet<String> {
        own.iter().filter(|c| wanted.contains(&c.kind)).map(|c| show(&c.path)).collect()
    };
    let (present, deleted) =
        (of(&[ChangeKind::Add, ChangeKind::Modify]), of(&[ChangeKind::Delete]));
    let above = |path: &str| -> Vec<String> {
        path.match_indices('/')
            .map(|(n, _)| path[..n].to_owned())
            .chain([path.to_owned()])
            .collect()
    };
    let is_dir =
        |path: &str| tree.iter().any(|line| line.starts_with(&format!("{} 4", &path[1..])));
    for change in trees {
        let path = show(&change.path);
        let is_deleted = above(&path).iter().any(|p| deleted.contains(p));
        let told = match change.kind {
            ChangeKind::Delete => is_deleted,
            // A directory that was replaced is told as deleted.
            ChangeKind::Add | ChangeKind::Modify => {
                present.contains(&path)
                    || deleted.contains(&path)
                    // CHG-4: a directory's attributes do not count.
                    || change.kind == ChangeKind::Modify && is_dir(&path)
            }
        };
        // A file in the place of a directory says enough of what was in that.
        let replaced = above(&path).iter().any(|p| present.contains(p) && *p != path);
        assert!(
            told || change.kind == ChangeKind::Delete && replaced,
            "seed {seed}: {path} {:?}: {own:?}",
            change.kind
        );
    }
}

/// One life of a container on layers of which `low` may have lived as well.
fn check(seed: u64) {
    let store = TestStore::new();
    let driver = store.overlay(&["mountopt=metacopy=on,redirect_dir=on"]);
    let driver = &*driver;
    chain(driver, &["base", "mid", "low"]);
    content(driver);
    let mut chance = Chance(seed);
    if seed % 2 == 1 {
        live(driver, "low", &mut chance, 12);
    }
    if seed % 8 == 5 {
        age(&store, "low");
        live(driver, "low", &mut chance, 8);
    }
    driver.create_read_write(&id("ctr"), Some(&id("low")), &CreateOptions::default()).unwrap();
    let mut done = live(driver, "ctr", &mut chance, 25);
    for _ in 0..[0, 0, 1, 2][(seed / 2 % 4) as usize] {
        age(&store, "ctr");
        done += live(driver, "ctr", &mut chance, 15);
    }
    assert!(done > 0, "seed {seed}");

    let (ctr, low, plain) = (id("ctr"), id("low"), DiffOptions::default());
    let mut diff = Vec::new();
    driver.diff(&ctr, Some(&low), &plain, &mut diff).unwrap();
    let changes = driver.changes(&ctr, Some(&low), &plain).unwrap();
    let size = driver.diff_size(&ctr, Some(&low), &plain).unwrap();
    assert!(super::super::super::tests::mounted_at(&store.home("ctr/merged")).is_none());
    assert_eq!(size, content_size(&diff), "seed {seed}");

    let new = driver.get(&ctr, &words(&["ro", "redirect_dir=on"])).unwrap();
    let old = driver.get(&low, &words(&["ro", "redirect_dir=on"])).unwrap();
    let wanted = listing(&new);
    let mut before: BTreeMap<_, _> = listing(&old).iter().map(|line| file_of(line)).collect();
    let (new, old) = (open_dir(&new).unwrap(), open_dir(&old).unwrap());
    let trees =
        changes_between(new.as_fd(), Some(old.as_fd()), DiffOptions::default().comparison(false))
            .unwrap();
    let changed: BTreeSet<_> = trees.iter().map(|change| show(&change.path[1..])).collect();
    before.retain(|name, _| !changed.contains(name));
    let mut by_trees = Vec::new();
    naive::write_diff(
        new.as_fd(),
        Some(old.as_fd()),
        None,
        &DiffOptions::default(),
        false,
        &mut by_trees,
    )
    .unwrap();
    drop((new, old));
    driver.put(&ctr).unwrap();
    driver.put(&low).unwrap();

    let compare = |got: &[String], wanted: &[String], what: &str| {
        let (got, wanted): (BTreeSet<_>, BTreeSet<_>) =
            (got.iter().collect(), wanted.iter().collect());
        let more: Vec<_> = got.difference(&wanted).collect();
        let less: Vec<_> = wanted.difference(&got).collect();
        assert!(
            more.is_empty() && less.is_empty(),
            "seed {seed}, {what}: {more:#?} instead of {less:#?}"
        );
    };
    // A renamed directory's part of a file that has another name in a layer below is a file of its own in a tar. A file that was
    // copied up and is again as the parent has it is not told, as by Go, and has the parent's names.
    let inside: BTreeSet<String> = tar_names(&diff).into_iter().collect();
    let linked = |list: &[String], untold: &BTreeMap<String, String>| -> Vec<String> {
        let mut first = BTreeMap::new();
        let line = |line: &String| {
            let (name, mut file) = file_of(line);
            let is_inside = inside.contains(&name);
            if let Some(old) = untold.get(&name).filter(|_| !is_inside && !file.is_empty()) {
                file.clone_from(old);
            }
            let rest = line.rsplit_once(' ').unwrap().0;
            let file = first.entry((file, is_inside)).or_insert(name);
            format!("{rest} {file}")
        };
        list.iter().map(line).collect()
    };
    let got = linked(&apply(driver, &diff), &BTreeMap::new());
    compare(&got, &linked(&wanted, &before), "from the layer alone");
    // A new name of a file that is otherwise as it was comes without the old one, as from Go.
    let unlinked = |list: Vec<String>| -> Vec<String> {
        list.iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let by_trees = unlinked(apply(driver, &by_trees));
    compare(&by_trees, &unlinked(wanted.clone()), "from the trees");
    same_changes(&changes, &trees, &wanted, seed);
}

#[test]
fn what_chance_does_to_a_container_is_told_whole() {
    // DIF-9, DIF-10, DIF-12, DEF-2, DEF-8, DIF-3, DIF-4, DIF-8
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let (first, count) = match std::env::var_os("TEST_LONG") {
        None => (0, 16),
        Some(_) => (seed.unwrap_or(1000u64), 400),
    };
    for seed in first..first + count {
        check(seed);
    }
}
