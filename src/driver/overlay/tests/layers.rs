//! Layer directories: what is created, what is refused, what is removed.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::driver::tests::{TestStore, chain, id, mode, mounted_at, snapshot};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, MountOptions};
use crate::sys::mount::is_mount_point;
use crate::{ErrorKind, LayerId};

fn text(path: impl AsRef<std::path::Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_chain_has_the_files_and_modes_of_the_format() {
    // ACC-2, DEF-36, CRE-6 to CRE-13, store-format 12.1 to 12.3, store-format.md 16.10
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid", "top"]);
    assert_eq!(mode(store.home("")), 0o755);
    assert_eq!(mode(store.home("l")), 0o755);
    assert_eq!(mode(store.run.join("overlay")), 0o700);
    let link = |layer: &str| text(store.home(layer).join("link"));
    for layer in ["base", "mid", "top"] {
        let dir = store.home(layer);
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(
            (mode(dir.join("diff")), mode(dir.join("work")), mode(dir.join("merged"))),
            (0o555, 0o700, 0o700)
        );
        assert_eq!(mode(dir.join("link")), 0o644);
        assert_eq!(link(layer).len(), 26);
        let target = fs::read_link(store.home("l").join(link(layer))).unwrap();
        assert_eq!(target.to_str().unwrap(), format!("../{layer}/diff"));
        assert_eq!(dir.join("empty").exists(), layer == "base");
    }
    assert_eq!(mode(store.home("base/empty")), 0o700);
    assert!(!store.home("base/lower").exists() && !store.home("base/lower-layers").exists());
    assert_eq!(text(store.home("mid/lower")), format!("l/{}", link("base")));
    assert_eq!(text(store.home("mid/lower-layers")), "base");
    assert_eq!(text(store.home("top/lower")), format!("l/{}:l/{}", link("mid"), link("base")));
    assert_eq!(text(store.home("top/lower-layers")), "mid:base");
    assert_eq!(fs::read_dir(store.home("l")).unwrap().count(), 3);
    for foreign in ["lost+found", ".tmp-x"] {
        fs::create_dir(driver.home().join(foreign)).unwrap();
    }
    assert_eq!(driver.list_layers().unwrap(), ["top", "mid", "base"], "DEF-36");
    fs::write(store.home("mid/lower-layers"), "..").unwrap();
    assert_eq!(driver.list_layers().unwrap(), ["mid", "top", "base"], "damaged ones at the head");
    fs::write(store.home("mid/lower-layers"), "base").unwrap();
    assert!(driver.exists(&id("top")) && !driver.exists(&id("other")));
    // CRE-1: the template is the parent.
    for (copy, read_write) in [("copy", false), ("writable", true)] {
        let options = CreateOptions::default();
        driver.create_from_template(&id(copy), &id("mid"), &options, read_write).unwrap();
        assert_eq!(text(store.home(copy).join("lower-layers")), "mid:base");
    }
}

#[test]
fn the_root_of_a_child_is_the_parents_in_full() {
    // CRE-8, CRE-10, DEF-13, store-format.md 16.28
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base"]);
    std::os::unix::fs::chown(store.home("base/diff"), Some(7), Some(8)).unwrap();
    fs::set_permissions(store.home("base/diff"), PermissionsExt::from_mode(0o3777)).unwrap();
    driver.create_read_write(&id("child"), Some(&id("base")), &CreateOptions::default()).unwrap();
    assert_eq!(mode(store.home("child/diff")), 0o3777);
    let owner = store.home("child/work").metadata().unwrap();
    assert_eq!((owner.uid(), owner.gid()), (7, 8));
    let staged = driver.stage(Some(&id("base")), &ApplyOptions::default()).unwrap();
    let root = rustix::fs::fstat(staged.root()).unwrap();
    assert_eq!((root.st_mode & 0o7777, root.st_uid, root.st_gid), (0o3777, 7, 8));
}

#[test]
fn a_failed_creation_leaves_nothing() {
    // CRE-15, DEF-11
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid"]);
    let before = snapshot(&store.graph);
    let e = driver.create(&id("x"), Some(&id("gone")), &CreateOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::LayerUnknown);
    assert_eq!(snapshot(&store.graph), before);
    // One that fails half way: its name is too long for the link's target to be made, 255 bytes being allowed for the directory.
    fs::write(store.home("mid/lower"), "l/nonsense").unwrap();
    let before = snapshot(&store.graph);
    let e = driver.create(&id("x"), Some(&id("mid")), &CreateOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
    assert_eq!(snapshot(&store.graph), before);
    fs::set_permissions(store.home("l"), PermissionsExt::from_mode(0o755)).unwrap();
    // Half way, for real: no link can be made in a directory that cannot be changed.
    let immutable = |on: bool| {
        let flag = if on { "+i" } else { "-i" };
        std::process::Command::new("chattr")
            .arg(flag)
            .arg(store.home("l"))
            .status()
            .is_ok_and(|s| s.success())
    };
    if !immutable(true) {
        println!("skipped: no chattr here");
        return;
    }
    let failed = driver.create(&id("x"), None, &CreateOptions::default());
    assert!(immutable(false));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(snapshot(&store.graph), before);
}

#[test]
fn an_existing_directory_goes_with_its_link() {
    // CRE-6
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base"]);
    fs::write(store.home("base/diff/old"), "").unwrap();
    chain(&*driver, &["base"]);
    assert!(!store.home("base/diff/old").exists());
    assert_eq!(fs::read_dir(store.home("l")).unwrap().count(), 1);
}

#[test]
fn a_layer_with_a_damaged_link_file_goes_with_its_own_links_alone() {
    // REM-1, ADD-1: as a crash leaves it; others follow its text out of the directory of links
    for bad in ["", "../../../../../../../../..", "l/../../x"] {
        let store = TestStore::new();
        let driver = store.overlay(&[]);
        chain(&*driver, &["base", "mid", "top"]);
        fs::write(store.home("mid/link"), bad).unwrap();
        match bad {
            "" => driver.remove(&id("mid")).unwrap(),
            _ => driver.deferred_remove(&id("mid")).unwrap().empty().unwrap(),
        }
        let links = fs::read_dir(store.home("l")).unwrap().flatten();
        let mut left: Vec<_> = links.map(|l| fs::read_link(l.path()).unwrap()).collect();
        left.sort();
        assert_eq!(left, ["../base/diff", "../top/diff"].map(std::path::PathBuf::from));
        assert!(!store.home("mid").exists() && store.home("top").exists());
    }
}

#[test]
fn damaged_files_are_refused_and_nothing_is_touched() {
    // ADD-1
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid", "top"]);
    for file in ["mid/link", "top/lower", "top/lower-layers"] {
        let good = text(store.home(file));
        for bad in ["", "../../../../../../../../..", "l/../../x", "a//b"] {
            fs::write(store.home(file), bad).unwrap();
            if file == "top/lower" {
                fs::remove_file(store.home("top/lower-layers")).unwrap();
            }
            let before = snapshot(&store.graph);
            let victim = file.split_once('/').unwrap().0;
            let refused = match victim {
                "mid" => driver
                    .create(&id("new"), Some(&id("mid")), &CreateOptions::default())
                    .unwrap_err(),
                _ => driver.get(&id(victim), &MountOptions::default()).unwrap_err(),
            };
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{file} {bad:?}: {refused}");
            assert!(refused.to_string().contains(store.home(file).to_str().unwrap()), "{refused}");
            if victim == "mid" {
                assert!(!store.home("new").exists());
            } else {
                assert_eq!(driver.metadata(&id("top")).unwrap_err().kind(), ErrorKind::Corrupt);
            }
            assert_eq!(snapshot(&store.graph), before, "{file} {bad:?}");
            if file == "top/lower" {
                fs::write(store.home("top/lower-layers"), "mid:base").unwrap();
            }
        }
        fs::write(store.home(file), good).unwrap();
    }
    assert_eq!(fs::read_dir(store.home("l")).unwrap().count(), 3);
    // As the hint says: without the file, the layer goes with the link that leads to it.
    fs::remove_file(store.home("mid/link")).unwrap();
    driver.remove(&id("mid")).unwrap();
    assert_eq!(fs::read_dir(store.home("l")).unwrap().count(), 2);
}

#[test]
fn a_link_to_another_layer_is_not_this_layers_to_remove() {
    // store-format.md 16.11
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["a"]);
    chain(&*driver, &["b"]);
    fs::copy(store.home("a/link"), store.home("b/link")).unwrap();
    driver.remove(&id("b")).unwrap();
    assert!(store.home("l").join(text(store.home("a/link"))).exists());
}

#[test]
fn removing_a_mounted_layer_leaves_its_namesakes_mounted() {
    // ACC-12, DEF-23
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    for name in ["c", "c2"] {
        chain(&*driver, &[name]);
        driver.get(&id(name), &MountOptions::default()).unwrap();
    }
    fs::write(store.home("c/merged/f"), "x").unwrap();
    driver.remove(&id("c")).unwrap();
    assert!(!store.home("c").exists());
    assert!(driver.is_mounted(&store.home("c2/merged")));
    chain(&*driver, &["c"]);
    driver.get(&id("c"), &MountOptions::default()).unwrap();
    driver.deferred_remove(&id("c")).unwrap().empty().unwrap();
    assert!(!store.home("c").exists() && mounted_at(&store.home("c/merged")).is_none());
    assert!(driver.is_mounted(&store.home("c2/merged")));
    assert_eq!(fs::read_dir(store.home("l")).unwrap().count(), 1);
    driver.remove(&id("c")).unwrap();
    driver.deferred_remove(&id("c")).unwrap().empty().unwrap();
}

#[test]
fn a_deferred_removal_waits_in_a_temp_dir() {
    // REM-4, store-format 10.3
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base"]);
    let link = text(store.home("base/link"));
    let trash = driver.deferred_remove(&id("base")).unwrap();
    assert!(!driver.exists(&id("base")));
    let root = store.home("tempdirs");
    assert_eq!(driver.temp_dir_roots(), std::slice::from_ref(&root));
    let dir = fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    assert!(dir.file_name().unwrap().to_str().unwrap().starts_with("temp-dir-"));
    assert!(dir.join("0-base/diff").is_dir());
    assert!(dir.join(format!("1-{link}")).symlink_metadata().is_ok());
    trash.empty().unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn a_removal_cut_short_after_the_directory_takes_the_link_next_time() {
    // store-format.md 16.13
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "gone"]);
    let link = store.home("l").join(text(store.home("gone/link")));
    fs::remove_dir_all(store.home("gone")).unwrap();
    assert!(link.symlink_metadata().is_ok());
    driver.deferred_remove(&id("gone")).unwrap().empty().unwrap();
    assert!(link.symlink_metadata().is_err());
    assert_eq!(fs::read_dir(store.home("l")).unwrap().count(), 1);
}

#[test]
fn stranded_links_hinder_nothing_and_make_room_for_a_new_layer() {
    // store-format.md 10.2 and 16.11: what Go's recovery leaves of a layer whose `link` file it did not find
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    let links = store.home("l");
    let [stranded, nobodys, twice] = ["A", "B", "C"].map(|letter| links.join(letter.repeat(26)));
    symlink("../gone/diff", &stranded).unwrap();
    symlink("../nobody/diff", &nobodys).unwrap();
    symlink("../base/diff", &twice).unwrap();
    driver.get(&id("top"), &MountOptions::default()).unwrap();
    driver.put(&id("top")).unwrap();
    driver.diff(&id("top"), Some(&id("base")), &DiffOptions::default(), &mut Vec::new()).unwrap();
    assert_eq!(driver.list_layers().unwrap(), ["top", "base"]);
    // A new layer of that id has one link, by which it is found.
    driver.create(&id("gone"), Some(&id("top")), &CreateOptions::default()).unwrap();
    driver.create_read_write(&id("ctr"), Some(&id("gone")), &CreateOptions::default()).unwrap();
    assert!(stranded.symlink_metadata().is_err());
    assert!(nobodys.symlink_metadata().is_ok() && twice.symlink_metadata().is_ok());
    let of = |layer: &str| {
        let target = format!("../{layer}/diff");
        let all = fs::read_dir(&links).unwrap().flatten();
        all.filter(|l| fs::read_link(l.path()).unwrap() == std::path::Path::new(&target)).count()
    };
    assert_eq!((of("gone"), of("ctr")), (1, 1));
    fs::remove_file(store.home("ctr/lower-layers")).unwrap();
    driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    driver.put(&id("ctr")).unwrap();
    // A removal is not confused by a second link, and the next layer of the id takes that away.
    for layer in ["ctr", "gone", "top", "base"] {
        driver.deferred_remove(&id(layer)).unwrap().empty().unwrap();
    }
    assert_eq!(of("base"), 1);
    chain(&*driver, &["base"]);
    assert_eq!(of("base"), 1);
    assert!(twice.symlink_metadata().is_err());
}

#[test]
fn staged_content_becomes_the_layers() {
    // APL-3, APL-4
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base"]);
    let (options, how) = (CreateOptions::default(), ApplyOptions::default());
    let e = driver.stage(Some(&id("gone")), &how).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::LayerUnknown);

    let staged = driver.stage(Some(&id("base")), &how).unwrap();
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    rustix::fs::openat(staged.root(), "f", flags, rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
    driver.create_staged(&id("new"), Some(&id("base")), &options, staged).unwrap();
    assert!(store.home("new/diff/f").is_file());

    // What is there already is kept, and the layer that create_staged made for nothing goes again.
    let staged = driver.stage(None, &how).unwrap();
    let e = driver.commit_staged(&id("new"), staged).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DuplicateId);
    assert!(store.home("new/diff/f").is_file());
    drop(driver.stage(None, &how).unwrap());
    assert_eq!(fs::read_dir(store.home("tempdirs")).unwrap().count(), 0);

    let other = TestStore::new();
    let foreign = other.overlay(&[]).stage(None, &how).unwrap();
    let e = driver.create_staged(&id("x"), None, &options, foreign).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArgument);
    assert!(!driver.exists(&id("x")));
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    // CRE-3
    let sized = |key: &str| CreateOptions {
        storage_opt: [(key.to_owned(), "1g".to_owned())].into(),
        ..CreateOptions::default()
    };
    let e = driver.create(&id("x"), None, &sized("inodes")).unwrap_err();
    assert!(e.to_string().contains("only supported for ReadWrite Layers"), "{e}");
    let e = driver.create(&id("x"), None, &sized("colour")).unwrap_err();
    assert!(e.to_string().contains("unknown option colour"), "{e}");
    assert!(!store.graph.exists(), "a refusal makes nothing");

    chain(&*driver, &["y"]);
    fs::remove_dir(store.home("y/diff")).unwrap();
    symlink("/etc", store.home("y/diff")).unwrap();
    let e = driver.get(&id("y"), &MountOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported, "a diff elsewhere: {e}");
    let mut out = Vec::new();
    assert!(
        driver.diff(&id("y"), None, &DiffOptions::default(), &mut out).is_err() && out.is_empty()
    );
}

#[test]
fn the_home_is_private_flagged_and_let_go() {
    // ACC-1, 4.7, store-format 12.9, 12.10, REM-6, store-format.md 16.34
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    // Reading makes nothing.
    assert!(!driver.exists(&id("a")) && driver.list_layers().unwrap().is_empty());
    driver.remove(&id("a")).unwrap();
    assert!(!store.graph.exists());

    driver.prepare().unwrap();
    driver.prepare().unwrap();
    store.overlay(&[]).prepare().unwrap();
    let lines = |s: &TestStore| crate::sys::mount::mounts_below(&s.graph).unwrap().len();
    assert_eq!(lines(&store), 1, "bound once, whoever opens it");
    assert_eq!(text(store.home(".has-mount-program")), "false");
    assert_eq!(mode(store.home(".has-mount-program")), 0o600);
    assert!(store.run.join("overlay/overlay-true").is_file());

    chain(&*driver, &["a"]);
    driver.get(&id("a"), &MountOptions::default()).unwrap();
    driver.cleanup().unwrap();
    assert!(driver.is_mounted(&store.home("a/merged")), "a mounted layer keeps the home");
    driver.put(&id("a")).unwrap();
    // A partial pull at work keeps it, too; one whose owner is gone is cleared away.
    for pull in ["stale", "live"] {
        fs::create_dir_all(store.home("staging").join(pull).join("dir")).unwrap();
    }
    let path = store.home("staging/live/staging.lock");
    let mut holder = Holder::start(&path);
    driver.cleanup().unwrap();
    assert!(is_mount_point(&store.home("")).unwrap());
    assert!(!store.home("staging/stale").exists() && store.home("staging/live/dir").exists());
    holder.end();
    driver.cleanup().unwrap();
    assert!(!is_mount_point(&store.home("")).unwrap());
    driver.cleanup().unwrap();
    driver.get(&id("a"), &MountOptions::default()).unwrap();
    assert!(is_mount_point(&store.home("")).unwrap(), "made again when needed");

    // Another process shuts the store down; whoever prepares it next makes the home private again.
    driver.put(&id("a")).unwrap();
    store.overlay(&[]).cleanup().unwrap();
    assert!(!is_mount_point(&store.home("")).unwrap());
    driver.prepare().unwrap();
    assert_eq!(lines(&store), 1);

    // A graph root behind a symbolic link: the mount table has neither.
    let mut store = TestStore::new();
    symlink(store.beside("real"), &store.graph).unwrap();
    fs::create_dir(store.beside("real")).unwrap();
    let driver = store.overlay(&[]);
    chain(&*driver, &["a"]);
    driver.get(&id("a"), &MountOptions::default()).unwrap();
    driver.cleanup().unwrap();
    assert!(driver.is_mounted(&store.home("a/merged")));
    driver.remove(&id("a")).unwrap();
    driver.cleanup().unwrap();
    store.graph = store.beside("real");
    assert_eq!(lines(&store), 0);

    let store = TestStore::new();
    store.overlay(&["skip_mount_home=true"]).prepare().unwrap();
    assert_eq!(lines(&store), 0);
}

/// Another process that holds a lock file until it is told to end.
pub(super) struct Holder(std::process::Child);

impl Holder {
    pub(super) fn start(path: &std::path::Path) -> Self {
        const HOLD: &str = "import fcntl,sys;f=open(sys.argv[1],'w');fcntl.lockf(f,fcntl.LOCK_EX);print(1,flush=True);sys.stdin.read()";
        let piped = std::process::Stdio::piped;
        let mut command = std::process::Command::new("python3");
        let mut child =
            command.args(["-c", HOLD]).arg(path).stdin(piped()).stdout(piped()).spawn().unwrap();
        let mut ready = [0u8; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        Self(child)
    }

    pub(super) fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn leftovers_are_not_layers() {
    // REM-8, DEF-28, store-format.md 16.20
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["compat-1", "compat"]);
    for name in ["compat123", "metacopy-check9", "opaque-bug-check1", "volatile-check7", "staging"]
    {
        fs::create_dir(store.home(name)).unwrap();
    }
    assert!(store.home("tempdirs").is_dir(), "since the probe");
    fs::write(store.home("file"), "").unwrap();
    assert_eq!(driver.list_layers().unwrap(), ["compat", "compat-1"]);
}

#[test]
fn files_come_from_the_layer_and_then_from_those_below() {
    // REM-15
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    fs::write(store.home("base/diff/both"), "base").unwrap();
    fs::write(store.home("base/diff/below"), "below").unwrap();
    fs::write(store.home("top/diff/both"), "top").unwrap();
    fs::create_dir(store.home("top/diff1")).unwrap();
    fs::write(store.home("top/diff1/older"), "older").unwrap();
    let files = driver.file_source(&id("top")).unwrap();
    let read = |name: &str| {
        let mut text = String::new();
        files.open_file(name.as_bytes()).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(
        (read("both"), read("./below"), read("older")),
        ("top".into(), "below".into(), "older".into())
    );
    assert!(files.open_file(b"nowhere").is_err());
}

#[test]
fn ids_of_any_kind() {
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    for reserved in ["compat123", "backingFsBlockDev", ".has-mount-program"] {
        let e = driver.create(&id(reserved), None, &CreateOptions::default()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidArgument);
    }
    let long = "x".repeat(255);
    for name in ["a,b", "a:b", "sp ace", "b\\s", "ü", &long] {
        let layer = LayerId::new(name).unwrap();
        driver.create_read_write(&layer, None, &CreateOptions::default()).unwrap();
        if name.contains(':') {
            // In a list of ids it would be two.
            let e = driver.create(&id("c"), Some(&layer), &CreateOptions::default()).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidArgument);
            continue;
        }
        let child =
            LayerId::new(format!("c{}", &name[..name.len().min(250)])).unwrap_or_else(|_| id("c"));
        driver.create_read_write(&child, Some(&layer), &CreateOptions::default()).unwrap();
        fs::write(store.home(name).join("diff/f"), name).unwrap();
        let merged = driver.get(&child, &MountOptions::default()).unwrap();
        assert_eq!(text(merged.join("f")), name);
        fs::write(merged.join("g"), "new").unwrap();
        assert_eq!(text(store.home(child.as_str()).join("diff/g")), "new");
        driver.put(&child).unwrap();
    }
}
