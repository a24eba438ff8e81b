use std::collections::HashSet;

use super::*;

#[test]
fn every_kind_is_listed_once() {
    let text = include_str!("../error.rs");
    let body = text.split_once("pub enum ErrorKind {").unwrap().1.split_once("\n}").unwrap().0;
    let variants: Vec<&str> = body
        .lines()
        .map(str::trim)
        .filter_map(|line| line.strip_suffix(','))
        .filter(|name| !name.starts_with("///"))
        .collect();
    let listed: Vec<String> = ErrorKind::ALL.iter().map(|kind| format!("{kind:?}")).collect();
    assert!(variants.len() > 30);
    assert_eq!(variants, listed);
}

#[test]
fn codes_and_phrases_are_distinct() {
    let codes: HashSet<i32> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(codes.len(), ErrorKind::ALL.len());
    assert!(codes.iter().all(|code| *code < 0));
    let phrases: HashSet<&str> = ErrorKind::ALL.iter().map(|kind| kind.phrase()).collect();
    assert_eq!(phrases.len(), ErrorKind::ALL.len());
    // Compiled into programs: these never change.
    for (kind, code) in [
        (ErrorKind::LayerUnknown, -1),
        (ErrorKind::ImageUnknown, -2),
        (ErrorKind::Io, -30),
        (ErrorKind::Internal, -31),
        (ErrorKind::Cancelled, -32),
    ] {
        assert_eq!(kind.code(), code, "{kind:?}");
    }
}
