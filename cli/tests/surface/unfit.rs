//! Places and users for which the kernel's overlay is not, and no program that mounts in its place is on PATH.

use std::process::Command;

use crate::sandbox::{ORLOP, Run, Sandbox};

fn without_programs() -> Sandbox {
    Sandbox::new(ORLOP, "overlay").with_env("PATH", "/nonexistent")
}

/// Whether overlay can be used at all; says why not.
fn served(sandbox: &Sandbox) -> bool {
    let run = sandbox.run("create-layer -i a");
    if run.code != 0 {
        println!("skipped: no overlay here: {}", run.stderr);
    }
    run.code == 0
}

#[test]
fn on_an_overlay_the_next_driver_is_taken() {
    // IDN-7, overlay-driver.md 4.1
    let sandbox = without_programs();
    if !served(&sandbox) {
        return;
    }
    let inside = sandbox.ok("mount a").trim().to_owned();
    let line = |driver: &str| format!("create-layer -g {inside}/g -R {inside}/r -s {driver}");
    let Run { code, stderr, .. } = sandbox.run(&line("overlay"));
    assert_eq!(code, 1);
    assert!(stderr.contains("'overlay' is not supported over overlayfs"), "{stderr}");
    sandbox.ok(&line("''"));
    assert!(std::path::Path::new(&format!("{inside}/g/vfs/dir")).is_dir());
    sandbox.ok("unmount a");
}

#[test]
fn without_entry_types_there_is_no_overlay_and_nothing_stays() {
    // INI-7, INI-11
    let sandbox = without_programs();
    let (image, disk) = (sandbox.path().join("image"), sandbox.path().join("disk"));
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    std::fs::create_dir(&disk).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-O", "^filetype"]).arg(&image).status();
    let mounted = Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&disk).status();
    if !(made.is_ok_and(|s| s.success()) && mounted.is_ok_and(|s| s.success())) {
        println!("skipped: a disk without entry types: no mkfs.ext4 or no loop devices");
        return;
    }
    let run = sandbox.run(&format!("create-layer -g {}/g", disk.display()));
    let left = disk.join("g/overlay").exists();
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("d_type"), "{run:?}");
    assert!(!left, "neither home nor links");
}

#[test]
fn a_user_who_can_make_no_whiteouts_is_told() {
    // INI-8, INI-9: the probe makes one, and nothing of its failure is remembered
    let sandbox = without_programs();
    let path = |name: &str| sandbox.path().join(name).to_str().unwrap().to_owned();
    let run = Command::new("/usr/bin/setpriv")
        .args(["--bounding-set", "-mknod", "--inh-caps", "-mknod", ORLOP])
        .args(["-g", &path("g"), "-R", &path("r"), "-s", "overlay", "create-layer", "-i", "a"])
        .env("PATH", "/nonexistent")
        .env("CONTAINERS_STORAGE_CONF", path("storage.conf"))
        .output();
    let Ok(run) = run else {
        println!("skipped: dropping a capability: setpriv is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&run.stderr);
    if !served(&sandbox) {
        return;
    }
    assert_eq!(run.status.code(), Some(1));
    assert!(text.contains("unable to create kernel-style whiteout"), "{text}");
}
