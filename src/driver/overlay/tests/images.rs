//! Composefs layers that are made here, by mkcomposefs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ids::owner;
use crate::driver::tests::{
    TestStore, chain, change_list, id, mode, snapshot, super_options, tar_names, words,
};
use crate::driver::{ApplyOptions, CreateOptions, DiffOptions, Driver, MountOptions, PartialPulls};
use crate::sys::mount::{kernel_before, mounts_below};
use crate::sys::verity;
use crate::{Digest, ErrorKind};

fn pulls(driver: &dyn Driver) -> &dyn PartialPulls {
    driver.partial_pulls().unwrap()
}

/// Begins a pull by digests; `None` where none can be made.
fn begin(driver: &dyn Driver) -> Option<PathBuf> {
    match pulls(driver).begin(&ApplyOptions::default()) {
        Ok(partial) => {
            assert!(partial.by_digest);
            Some(partial.target)
        }
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::NotSupported, "{e}");
            println!("skipped: composefs layers: {e} (scripts/mkcomposefs fetches it)");
            None
        }
    }
}

/// Puts content in its place; the words of a line that name it.
fn content(target: &Path, text: &str) -> String {
    let digest = Digest::sha256(text.as_bytes());
    let hex = digest.as_str().strip_prefix("sha256:").unwrap();
    let (dir, file) = hex.split_at(2);
    fs::create_dir_all(target.join(dir)).unwrap();
    fs::write(target.join(dir).join(file), text).unwrap();
    format!("{dir}/{file} - -")
}

const ROOT: &str = "/ 0 40700 3 0 0 0 1.0 - - -\n";

fn commit(driver: &dyn Driver, name: &str, parent: Option<&str>, target: &Path, dump: &str) {
    let parent = parent.map(id);
    driver.create(&id(name), parent.as_ref(), &CreateOptions::default()).unwrap();
    let keeps_mode = parent.is_none();
    if keeps_mode {
        fs::set_permissions(target, PermissionsExt::from_mode(0o700)).unwrap();
    }
    let mut dump = dump.as_bytes();
    pulls(driver).commit_image(&id(name), parent.as_ref(), target, keeps_mode, &mut dump).unwrap();
}

/// A base layer with files of every kind.
fn base(driver: &dyn Driver) -> bool {
    let Some(target) = begin(driver) else { return false };
    let (f, gone) = (content(&target, "the file"), content(&target, "to be deleted"));
    let dump = [
        ROOT,
        "/d 0 42755 2 5 6 0 1700000000.0 - - -\n",
        &format!("/d/f\\x20g 8 104751 2 7 8 0 1700000001.5 {f} user.note=a\\x20b\\x3dc\n"),
        "/d/h 8 @104751 2 7 8 0 1700000001.5 /d/f\\x20g - -\n",
        &format!("/gone 13 100644 1 0 0 0 0.0 {gone}\n"),
        "/empty 0 100600 1 0 0 0 0.0 - - -\n",
        "/link 5 120777 1 0 0 0 0.0 d/f\\x20g - -\n",
        "/null 0 20666 1 0 0 259 0.0 - - -\n",
        "/old 0 40755 2 0 0 0 0.0 - - -\n",
        "/old/inner 0 100644 1 0 0 0 0.0 - - -\n",
    ];
    commit(driver, "base", None, &target, &dump.concat());
    true
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn check_base(merged: &Path) {
    assert_eq!(mode(merged), 0o700);
    let file = merged.join("d/f g");
    assert_eq!((read(&file), mode(&file), owner(&file)), ("the file".into(), 0o4751, (7, 8)));
    assert_eq!(owner(merged.join("d")), (5, 6));
    assert_eq!(fs::metadata(&file).unwrap().mtime(), 1_700_000_001);
    assert_eq!(read(merged.join("d/h")), "the file");
    let mut value = [0u8; 16];
    let n = rustix::fs::getxattr(&file, "user.note", &mut value).unwrap();
    assert_eq!(&value[..n], b"a b=c");
    assert_eq!(fs::read_link(merged.join("link")).unwrap(), Path::new("d/f g"));
    assert_eq!(fs::metadata(merged.join("null")).unwrap().rdev(), 259);
    assert_eq!(fs::metadata(merged.join("empty")).unwrap().len(), 0);
}

#[test]
fn a_layer_made_here_is_mounted_compared_and_removed() {
    // APL-5, APL-6, GET-38, GET-41
    let store = TestStore::new();
    let driver = store.overlay(&["use_composefs=true"]);
    if !base(&*driver) {
        return;
    }
    let blob = store.home("base/composefs-data/composefs.blob");
    assert_eq!((mode(blob.parent().unwrap()), mode(&blob)), (0o700, 0o644));
    assert_eq!(fs::read_dir(store.home("staging")).unwrap().count(), 0);
    let merged = driver.get(&id("base"), &words(&["ro"])).unwrap();
    check_base(&merged);
    driver.put(&id("base")).unwrap();

    // A layer upon it that says nothing of its root, and one upon both.
    let target = begin(&*driver).unwrap();
    let new = content(&target, "new");
    let dump = format!("/ 0 40755 3 0 0 0 0.0 - - -\n/new 3 100644 1 1 1 0 0.0 {new}\n");
    commit(&*driver, "mid", Some("base"), &target, &dump);
    assert!(store.home("mid/composefs-data/composefs.blob").exists());
    let options = CreateOptions::default();
    driver.create_read_write(&id("ctr"), Some(&id("mid")), &options).unwrap();
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    check_base(&merged);
    assert_eq!((read(merged.join("new")), owner(merged.join("new"))), ("new".into(), (1, 1)));
    fs::remove_file(merged.join("gone")).unwrap();
    fs::write(merged.join("d/f g"), "changed").unwrap();
    driver.put(&id("ctr")).unwrap();
    let compare = DiffOptions::default();
    let changes = driver.changes(&id("ctr"), Some(&id("mid")), &compare).unwrap();
    assert_eq!(change_list(&changes), ["C /d", "C /d/f g", "D /gone"]);
    let mut tar = Vec::new();
    driver.diff(&id("mid"), Some(&id("base")), &compare, &mut tar).unwrap();
    assert_eq!(tar_names(&tar), ["new"]);
    for layer in ["ctr", "mid", "base"] {
        driver.remove(&id(layer)).unwrap();
        assert!(!store.home(layer).exists());
    }
    assert!(mounts_below(&store.home("tempdirs")).unwrap().is_empty());
}

#[test]
fn a_layer_that_deletes_becomes_an_ordinary_one() {
    // APL-6: mkcomposefs writes no whiteouts that an overlay upon the image obeys
    let store = TestStore::new();
    let driver = store.overlay(&["use_composefs=true"]);
    if !base(&*driver) {
        return;
    }
    let target = begin(&*driver).unwrap();
    let f = content(&target, "another file of some length");
    let dump = [
        "/ 0 40755 3 0 0 0 0.0 - - -\n",
        "/.wh.gone 0 100644 1 0 0 0 0.0 - - -\n",
        "/old 0 40711 2 3 4 0 1700000000.0 - - -\n",
        "/old/.wh..wh..opq 0 100644 1 0 0 0 0.0 - - -\n",
        &format!("/old/file 27 104755 1 1 2 0 1700000001.0 {f} user.note=x\\n\n"),
        "/old/other 27 @104755 1 1 2 0 0.0 /old/file - -\n",
        "/link 4 120777 1 0 0 0 0.0 gone - -\n",
        "/inline 3 100644 1 0 0 0 0.0 - abc -\n",
        "/empty 0 20000 1 0 0 0 0.0 - - -\n",
    ];
    commit(&*driver, "top", Some("base"), &target, &dump.concat());
    assert!(!store.home("top/composefs-data").exists());
    assert_eq!(fs::read_dir(store.home("staging")).unwrap().count(), 0);
    driver.create_read_write(&id("ctr"), Some(&id("top")), &CreateOptions::default()).unwrap();
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    assert_eq!(mode(&merged), 0o700);
    for gone in ["gone", ".wh.gone", "old/inner", "empty"] {
        assert!(!merged.join(gone).exists(), "{gone}");
    }
    let file = merged.join("old/file");
    assert_eq!(
        (read(&file), mode(&file), owner(&file)),
        ("another file of some length".into(), 0o4755, (1, 2))
    );
    assert_eq!(
        fs::metadata(&file).unwrap().ino(),
        fs::metadata(merged.join("old/other")).unwrap().ino()
    );
    assert_eq!((mode(merged.join("old")), owner(merged.join("old"))), (0o711, (3, 4)));
    assert_eq!(read(merged.join("inline")), "abc");
    assert_eq!(fs::read_link(merged.join("link")).unwrap(), Path::new("gone"));
    assert_eq!(read(merged.join("d/f g")), "the file");
    driver.put(&id("ctr")).unwrap();
    let mut tar = Vec::new();
    driver.diff(&id("top"), Some(&id("base")), &DiffOptions::default(), &mut tar).unwrap();
    let names = tar_names(&tar);
    for name in [".wh.gone", ".wh.empty", "old/.wh.inner", "old/file"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
}

#[test]
fn a_bad_list_changes_no_layer() {
    // APL-6
    let store = TestStore::new();
    let driver = store.overlay(&["use_composefs=true"]);
    chain(&*driver, &["a"]);
    let before = snapshot(&store.home("a"));
    for (dump, kind) in [
        (format!("{ROOT}/f 3 100644 1 0 0 0 0.0 ab/cd - -\n"), ErrorKind::InvalidArgument),
        (format!("{ROOT}/f 3"), ErrorKind::InvalidArgument),
        (String::new(), ErrorKind::InvalidArgument),
        // What only mkcomposefs finds: a file in no directory.
        (format!("{ROOT}/no/f 0 100644 1 0 0 0 0.0 - - -\n"), ErrorKind::Io),
    ] {
        let Some(target) = begin(&*driver) else { return };
        let commit =
            pulls(&*driver).commit_image(&id("a"), None, &target, true, &mut dump.as_bytes());
        let e = commit.unwrap_err();
        assert_eq!(e.kind(), kind, "{dump}: {e}");
        assert_eq!(snapshot(&store.home("a")), before);
        pulls(&*driver).discard(&target).unwrap();
    }
    assert_eq!(fs::read_dir(store.home("staging")).unwrap().count(), 0);
}

#[test]
fn go_mounts_what_is_made_here() {
    // GET-38, GET-40, APL-6
    let store = TestStore::new();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/reference/containers-storage");
    if !program.exists() {
        println!("skipped: beside the Go library: `make reference` has not built {program:?}");
        return;
    }
    let driver = store.overlay(&["use_composefs=true", "sync=none"]);
    let Some(target) = begin(&*driver) else { return };
    pulls(&*driver).discard(&target).unwrap();
    let go = |command: &str, args: &[&str]| {
        let mut run = Command::new(&program);
        run.arg(command).arg("--graph").arg(&store.graph).arg("--run").arg(&store.run);
        run.args(["--storage-driver", "overlay", "--storage-opt", "sync=none"]).args(args);
        let output = run.output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    go("create-layer", &["--readonly", "--id", "base"]);
    driver.remove(&id("base")).unwrap();
    assert!(base(&*driver));
    go("create-layer", &["--id", "ctr", "base"]);
    let merged = PathBuf::from(go("mount", &["ctr"]));
    check_base(&merged);
    let by_go = snapshot(&merged);
    go("unmount", &["ctr"]);
    assert_eq!(driver.get(&id("ctr"), &MountOptions::default()).unwrap(), merged);
    assert_eq!(snapshot(&merged), by_go);
    driver.put(&id("ctr")).unwrap();
}

/// Seals a file, and gives its digest in hexadecimal digits.
fn sealed(path: &Path) -> String {
    let file = fs::File::open(path).unwrap();
    assert!(verity::seal(&file).unwrap(), "the kernel seals nothing on this file system");
    let (algorithm, digest) = verity::measure(&file).unwrap().unwrap();
    assert_eq!(algorithm, 1);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[ignore = "needs fs-verity on /var/tmp: tests/vm/run"]
fn fs_verity_seals_images_and_guards_their_content() {
    // GET-41, APL-5: the pulling library seals the content
    let store = TestStore::new();
    let driver = store.overlay(&["use_composefs=true"]);
    let target = begin(&*driver).unwrap();
    let words_of = content(&target, "guarded");
    let stored = words_of.split(' ').next().unwrap();
    let digest = sealed(&target.join(stored));
    let dump = format!("{ROOT}/f 7 100644 1 0 0 0 0.0 {stored} - {digest}\n");
    commit(&*driver, "base", None, &target, &dump);
    let blob = fs::File::open(store.home("base/composefs-data/composefs.blob")).unwrap();
    assert!(verity::measure(&blob).unwrap().is_some());
    driver.create_read_write(&id("ctr"), Some(&id("base")), &CreateOptions::default()).unwrap();
    let use_with = |asked: &[&str]| -> std::io::Result<String> {
        let merged = driver.get(&id("ctr"), &words(asked)).unwrap();
        let text = fs::read_to_string(merged.join("f"));
        driver.put(&id("ctr")).unwrap();
        text
    };
    assert_eq!(use_with(&[]).unwrap(), "guarded");
    if kernel_before(6, 6) {
        return;
    }
    let required = ["metacopy=on", "redirect_dir=on", "verity=require"];
    assert_eq!(use_with(&required).unwrap(), "guarded");
    // Other content in its place: the kernel tells, where it is asked to.
    let place = store.home("base/diff").join(stored);
    fs::remove_file(&place).unwrap();
    fs::write(&place, "changed").unwrap();
    assert_eq!(use_with(&[]).unwrap(), "changed");
    let e = use_with(&required).unwrap_err();
    assert_eq!(e.raw_os_error(), Some(libc::EIO), "{e}");
    sealed(&place);
    let e = use_with(&required).unwrap_err();
    assert_eq!(e.raw_os_error(), Some(libc::EIO), "sealed, with another digest: {e}");
}

#[test]
#[ignore = "needs fs-verity on /var/tmp: tests/vm/run"]
fn fs_verity_digests_of_the_kernels_marks_are_compared() {
    // DIF-11
    let store = TestStore::new();
    if kernel_before(6, 6) {
        return;
    }
    let driver = store.overlay(&["mountopt=metacopy=on,verity=on"]);
    chain(&*driver, &["base", "ctr"]);
    let below = store.home("base/diff/f");
    fs::write(&below, "guarded").unwrap();
    sealed(&below);
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    rustix::fs::chmod(merged.join("f"), 0o640.into()).unwrap();
    driver.put(&id("ctr")).unwrap();
    let mut mark = [0u8; 64];
    let n = rustix::fs::lgetxattr(store.home("ctr/diff/f"), "trusted.overlay.metacopy", &mut mark);
    assert_eq!(n, Ok(4 + 32), "with a digest");
    let diff = || {
        let mut tar = Vec::new();
        let compare = DiffOptions::default();
        driver.diff(&id("ctr"), Some(&id("base")), &compare, &mut tar).map(|()| tar)
    };
    let tar = diff().unwrap();
    assert_eq!(tar_names(&tar), ["f"]);
    assert!(tar.windows(7).any(|w| w == b"guarded"));
    fs::remove_file(&below).unwrap();
    fs::write(&below, "changed").unwrap();
    assert!(diff().unwrap_err().to_string().contains("digest"));
    sealed(&below);
    assert!(diff().unwrap_err().to_string().contains("digest"));
}

#[test]
fn images_do_not_hide_each_others_content() {
    // GET-40: before Linux 6.5, where content lies in layers like any other
    let store = TestStore::new();
    let probes = store.run.join("overlay");
    fs::create_dir_all(&probes).unwrap();
    fs::write(probes.join("dataonly-layers-false"), "as a test").unwrap();
    let driver = store.overlay(&["use_composefs=true"]);
    if !base(&*driver) {
        return;
    }
    let target = begin(&*driver).unwrap();
    let new = content(&target, "new");
    let dump = format!("{ROOT}/new 3 100644 1 1 1 0 0.0 {new}\n");
    commit(&*driver, "mid", Some("base"), &target, &dump);
    let options = CreateOptions::default();
    driver.create_read_write(&id("ctr"), Some(&id("mid")), &options).unwrap();
    let merged = driver.get(&id("ctr"), &MountOptions::default()).unwrap();
    assert!(!super_options(&merged).contains("::"), "{}", super_options(&merged));
    check_base(&merged);
    assert_eq!(read(merged.join("new")), "new");
    let names = fs::read_dir(&merged).unwrap().count();
    assert_eq!(names, 7, "no content is seen by its digest");
    driver.put(&id("ctr")).unwrap();
}
