//! The command runs no other program, not even itself again.
//!
//! Needs root, the kernel's overlay and strace, which tells what is executed.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::process::Command;

const ORLOP: &str = env!("CARGO_BIN_EXE_orlop");

#[test]
fn layers_are_made_mounted_and_compared_in_one_process() {
    // INI-5, DEF-4, DEF-15, UNP-1: neither modprobe, nor helpers for unpacking and mounting, nor decompressors
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = |below: &str| dir.path().join(below).to_str().unwrap().to_owned();
    fs::create_dir_all(path("tree/d")).unwrap();
    fs::write(path("tree/d/file"), "x").unwrap();
    let tar = ["-C", &path("tree"), "-czf", &path("tar.gz"), "."].map(str::to_owned);
    assert!(Command::new("tar").args(tar).status().unwrap().success());
    let roots = ["--graph", &path("g"), "--run", &path("r"), "--storage-driver", "overlay"];
    let roots = roots.map(str::to_owned);
    let (tar, log) = (path("tar.gz"), path("log"));
    let lines = [
        format!("import-layer -i base -r -f {tar}"),
        format!("import-layer -i top -f {tar} base"),
        "mount top".to_owned(),
        "changes top base".to_owned(),
        "diff -u top base".to_owned(),
        "unmount top".to_owned(),
        "delete-layer top".to_owned(),
        "shutdown".to_owned(),
    ];
    for line in &lines {
        let trace = ["-f", "-e", "trace=execve,execveat", "-o", log.as_str(), ORLOP];
        let words = line.split(' ');
        let run = Command::new("strace").args(trace).args(&roots).args(words).output().unwrap();
        let text = String::from_utf8_lossy(&run.stderr).into_owned();
        if !run.status.success() && line.starts_with("import-layer -i base") {
            println!("skipped: no overlay here: {text}");
            return;
        }
        assert!(run.status.success(), "{line}: {text}");
        let log = fs::read_to_string(&log).unwrap();
        let executed = log.lines().filter(|l| l.contains("execve")).collect::<Vec<_>>();
        assert_eq!(executed.len(), 1, "{line}: {executed:?}");
    }
}
