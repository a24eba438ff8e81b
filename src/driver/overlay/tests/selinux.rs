//! Labels of mounts, under a loaded and enforced policy: that of a virtual machine, `tests/vm/policy.conf`.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;

use super::mounts::{deep, hex};
use super::shifting::mapped;
use crate::driver::tests::{TestStore, chain, id, label_of, mounted_at, super_options, words};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, Driver, MountOptions};
use crate::sys::mount::{attach, detach, kernel_before};
use crate::sys::refused::{self, Call};
use crate::{ErrorKind, IdMaps, LayerId};

const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

fn labelled(label: &str, options: &[&str]) -> MountOptions {
    MountOptions { mount_label: label.to_owned(), ..words(options) }
}

/// That a mount has the label, all that is in it and in the mount table.
fn is_labelled(merged: &Path, found: &str, label: &str) {
    assert_eq!((label_of(merged), label_of(merged.join(found))), (label.into(), label.into()));
    let told = super_options(merged);
    assert!(told.contains(&format!("context=\"{label}\"")), "{told}");
}

#[test]
#[ignore = "needs an enforced SELinux policy: tests/vm/run"]
fn every_way_to_mount_gives_the_label_to_all_files() {
    // GET-21, MNT-1, MNT-2; more than a page of options goes by parameters, before Linux 6.7 by numbers
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    deep(&*driver, 50);
    let ways: [&[(Call, Errno)]; 3] =
        [&[], &[(Call::LowerdirPlus, Errno::INVAL)], &[(Call::Fsopen, Errno::NOSYS)]];
    for way in ways {
        refused::with(way, || {
            for layer in [hex(1), hex(50)] {
                let merged = driver.get(&layer, &labelled(LABEL, &[])).unwrap();
                is_labelled(&merged, "deepest", LABEL);
                fs::write(merged.join("new"), "n").unwrap();
                fs::write(merged.join("deepest"), "changed").unwrap();
                is_labelled(&merged, "new", LABEL);
                is_labelled(&merged, "deepest", LABEL);
                driver.put(&layer).unwrap();
                for written in ["new", "deepest"] {
                    fs::remove_file(store.home(&layer).join("diff").join(written)).unwrap();
                }
                let merged = driver.get(&layer, &labelled(LABEL, &["ro", "nodev"])).unwrap();
                is_labelled(&merged, "deepest", LABEL);
                assert_eq!(mounted_at(&merged).unwrap().options, "ro,nodev,relatime");
                driver.put(&layer).unwrap();
            }
        });
    }
    // Without a label, files have their own.
    let merged = driver.get(&hex(1), &MountOptions::default()).unwrap();
    assert!(super_options(&merged).contains("seclabel"), "{}", super_options(&merged));
    assert_eq!(label_of(merged.join("deepest")), label_of(store.home(hex(0)).join("diff/deepest")));
    assert!(!label_of(&merged).contains("container_file_t"));
    driver.put(&hex(1)).unwrap();
}

#[test]
#[ignore = "needs an enforced SELinux policy: tests/vm/run"]
fn a_label_too_long_for_a_parameter_is_given_all_the_same() {
    // GET-21, GET-24
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    deep(&*driver, 50);
    // The kernel tells the categories once each.
    let long = format!("{LABEL}{}", ",c1,c2".repeat(50));
    assert!(long.len() > 255);
    for options in [&[][..], &["ro"]] {
        for layer in [hex(1), hex(50)] {
            let merged = driver.get(&layer, &labelled(&long, options)).unwrap();
            is_labelled(&merged, "deepest", LABEL);
            driver.put(&layer).unwrap();
        }
    }
    // What is mounted for a change of owners, too.
    let maps = super::ids::maps();
    driver.update_id_maps(&hex(1), &IdMaps::default(), &maps, &long).unwrap();
    let options = CreateOptions {
        mount_label: long.clone(),
        uid_map: maps.uids.clone(),
        gid_map: maps.gids.clone(),
        ..CreateOptions::default()
    };
    let copy = driver.begin_owner_copy(&hex(2), &options, &IdMaps::default()).unwrap();
    copy.unwrap().make().unwrap();
    if kernel_before(6, 7) {
        return;
    }
    let e = driver.mount_detached(&hex(1), &labelled(&long, &["ro"])).unwrap_err();
    assert!(e.to_string().contains("takes one of 255"), "{e}");
}

#[test]
#[ignore = "needs an enforced SELinux policy: tests/vm/run"]
fn mounts_elsewhere_and_with_mapped_owners_are_labelled_too() {
    // GET-21, GET-33
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    fs::write(store.home("base/diff/file"), "x").unwrap();
    let maps = super::ids::maps();
    let with_maps = MountOptions { mount_label: LABEL.to_owned(), ..mapped(&maps, &[]) };
    let merged = driver.get(&id("top"), &with_maps).unwrap();
    is_labelled(&merged, "file", LABEL);
    driver.put(&id("top")).unwrap();
    // Owners that are changed by a copy: what is mounted for that has the label as well, and the layer is as without.
    driver.update_id_maps(&id("top"), &IdMaps::default(), &maps, LABEL).unwrap();
    let merged = driver.get(&id("top"), &labelled(LABEL, &[])).unwrap();
    is_labelled(&merged, "file", LABEL);
    driver.put(&id("top")).unwrap();

    if kernel_before(6, 7) {
        return;
    }
    let mount = driver.mount_detached(&id("top"), &labelled(LABEL, &["ro"])).unwrap();
    let place = store.beside("place");
    fs::create_dir(&place).unwrap();
    attach(&mount, &place).unwrap();
    is_labelled(&place, "file", LABEL);
    detach(&place).unwrap();
    let asked = labelled("system_u:object_r:nosuch_t:s0", &["ro"]);
    let e = driver.mount_detached(&id("top"), &asked).unwrap_err();
    assert!(e.to_string().contains("policy does not know the label"), "{e}");
}

#[test]
#[ignore = "needs an enforced SELinux policy: tests/vm/run"]
fn wrong_labels_are_refused_with_what_is_wrong() {
    // GET-21
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    deep(&*driver, 50);
    let unknown = "policy does not know the label";
    for (label, why) in [
        ("system_u:object_r:nosuch_t:s0", unknown),
        ("nobody_u:object_r:container_file_t:s0", unknown),
        ("system_u:object_r:container_file_t:s0:c7", unknown),
        ("system_u:object_r:container_file_t", unknown),
        ("label", unknown),
        ("system_u:object_r:secret_t:s0:c1,c2", "relabelto"),
        ("a\",upperdir=/etc,\"", "quote"),
    ] {
        for layer in [hex(1), hex(50)] {
            for options in [&[][..], &["ro"]] {
                let e = driver.get(&layer, &labelled(label, options)).unwrap_err();
                let told = format!("{e} {:?}", e.advice());
                assert!(told.contains(why) && told.contains(layer.as_str()), "{label}: {told}");
                let quoted = format!("{label:?}");
                assert!(told.contains(quoted.trim_matches('"')), "{label}: {told}");
                assert_eq!(mounted_at(&store.home(&layer).join("merged")), None);
            }
            let merged = driver.get(&layer, &labelled(LABEL, &[])).unwrap();
            is_labelled(&merged, "deepest", LABEL);
            // DEF-16: one mount has one label.
            let other = labelled("system_u:object_r:container_file_t:s0:c3", &[]);
            let e = driver.get(&layer, &other).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Busy);
            assert!(e.to_string().contains("s0:c3") && e.to_string().contains(LABEL), "{e}");
            driver.put(&layer).unwrap();
        }
    }
}

#[test]
#[ignore = "needs an enforced SELinux policy: tests/vm/run"]
fn a_process_sees_the_files_of_its_own_categories_only() {
    // GET-21: what the label is for
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    fs::write(store.home("base/diff/file"), "content\n").unwrap();
    let merged = driver.get(&id("top"), &labelled(LABEL, &[])).unwrap();
    let script =
        "printf %s $1 >/proc/self/attr/current && cd $2 && read line <file && echo $line >copy";
    let read = |categories: &str| {
        let context = format!("system_u:system_r:container_t:s0:{categories}");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh", &context]).arg(&merged).output().unwrap()
    };
    let done = read("c1,c2");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(fs::read_to_string(merged.join("copy")).unwrap(), "content\n");
    for others in ["c1", "c1,c3", "c3,c4"] {
        let done = read(others);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains("denied"), "{others}: {done:?}");
    }
    driver.put(&id("top")).unwrap();
}

/// A tar of one file with that label and an attribute of a user.
fn tar_with_label(name: &str, label: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let more = [("SCHILY.xattr.security.selinux", label), ("SCHILY.xattr.user.kept", "yes")];
    tar.append_pax_extensions(more.map(|(key, value)| (key, value.as_bytes()))).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(1);
    tar.append_data(&mut header, name, &b"x"[..]).unwrap();
    tar.into_inner().unwrap()
}

fn diff(driver: &dyn Driver, layer: &LayerId, parent: Option<&LayerId>) -> Vec<u8> {
    let mut tar = Vec::new();
    driver.diff(layer, parent, &DiffOptions::default(), &mut tar).unwrap();
    tar
}

#[test]
#[ignore = "needs an enforced SELinux policy: tests/vm/run"]
fn labels_neither_come_from_archives_nor_go_into_them() {
    // UNP-17, TAR-9
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    chain(&*driver, &["base", "top"]);
    for label in [LABEL, "system_u:object_r:secret_t:s0", "no label at all"] {
        let tar = tar_with_label("file", label);
        driver.apply_diff(&id("base"), &ApplyOptions::default(), &mut &*tar).unwrap();
        let file = store.home("base/diff/file");
        assert_eq!(label_of(&file), label_of(store.home("base/diff")));
        let mut kept = [0; 8];
        assert_eq!(rustix::fs::getxattr(&file, "user.kept", &mut kept[..]).unwrap(), 3);
    }
    let merged = driver.get(&id("top"), &labelled(LABEL, &[])).unwrap();
    fs::write(merged.join("new"), "n").unwrap();
    fs::write(merged.join("file"), "changed").unwrap();
    for (layer, parent) in [("base", None), ("top", Some(id("base")))] {
        let tar = diff(&*driver, &id(layer), parent.as_ref());
        let holds = |what: &str| tar.windows(what.len()).any(|w| w == what.as_bytes());
        assert!(!holds("selinux") && !holds("container_file_t"), "{layer}");
        assert!(holds("SCHILY.xattr.user.kept"), "{layer}");
    }
    driver.put(&id("top")).unwrap();
}

#[test]
#[ignore = "needs an enforced SELinux policy: tests/vm/run"]
fn the_go_library_tells_the_kernel_the_same() {
    // GET-21
    let program = std::env::var_os("REFERENCE").expect("tests/vm/run brings the Go program");
    let store = TestStore::new();
    let driver = store.overlay(&[]);
    let go = |command: &str, arguments: &[&str]| {
        let mut run = Command::new(&program);
        run.arg(command).arg("--graph").arg(&store.graph).arg("--run").arg(&store.run);
        let done = run.args(["--storage-driver", "overlay"]).args(arguments).output().unwrap();
        assert!(done.status.success(), "{command} {arguments:?}: {done:?}");
        done.stdout
    };
    go("create-layer", &["--readonly", "--id", "base"]);
    fs::write(store.home("base/diff/file"), "x").unwrap();
    go("create-layer", &["--id", "top", "--label", LABEL, "base"]);
    go("create-image", &["--id", "image", "top"]);
    let merged = store.home("top/merged");
    let look = || {
        is_labelled(&merged, "file", LABEL);
        // The first mount of a layer notes a number on it, and says so.
        let told = super_options(&merged).replace(",uuid=on", "");
        (mounted_at(&merged).unwrap().options, told)
    };
    for (arguments, options) in [
        (vec!["--label", LABEL, "top"], vec![]),
        (vec!["--read-only", "--label", LABEL, "image"], vec!["ro"]),
    ] {
        go("mount", &arguments);
        let theirs = look();
        if options.is_empty() {
            fs::write(merged.join("new"), "n").unwrap();
        }
        go("unmount", &["top"]);
        driver.get(&id("top"), &labelled(LABEL, &options)).unwrap();
        assert_eq!(look(), theirs, "{options:?}");
        if options.is_empty() {
            is_labelled(&merged, "new", LABEL);
        }
        let ours = diff(&*driver, &id("top"), Some(&id("base")));
        assert!(ours == go("diff", &["--uncompressed", "top"]), "{options:?}: the diffs differ");
        driver.put(&id("top")).unwrap();
    }
}
