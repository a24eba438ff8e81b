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
        (ErrorKind::NotAnImage, -33),
        (ErrorKind::InvalidDataName, -34),
        (ErrorKind::IncompleteOptions, -35),
    ] {
        assert_eq!(kind.code(), code, "{kind:?}");
    }
}

#[test]
fn an_error_of_ours_keeps_its_kind_through_streams() {
    let inner = || Error::new(ErrorKind::Busy, "reading the blob").hint("wait");
    let through = [
        Error::io("copying", "/x", io::Error::other(inner())).hint("is there room?"),
        Error::new(ErrorKind::InvalidArchive, "reading")
            .hint("fetch it again")
            .caused_by(io::Error::new(io::ErrorKind::InvalidData, inner())),
        Error::new(ErrorKind::Io, "reading").caused_by(io::Error::other(io::Error::other(inner()))),
        Error::new(ErrorKind::Io, "reading").caused_by(tar_split_rs::Error::Io {
            action: "reading the tar stream",
            source: io::Error::other(inner()),
        }),
    ];
    for e in through {
        assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
        // What the stream has to do with it is no advice, and the class is said once.
        assert!(e.to_string().ends_with("reading the blob: resource is in use (wait)"), "{e}");
        assert_eq!(e.to_string().matches("resource is in use").count(), 1);
    }
    // A kind that is chosen knowing the cause stays.
    let chosen = Error::new(ErrorKind::LayerUnknown, "using").caused_by(inner());
    assert_eq!(chosen.kind(), ErrorKind::LayerUnknown);
    // But for one thing.
    let cancelled =
        Error::io("reading", "/x", io::Error::other(Error::new(ErrorKind::Cancelled, "loading")));
    let chosen = Error::new(ErrorKind::LayerUnknown, "using").caused_by(cancelled);
    assert_eq!(chosen.kind(), ErrorKind::Cancelled);
    assert_eq!(chosen.to_string(), "using: reading \"/x\": loading: operation canceled");
}

#[test]
fn the_number_of_the_system_calls_error_is_found() {
    let io = |errno| Error::io("opening", "/x", io::Error::from_raw_os_error(errno));
    assert_eq!(io(libc::ENOSPC).raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(Error::io("x", "/x", rustix::io::Errno::XDEV).raw_os_error(), Some(libc::EXDEV));
    let deep = Error::io("reading", "/y", io::Error::other(io(libc::EROFS)));
    assert_eq!(deep.raw_os_error(), Some(libc::EROFS));
    let errno = Error::new(ErrorKind::Io, "x").caused_by(nix::errno::Errno::EMFILE);
    assert_eq!(errno.raw_os_error(), Some(libc::EMFILE));
    let errno = Error::new(ErrorKind::Io, "x").caused_by(rustix::io::Errno::PERM);
    assert_eq!(errno.raw_os_error(), Some(libc::EPERM));
    assert_eq!(Error::new(ErrorKind::Busy, "x").raw_os_error(), None);
    assert_eq!(Error::io("x", "/x", io::ErrorKind::NotFound).raw_os_error(), None);
}
