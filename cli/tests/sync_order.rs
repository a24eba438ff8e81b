//! Data goes before the record by which it counts (docs/design.md, "Nothing is lost"), and the last-writer record before that.
//!
//! Needs root and strace. What kills and failing system calls leave is swept by `tests/crash/sweep`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::process::Command;

const ORLOP: &str = env!("CARGO_BIN_EXE_orlop");

/// The last file of a layer is made before the last sync, and that before the last rename, which is the record's.
#[test]
fn the_sync_comes_last() {
    // DEF-19
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = |below: &str| dir.path().join(below).to_str().unwrap().to_owned();
    fs::create_dir_all(path("tree/d")).unwrap();
    fs::write(path("tree/d/file"), "x").unwrap();
    let tar = ["-C", &path("tree"), "-cf", &path("tar"), "."].map(str::to_owned);
    assert!(Command::new("tar").args(tar).status().unwrap().success());
    let roots = ["--graph", &path("g"), "--run", &path("r"), "--storage-driver", "overlay"];
    let roots = roots.map(str::to_owned);
    let import = |id: &str| ["import-layer", "-i", id, "-r", "-f", &path("tar")].map(str::to_owned);
    let first = Command::new(ORLOP).args(&roots).args(import("base")).output().unwrap();
    if !first.status.success() {
        println!("skipped: no overlay here: {}", String::from_utf8_lossy(&first.stderr));
        return;
    }
    let run = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-e",
            "trace=openat,write,pwrite64,rename,syncfs",
            "-o",
            &path("log"),
            ORLOP,
        ])
        .args(&roots)
        .args(import("new"))
        .arg("base")
        .status()
        .unwrap();
    assert!(run.success());
    let log = fs::read_to_string(path("log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    // store-format.md 16.5: each list of records that takes its place is announced first.
    let turns = lines.iter().filter_map(|l| match *l {
        l if l.contains("pwrite64(") && l.contains("layers.lock>") => Some("token"),
        l if l.contains("rename(") && l.contains("layers.json") => Some("list"),
        _ => None,
    });
    let turns: Vec<_> = turns.collect();
    assert_eq!(turns.first(), Some(&"token"), "{turns:?}");
    assert!(turns.windows(2).all(|pair| pair != ["list", "list"]), "{turns:?}");
    assert!(turns.contains(&"list"), "{turns:?}");
    let last = |is: &dyn Fn(&str) -> bool| lines.iter().rposition(|l| is(l)).unwrap();
    let file = last(&|l| l.contains("/overlay/new/") && l.contains("O_CREAT"));
    let sync = last(&|l| l.contains("syncfs("));
    let record = last(&|l| l.contains("rename(") && l.contains("layers.json"));
    assert!(file < sync && sync < record, "{file} {sync} {record}");
    let _ = Command::new(ORLOP).args(&roots).args(["shutdown", "-f"]).output();
}
