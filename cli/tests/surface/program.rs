//! Programs that end the mounts of a program which mounts in the kernel's place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{ORLOP, Sandbox};

/// The program of that name on PATH.
fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[test]
fn unmounters_come_in_their_order_and_after_them_a_sync_and_the_kernel() {
    // ACC-14, PUT-3
    let (Some(mounter), Some(strace), true) =
        (found("fuse-overlayfs"), found("strace"), fs::File::open("/dev/fuse").is_ok())
    else {
        println!("skipped: unmounters: needs fuse-overlayfs, /dev/fuse and strace");
        return;
    };
    let sandbox = Sandbox::new(ORLOP, "overlay");
    let at = |name: &str| sandbox.path().join(name);
    let (calls, log, merged) = (at("calls"), at("log"), at("g/overlay/a/merged"));
    let orlop = |path: &Path, words: &[&str]| {
        let mut command = match words {
            // Of the others one leaves a process behind, for which it would wait.
            ["unmount", ..] => {
                let mut command = Command::new(&strace);
                command.args(["-f", "-y", "-e", "trace=syncfs,umount2", "-o"]).arg(&log).arg(ORLOP);
                command
            }
            _ => Command::new(ORLOP),
        };
        command.arg("-g").arg(at("g")).arg("-R").arg(at("r")).args(["-s", "overlay"]);
        command.arg("--storage-opt").arg(format!("overlay.mount_program={}", mounter.display()));
        command.args(words).env("CONTAINERS_STORAGE_CONF", at("storage.conf")).env("PATH", path);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        said
    };
    let usual = PathBuf::from(std::env::var_os("PATH").unwrap());
    orlop(&usual, &["create-layer", "-i", "a"]);
    let target = merged.to_str().unwrap();
    // Which of them are there, and whether they unmount; which are called, and whether that was enough.
    for (there, called, enough) in [
        (&[("fusermount3", true), ("fusermount", true)][..], &["fusermount3"][..], true),
        (&[("fusermount3", false), ("fusermount", true)], &["fusermount3", "fusermount"], true),
        (&[("fusermount", true)], &["fusermount"], true),
        (&[("fusermount3", false), ("fusermount", false)], &["fusermount3", "fusermount"], false),
        (&[], &[], false),
    ] {
        let programs = tempfile::tempdir().unwrap();
        for (name, works) in there {
            let path = programs.path().join(name);
            let ends = if *works { "exec umount \"$2\"" } else { "exit 1" };
            let umount = found("umount").unwrap();
            let ends = ends.replace("umount", umount.to_str().unwrap());
            let calls = calls.display();
            fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >>'{calls}'\n{ends}\n"))
                .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(&calls, "").unwrap();
        orlop(&usual, &["mount", "a"]);
        fs::write(merged.join("f"), "written through the program").unwrap();
        let said = orlop(programs.path(), &["unmount", "a"]);
        assert_eq!(said, "", "what is missing or fails is no trouble: {there:?}");
        let wanted: Vec<String> = called.iter().map(|name| format!("{name} -u {target}")).collect();
        assert_eq!(fs::read_to_string(&calls).unwrap().lines().collect::<Vec<_>>(), wanted);
        assert!(at("g/overlay/a/diff/f").is_file() && !merged.join("f").exists(), "{there:?}");
        let log = fs::read_to_string(&log).unwrap();
        let by_kernel: Vec<&str> = log
            .lines()
            .filter(|line| {
                line.contains(target) && !line.contains("umount2") || line.contains("MNT_DETACH")
            })
            .filter_map(|line| ["syncfs", "umount2"].into_iter().find(|call| line.contains(call)))
            .collect();
        assert_eq!(by_kernel, if enough { &[][..] } else { &["syncfs", "umount2"] }, "{log}");
    }
}
