//! `migrate legacy`, on a store as containers/storage wrote one in 2016.

#[path = "../../../tests/legacy/store.rs"]
mod store;

use std::fs;
use std::path::{Path, PathBuf};

use self::store::{Layer, turn_back};
use crate::beside_go::go_command;
use crate::sandbox::{ORLOP, Run, Sandbox, tar};

const SKIPPED: &str = "skipped: only root can make and mount such a store";

/// An image of two layers and a container on it, in the old layout and with the records of the time. Returns the tars of the layers, and
/// the id of the container's.
fn store_of_2016(sandbox: &Sandbox) -> ([Vec<u8>; 2], String) {
    let base = tar(&[("etc/", b""), ("etc/a", b"1"), ("etc/b", b"2"), ("top", b"t")]);
    let next = tar(&[("etc/", b""), ("etc/a", b"changed"), ("etc/.wh.b", b""), ("new", b"n")]);
    sandbox.ok_with("import-layer -i base -n low", &base);
    sandbox.ok_with("import-layer -i next base", &next);
    sandbox.ok("create-image -i img -n localhost/a:1 -m text next");
    sandbox.ok("create-container -i ctr -n c img");
    let record = sandbox.ok("container -j ctr");
    let layer = record.split("\"layer\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let at = PathBuf::from(sandbox.ok("mount ctr").trim_end());
    fs::write(at.join("mine"), "mine").unwrap();
    fs::remove_file(at.join("top")).unwrap();
    sandbox.ok("unmount ctr");
    sandbox.ok("shutdown");
    let graph = sandbox.path().join("g");
    let image = |id, parent, tar: &[u8]| Layer { id, parent, tar: Some(tar.to_vec()) };
    let home = turn_back(
        &graph,
        &[
            image("base", None, &base),
            image("next", Some("base"), &next),
            Layer { id: &layer, parent: Some("next"), tar: None },
        ],
    );
    // The fields that there were.
    let records = [
        (
            "overlay-layers/layers.json",
            format!(
                r#"[{{"id":"base","names":["low"]}},{{"id":"next","parent":"base"}},{{"id":"{layer}","parent":"next"}}]"#
            ),
        ),
        (
            "overlay-images/images.json",
            r#"[{"id":"img","names":["localhost/a:1"],"layer":"next","metadata":"text"}]"#
                .to_owned(),
        ),
        (
            "overlay-containers/containers.json",
            format!(r#"[{{"id":"ctr","names":["c"],"image":"img","layer":"{layer}"}}]"#),
        ),
    ];
    for (file, text) in records {
        fs::write(graph.join(file), text).unwrap();
    }
    home.show(&layer, |at| check_container(at.to_str().unwrap()));
    ([base, next], layer)
}

/// What is in a mounted container.
fn check_container(at: &str) {
    let at = Path::new(at.trim_end());
    let text = |name: &str| fs::read_to_string(at.join(name)).unwrap_or_default();
    let found = [text("etc/a"), text("etc/b"), text("new"), text("mine"), text("top")];
    assert_eq!(found, ["changed", "", "n", "mine", ""]);
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn a_store_of_2016_is_read_migrated_and_opened_by_go() {
    if !is_root() {
        return println!("{SKIPPED}");
    }
    let sandbox = Sandbox::new(ORLOP, "overlay");
    let (tars, layer) = store_of_2016(&sandbox);
    let graph = sandbox.path().join("g");
    // In its own dialect, before.
    check_container(&sandbox.ok("mount ctr"));
    let root = graph.join("overlay/next/root");
    assert_eq!(sandbox.ok("mount next").trim_end(), root.display().to_string());
    sandbox.ok("unmount next");
    let busy = sandbox.fails("migrate legacy", "mounted");
    assert!(busy.stderr.contains(&layer), "{busy:?}");
    sandbox.ok("unmount ctr");
    assert_eq!(sandbox.output("diff -u next", b"").stdout, tars[1]);

    let would = "Would migrate 2 layers of images and 1 of containers\n";
    assert_eq!(sandbox.ok("migrate legacy --dry-run"), would);
    assert!(root.exists());
    let done = sandbox.ok("migrate legacy");
    let kept = graph.join("overlay.legacy");
    let expected = format!(
        "Migrated 2 layers of images and 1 of containers; 2 verified\nThe old layout is kept in {}; --remove removes it\n",
        kept.display()
    );
    assert_eq!(done, expected);
    assert!(!graph.join("overlay/next/root").exists() && kept.join("next/root/new").exists());
    let nothing = sandbox.ok("migrate legacy --dry-run");
    assert!(nothing.starts_with("No layers are of the legacy layout\n"), "{nothing}");

    for removed in [false, true] {
        check_container(&sandbox.ok("mount ctr"));
        sandbox.ok("unmount ctr");
        for (id, tar) in ["base", "next"].iter().zip(&tars) {
            assert_eq!(&sandbox.output(&format!("diff -u {id}"), b"").stdout, tar, "{id}");
        }
        assert_eq!(sandbox.ok("changes next").lines().count(), 4);
        sandbox.ok("shutdown");
        beside_go(&sandbox, &tars);
        if !removed {
            let said = sandbox.ok("migrate legacy --remove");
            assert_eq!(said, "No layers are of the legacy layout\nRemoved the old layout\n");
            assert!(!kept.exists());
        }
    }
    let said = sandbox.ok("migrate legacy --remove -j");
    assert!(said.contains("\"image-layers\":0") && said.contains("\"removed\":false"), "{said}");
}

/// The Go command opens the store, and each of its layers.
fn beside_go(sandbox: &Sandbox, tars: &[Vec<u8>; 2]) {
    let Some(program) = go_command() else {
        return println!("skipped: no Go command; `make reference` builds one");
    };
    let go = |words: &[&str]| {
        let output = std::process::Command::new(&program)
            .args(["-g".as_ref(), sandbox.path().join("g").as_os_str()])
            .args(["-R".as_ref(), sandbox.path().join("r").as_os_str()])
            .args(["-s", "overlay"])
            .args(words)
            .env("CONTAINERS_STORAGE_CONF", sandbox.path().join("storage.conf"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        output.stdout
    };
    for (id, tar) in ["base", "next"].iter().zip(tars) {
        assert_eq!(&go(&["diff", "-u", id]), tar, "{id}");
    }
    check_container(&String::from_utf8(go(&["mount", "ctr"])).unwrap());
    go(&["unmount", "ctr"]);
    go(&["changes", "next"]);
    go(&["check"]);
    go(&["shutdown"]);
}

#[test]
fn what_does_not_match_its_archive_is_not_migrated() {
    if !is_root() {
        return println!("{SKIPPED}");
    }
    let sandbox = Sandbox::new(ORLOP, "overlay");
    store_of_2016(&sandbox);
    let file = sandbox.path().join("g/overlay/next/root/new");
    fs::write(&file, "N").unwrap();
    let Run { stderr, .. } = sandbox.fails("migrate legacy", "verifying layer next");
    assert!(stderr.contains("--no-verify") || stderr.contains("without verification"), "{stderr}");
    assert!(file.exists() && !sandbox.path().join("g/overlay.migrating").exists());
    let said = sandbox.ok("migrate legacy --no-verify --remove");
    assert!(said.contains("0 verified\nRemoved the old layout\n"), "{said}");
}

#[test]
fn a_store_of_today_stays_as_it_is() {
    let sandbox = Sandbox::vfs();
    sandbox.fails("migrate legacy", "overlay");
    if !is_root() {
        return println!("{SKIPPED}");
    }
    let sandbox = Sandbox::new(ORLOP, "overlay");
    let nothing = "No layers are of the legacy layout\n";
    assert_eq!(sandbox.ok("migrate legacy --remove"), nothing);
    assert!(!sandbox.path().join("g").exists());
    sandbox.ok("create-layer -i new");
    assert_eq!(sandbox.ok("migrate legacy --remove"), nothing);
    sandbox.ok("mount new");
}

/// Names, modes and content below `dir`, but for what is random in a home.
fn tree(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let (mut found, mut left) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(at) = left.pop() {
        let Ok(entries) = fs::read_dir(&at) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let about = path.symlink_metadata().unwrap();
            let kind = about.file_type();
            let random = ["link", "lower"].iter().any(|name| path.ends_with(name));
            let content = match () {
                () if kind.is_file() && !random => format!("{:?}", fs::read(&path).unwrap()),
                () if kind.is_char_device() => format!("{:x}", about.rdev()),
                () => String::new(),
            };
            let name = path.strip_prefix(dir).unwrap().to_owned();
            if kind.is_dir() {
                left.push(path);
            }
            if !kind.is_symlink() {
                found.push(format!(
                    "{name:?} {:o} {}:{} {content}",
                    about.mode(),
                    about.uid(),
                    about.gid()
                ));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn killed_at_any_system_call_the_store_is_the_old_one_or_the_new_one() {
    if !is_root() {
        return println!("{SKIPPED}");
    }
    let strace = std::process::Command::new("strace").arg("-V").output();
    if !strace.is_ok_and(|done| done.status.success()) {
        return println!("skipped: no strace, which kills at a system call");
    }
    // What changes a directory, a file or its attributes, or brings it to the disk; opening makes files only beside writing to them.
    const CALLS: [&str; 24] = [
        "mkdir",
        "mkdirat",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
        "mknodat",
        "fchown",
        "fchownat",
        "chmod",
        "fchmod",
        "fchmodat",
        "fsetxattr",
        "lsetxattr",
        "fremovexattr",
        "utimensat",
        "write",
        "pwrite64",
        "rename",
        "renameat",
        "renameat2",
        "syncfs",
        "fsync",
        "unlinkat",
    ];
    let sandbox = Sandbox::new(ORLOP, "overlay");
    store_of_2016(&sandbox);
    let (graph, pristine) = (sandbox.path().join("g"), sandbox.path().join("pristine"));
    let copy = |from: &Path, to: &Path| {
        let _ = fs::remove_dir_all(to);
        let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(done.success());
    };
    copy(&graph, &pristine);
    let old = tree(&graph.join("overlay"));
    let records = tree(&graph.join("overlay-layers"));
    sandbox.ok("migrate legacy --remove");
    let new = tree(&graph.join("overlay"));
    assert_ne!(old, new);
    let (mut strikes, mut switched) = (0, 0);
    for call in CALLS {
        for n in 1.. {
            copy(&pristine, &graph);
            let output = std::process::Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e"])
                .arg(format!("inject={call}:signal=SIGKILL:when={n}"))
                .args([ORLOP.as_ref(), "-g".as_ref(), graph.as_os_str()])
                .args(["-R".as_ref(), sandbox.path().join("r").as_os_str()])
                .args(["-s", "overlay", "migrate", "legacy", "--remove"])
                .env("CONTAINERS_STORAGE_CONF", sandbox.path().join("storage.conf"))
                .output()
                .unwrap();
            let at = format!("{call} {n}");
            let now = tree(&graph.join("overlay"));
            let migrated = now == new;
            assert!(migrated || now == old, "{at}: {now:#?}");
            switched += u32::from(migrated);
            let survived = output.status.success();
            let said = sandbox.ok("migrate legacy --remove");
            assert_eq!(said.starts_with("No layers"), migrated, "{at}: {said}");
            assert_eq!(tree(&graph.join("overlay")), new, "{at}");
            assert_eq!(tree(&graph.join("overlay-layers")), records, "{at}");
            for beside in ["overlay.migrating", "overlay.legacy"] {
                assert!(!graph.join(beside).exists(), "{at}: {beside}");
            }
            if survived {
                break;
            }
            strikes += 1;
        }
    }
    assert!(strikes > 60 && switched > 5, "{strikes} strikes, {switched} after the switch");
    check_container(&sandbox.ok("mount ctr"));
    sandbox.ok("unmount ctr");
}
