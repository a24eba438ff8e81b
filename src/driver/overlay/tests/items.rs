//! Facts of the specification that no larger test needs, each in a few lines.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::driver::tests::{TestStore, chain, change_list, id, super_options, tar_of, words};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, MountOptions};
use crate::sys::mount::{is_overlay_mount, kernel_before, page_size};
use crate::sys::refused::{self, Call};
use crate::{Error, ErrorKind, LayerId};

fn plain() -> MountOptions {
    MountOptions::default()
}

/// Runs `work` on a thread that does without a capability.
fn without<T: Send>(capability: CapabilitySet, work: impl FnOnce() -> T + Send) -> T {
    let lessened = move || {
        let mut held = capabilities(None).unwrap();
        held.effective.remove(capability);
        set_capabilities(None, held).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(lessened).join().unwrap())
}

#[test]
fn a_home_has_the_name_it_was_opened_with() {
    // IDN-1, IDN-2, IDN-4
    let shared = TestStore::new();
    chain(&*shared.overlay(&["skip_mount_home=true"]), &["base"]);
    let store = TestStore::new();
    let option = format!("imagestore={}", shared.graph.display());
    let driver = store.open("overlay2", None, &[&option]);
    assert_eq!(driver.name(), "overlay");
    driver.create_read_write(&id("top"), Some(&id("base")), &CreateOptions::default()).unwrap();
    assert!(store.graph.join("overlay2/top/diff").is_dir() && !store.home("").exists());
    assert!(store.run.join("overlay2/overlay-true").is_file());
    driver.get(&id("top"), &plain()).unwrap();
    driver.put(&id("top")).unwrap();
}

#[test]
fn a_missing_layer_is_unknown_and_a_failed_mount_counts_nothing() {
    // GET-1, GET-5, REM-7
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["a"]);
    assert_eq!(driver.get(&id("b"), &plain()).unwrap_err().kind(), ErrorKind::LayerUnknown);
    driver.get(&id("a"), &words(&["nosuch=1"])).unwrap_err();
    let merged = driver.get(&id("a"), &plain()).unwrap();
    assert!(driver.exists(&id("a")) && !driver.exists(&id("b")));
    driver.put(&id("a")).unwrap();
    assert!(!driver.is_mounted(&merged), "one put for the one mount that there was");
    assert!(driver.exists(&id("a")));
}

#[test]
fn the_home_keeps_its_mounts_to_itself() {
    // GET-23
    let store = TestStore::new();
    let around = store.graph.parent().unwrap().to_path_buf();
    mount_bind(&around, &around).unwrap();
    mount_change(&around, MountPropagationFlags::SHARED).unwrap();
    let driver = store.overlay(&[]);
    chain(&*driver, &["a"]);
    let merged = driver.get(&id("a"), &plain()).unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let tags = |target: &Path| {
        let line = table.lines().rfind(|l| l.split(' ').nth(4) == target.to_str()).unwrap();
        line.split(' ').skip(6).take_while(|f| *f != "-").collect::<Vec<_>>().join(" ")
    };
    assert!(tags(&around).starts_with("shared:"));
    assert_eq!((tags(&store.graph.join("overlay")).as_str(), tags(&merged).as_str()), ("", ""));
}

#[test]
fn what_a_full_disk_keeps_from_being_tried_is_tried_again() {
    // INI-6, DEF-7, DEF-17: wherever in the attempt the room ends, in the kernel's part of it, too
    let none = rustix::mount::MountFlags::empty();
    let mut failures = 0;
    for inodes in 4..200 {
        let store = TestStore::new();
        fs::create_dir(&store.graph).unwrap();
        let room = std::ffi::CString::new(format!("nr_inodes={inodes}")).unwrap();
        rustix::mount::mount("tmpfs", &store.graph, "tmpfs", none, room.as_c_str()).unwrap();
        let driver = store.overlay(&[]);
        let by_kernel = || {
            assert!(store.run.join("overlay/overlay-true").is_file(), "{inodes}");
            assert_eq!(fs::read_to_string(store.home(".has-mount-program")).unwrap(), "false");
        };
        let Err(e) = driver.prepare() else {
            by_kernel();
            break;
        };
        failures += 1;
        assert_eq!(e.os_error(), Some(std::io::ErrorKind::StorageFull), "{inodes}: {e}");
        let remembered = fs::read_dir(store.run.join("overlay")).map_or(0, Iterator::count);
        assert_eq!((remembered, store.home(".has-mount-program").exists()), (0, false), "{inodes}");
        rustix::mount::mount_remount(&store.graph, none, c"nr_inodes=1000").unwrap();
        driver.prepare().unwrap();
        by_kernel();
    }
    assert!((11..150).contains(&failures), "{failures}");
}

#[test]
fn a_refused_unmount_is_told() {
    // DEF-21, PUT-4
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["a"]);
    let merged = driver.get(&id("a"), &plain()).unwrap();
    let e = without(CapabilitySet::SYS_ADMIN, || driver.put(&id("a")).unwrap_err());
    assert_eq!((e.raw_os_error(), e.object_id()), (Some(libc::EPERM), Some("a")), "{e}");
    assert!(driver.is_mounted(&merged));
}

#[test]
fn metadata_has_the_keys_of_go() {
    // REM-9
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid", "top"]);
    fs::create_dir(store.home("mid/diff1")).unwrap();
    let rows = driver.metadata(&id("top")).unwrap();
    let at = |path: &str| store.home(path).to_str().unwrap().to_owned();
    let expected = [
        ("LowerDir", format!("{}:{}", at("mid/diff"), at("base/diff"))),
        ("MergedDir", at("top/merged")),
        ("UpperDir", at("top/diff")),
        ("WorkDir", at("top/work")),
    ];
    assert_eq!(rows, expected.map(|(k, v)| (k.to_owned(), v)).into());
    assert!(!driver.metadata(&id("base")).unwrap().contains_key("LowerDir"));
    assert_eq!(driver.metadata(&id("none")).unwrap_err().kind(), ErrorKind::LayerUnknown);
}

#[test]
fn a_layer_is_filled_without_a_mount() {
    // APL-1: the size is that of the content
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    let tar = tar_of(&[("d/", ""), ("d/f", "12345"), (".wh.gone", "")]);
    let size =
        driver.apply_diff(&id("top"), &ApplyOptions::default(), &mut tar.as_slice()).unwrap();
    assert_eq!(size, 5);
    assert_eq!(fs::read_to_string(store.home("top/diff/d/f")).unwrap(), "12345");
    assert_eq!(store.home("top/diff/gone").symlink_metadata().unwrap().rdev(), 0);
    assert!(!driver.is_mounted(&store.home("top/merged")));
}

#[test]
fn what_the_caller_says_of_owners_counts() {
    // ADD-8
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["a", "b"]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_uid(5);
    header.set_mode(0o644);
    header.set_size(0);
    tar.append_data(&mut header, "f", std::io::empty()).unwrap();
    let tar = tar.into_inner().unwrap();
    let lenient = ApplyOptions { ignore_chown_errors: true, ..ApplyOptions::default() };
    without(CapabilitySet::CHOWN, || {
        driver.apply_diff(&id("a"), &ApplyOptions::default(), &mut tar.as_slice()).unwrap_err();
        driver.apply_diff(&id("b"), &lenient, &mut tar.as_slice()).unwrap();
    });
    assert_eq!(store.home("b/diff/f").metadata().unwrap().uid(), 0);
}

#[test]
fn older_uppers_of_lower_layers_count_as_below() {
    // ADD-7
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    fs::create_dir(store.home("base/diff1")).unwrap();
    fs::write(store.home("base/diff1/f"), "old").unwrap();
    fs::write(store.home("top/diff/f"), "newer").unwrap();
    fs::write(store.home("top/diff/g"), "new").unwrap();
    let changes = driver.changes(&id("top"), Some(&id("base")), &DiffOptions::default()).unwrap();
    assert_eq!(change_list(&changes), ["A /g", "C /f"]);
}

#[test]
fn content_that_another_program_deleted_becomes_no_layer() {
    // store-format.md 10.3: containers/storage before 1.59 takes `tempdirs` for a layer
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base"]);
    let locks = || {
        let names = fs::read_dir(store.home("tempdirs")).unwrap();
        names.map(|e| e.unwrap().path()).find(|p| p.to_str().unwrap().contains("/lock-")).unwrap()
    };
    for all in [true, false] {
        let staged = driver.stage(None, &ApplyOptions::default()).unwrap();
        rustix::fs::mkdirat(staged.root(), "d", rustix::fs::Mode::RWXU).unwrap();
        match all {
            true => fs::remove_dir_all(store.home("tempdirs")).unwrap(),
            // As when something new came while it was deleted.
            false => fs::remove_file(locks()).unwrap(),
        }
        assert_eq!(staged.check().unwrap_err().kind(), ErrorKind::Busy);
        let base = id("base");
        let e = driver.create_staged(&id("x"), Some(&base), &CreateOptions::default(), staged);
        let e = e.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Busy);
        assert!(e.advice().is_some_and(|hint| hint.contains("again")), "{e}");
        assert!(!driver.exists(&id("x")));
    }
}

#[test]
fn a_page_of_options_is_too_long_for_a_string() {
    // GET-24: one byte less is not
    let page = page_size();
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let home = store.home("").to_str().unwrap().len();
    let path = |id: usize, name: usize| home + id + "/".len() + name;
    let words = if crate::driver::in_user_namespace() { ",userxattr" } else { "" };
    let fixed = "lowerdir=,upperdir=,workdir=".len() + words.len() + 2 * path(1, "diff".len());
    // The lowest layer's id makes the length what it is to be.
    let each = path(64, "diff".len()) + ":".len();
    let between = (page - fixed - path(100, "diff".len())) / each;
    let lowest = page - fixed - between * each - path(0, "diff".len());
    for (length, by_string) in [(lowest - 1, true), (lowest, false)] {
        let mut parent = id(&"x".repeat(length));
        driver.create(&parent, None, &CreateOptions::default()).unwrap();
        for n in 0..between {
            let layer = id(&format!("{:064x}", n + length * 1000));
            driver.create(&layer, Some(&parent), &CreateOptions::default()).unwrap();
            parent = layer;
        }
        let top = id(if by_string { "s" } else { "p" });
        driver.create_read_write(&top, Some(&parent), &CreateOptions::default()).unwrap();
        let told = super_options(&driver.get(&top, &plain()).unwrap());
        assert_eq!(told.contains("lowerdir+="), !by_string, "{length}: {}", &told[..100]);
        driver.put(&top).unwrap();
    }
}

#[test]
fn a_long_label_goes_the_way_that_takes_it_or_is_refused_by_its_length() {
    // GET-21, GET-24; that such a label is given: `selinux`
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let mut chain: Vec<LayerId> = Vec::new();
    for n in 0..60 {
        let layer = id(&format!("{n:064x}"));
        driver.create(&layer, chain.last(), &CreateOptions::default()).unwrap();
        chain.push(layer);
    }
    let (bottom, top) = (chain.first().unwrap(), chain.last().unwrap());
    let labelled = |length| MountOptions { mount_label: "l".repeat(length), ..plain() };
    let is_by_length = |e: &Error, length: usize| {
        let told = e.to_string();
        assert_eq!(told.contains("label has"), e.kind() == ErrorKind::InvalidArgument, "{told}");
        told.contains(&format!("has {length} bytes"))
            && e.advice().is_some_and(|a| a.contains("ranges"))
    };
    let ways: [&[(Call, Errno)]; 4] = [
        &[],
        &[(Call::LowerdirPlus, Errno::INVAL)],
        &[(Call::Fsopen, Errno::NOSYS)],
        &[(Call::Fsopen, Errno::PERM)],
    ];
    for way in ways {
        refused::with(way, || {
            // No kernel knows this label, and says so where it is asked.
            for (layer, length) in [(bottom, 256), (top, 255), (top, 256), (top, 3000)] {
                let e = driver.get(layer, &labelled(length)).unwrap_err();
                assert!(!is_by_length(&e, length), "{way:?} {length}: {e}");
                assert_eq!(e.raw_os_error(), Some(libc::EINVAL), "{way:?} {length}: {e}");
            }
            // With the numbers of 60 layers, no page has room for it.
            for layer in [bottom, top] {
                let e = driver.get(layer, &labelled(page_size())).unwrap_err();
                assert!(is_by_length(&e, page_size()), "{way:?}: {e}");
            }
            let e = driver.mount_detached(bottom, &labelled(256)).unwrap_err();
            let takes_parts = way.is_empty() && !kernel_before(6, 7);
            assert_eq!(is_by_length(&e, 256), takes_parts, "{way:?}: {e}");
        });
    }
    for layer in [bottom, top] {
        assert!(!is_overlay_mount(&store.home(layer.as_str()).join("merged")));
    }
}

#[test]
fn a_list_of_lowers_that_was_cut_is_refused() {
    // ADD-13
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "mid", "top"]);
    fs::write(store.home("top/lower-layers"), "mid").unwrap();
    let e = driver.get(&id("top"), &plain()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
    assert!(e.to_string().contains("top/lower-layers"), "{e}");
}
