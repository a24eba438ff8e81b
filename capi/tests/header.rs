//! `include/orlop.h` is what the sources say, and the list of exported symbols is what the header declares.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    let mut config = cbindgen::Config::from_file(crate_dir().join("cbindgen.toml")).unwrap();
    config.header =
        Some(fs::read_to_string(crate_dir().join("header.txt")).unwrap().trim_end().into());
    let mut header = Vec::new();
    cbindgen::Builder::new()
        .with_crate(crate_dir())
        .with_config(config)
        .generate()
        .unwrap()
        .write(&mut header);
    String::from_utf8(header).unwrap()
}

/// The functions of the header.
fn declared(header: &str) -> BTreeSet<String> {
    let code: String =
        header.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let (_, code) = code.split_once("*/").unwrap();
    let names = code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '(');
    names
        .filter_map(|word| word.split_once('(').map(|(name, _)| name))
        .filter(|name| name.starts_with("orlop_"))
        .map(str::to_owned)
        .collect()
}

/// Compares with the file, or writes it with `UPDATE=1`.
fn check(path: PathBuf, wanted: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == wanted,
        "{} is stale: UPDATE=1 cargo test -p orlop-capi --test header",
        path.display()
    );
}

#[test]
fn the_header_is_what_the_sources_say() {
    check(crate_dir().join("../include/orlop.h"), &generated());
}

/// The script with what it lacks, in the newest block, which is the last one.
fn with(script: &str, declared: &BTreeSet<String>) -> String {
    let (older, newest) = script.split_at(script.rfind("global:").unwrap() + "global:\n".len());
    let (present, end) =
        newest.split_at(newest.find("  local:").unwrap_or(newest.find('}').unwrap()));
    let mut names: BTreeSet<String> =
        present.lines().map(|l| l.trim().trim_end_matches(';').to_owned()).collect();
    names.extend(declared.iter().filter(|name| !older.contains(&format!(" {name};"))).cloned());
    let names: String = names.iter().map(|name| format!("    {name};\n")).collect();
    format!("{older}{names}{end}")
}

/// The version script: which symbols there are, and since when. A function stays in the block of the version it came with.
#[test]
fn every_function_has_a_version() {
    let path = crate_dir().join("orlop.map");
    let declared = declared(&generated());
    let mut script = fs::read_to_string(&path).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        script = with(&script, &declared);
        fs::write(&path, &script).unwrap();
    }
    let listed: Vec<String> = script
        .lines()
        .map(|l| l.trim().trim_end_matches(';'))
        .filter(|l| l.starts_with("orlop_"))
        .map(str::to_owned)
        .collect();
    let unique: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(unique.len(), listed.len(), "a function stands twice in capi/orlop.map");
    assert!(declared.len() > 10, "{declared:?}");
    let missing: Vec<_> = declared.difference(&unique).collect();
    let gone: Vec<_> = unique.difference(&declared).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "capi/orlop.map lacks {missing:?}, has {gone:?} too many"
    );
}

/// Every exported function tells threads, those that can fail their errors, those that hand something out whose it is.
#[test]
fn comments_say_ownership_threads_and_errors() {
    let header = generated();
    let mut wrong = Vec::new();
    for name in declared(&header) {
        let Some(at) = header.find(&format!("{name}(")) else { panic!("{name}") };
        let (before, after) = header.split_at(at);
        let lines = before.lines().rev().skip_while(|l| !l.starts_with("//"));
        let comment: String = lines.take_while(|l| l.starts_with("//")).collect();
        let signature = after.split(';').next().unwrap();
        let mut needed = vec!["Threads:"];
        if signature.contains("struct orlop_error **") {
            needed.push("Errors:");
        }
        if signature.contains("**")
            && signature.matches("**").count() > signature.matches("orlop_error **").count()
            || signature.contains("orlop_buf *")
        {
            needed.push("Ownership:");
        }
        for word in needed {
            if !comment.contains(word) {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
