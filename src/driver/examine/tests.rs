//! Examinations of stores on this machine.

use std::path::Path;

use super::*;
use crate::sys::refused::{self, Call};

/// Every finding of an overlay store that stands alone, in the order of the examination: the names are the interface.
const NAMES: [&str; 32] = [
    "driver",
    "graph-root",
    "kernel-recent",
    "overlay",
    "layers-one-by-one",
    "metacopy-option",
    "redirect-dir-option",
    "volatile",
    "userxattr",
    "data-only-layers",
    "layers-by-descriptor",
    "metacopy-default",
    "redirect-dir-default",
    "overlay-mounts",
    "metacopy",
    "native-diff",
    "id-mapped-layers",
    "file-system",
    "entry-types",
    "shared-data",
    "fs-verity",
    "project-quota",
    "free-space",
    "free-inodes",
    "may-mount",
    "user-namespaces",
    "subordinate-uids",
    "subordinate-gids",
    "fuse-device",
    "fuse-overlayfs",
    "synced",
    "setting",
];

fn options(root: &Path, driver: &str, words: &[&str]) -> StoreOptions {
    StoreOptions {
        graph_root: root.join("g"),
        run_root: root.join("r"),
        driver: driver.to_owned(),
        driver_options: words.iter().map(|&w| w.to_owned()).collect(),
        ..StoreOptions::default()
    }
}

fn find<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    findings.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no finding {name}"))
}

fn entries(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_names_stay() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let findings = examine(&options(root.path(), "overlay", &["mountopt=metacopy=on"]), &[]);
    assert_eq!(findings.iter().map(|f| f.name).collect::<Vec<_>>(), NAMES);
    assert!(findings.iter().all(|f| !f.why.is_empty()), "{findings:?}");
    assert_eq!(entries(root.path()), [""; 0], "an examination writes nothing");
}

#[test]
fn the_kernel_is_asked() {
    if !rustix::process::geteuid().is_root() || crate::sys::mount::kernel_before(6, 13) {
        println!("skipped: asking the kernel: needs root and Linux 6.13");
        return;
    }
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let findings = examine(&options(root.path(), "overlay", &[]), &[]);
    for name in
        ["overlay", "layers-one-by-one", "layers-by-descriptor", "volatile", "metacopy-option"]
    {
        assert_eq!(find(&findings, name).answer, Answer::Yes, "{:?}", find(&findings, name));
    }
    assert_eq!(
        find(&findings, "overlay-mounts").answer,
        Answer::Unknown,
        "nobody has mounted here"
    );
    assert!(is_usable(&findings), "{findings:?}");
}

/// With a scratch directory everything is tried out, the answers differ with the configured words, and nothing stays.
#[test]
fn a_trial_answers_and_leaves_nothing() {
    if !rustix::process::geteuid().is_root() || super::super::in_user_namespace() {
        println!("skipped: trying overlay out: needs root");
        return;
    }
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let beside = tempfile::tempdir_in("/var/tmp").unwrap();
    let scratch = [PathBuf::from("/proc"), root.path().join("g"), beside.path().to_path_buf()];
    let examined = |words: &[&str]| examine(&options(root.path(), "overlay", words), &scratch);

    let plain = examined(&[]);
    assert_eq!(find(&plain, "overlay-mounts").answer, Answer::Yes, "{plain:?}");
    let mapped = find(&plain, "id-mapped-layers");
    assert_eq!((mapped.answer, mapped.why.as_str()), (Answer::Yes, "they were mounted here"));
    refused::with(&[(Call::MountSetattr, rustix::io::Errno::INVAL)], || {
        let refused = examined(&[]);
        let mapped = find(&refused, "id-mapped-layers");
        assert_eq!(mapped.answer, Answer::No, "whatever is known of the kernel: {mapped:?}");
        assert!(mapped.why.contains("maps ids") && mapped.change.is_some(), "{mapped:?}");
    });
    let with_metacopy = examined(&["mountopt=metacopy=on"]);
    assert_eq!(find(&with_metacopy, "metacopy").answer, Answer::Yes, "{with_metacopy:?}");
    let native = find(&with_metacopy, "native-diff");
    assert_eq!(native.answer, Answer::No, "metacopy switches redirect_dir on");
    assert!(native.why.contains("REDIRECT_DIR") && native.change.is_some(), "{native:?}");
    if find(&plain, "redirect-dir-default").answer == Answer::No {
        assert_eq!(find(&plain, "native-diff").answer, Answer::Yes, "{plain:?}");
    }

    assert_eq!(entries(root.path()), [""; 0]);
    assert_eq!(entries(beside.path()), [""; 0], "the trial's directory is gone");
    let table = crate::sys::mount::mount_table().unwrap();
    assert!(!table.iter().any(|m| m.target.starts_with(beside.path())), "and its mounts");
}

#[test]
fn without_a_place_for_it_nothing_is_tried() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let findings = examine(&options(root.path(), "overlay", &[]), &["/proc".into()]);
    let mounts = find(&findings, "overlay-mounts");
    assert_eq!(mounts.answer, Answer::Unknown);
    assert!(mounts.why.contains("file system of the graph root"), "{mounts:?}");
}

/// What the run root remembers is told, with its reason.
#[test]
fn the_cache_is_read() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let run = root.path().join("r/overlay");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("overlay-true"), "").unwrap();
    std::fs::write(run.join("native-diff(nodev)-false"), "a reason of old").unwrap();
    std::fs::write(run.join("idmapped-lower-dir-false"), "").unwrap();
    let findings = examine(&options(root.path(), "overlay", &["mountopt=nodev"]), &[]);
    assert_eq!(find(&findings, "overlay-mounts").answer, Answer::Yes);
    assert_eq!(find(&findings, "metacopy").answer, Answer::Unknown);
    assert_eq!(find(&findings, "id-mapped-layers").answer, Answer::No);
    let native = find(&findings, "native-diff");
    assert_eq!((native.answer, native.why.as_str()), (Answer::No, "a reason of old"));
}

/// Who maps ids depends on the configuration, too, and on the user.
#[test]
fn mapped_ids_are_those_of_this_store() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let found = |words: &[&str]| {
        let findings = examine(&options(root.path(), "overlay", words), &[]);
        let found = find(&findings, "id-mapped-layers");
        (found.answer, found.why.clone())
    };
    assert_eq!(found(&["disable_idmap=true"]), (Answer::No, "disable_idmap is set".to_owned()));
    let by_program = found(&["mount_program=/bin/true"]);
    assert_eq!(by_program, (Answer::Yes, "\"/bin/true\" maps them".to_owned()));
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let everybodys = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(root.path(), everybodys).unwrap();
    let of_a_user = std::thread::scope(|scope| {
        let as_user = || {
            // Of this thread alone, unlike what the C library does.
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(54321)).unwrap();
            found(&[])
        };
        scope.spawn(as_user).join().unwrap()
    });
    assert_eq!(of_a_user.0, Answer::No, "{}", of_a_user.1);
}

#[test]
fn what_keeps_a_store_from_use_is_told() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    for (driver, words, says) in [
        ("zfs", &[][..], "zfs"),
        ("overlay", &["size=abc"], "size"),
        ("overlay", &["mountopt=no-such-word=1"], "no-such-word"),
        ("vfs", &["vfs.nosuch=1"], "nosuch"),
    ] {
        let findings = examine(&options(root.path(), driver, words), &[]);
        assert!(!is_usable(&findings), "{driver} {words:?}");
        let driver = find(&findings, "driver");
        assert!(
            driver.needed && driver.answer == Answer::No && driver.why.contains(says),
            "{driver:?}"
        );
    }
    std::fs::write(root.path().join("g"), "no directory").unwrap();
    let findings = examine(&options(root.path(), "vfs", &[]), &[]);
    assert!(!is_usable(&findings));
    assert!(find(&findings, "graph-root").why.contains("not a directory"));
}

#[test]
fn vfs_has_no_findings_on_mounts() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let findings = examine(&options(root.path(), "vfs", &["vfs.sync=none"]), &[]);
    assert!(is_usable(&findings), "{findings:?}");
    assert!(findings.iter().all(|f| f.name != "overlay-mounts" && f.name != "native-diff"));
    assert_eq!(find(&findings, "synced").answer, Answer::No);
    assert!(find(&findings, "driver").change.as_deref().is_some_and(|c| c.contains("overlay")));
}

/// A new file system in a file below `dir`, mounted; `None`, having said why, where that cannot be had.
fn disk(dir: &Path, kind: &str, made_with: &[&str]) -> Option<PathBuf> {
    use std::process::Command;
    let (image, target) = (dir.join(format!("{kind}.image")), dir.join(kind));
    let _ = std::fs::create_dir(&target);
    std::fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
    let made = Command::new(format!("mkfs.{kind}")).arg("-q").args(made_with).arg(&image).status();
    let mounted = Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&target).status();
    if made.is_ok_and(|s| s.success()) && mounted.is_ok_and(|s| s.success()) {
        return Some(target);
    }
    println!("skipped: asking a disk of {kind}: no mkfs.{kind}, no loop devices or no {kind}");
    None
}

#[test]
fn disks_tell_of_shared_data_and_verity() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    // A kernel without CONFIG_FS_VERITY has it on no disk.
    let verity = Answer::from(Path::new("/sys/fs/ext4/features/verity").exists());
    for (kind, made_with, name, wanted) in [
        ("xfs", &["-m", "reflink=1"][..], "shared-data", Answer::Yes),
        ("xfs", &["-m", "reflink=0"], "shared-data", Answer::No),
        ("ext4", &["-O", "verity"], "fs-verity", verity),
        ("ext4", &["-O", "^verity"], "fs-verity", Answer::No),
        ("ext4", &["-O", "^filetype"], "entry-types", Answer::No),
    ] {
        let Some(root) = disk(dir.path(), kind, made_with) else { continue };
        let findings = examine(&options(&root, "vfs", &[]), &[]);
        crate::sys::mount::detach(&root).unwrap();
        let found = find(&findings, name);
        assert_eq!(found.answer, wanted, "{made_with:?}: {found:?}");
        assert_eq!(find(&findings, "file-system").why, kind);
    }
}
