//! A stand-in for the client of CernVM-FS. It is found in `PATH`, so that a test that needs one runs in a process of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Runs the test of that whole name once more, where the variable `site` tells of `dir`. The client there is a shell script that runs in
/// `dir` and adds a line to `calls`; its fourth argument is where the repository goes.
pub(crate) fn run_again(test: &str, site: &str, dir: &Path, script: &str) {
    let client = dir.join("cvmfs2");
    let begin = format!("#!/bin/sh\ncd '{}' && echo >>calls || exit 1\n", dir.display());
    fs::write(&client, begin + script + "\n").unwrap();
    fs::set_permissions(&client, PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(site, dir)
        .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}
