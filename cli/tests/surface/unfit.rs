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
