//! Layers read as the kernel merges them, without the kernel: marks that a mount leaves, and marks that only an attacker writes.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;

use super::{open_dir, plain, set_xattr};
use crate::archive::{PackOptions, pack_upper, upper_size};
use crate::sys::beneath::testing::in_both_modes;
use crate::sys::refused::{self, Call};
use crate::{ErrorKind, Result};

const REDIRECT: &str = "trusted.overlay.redirect";
const METACOPY: &str = "trusted.overlay.metacopy";

/// The names in the tar of the directory `upper` over `lowers`, with what is in the files.
fn packed(dir: &Path, lowers: &[&str]) -> Result<Vec<String>> {
    let upper = open_dir(&dir.join("upper"));
    let lowers: Vec<_> = lowers.iter().map(|name| open_dir(&dir.join(name))).collect();
    let lowers: Vec<_> = lowers.iter().map(AsFd::as_fd).collect();
    let upper = plain(upper.as_fd(), &lowers);
    upper_size(&upper)?;
    let mut tar = Vec::new();
    pack_upper(&upper, &PackOptions::default(), &mut tar)?;
    let mut archive = tar::Archive::new(tar.as_slice());
    let entries = archive.entries().unwrap().map(std::result::Result::unwrap);
    Ok(entries
        .map(|mut entry| {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            if text.is_empty() { name } else { format!("{name}={text}") }
        })
        .collect())
}

fn file(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A file as `metacopy` leaves it: a hole of the right length.
fn hollow(path: &Path, size: u64, mark: &[u8]) {
    file(path, "");
    fs::File::options().write(true).open(path).unwrap().set_len(size).unwrap();
    set_xattr(path, METACOPY, mark);
}

// DEF-2: redirects through redirected directories, of either form, from layer to layer.
#[test]
fn redirects_are_followed_through_redirects() {
    in_both_modes(|| {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let at = |name: &str| dir.path().join(name);
        file(&at("far/first/inner/f"), "data");
        file(&at("far/first/inner/g"), "of far");
        // near renamed first to second, and inner within it.
        fs::create_dir_all(at("near/second/core")).unwrap();
        set_xattr(&at("near/second"), REDIRECT, b"first");
        set_xattr(&at("near/second/core"), REDIRECT, b"inner");
        file(&at("near/second/core/h"), "of near");
        // The upper renamed core out of second, and changed the mode of a file of it, which it renamed too.
        fs::create_dir_all(at("upper/moved")).unwrap();
        set_xattr(&at("upper/moved"), REDIRECT, b"/second/core");
        hollow(&at("upper/moved/f2"), 4, b"");
        set_xattr(&at("upper/moved/f2"), REDIRECT, b"/second/core/f");
        super::mknod(&at("upper/moved/f"), rustix::fs::FileType::CharacterDevice, 0);
        assert_eq!(
            packed(dir.path(), &["near", "far"]).unwrap(),
            ["moved/", "moved/f2=data", "moved/g=of far", "moved/h=of near"]
        );
        // Over a directory of that name: what was in it is hidden.
        file(&at("far/moved/before"), "");
        let names = packed(dir.path(), &["near", "far"]).unwrap();
        assert_eq!(names[..2], ["moved/", "moved/.wh..wh..opq"]);
        // Where it always was: only what the upper has.
        set_xattr(&at("upper/moved"), REDIRECT, b"moved");
        assert_eq!(
            packed(dir.path(), &["near", "far"]).unwrap()[1..],
            ["moved/.wh.f", "moved/f2=data"]
        );
    });
}

// DEF-2: what is lost, or is not what the mark says, is an error that names the file.
#[test]
fn data_that_are_not_there_are_refused_by_name() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil); 11] = [
        ("no layer below", |dir| fs::remove_file(dir.join("low/d/f")).unwrap()),
        ("no layer below", |dir| {
            fs::remove_file(dir.join("low/d/f")).unwrap();
            fs::create_dir(dir.join("low/d/f")).unwrap();
        }),
        ("no layer below", |dir| {
            fs::remove_file(dir.join("low/d/f")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", dir.join("low/d/f")).unwrap();
        }),
        ("no layer below", |dir| set_xattr(&dir.join("low/d/f"), METACOPY, b"")),
        ("3 bytes and not 4", |dir| fs::write(dir.join("low/d/f"), "123").unwrap()),
        ("no known form", |dir| set_xattr(&dir.join("upper/d/f"), METACOPY, &[1, 4, 0, 0])),
        ("32 bytes of a digest of algorithm 2", |dir| {
            let mark = [&[0, 36, 0, 2][..], &[7; 32]].concat();
            set_xattr(&dir.join("upper/d/f"), METACOPY, &mark);
        }),
        ("no fs-verity digest", |dir| {
            let mark = [&[0, 36, 0, 1][..], &[7; 32]].concat();
            set_xattr(&dir.join("upper/d/f"), METACOPY, &mark);
        }),
        ("is no path", |dir| set_xattr(&dir.join("upper/d/f"), REDIRECT, b"../../../etc/passwd")),
        ("no layer below", |dir| set_xattr(&dir.join("upper/d/f"), REDIRECT, b"/gone/f")),
        ("no layer below", |dir| set_xattr(&dir.join("upper/d"), REDIRECT, b"/gone")),
    ];
    for (n, (why, spoil)) in cases.into_iter().enumerate() {
        in_both_modes(|| {
            let dir = tempfile::tempdir_in("/var/tmp").unwrap();
            file(&dir.path().join("low/d/f"), "data");
            hollow(&dir.path().join("upper/d/f"), 4, &[0, 4, 0, 0]);
            assert_eq!(packed(dir.path(), &["low"]).unwrap(), ["d/", "d/f=data"]);
            spoil(dir.path());
            let e = packed(dir.path(), &["low"]).unwrap_err().to_string();
            assert!(e.contains(why) && e.contains("\"d"), "case {n}: {e}");
        });
    }
}

// A redirect that turns in a circle ends, since each one is followed in the layers below it.
#[test]
fn circles_end() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    for layer in ["upper", "near", "far"] {
        fs::create_dir_all(dir.path().join(layer).join("a/b")).unwrap();
        set_xattr(&dir.path().join(layer).join("a"), REDIRECT, b"/a/b");
        set_xattr(&dir.path().join(layer).join("a/b"), REDIRECT, b"/a");
    }
    let e = packed(dir.path(), &["near", "far"]).unwrap_err().to_string();
    assert!(e.contains("redirect"), "{e}");
}

// ARC-2: depth has no limit, for a renamed directory.
#[test]
fn deep_directories_are_told_whole() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    for layer in ["upper", "near", "low"] {
        fs::create_dir(dir.path().join(layer)).unwrap();
    }
    let deep = |from: &Path, levels: usize, file: &str| {
        fs::create_dir_all(from).unwrap();
        let mut at = open_dir(from);
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "dd", rustix::fs::Mode::RWXU).unwrap();
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
            at = rustix::fs::openat(&at, "dd", flags, rustix::fs::Mode::empty()).unwrap();
        }
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        rustix::fs::openat(&at, file, flags, rustix::fs::Mode::RUSR).unwrap();
    };
    deep(&dir.path().join("low/before"), 1500, "f");
    fs::create_dir(dir.path().join("upper/after")).unwrap();
    set_xattr(&dir.path().join("upper/after"), REDIRECT, b"before");
    let names = packed(dir.path(), &["low"]).unwrap();
    assert_eq!(names.len(), 1502);
    assert!(names[1501].ends_with("dd/f") && names[1501].starts_with("after/dd/dd/"));

    // Of two layers, in a directory that is renamed.
    deep(&dir.path().join("near/before"), 150, "new");
    let names = packed(dir.path(), &["near", "low"]).unwrap();
    assert_eq!(names.len(), 1503);
    crate::sys::remove::remove_tree(&dir.keep()).unwrap();
}

// DEF-2: a mark that cannot be read is no mark that is not there.
#[test]
fn marks_that_cannot_be_read_are_errors() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can hide /proc");
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| dir.path().join(name);
    file(&at("low/old/f"), "data");
    fs::create_dir_all(at("upper/new")).unwrap();
    set_xattr(&at("upper/new"), REDIRECT, b"/old");
    assert_eq!(packed(dir.path(), &["low"]).unwrap(), ["new/", "new/f=data"]);
    let hidden = || super::without_proc(|| packed(dir.path(), &["low"]));
    let e = std::thread::scope(|s| s.spawn(hidden).join().unwrap()).unwrap_err();
    assert_eq!(
        (e.kind(), e.raw_os_error()),
        (ErrorKind::Io, Some(super::without_proc_says())),
        "{e}"
    );
    assert!(e.to_string().contains("\"new\" in a layer"), "{e}");
}

// DEF-2: on kernels before 6.13 attributes of entries are read by way of /proc; without it a layer is not read as an empty one.
#[test]
fn entries_whose_attributes_cannot_be_read_are_no_vanished_ones() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can hide /proc");
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    file(&dir.path().join("upper/f"), "data");
    let old_kernel = || refused::with(&[(Call::Xattrat, Errno::NOSYS)], || packed(dir.path(), &[]));
    assert_eq!(old_kernel().unwrap(), ["f=data"]);
    let hidden = || super::without_proc(old_kernel);
    let e = std::thread::scope(|s| s.spawn(hidden).join().unwrap()).unwrap_err();
    assert_eq!((e.kind(), e.raw_os_error()), (ErrorKind::Io, Some(libc::ENOSYS)), "{e}");
    assert!(e.to_string().contains("\"f\""), "{e}");
}
