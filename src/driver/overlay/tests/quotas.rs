//! Limits of containers' layers. What needs project quotas is run in a virtual machine, whose /var/tmp has them.

use std::fs::{self, File};
use std::io::{ErrorKind as Io, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use rustix::io::Errno;

use crate::driver::tests::{TestStore, chain, id, mode};
use crate::driver::{ApplyOptions, CreateOptions, Driver, MountOptions, open_dialect};
use crate::sys::mount::fs_magic;
use crate::sys::quota::{Amount, FileSystem, inherits_project, join_project, project_of};
use crate::sys::refused::{self, Call};
use crate::{Dialect, ErrorKind, LayerId};

const MIB: u64 = 1 << 20;

fn sized(options: &[(&str, &str)]) -> CreateOptions {
    CreateOptions {
        storage_opt: options.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ..CreateOptions::default()
    }
}

fn project(path: impl AsRef<Path>) -> u32 {
    project_of(File::open(path).unwrap().as_fd()).unwrap()
}

fn limits(path: impl AsRef<Path>) -> Amount {
    let dir = File::open(path).unwrap();
    let fs = FileSystem { file: dir.as_fd(), node: None };
    fs.limits(project_of(dir.as_fd()).unwrap()).unwrap()
}

/// Writes up to that many MiB; returns how many there was room for.
fn fill(path: &Path, mib: u64) -> u64 {
    let mut file = File::create(path).unwrap();
    for written in 0..mib {
        // The kernel may find out at the write or when it makes room on the disk.
        if let Err(e) = file.write_all(&[7; MIB as usize]).and_then(|()| file.sync_data()) {
            assert!(matches!(e.kind(), Io::StorageFull | Io::QuotaExceeded), "{e}");
            return written;
        }
    }
    mib
}

fn mounted<T>(driver: &dyn Driver, layer: &LayerId, work: impl FnOnce(&Path) -> T) -> T {
    let merged = driver.get(layer, &MountOptions::default()).unwrap();
    let outcome = work(&merged);
    driver.put(layer).unwrap();
    outcome
}

/// Of /var/tmp.
fn has_projects() -> bool {
    use crate::sys::quota::Projects;
    let dir = File::open("/var/tmp").unwrap();
    FileSystem { file: dir.as_fd(), node: None }.projects().unwrap() != Projects::Off
}

#[test]
fn where_there_are_no_quotas_limits_are_refused_by_name() {
    // CRE-2, QUO-1, OPT size and inodes
    if has_projects() {
        return;
    }
    for (option, key) in [("overlay.size=20m", "size"), ("inodes=5", "inodes")] {
        let store = TestStore::new();
        let driver = store.overlay(&[option]);
        assert!(!driver.exists(&id("a")) && driver.list_layers().unwrap().is_empty());
        let e = driver.prepare().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotSupported);
        assert!(e.to_string().contains(&format!("{key:?}")), "{e}");
        assert!(e.to_string().contains("quotas"), "{e}");
        assert!(!store.home("").exists(), "a refusal takes the home back");
        // Nothing is limited to nothing.
        let unlimited = store.overlay(&[&format!("{key}=0")]);
        unlimited.prepare().unwrap();
    }
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    for options in [[("size", "10m")], [("Inodes", "7")], [("size", "0")]] {
        let e = driver.create_read_write(&id("a"), None, &sized(&options)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotSupported);
        let told =
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
        assert!(e.to_string().contains(told), "{e}");
    }
    assert!(!store.graph.exists(), "a refusal makes nothing");
    // An unlimited layer is as ever, and makes no node.
    chain(&*driver, &["base", "top"]);
    assert!(!store.home("backingFsBlockDev").exists());
}

#[test]
fn dockers_limits_are_refused_by_dockers_names() {
    // MOB-7, MOB-9
    let docker = |store: &TestStore, options: &[&str]| {
        let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
        open_dialect(Dialect::Moby, &store.graph, &store.run, &options).unwrap()
    };
    let store = TestStore::new();
    let driver = docker(&store, &[]);
    let create =
        |options: &[(&str, &str)]| driver.create_read_write(&id("a"), None, &sized(options));
    for (options, says) in [
        ([("colour", "red")], "unknown option colour"),
        ([("size", "much")], "\"much\" is not a size"),
    ] {
        let e = create(&options).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{e}");
        assert!(e.to_string().contains(says), "{e}");
    }
    if has_projects() {
        return;
    }
    let e = create(&[("size", "10m")]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported, "{e}");
    assert!(e.to_string().contains("'pquota'"), "{e}");
    let limited = docker(&store, &["overlay2.size=20m"]);
    let options = CreateOptions::default();
    for e in [
        limited.prepare().unwrap_err(),
        limited.create_read_write(&id("a"), None, &options).unwrap_err(),
    ] {
        assert_eq!(e.kind(), ErrorKind::NotSupported, "{e}");
        assert!(e.to_string().contains("\"overlay2.size\""), "{e}");
        assert!(e.to_string().contains("pquota, or remove overlay2.size from"), "{e}");
    }
    assert!(!store.graph.join("overlay2").exists(), "a refusal takes the home back");
}

#[test]
#[ignore = "needs project quotas on /var/tmp: tests/vm/run"]
fn dockers_containers_have_the_daemons_limit_or_their_own() {
    // MOB-7, MOB-9
    let store = TestStore::new();
    let options = ["overlay2.size=20m".to_owned()];
    let driver = open_dialect(Dialect::Moby, &store.graph, &store.run, &options).unwrap();
    driver.create(&id("base"), None, &CreateOptions::default()).unwrap();
    let base = Some(id("base"));
    for (name, options) in
        [("usual", &[][..]), ("own", &[("size", "10m")]), ("free", &[("size", "0")])]
    {
        driver.create_read_write(&id(name), base.as_ref(), &sized(options)).unwrap();
    }
    let at = |layer: &str| driver.home().join(layer);
    assert_eq!(project(at("base")), 0, "image content is not counted");
    let bytes = |layer: &str| limits(at(layer)).bytes / MIB;
    assert_eq!((bytes("usual"), bytes("own"), bytes("free")), (20, 10, 0));
    mounted(&*driver, &id("own"), |merged| {
        let room = fill(&merged.join("big"), 20);
        assert!((8..=10).contains(&room), "{room} MiB");
    });
    mounted(&*driver, &id("free"), |merged| assert_eq!(fill(&merged.join("big"), 24), 24));
    driver.remove(&id("own")).unwrap();
}

#[test]
fn a_layers_own_options_are_read_as_the_drivers() {
    // CRE-3, CRE-18
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    for (options, says) in [
        ([("size", "much")], "\"much\" is not a size"),
        ([("inodes", "-1")], "\"-1\" is not a decimal number"),
        ([("colour", "red")], "unknown option colour"),
    ] {
        let e = driver.create_read_write(&id("a"), None, &sized(&options)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidArgument);
        assert!(e.to_string().contains(says), "{e}");
    }
    for key in ["size", "inodes", "SIZE"] {
        let e = driver.create(&id("a"), None, &sized(&[(key, "1")])).unwrap_err();
        let says = format!("--storage-opt {} is only supported", key.to_lowercase());
        assert!(e.to_string().contains(&says), "{e}");
    }
    assert!(!store.graph.exists());
}

#[test]
#[ignore = "needs project quotas on /var/tmp: tests/vm/run"]
fn limits_hold_for_what_is_written_through_the_mount() {
    // CRE-2, CRE-7, QUO-2, QUO-6, QUO-7, REM-12
    let store = TestStore::new();
    let driver = store.overlay(&["inodes=40"]);
    driver.create(&id("base"), None, &CreateOptions::default()).unwrap();
    fs::write(store.home("base/diff/file"), vec![1; 30 * MIB as usize]).unwrap();
    let base = Some(id("base"));
    driver.create_read_write(&id("c"), base.as_ref(), &sized(&[("size", "10m")])).unwrap();
    driver.create_read_write(&id("free"), base.as_ref(), &sized(&[("inodes", "0")])).unwrap();

    assert_eq!(project(store.home("base")), 0, "image content is not counted");
    let (c, free) = (project(store.home("c")), project(store.home("free")));
    assert!(c > 10_000 && free == c + 1, "{c} {free}");
    let dir = File::open(store.home("c")).unwrap();
    assert!(inherits_project(dir.as_fd()).unwrap());
    assert_eq!(project(store.home("c/diff")), c);
    assert_eq!(limits(store.home("c")), Amount { bytes: 10 * MIB, inodes: 40 });
    assert_eq!(limits(store.home("free")), Amount::default());

    mounted(&*driver, &id("c"), |merged| {
        let room = fill(&merged.join("big"), 20);
        assert!((8..=10).contains(&room), "{room} MiB");
        let used = driver.disk_usage(&id("c")).unwrap();
        assert!((8 * MIB..=10 * MIB).contains(&used.size), "{used:?}");
        // What lies below is copied up at the expense of the layer.
        fs::remove_file(merged.join("big")).unwrap();
        let e = fs::OpenOptions::new().append(true).open(merged.join("file")).unwrap_err();
        assert!(matches!(e.kind(), Io::StorageFull | Io::QuotaExceeded), "{e}");
        let made = (0..100).take_while(|n| File::create(merged.join(format!("f{n}"))).is_ok());
        let made = made.count();
        assert!((20..40).contains(&made), "{made} files");
        let used = driver.disk_usage(&id("c")).unwrap();
        assert!((made as u64..=40).contains(&used.inodes), "{used:?}");
    });
    mounted(&*driver, &id("free"), |merged| {
        assert_eq!(fill(&merged.join("big"), 20), 20);
    });
    let used = driver.disk_usage(&id("free")).unwrap();
    assert!((20 * MIB..22 * MIB).contains(&used.size), "{used:?}");
    assert_eq!(driver.disk_usage(&id("base")).unwrap().size, 30 * MIB, "by a walk");
    assert!(!store.home("backingFsBlockDev").exists(), "this kernel needs no node");
}

#[test]
#[ignore = "needs project quotas on /var/tmp: tests/vm/run"]
fn a_project_is_not_given_twice_and_its_old_limits_go() {
    // QUO-10, QUO-5, REM-3, DEF-32
    let store = TestStore::new();
    let small = sized(&[("size", "2m"), ("inodes", "20")]);
    let first = store.overlay(&[]);
    first.create_read_write(&id("a"), None, &small).unwrap();
    let (a, limited) = (project(store.home("a")), limits(store.home("a")));
    assert_eq!(limited, Amount { bytes: 2 * MIB, inodes: 20 });
    // Another process, whose look at the home is its own, and a third that has looked before the second made its layer.
    let second = store.overlay(&[]);
    second.create_read_write(&id("b"), None, &small).unwrap();
    assert_eq!(project(store.home("b")), a + 1);
    first.create_read_write(&id("c"), None, &small).unwrap();
    assert_eq!(project(store.home("c")), a + 2);

    // What is moved aside still counts for its project.
    let waste = first.deferred_remove(&id("c")).unwrap();
    let third = store.overlay(&[]);
    third.create_read_write(&id("d"), None, &CreateOptions::default()).unwrap();
    assert_eq!(project(store.home("d")), a + 3);
    waste.empty().unwrap();
    third.remove(&id("d")).unwrap();

    // A number that is free again has no limits but those of its new layer. The kernel may take a while to find out.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let fourth = store.overlay(&[]);
        fourth.create_read_write(&id("e"), None, &CreateOptions::default()).unwrap();
        if project(store.home("e")) == a + 2 {
            assert_eq!(limits(store.home("e")), Amount::default());
            assert_eq!(mounted(&*fourth, &id("e"), |m| fill(&m.join("f"), 4)), 4);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the number does not become free");
        fourth.remove(&id("e")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs project quotas on /var/tmp: tests/vm/run"]
fn kernels_without_quotactl_fd_are_asked_through_the_node() {
    // QUO-8, QUO-3
    const XFS: u64 = 0x5846_5342;
    let store = TestStore::new();
    let home = store.home("backingFsBlockDev");
    refused::with(&[(Call::QuotactlFd, Errno::NOSYS)], || {
        let driver = store.overlay(&[]);
        let limited = driver.create_read_write(&id("a"), None, &sized(&[("size", "2m")]));
        if fs_magic(Path::new("/var/tmp")).unwrap() != XFS {
            // Other versions make the node on xfs alone.
            let e = limited.unwrap_err();
            assert!(e.to_string().contains("quotactl_fd"), "{e}");
            assert!(!home.exists());
            return;
        }
        limited.unwrap();
        let node = home.symlink_metadata().unwrap();
        assert!(node.file_type().is_block_device());
        assert_eq!((mode(&home), node.rdev()), (0o600, store.home("").metadata().unwrap().dev()));
        assert!(mounted(&*driver, &id("a"), |m| fill(&m.join("f"), 4)) < 2);
        fs::remove_file(&home).unwrap();
        driver.create_read_write(&id("b"), None, &sized(&[("size", "1m")])).unwrap();
        assert!(home.exists() && driver.disk_usage(&id("b")).unwrap().inodes > 1);
        assert_eq!(driver.list_layers().unwrap(), ["a", "b"]);
    });
    if home.exists() {
        assert_eq!(limits(store.home("b")), Amount { bytes: MIB, inodes: 0 });
    }
}

#[test]
#[ignore = "needs project quotas on /var/tmp: tests/vm/run"]
fn a_homes_own_project_is_where_the_layers_begin() {
    // QUO-2, QUO-4
    let store = TestStore::new();
    for dir in ["", "l", "tempdirs", "old"] {
        fs::create_dir_all(store.home(dir)).unwrap();
        join_project(File::open(store.home(dir)).unwrap().as_fd(), 70_000, true).unwrap();
    }
    let driver = store.overlay(&[]);
    driver.create_read_write(&id("a"), None, &sized(&[("size", "5m")])).unwrap();
    assert_eq!((project(store.home("")), project(store.home("a"))), (70_000, 70_001));
    for dir in ["", "l", "tempdirs"] {
        let dir = File::open(store.home(dir)).unwrap();
        assert!(!inherits_project(dir.as_fd()).unwrap(), "{dir:?}");
    }
    driver.deferred_remove(&id("a")).unwrap().empty().unwrap();
    // A layer that merely inherited the home's project is measured by itself.
    fs::create_dir(store.home("old/diff")).unwrap();
    fs::write(store.home("old/diff/f"), "four").unwrap();
    assert_eq!(driver.disk_usage(&id("old")).unwrap().size, 4);
}

#[test]
#[ignore = "needs project quotas on /var/tmp: tests/vm/run"]
fn staged_content_counts_for_the_layer_that_gets_it() {
    // QUO-11, CRE-7, APL-4
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    driver.create_read_write(&id("a"), None, &sized(&[("size", "4m")])).unwrap();
    let staged = driver.stage(None, &ApplyOptions::default()).unwrap();
    let root = std::path::PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&staged.root())
    ));
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(root.join("d/e/f"), vec![1; 3 * MIB as usize]).unwrap();
    symlink("e", root.join("d/link")).unwrap();
    driver.commit_staged(&id("a"), staged).unwrap();
    let a = project(store.home("a"));
    for path in ["a/diff", "a/diff/d", "a/diff/d/e", "a/diff/d/e/f"] {
        assert_eq!(project(store.home(path)), a, "{path}");
    }
    assert_eq!(fs::read_link(store.home("a/diff/d/link")).unwrap(), Path::new("e"));
    assert!(driver.disk_usage(&id("a")).unwrap().size >= 3 * MIB);
    assert!(mounted(&*driver, &id("a"), |m| fill(&m.join("more"), 3)) < 2);
}

#[test]
#[ignore = "needs /var/tmp with project quotas that are not enforced: tests/vm/run"]
fn where_quotas_are_only_counted_limits_are_refused() {
    // QUO-9
    let store = TestStore::new();
    let limited = store.overlay(&["size=5m"]);
    let e = limited.prepare().unwrap_err();
    assert!(e.to_string().contains("not enforced"), "{e}");
    let driver = store.overlay(&[]);
    let e = driver.create_read_write(&id("a"), None, &sized(&[("size", "5m")])).unwrap_err();
    assert!(e.to_string().contains("not enforced"), "{e}");
    driver.create_read_write(&id("a"), None, &sized(&[("size", "0")])).unwrap();
    assert_eq!(mounted(&*driver, &id("a"), |m| fill(&m.join("f"), 3)), 3);
    assert!(driver.disk_usage(&id("a")).unwrap().size >= 3 * MIB, "counted all the same");
}
