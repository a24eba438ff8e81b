//! Deep, closed and mounted trees (`overlay-driver.md` ARC-2, DEF-23).

use std::cell::Cell;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;

fn is_root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: {what} needs root");
    }
    root
}

#[test]
fn anything_and_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    remove_tree(&at("missing")).unwrap();
    remove_tree(&at("missing/below")).unwrap();
    std::fs::write(at("file"), "").unwrap();
    remove_tree(&at("file/below")).unwrap();
    remove_tree(&at("file")).unwrap();
    std::fs::create_dir_all(at("kept/sub")).unwrap();
    symlink(at("kept"), at("link")).unwrap();
    remove_tree(&at("link")).unwrap();
    std::fs::create_dir_all(at("tree/a/b")).unwrap();
    symlink(at("kept"), at("tree/a/link")).unwrap();
    for n in 0..3000 {
        std::fs::create_dir(at("tree").join(format!("d{n}"))).unwrap();
        std::fs::write(at("tree/a").join(format!("f{n}")), "").unwrap();
    }
    remove_tree(&at("tree/")).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["kept"]);
    assert!(at("kept/sub").is_dir());
    assert_eq!(remove_tree(Path::new("/")).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(remove_tree(&at("kept/..")).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

// ARC-2: 20,000 levels, with names that no path could hold, and few descriptors.
#[test]
fn twenty_thousand_levels() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep");
    std::fs::create_dir(&root).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = rustix::fs::open(&root, flags, Mode::empty()).unwrap();
    for level in 0..20_000 {
        let name = format!("{level:020}");
        rustix::fs::mkdirat(&here, &*name, Mode::RWXU).unwrap();
        rustix::fs::mkdirat(&here, "sibling", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, &*name, flags, Mode::empty()).unwrap();
    }
    drop(here);
    remove_tree(&root).unwrap();
    assert!(!root.exists());
}

#[test]
fn closed_directories_are_opened_by_their_owner() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("shut/inner")).unwrap();
    std::fs::create_dir_all(tree.join("unwritable/inner")).unwrap();
    std::fs::write(tree.join("unwritable/file"), "").unwrap();
    for (path, mode) in [("shut/inner", 0), ("shut", 0), ("unwritable", 0o500), ("", 0o100)] {
        std::fs::set_permissions(tree.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    if nix::unistd::geteuid().is_root() {
        // Root passes every permission: the walk runs as somebody else, in this test's program.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let user = 54321;
        for path in [
            "",
            "tree",
            "tree/shut",
            "tree/shut/inner",
            "tree/unwritable",
            "tree/unwritable/inner",
            "tree/unwritable/file",
        ] {
            std::os::unix::fs::lchown(dir.path().join(path), Some(user), Some(user)).unwrap();
        }
        let outcome = std::thread::spawn({
            let tree = tree.clone();
            move || {
                // Of this thread alone, unlike what the C library does: file system user id.
                nix::unistd::setfsuid(nix::unistd::Uid::from_raw(user));
                remove_tree(&tree)
            }
        })
        .join()
        .unwrap();
        outcome.unwrap();
    } else {
        remove_tree(&tree).unwrap();
    }
    assert!(!tree.exists());
}

// DEF-23: a mount below goes with the tree, its content does not; a neighbour whose name only begins alike stays mounted.
#[test]
fn mounts_below_are_detached_by_component() {
    if !is_root("mounting") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for path in ["source/precious", "c/sub dir/merged", "c2/merged", "c/top"] {
        std::fs::create_dir_all(at(path)).unwrap();
    }
    std::fs::write(at("source/file"), "").unwrap();
    std::fs::write(at("c/file"), "").unwrap();
    for target in ["c/sub dir/merged", "c/top", "c/top", "c2/merged"] {
        rustix::mount::mount_bind(at("source"), at(target)).unwrap();
    }
    rustix::mount::mount_bind(at("source/file"), at("c/file")).unwrap();
    let outcome = remove_tree(&at("c"));
    let neighbour = at("c2/merged/precious").exists();
    let _ = rustix::mount::unmount(at("c2/merged"), UnmountFlags::DETACH);
    outcome.unwrap();
    assert!(neighbour);
    assert!(!at("c").exists());
    assert!(at("source/precious").is_dir() && at("source/file").exists());
}

// DEF-23: kernels before 5.6 and 5.8, and the seccomp profiles of containers. No number of a device tells such a mount from the tree.
#[test]
fn no_mount_of_the_same_disk_is_entered_without_openat2_either() {
    if !is_root("mounting") {
        return;
    }
    let ways: [&[(Call, Errno)]; 3] = [
        &[(Call::Openat2, Errno::PERM)],
        &[(Call::Openat2, Errno::NOSYS)],
        &[(Call::Openat2, Errno::NOSYS), (Call::Statx, Errno::NOSYS)],
    ];
    for way in ways {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for path in ["source/precious", "tree/sub/mounted"] {
            std::fs::create_dir_all(at(path)).unwrap();
        }
        std::fs::write(at("source/precious/file"), "").unwrap();
        rustix::mount::mount_bind(at("source"), at("tree/sub/mounted")).unwrap();
        let outcome = refused::with(way, || remove_tree(&at("tree")));
        let _ = rustix::mount::unmount(at("tree/sub/mounted"), UnmountFlags::DETACH);
        outcome.unwrap();
        assert!(!at("tree").exists() && at("source/precious/file").exists(), "{way:?}");
    }
}

#[test]
fn a_mount_on_the_tree_itself_is_detached() {
    if !is_root("mounting") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, tree) = (dir.path().join("source"), dir.path().join("tree"));
    std::fs::create_dir_all(source.join("precious")).unwrap();
    std::fs::create_dir(&tree).unwrap();
    rustix::mount::mount_bind(&source, &tree).unwrap();
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
    assert!(source.join("precious").is_dir());
}

#[test]
fn what_cannot_go_is_named() {
    if !is_root("an immutable file") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tree/sub/file");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "").unwrap();
    let immutable = |sign: &str| {
        Command::new("chattr").arg(sign).arg(&file).status().is_ok_and(|s| s.success())
    };
    if !immutable("+i") {
        println!("skipped: no immutable files here");
        return;
    }
    let outcome = remove_tree(&dir.path().join("tree"));
    assert!(immutable("-i"));
    let e = outcome.unwrap_err();
    assert_eq!(e.file(), Some(file.as_path()), "{e}");
}

/// `dirs` directories of ten files each, ten of them in a directory of their own.
fn bushy(root: &Path, dirs: usize) {
    for dir in 0..dirs {
        let dir = root.join(format!("usr/s{}/d{dir}", dir / 10));
        std::fs::create_dir_all(&dir).unwrap();
        for file in 0..10 {
            std::fs::write(dir.join(format!("f{file}")), "").unwrap();
        }
    }
}

/// Removes `root/tree` beside `helpers` threads; tells how often the walk asked for them.
fn remove_beside(helpers: usize, root: &Path) -> (u32, Result<()>) {
    let (tree, crew, asked) = (root.join("tree"), Crew::default(), Cell::new(0));
    let above = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|| crew.help(&|job| work(&crew, &tree, job, 0)));
        }
        let hire = || asked.set(asked.get() + 1);
        let mut walk = Walk::new(&crew, &tree, root.to_path_buf(), Arc::new(above), 0);
        walk.hire = Some(&hire);
        if let Err(error) = walk.run(c"tree".to_owned()) {
            crew.fail(error);
        }
        crew.finish();
    });
    (asked.get(), crew.into_failure().map_or(Ok(()), Err))
}

#[test]
fn only_a_large_tree_is_worth_threads() {
    let dir = tempfile::tempdir().unwrap();
    for (dirs, asked) in [(80, 0), (300, 1)] {
        bushy(&dir.path().join("tree"), dirs);
        let (times, outcome) = remove_beside(0, dir.path());
        outcome.unwrap();
        assert_eq!(times, asked, "{dirs} directories");
        assert!(!dir.path().join("tree").exists());
    }
}

#[test]
fn many_threads_empty_one_tree() {
    let dir = tempfile::tempdir().unwrap();
    for helpers in [1, 3, 7] {
        bushy(&dir.path().join("tree/one"), 150);
        bushy(&dir.path().join("tree/other/deeper"), 150);
        remove_beside(helpers, dir.path()).1.unwrap();
        assert!(!dir.path().join("tree").exists());
    }
}

#[test]
fn a_failure_of_any_thread_ends_the_removal() {
    if !is_root("an immutable file") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    bushy(&dir.path().join("tree"), 400);
    let file = dir.path().join("tree/usr/s1/d12/f3");
    let immutable = |sign: &str| {
        Command::new("chattr").arg(sign).arg(&file).status().is_ok_and(|s| s.success())
    };
    if !immutable("+i") {
        println!("skipped: no immutable files here");
        return;
    }
    let outcome = remove_beside(3, dir.path()).1;
    assert!(immutable("-i"));
    assert_eq!(outcome.unwrap_err().file(), Some(file.as_path()));
    remove_tree(&dir.path().join("tree")).unwrap();
}

#[test]
fn nobody_waits_for_a_thread_that_has_panicked() {
    let dir = tempfile::tempdir().unwrap();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = Arc::new(rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap());
    let crew = Crew::default();
    let ticket = crew.share(fd, dir.path().to_path_buf(), vec![c"a".to_owned()]);
    let helper =
        std::thread::scope(|scope| scope.spawn(|| crew.help(&|_| panic!("as a test"))).join());
    assert!(helper.is_err() && crew.has_failed());
    assert!(!crew.close(ticket, None));
}
