//! Mounts: what the kernel is told, by which way, how often, and how it ends.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::driver::tests::{TestStore, chain, id, mode, mounted_at, super_options, words};
use crate::driver::{CreateOptions, Driver, MountOptions};
use crate::sys::mount::{detach, kernel_before, mount_overlay};
use crate::{ErrorKind, LayerId};

fn plain() -> MountOptions {
    MountOptions::default()
}

pub(super) fn hex(n: usize) -> LayerId {
    LayerId::new(format!("{n:064x}")).unwrap()
}

/// A chain of that many lower layers and a writable one above, ids of 64 digits; a file in the lowest.
pub(super) fn deep(driver: &dyn Driver, lowers: usize) -> LayerId {
    for n in 0..=lowers {
        let parent = n.checked_sub(1).map(hex);
        driver.create(&hex(n), parent.as_ref(), &CreateOptions::default()).unwrap();
    }
    fs::write(driver.home().join(hex(0)).join("diff/deepest"), "found").unwrap();
    hex(lowers)
}

#[test]
fn the_kernel_is_told_what_current_go_tells_it() {
    // ACC-3, GET-8, GET-9, GET-13, GET-19, GET-22, MNT-1
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid", "top"]);
    let at = |p: &str| store.home(p).to_str().unwrap().to_owned();
    let lowers = format!("{}:{}", at("mid/diff"), at("base/diff"));

    let merged = driver.get(&id("top"), &plain()).unwrap();
    assert_eq!(merged, store.home("top/merged"));
    let entry = mounted_at(&merged).unwrap();
    assert_eq!((entry.fs_type.as_str(), entry.options.as_str()), ("overlay", "rw,relatime"));
    let told = super_options(&merged);
    let expected =
        format!("rw,lowerdir={lowers},upperdir={},workdir={}", at("top/diff"), at("top/work"));
    assert!(told.starts_with(&expected), "{told}");
    fs::write(merged.join("f"), "1").unwrap();
    driver.put(&id("top")).unwrap();
    assert_eq!(fs::read_to_string(store.home("top/diff/f")).unwrap(), "1");

    let merged = driver.get(&id("top"), &words(&["ro"])).unwrap();
    let told = super_options(&merged);
    assert!(told.starts_with(&format!("ro,lowerdir={}:{lowers}", at("top/diff"))), "{told}");
    assert!(!told.contains("upperdir"));
    assert!(fs::write(merged.join("g"), "").is_err());
    driver.put(&id("top")).unwrap();

    let merged = driver.get(&id("base"), &plain()).unwrap();
    assert!(super_options(&merged).starts_with(&format!("rw,lowerdir={},", at("base/empty"))));
    driver.put(&id("base")).unwrap();
    let merged = driver.get(&id("base"), &words(&["ro"])).unwrap();
    let told = super_options(&merged);
    assert!(
        told.starts_with(&format!("ro,lowerdir={}:{}", at("base/diff"), at("base/empty"))),
        "{told}"
    );
}

#[test]
fn configured_words_hold_unless_the_caller_has_some() {
    // GET-15, GET-16
    let store = TestStore::new();
    let driver = store.overlay(&["overlay.mountopt=nodev,redirect_dir=nofollow"]);
    chain(&*driver, &["a"]);
    let merged = driver.get(&id("a"), &plain()).unwrap();
    assert_eq!(mounted_at(&merged).unwrap().options, "rw,nodev,relatime");
    assert!(
        super_options(&merged).contains(",redirect_dir=nofollow"),
        "{}",
        super_options(&merged)
    );
    driver.put(&id("a")).unwrap();
    let merged = driver.get(&id("a"), &words(&["nosuid,noexec"])).unwrap();
    assert_eq!(mounted_at(&merged).unwrap().options, "rw,nosuid,noexec,relatime");
    driver.put(&id("a")).unwrap();
    let e = driver.get(&id("a"), &words(&["bind"])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArgument);
    assert!(mounted_at(&merged).is_none());
    let e = driver.get(&id("a"), &words(&["nosuch=1"])).unwrap_err();
    assert_eq!((e.kind(), e.object_id()), (ErrorKind::Io, Some("a")));
    assert!(e.to_string().contains("nosuch=1"), "{e}");
}

#[test]
fn volatile_is_asked_for_and_its_marker_cleared() {
    // GET-20, GET-42
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["a"]);
    let volatile = MountOptions { volatile: true, ..plain() };
    for _ in 0..2 {
        let merged = driver.get(&id("a"), &volatile).unwrap();
        // Newer kernels write `fsync=volatile`.
        assert!(super_options(&merged).contains("volatile"));
        driver.put(&id("a")).unwrap();
        assert!(store.home("a/work/work/incompat/volatile").exists());
    }
    assert!(store.run.join("overlay/volatile-true").is_file());
}

#[test]
fn chains_up_to_the_kernels_limit_mount_with_their_options() {
    // ACC-4, CRE-14, GET-26, GET-14, MNT-2, MNT-3, DEF-1, DEF-3
    let store = TestStore::new();
    let driver = store.overlay(&["mountopt=nodev"]);
    deep(&*driver, 501);
    for lowers in [10, 130, 400, 500] {
        let layer = hex(lowers);
        let merged = driver.get(&layer, &plain()).unwrap();
        assert_eq!(fs::read_to_string(merged.join("deepest")).unwrap(), "found");
        fs::write(merged.join("written"), "here").unwrap();
        assert!(store.home(&layer).join("diff/written").is_file());
        let entry = mounted_at(&merged).unwrap();
        assert_eq!(entry.options, "rw,nodev,relatime", "{lowers}");
        let told = super_options(&merged);
        assert!(told.len() < 32 << 10, "{} bytes", told.len());
        let named = told.matches("lowerdir+=l/").count();
        let by_name = lowers > 10 && !kernel_before(6, 7);
        assert_eq!(named, if by_name { lowers } else { 0 }, "{}", &told[..200]);
        driver.put(&layer).unwrap();
        assert!(!store.home(&layer).join("merged/deepest").exists());
    }
    let e = driver.get(&hex(501), &plain()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::MaxDepth);
    assert!(e.to_string().contains("max depth exceeded"), "{e}");
    assert!(mounted_at(&store.home(hex(501)).join("merged")).is_none());

    // MNT-5: a read-only mount has one more.
    assert_eq!(driver.get(&hex(500), &words(&["ro"])).unwrap_err().kind(), ErrorKind::MaxDepth);
    let merged = driver.get(&hex(499), &words(&["ro", "noexec"])).unwrap();
    assert_eq!(mounted_at(&merged).unwrap().options, "ro,noexec,relatime");
    assert_eq!(fs::read_to_string(merged.join("deepest")).unwrap(), "found");
    assert!(super_options(&merged).starts_with("ro,"));
    driver.put(&hex(499)).unwrap();

    // So has a layer with an older upper.
    fs::create_dir(store.home(hex(500)).join("diff1")).unwrap();
    assert_eq!(driver.get(&hex(500), &plain()).unwrap_err().kind(), ErrorKind::MaxDepth);
}

#[test]
fn older_uppers_lie_between_a_layer_and_the_next() {
    // ACC-3, GET-8, ADD-3
    for lowers in [1, 120] {
        let store = TestStore::new();
        let driver = store.overlay(&[]);
        let top = deep(&*driver, lowers);
        let dir = |layer: &LayerId, name: &str| store.home(layer).join(name);
        for (layer, name) in [(&top, "diff1"), (&top, "diff2"), (&hex(0), "diff1")] {
            fs::create_dir(dir(layer, name)).unwrap();
            fs::write(dir(layer, name).join("which"), format!("{layer} {name}")).unwrap();
            fs::write(dir(layer, name).join(format!("in-{name}")), "").unwrap();
        }
        let merged = driver.get(&top, &plain()).unwrap();
        assert_eq!(fs::read_to_string(merged.join("which")).unwrap(), format!("{top} diff1"));
        assert!(merged.join("in-diff1").exists() && merged.join("in-diff2").exists());
        let told = super_options(&merged);
        if lowers == 1 {
            let at = |layer: &LayerId, name: &str| dir(layer, name).to_str().unwrap().to_owned();
            let expected = format!(
                "lowerdir={}:{}:{}:{}/../diff1,",
                at(&top, "diff1"),
                at(&top, "diff2"),
                at(&hex(0), "diff"),
                at(&hex(0), "diff")
            );
            assert!(told.contains(&expected), "{told}");
        } else {
            assert!(
                kernel_before(6, 7)
                    || told.contains(&format!(
                        "lowerdir+={top}/diff1,lowerdir+={top}/diff2,lowerdir+=l/"
                    )),
                "{told}"
            );
        }
        fs::remove_file(dir(&top, "diff1/which")).unwrap();
        fs::remove_file(dir(&top, "diff2/which")).unwrap();
        driver.put(&top).unwrap();
        let merged = driver.get(&top, &plain()).unwrap();
        assert_eq!(fs::read_to_string(merged.join("which")).unwrap(), format!("{} diff1", hex(0)));
    }
}

#[test]
fn graph_roots_of_any_name() {
    // ACC-5, DEF-10
    let long = format!("deep/{}", "d".repeat(200)).repeat(2);
    for name in
        ["a,b", "a:b", "with space", "back\\slash", "ünï-コンテナ", ",:\\ all", long.as_str()]
    {
        for depth in [1, 60] {
            let store = TestStore::named(name);
            let driver = store.overlay(&[]);
            let top = deep(&*driver, depth);
            let merged = driver.get(&top, &plain()).unwrap();
            assert_eq!(
                fs::read_to_string(merged.join("deepest")).unwrap(),
                "found",
                "{name} {depth}"
            );
            fs::write(merged.join("new"), "upper").unwrap();
            assert_eq!(fs::read_to_string(store.home(&top).join("diff/new")).unwrap(), "upper");
            assert!(driver.is_mounted(&merged));
            driver.put(&top).unwrap();
            assert!(!driver.is_mounted(&merged), "{name}");
            let merged = driver.get(&top, &words(&["ro"])).unwrap();
            assert_eq!(fs::read_to_string(merged.join("new")).unwrap(), "upper", "{name} {depth}");
            assert!(driver.native_probe_answers(), "{name}");
        }
    }
}

/// Probes answer below such a root as anywhere else.
trait Probes {
    fn native_probe_answers(&self) -> bool;
}

impl Probes for Box<dyn Driver> {
    fn native_probe_answers(&self) -> bool {
        self.status().contains(&("Native Overlay Diff".to_owned(), "true".to_owned()))
    }
}

#[test]
fn escaped_separators_pass_mount_2() {
    // DEF-10, for kernels without the new interface: the very string is given to the old one.
    let store = TestStore::named("a,b:c\\d");
    let dir = |name: &str| {
        let path = store.graph.join(name);
        fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:")
    };
    let data =
        format!("lowerdir={}:{},upperdir={},workdir={}", dir("l1"), dir("l2"), dir("u"), dir("w"));
    dir("m");
    fs::write(store.graph.join("l2/f"), "x").unwrap();
    let target = store.graph.join("m");
    mount_overlay(&target, rustix::mount::MountFlags::empty(), data.as_bytes()).unwrap();
    assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "x");
}

#[test]
fn lost_links_are_made_again_or_bypassed() {
    // ACC-6, GET-11, GET-12, DEF-5, ADD-6, store-format.md 16.11
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid", "top"]);
    fs::write(store.home("base/diff/f"), "x").unwrap();
    for dir in ["staging", "tempdirs", "compat5", "junk"] {
        fs::create_dir_all(store.home(dir)).unwrap();
    }
    let links = || {
        let mut names: Vec<PathBuf> =
            fs::read_dir(store.home("l")).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = links();
    let lost = store.home("l").join(fs::read_to_string(store.home("base/link")).unwrap());

    // As a layer of an older version, which has only `lower`.
    fs::remove_file(store.home("top/lower-layers")).unwrap();
    fs::remove_file(&lost).unwrap();
    // Reading finds it without touching the disk.
    let below = driver.metadata(&id("top")).unwrap().remove("LowerDir").unwrap();
    assert!(below.ends_with("/base/diff"), "{below}");
    assert_eq!(links().len(), 2);
    let merged = driver.get(&id("top"), &plain()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "x");
    assert_eq!(links(), before);
    assert_eq!(fs::read_link(&lost).unwrap(), Path::new("../base/diff"));
    driver.put(&id("top")).unwrap();

    // A link that dangles is as good as lost; one that leads elsewhere is damaged.
    fs::remove_file(&lost).unwrap();
    symlink("../gone/diff", &lost).unwrap();
    driver.get(&id("top"), &plain()).unwrap();
    driver.put(&id("top")).unwrap();
    assert_eq!(fs::read_link(&lost).unwrap(), Path::new("../base/diff"));
    fs::remove_file(&lost).unwrap();
    symlink("/etc", &lost).unwrap();
    assert_eq!(driver.get(&id("top"), &plain()).unwrap_err().kind(), ErrorKind::Corrupt);
    fs::remove_file(&lost).unwrap();

    // With `lower-layers` the links are not needed, and those that are lost come back.
    fs::remove_dir_all(store.home("l")).unwrap();
    fs::write(store.home("top/lower-layers"), "mid:base").unwrap();
    let merged = driver.get(&id("top"), &plain()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "x");
    assert_eq!(
        links(),
        before[..]
            .iter()
            .filter(|l| !l.ends_with(fs::read_to_string(store.home("top/link")).unwrap()))
            .cloned()
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_lost_diff_is_made_again_and_a_present_one_keeps_its_owner() {
    // GET-7, DEF-22
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    fs::set_permissions(
        store.home("base/diff"),
        std::os::unix::fs::PermissionsExt::from_mode(0o711),
    )
    .unwrap();
    fs::remove_dir(store.home("top/diff")).unwrap();
    driver.get(&id("top"), &plain()).unwrap();
    assert_eq!(mode(store.home("top/diff")), 0o711);
    driver.put(&id("top")).unwrap();
    std::os::unix::fs::chown(store.home("top/diff"), Some(3), Some(4)).unwrap();
    driver.get(&id("top"), &plain()).unwrap();
    assert_eq!(store.home("top/diff").metadata().unwrap().uid(), 3);
    fs::remove_dir(store.home("base/diff")).unwrap();
    driver.put(&id("top")).unwrap();
    let e = driver.get(&id("top"), &plain()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt, "a lower layer's content is not invented: {e}");
}

#[test]
fn uses_are_counted_and_must_agree() {
    // GET-3, GET-4, DEF-16, PUT-1, PUT-7, PUT-9
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["a"]);
    let merged = driver.get(&id("a"), &plain()).unwrap();
    let inode = store.home("a/merged").metadata().unwrap().ino();
    assert_eq!(driver.get(&id("a"), &plain()).unwrap(), merged);
    let e = driver.get(&id("a"), &words(&["nodev"])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy);
    assert!(e.to_string().contains("nodev"), "{e}");
    driver.put(&id("a")).unwrap();
    assert!(driver.is_mounted(&merged));
    driver.put(&id("a")).unwrap();
    assert!(!driver.is_mounted(&merged));
    assert!(merged.is_dir() && !store.home("a/merged.1").exists());
    assert_ne!(merged.metadata().unwrap().ino(), inode);
    assert_eq!(mode(&merged), 0o700);
    driver.put(&id("a")).unwrap();
    assert_eq!(driver.put(&id("none")).unwrap_err().kind(), ErrorKind::LayerUnknown);

    // What a process that was killed while it unmounted has left.
    fs::create_dir_all(store.home("a/merged.1/left")).unwrap();
    driver.get(&id("a"), &plain()).unwrap();
    driver.put(&id("a")).unwrap();
    assert!(mode(&merged) == 0o700 && !store.home("a/merged.1").exists());

    // Somebody else unmounts: no use outlives its mount.
    driver.get(&id("a"), &plain()).unwrap();
    driver.get(&id("a"), &plain()).unwrap();
    detach(&merged).unwrap();
    driver.get(&id("a"), &words(&["nodev"])).unwrap();
    driver.put(&id("a")).unwrap();
    assert!(!driver.is_mounted(&merged));

    // Somebody else has mounted: that is one use, and one put ends it.
    store.overlay(&[]).get(&id("a"), &plain()).unwrap();
    let other = store.overlay(&[]);
    other.get(&id("a"), &words(&["nodev"])).unwrap();
    other.put(&id("a")).unwrap();
    assert!(driver.is_mounted(&merged));
    other.put(&id("a")).unwrap();
    assert!(!driver.is_mounted(&merged));
    store.overlay(&[]).get(&id("a"), &words(&["ro"])).unwrap();
    assert_eq!(store.overlay(&[]).get(&id("a"), &plain()).unwrap_err().kind(), ErrorKind::Busy);
}

#[test]
fn what_others_do_to_a_layer_between_two_mounts_is_seen() {
    // GET-8, GET-36, ADD-4
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "low", "a"]);
    let seen = || {
        let merged = driver.get(&id("a"), &plain()).unwrap();
        let names = fs::read_dir(&merged).unwrap().map(|e| e.unwrap().file_name());
        let names: BTreeSet<_> = names.map(|name| name.into_string().unwrap()).collect();
        driver.put(&id("a")).unwrap();
        names.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(seen(), "");
    // By now what was seen of the layers is relied upon.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((seen(), seen()), (String::new(), String::new()));
    for (n, dir) in ["low/diff1", "low/diff2", "base/diff1", "base/diff3"].iter().enumerate() {
        fs::create_dir(store.home(dir)).unwrap();
        fs::write(store.home(dir).join(format!("f{n}")), "").unwrap();
        let wanted: Vec<_> = (0..=n).map(|n| format!("f{n}")).collect();
        assert_eq!(seen(), wanted.join(" "), "{dir}");
        assert_eq!(seen(), wanted.join(" "), "{dir}, again");
    }
    fs::write(store.home("base/composefs-data"), "").unwrap();
    assert!(driver.get(&id("a"), &plain()).is_err(), "it is a damaged image now");
}

#[test]
fn many_threads_mount_one_layer() {
    // GET-2
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "a"]);
    fs::write(store.home("base/diff/f"), "x").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let merged = driver.get(&id("a"), &plain()).unwrap();
                    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "x");
                    driver.put(&id("a")).unwrap();
                }
            });
        }
    });
    assert!(mounted_at(&store.home("a/merged")).is_none());
}

#[test]
fn the_callers_directory_stays() {
    // The design: never a change of the caller's working directory.
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let before = std::env::current_dir().unwrap();
    let top = deep(&*driver, 100);
    driver.get(&top, &plain()).unwrap();
    assert_eq!(std::env::current_dir().unwrap(), before);
}
