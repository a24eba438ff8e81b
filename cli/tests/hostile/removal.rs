//! Removing layers in which somebody has put mounts, immutable files and links, and goes on to (`overlay-driver.md` 8, 23, DEF-23).

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::ground::{Ground, assert_same, snapshot};
use crate::tar::{self, Tar};

fn ground() -> Option<Ground> {
    let ground = Ground::new()?;
    let file = ground.file("base.tar", &tar::files(&[("d/", b""), ("d/f", b"x")]));
    ground.ok(&format!("import-layer -i base -r -f {file}"));
    Some(ground)
}

fn run(program: &str, arg: &[&str], path: &Path) -> bool {
    Command::new(program).args(arg).arg(path).status().is_ok_and(|status| status.success())
}

#[test]
fn mounts_and_links_in_a_layer_lead_nowhere() {
    let Some(ground) = ground() else { return };
    let before = snapshot(&ground.path("outside"));
    let outside = ground.path("outside");
    let source = outside.to_str().unwrap();
    for mounted in ["diff/inner", "work/inner", "inner", "merged", "diff"] {
        ground.ok("create-layer -i victim base");
        // A neighbour whose name begins alike.
        ground.ok("create-layer -i victim2 base");
        let layer = ground.path("g/overlay/victim");
        fs::create_dir_all(layer.join(mounted)).unwrap();
        for link in ["diff/link", "work/link", "link2"] {
            let _ = symlink(&outside, layer.join(link));
        }
        assert!(run("mount", &["--bind", source], &layer.join(mounted)));
        ground.ok("mount victim2");
        ground.ok("delete-layer victim");
        assert!(!layer.exists(), "{mounted}");
        assert_same(&before, &snapshot(&outside), mounted);
        assert_eq!(ground.ok("mounted victim2"), "victim2 mounted");
        ground.ok("unmount victim2");
        ground.ok("delete-layer victim2");
    }
    let left: Vec<_> = fs::read_dir(ground.path("g/overlay/tempdirs")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_resists_is_named_and_tried_again() {
    let Some(ground) = Ground::new() else { return };
    ground.ok("create-layer -i victim");
    let file = ground.path("g/overlay/victim/diff/stubborn");
    fs::write(&file, "").unwrap();
    if !run("chattr", &["+i"], &file) {
        println!("skipped: no immutable files on this file system");
        return;
    }
    // The record goes, as the directory is out of the way; its bytes wait for the next who writes.
    let first = ground.run("delete-layer victim");
    let again = ground.run("create-layer -i other");
    let find = |name: &str| {
        let found = Command::new("find").arg(ground.path("g")).args(["-name", name]).output();
        String::from_utf8(found.unwrap().stdout).unwrap().trim().to_owned()
    };
    let moved = find("stubborn");
    assert!(run("chattr", &["-i"], Path::new(&moved)), "{moved}");
    assert_eq!((first.code, again.code), (0, 0), "{first:?} {again:?}");
    assert!(first.stderr.contains("stubborn"), "{first:?}");
    assert!(!ground.ok("layers -q").contains("victim"));
    ground.ok("create-layer -i third");
    assert_eq!(find("stubborn"), "");
}

/// A thread puts links to the outside in the place of directories while they are removed.
#[test]
fn links_swapped_in_during_a_removal_are_not_followed() {
    let Some(ground) = ground() else { return };
    let outside = ground.path("outside");
    for n in 0..200 {
        fs::create_dir_all(outside.join(format!("d{}/deep", n % 10))).unwrap();
        fs::write(outside.join(format!("d{}/deep/f{n}", n % 10)), "").unwrap();
    }
    let before = snapshot(&outside);
    let mut swaps = 0;
    for _ in 0..8 {
        ground.ok("create-layer -i victim base");
        let layer = ground.path("g/overlay/victim");
        for n in 0..400 {
            fs::create_dir_all(layer.join(format!("diff/d{}/deep/{n}", n % 10))).unwrap();
            fs::write(layer.join(format!("diff/d{}/deep/{n}/f{n}", n % 10)), "").unwrap();
        }
        let done = AtomicBool::new(false);
        // Held open, so that the tree is found wherever it is moved.
        let tree = fs::File::open(layer.join("diff")).unwrap();
        let at = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&tree));
        let code = thread::scope(|scope| {
            let swapper = scope.spawn(|| {
                let mut swaps = 0;
                while !done.load(Ordering::Relaxed) {
                    for n in 0..10 {
                        let (dir, aside) = (format!("{at}/d{n}"), format!("{at}/aside{n}"));
                        if fs::rename(&dir, &aside).is_ok() {
                            swaps +=
                                i32::from(symlink(outside.join(format!("d{n}")), &dir).is_ok());
                            let _ = fs::remove_file(&dir);
                            let _ = fs::rename(&aside, &dir);
                        }
                    }
                }
                swaps
            });
            let run = ground.run("delete-layer victim");
            done.store(true, Ordering::Relaxed);
            swaps += swapper.join().unwrap();
            run.code
        });
        assert_eq!(code, 0);
        assert_same(&before, &snapshot(&outside), "the removal");
        // What the other has saved from it goes with the next operation.
        ground.ok("layers");
    }
    ground.ok("create-layer -i last");
    let left: Vec<_> = fs::read_dir(ground.path("g/overlay/tempdirs")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(swaps > 100, "only {swaps} swaps");
    println!("removal: {swaps} links swapped in");
}

#[test]
fn layers_that_nobody_may_write_to_come_and_go() {
    // REM-2: as by a root without CAP_DAC_OVERRIDE, such as in many containers
    let Some(mut ground) = Ground::of("vfs") else { return };
    ground.hinder(true);
    let shut = Tar::default()
        .dir_of_mode("./", 0o555)
        .dir_of_mode("d/", 0o555)
        .dir_of_mode("d/e/", 0o000)
        .file("f", "x")
        .end();
    let file = ground.file("shut.tar", &shut);
    ground.ok("create-layer -i empty");
    ground.ok(&format!("import-layer -i shut -r -f {file}"));
    assert_eq!(ground.path("g/vfs/dir/shut").metadata().unwrap().mode() & 0o7777, 0o555);
    for layer in ["empty", "shut"] {
        ground.ok(&format!("delete-layer {layer}"));
    }
    for dir in ["g/vfs/dir", "g/vfs/tempdirs"] {
        assert_eq!(fs::read_dir(ground.path(dir)).unwrap().count(), 0, "{dir}");
    }
}
