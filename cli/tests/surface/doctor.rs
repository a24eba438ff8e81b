//! `doctor`: findings as a table and as JSON, exit codes, and that nothing is written.

use std::fs;

use crate::sandbox::{ORLOP, Sandbox};

/// The finding of that name, from its brace to the next one.
fn finding<'a>(json: &'a str, name: &str) -> &'a str {
    let start =
        json.find(&format!("\"name\":\"{name}\"")).unwrap_or_else(|| panic!("no {name}: {json}"));
    let end = json[start..].find('}').unwrap();
    &json[start..start + end]
}

#[test]
fn a_usable_store_has_code_0_and_is_left_alone() {
    let sandbox = Sandbox::new(ORLOP, "overlay");
    let run = sandbox.run("doctor --format json");
    // Where overlay cannot be used, code and text say so together.
    let usable = run.stdout.contains("\"usable\":true");
    assert_eq!(run.code, i32::from(!usable), "{run:?}");
    assert!(run.stdout.starts_with("{\"version\":\""), "{run:?}");
    let overlay = finding(&run.stdout, "overlay");
    for key in ["\"answer\":\"", "\"why\":\"", "\"change\":", "\"needed\":true"] {
        assert!(overlay.contains(key), "{overlay} lacks {key}");
    }
    let table = sandbox.run("doctor");
    assert_eq!(table.code, run.code);
    assert!(table.stdout.starts_with("store:\n  driver "), "{table:?}");
    let last = table.stdout.lines().last().unwrap();
    let words = if usable { "can be used." } else { "cannot be used." };
    assert!(last.starts_with("The store at ") && last.ends_with(words), "{last}");
    assert!(!sandbox.path().join("g").exists() && !sandbox.path().join("r").exists());
}

#[test]
fn probing_leaves_the_store_alone_too() {
    let sandbox = Sandbox::new(ORLOP, "overlay");
    let run = sandbox.run("doctor --probe --format=json");
    if !run.stdout.contains("\"usable\":true") {
        println!("skipped: probing: overlay cannot be used here");
        return;
    }
    let mounts = finding(&run.stdout, "overlay-mounts");
    assert!(mounts.contains("\"yes\"") || mounts.contains("TMPDIR"), "{mounts}");
    assert!(!sandbox.path().join("g").exists() && !sandbox.path().join("r").exists());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains("orlop-doctor"), "{table}");
}

#[test]
fn a_store_that_cannot_be_used_has_code_1() {
    let sandbox = Sandbox::new(ORLOP, "zfs");
    let run = sandbox.run("doctor --format json");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("\"usable\":false"), "{run:?}");
    let driver = finding(&run.stdout, "driver");
    assert!(driver.contains("\"answer\":\"no\"") && driver.contains("\"needed\":true"), "{driver}");
    assert!(sandbox.run("doctor").stdout.ends_with("cannot be used.\n"));
}

#[test]
fn settings_without_effect_are_told() {
    let sandbox = Sandbox::vfs();
    sandbox.file(
        "storage.conf",
        b"[storage]\ngraphrot = \"/x\"\n[storage.options]\npull_options = 1\n",
    );
    let run = sandbox.run("doctor");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("key \"graphrot\" in table \"storage\" has no effect"), "{run:?}");
    assert!(run.stdout.contains("pull_options is ignored"), "{run:?}");
    assert_eq!(run.stderr, "", "what is told in the findings is not told twice");
}

#[test]
fn a_configuration_that_cannot_be_read_ends_it() {
    let sandbox = Sandbox::vfs();
    sandbox.file("storage.conf", b"not toml [");
    let run = sandbox.run("doctor");
    assert_eq!(run.code, 1);
    assert!(run.stdout.starts_with("error initializing: "), "{run:?}");
    assert_eq!(sandbox.run("doctor --format xml").code, 125);
}
