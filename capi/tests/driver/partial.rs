//! What only some drivers can: partial pulls, additional layers, and equal files that share their space.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::ptr;

use orlop_capi::*;

use crate::host::{EMPTY, Host, call, drivers, list, taken, text, zeroed};

fn begin(host: &Host) -> (PathBuf, orlop_partial) {
    let (mut target, mut how): (_, orlop_partial) = (EMPTY, zeroed());
    call!(orlop_driver_begin_partial(host.driver, ptr::null(), &mut how, &mut target)).unwrap();
    (PathBuf::from(std::ffi::OsString::from_vec(taken(target))), how)
}

#[test]
fn content_that_the_caller_writes_becomes_a_layer() {
    // APL-5 to APL-7
    if !drivers().contains(&"overlay") {
        return;
    }
    let mut host = Host::new("overlay");
    let (target, how) = begin(&host);
    assert_eq!((how.keep_whiteouts, how.in_user_namespace, how.has_force_mask), (0, 0, 0));
    assert_eq!(how.by_digest, 0);
    fs::write(target.join("f"), "partial").unwrap();
    host.create("a", "");
    let (id, path) = (text("a"), text(target.to_str().unwrap()));
    // On another handle of the same store, the first one closed.
    host.close();
    host.driver = host.another();
    let (id, none) = (id.as_ptr(), ptr::null());
    call!(orlop_driver_commit_partial(host.driver, id, none, path.as_ptr(), 0)).unwrap();
    host.within("a", |root| assert_eq!(fs::read(root.join("f")).unwrap(), b"partial"));
    let mut content = EMPTY;
    call!(orlop_driver_content_path(host.driver, id, &mut content)).unwrap();
    assert_eq!(taken(content), host.home().join("a/diff").to_str().unwrap().as_bytes());

    let (target, _) = begin(&host);
    let path = text(target.to_str().unwrap());
    for _ in 0..2 {
        call!(orlop_driver_discard_partial(host.driver, path.as_ptr())).unwrap();
        assert!(!target.exists());
    }
    let wrong = text(host.home().join("a/diff").to_str().unwrap());
    let e = call!(orlop_driver_discard_partial(host.driver, wrong.as_ptr())).unwrap_err();
    assert_eq!(e.code, ORLOP_ERR_INVALID_ARGUMENT, "{}", e.message);
    // A struct without room is refused before anything is made.
    let mut small: orlop_partial = zeroed();
    small.size = 4;
    let mut target = EMPTY;
    let e = call!(orlop_driver_begin_partial(host.driver, ptr::null(), &mut small, &mut target));
    assert_eq!(e.unwrap_err().code, ORLOP_ERR_INVALID_ARGUMENT);
    assert_eq!(fs::read_dir(host.home().join("staging")).unwrap().count(), 0);
}

#[test]
fn a_list_of_files_makes_a_composefs_layer() {
    // APL-5, APL-6
    if !drivers().contains(&"overlay") {
        return;
    }
    let in_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|dir| dir.join("mkcomposefs").is_file())
    });
    if !in_path {
        println!(
            "skipped: composefs layers: there is no mkcomposefs (scripts/mkcomposefs fetches it)"
        );
        return;
    }
    let host = Host::with("overlay", &["use_composefs=true"]);
    let commit = |list: &str, id: &str| {
        let (target, how) = begin(&host);
        assert_eq!(how.by_digest, 1);
        fs::create_dir(target.join("ab")).unwrap();
        fs::write(target.join("ab/cd"), "by digest").unwrap();
        let (id, path) = (text(id), text(target.to_str().unwrap()));
        let mut dump = tempfile::tempfile().unwrap();
        dump.write_all(list.as_bytes()).unwrap();
        dump.rewind().unwrap();
        let (driver, none, fd) = (host.driver, ptr::null(), dump.as_raw_fd());
        let (id, path) = (id.as_ptr(), path.as_ptr());
        let done = call!(orlop_driver_commit_partial_image(driver, id, none, path, 1, fd));
        call!(orlop_driver_discard_partial(driver, path)).unwrap();
        done
    };
    host.create("a", "");
    let root = "/ 0 40755 2 0 0 0 0.0 - - -\n";
    let e = commit(&format!("{root}/f 8 100644 1 0 0 0 0.0 ab/cd - -\n"), "a").unwrap_err();
    assert_eq!(e.code, ORLOP_ERR_INVALID_ARGUMENT, "{}", e.message);
    commit(&format!("{root}/f 9 100644 1 0 0 0 0.0 ab/cd - -\n"), "a").unwrap();
    assert!(host.home().join("a/composefs-data/composefs.blob").is_file());
    host.create("b", "a");
    host.within("b", |root| assert_eq!(fs::read(root.join("f")).unwrap(), b"by digest"));
}

#[test]
fn drivers_say_what_they_cannot() {
    let host = Host::new("vfs");
    host.create("a", "");
    let (id, none) = (text("a"), ptr::null());
    let mut buf = EMPTY;
    let e = call!(orlop_driver_begin_partial(host.driver, ptr::null(), ptr::null_mut(), &mut buf));
    assert_eq!(e.unwrap_err().code, ORLOP_ERR_NOT_SUPPORTED);
    let e = call!(orlop_driver_content_path(host.driver, id.as_ptr(), &mut buf)).unwrap_err();
    assert_eq!(e.code, ORLOP_ERR_NOT_SUPPORTED);
    for name in drivers() {
        let host = Host::new(name);
        host.create("a", "");
        let toc = text(&format!("sha256:{}", "0".repeat(64)));
        let mut layer = ptr::null_mut();
        let unknown = [
            call!(orlop_driver_additional_layer(host.driver, toc.as_ptr(), none, &mut layer)),
            call!(orlop_driver_additional_layer_of(host.driver, id.as_ptr(), &mut layer)),
        ];
        for e in unknown {
            assert_eq!(e.unwrap_err().code, ORLOP_ERR_LAYER_UNKNOWN);
        }
        assert!(layer.is_null());
        let bad = text("sha256:0");
        let e = call!(orlop_driver_additional_layer(host.driver, bad.as_ptr(), none, &mut layer));
        assert_eq!(e.unwrap_err().code, ORLOP_ERR_INVALID_DIGEST);
        let mut bytes = 7;
        let ids = list(&["a", "missing"]);
        for method in [ORLOP_DEDUP_CRC, ORLOP_DEDUP_SIZE, ORLOP_DEDUP_SHA256] {
            call!(orlop_driver_dedup(host.driver, ids, method, &mut bytes)).unwrap();
            assert_eq!(bytes, 0);
        }
        let e = call!(orlop_driver_dedup(host.driver, ids, 3, &mut bytes)).unwrap_err();
        assert!(e.message.contains("method"), "{}", e.message);
    }
}
