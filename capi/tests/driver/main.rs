//! The driver behind its C functions: the life of layers (`go-driver.md`, the table of ProtoDriver).
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod host;
mod maps;
mod partial;
mod refusals;
mod streams;

use std::fs;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use host::{EMPTY, Host, call, drivers, json, list, taken, text, zeroed};
use orlop_capi::*;
use serde_json::json;

fn exists(host: &Host, id: &str) -> bool {
    call!(orlop_driver_exists(host.driver, text(id).as_ptr())).unwrap() == 1
}

fn layers(host: &Host) -> serde_json::Value {
    let mut ids = EMPTY;
    call!(orlop_driver_layers(host.driver, &mut ids)).unwrap();
    json(ids)
}

/// A base layer with a few files, and "top" upon it with changes.
pub(crate) fn filled(name: &'static str) -> Host {
    let host = Host::new(name);
    host.create("base", "");
    host.within("base", |root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/kept"), "kept").unwrap();
        fs::write(root.join("d/gone"), "gone").unwrap();
        fs::write(root.join("d/big"), vec![7; 300_000]).unwrap();
    });
    let (id, parent) = (text("top"), text("base"));
    let none = ptr::null();
    call!(orlop_driver_create_read_write(host.driver, id.as_ptr(), parent.as_ptr(), none)).unwrap();
    host.within("top", |root| {
        assert_eq!(fs::read(root.join("d/kept")).unwrap(), b"kept");
        fs::remove_file(root.join("d/gone")).unwrap();
        fs::write(root.join("d/kept"), "changed").unwrap();
        fs::write(root.join("d/new"), "new").unwrap();
    });
    host
}

#[test]
fn layers_are_made_found_and_removed() {
    for name in drivers() {
        let mut host = filled(name);
        let mut text_of_name = EMPTY;
        call!(orlop_driver_name(host.driver, &mut text_of_name)).unwrap();
        assert_eq!(taken(text_of_name), name.as_bytes());
        for (id, read_write) in [("copy", 0), ("writable", 1)] {
            let (id, from) = (text(id), text("base"));
            let (id, from, none) = (id.as_ptr(), from.as_ptr(), ptr::null());
            call!(orlop_driver_create_from_template(host.driver, id, from, none, read_write))
                .unwrap();
        }
        host.within("writable", |root| assert!(root.join("d/kept").exists()));
        assert!(exists(&host, "top") && !exists(&host, "none"));
        assert_eq!(call!(orlop_driver_syncs(host.driver)).unwrap(), 1);
        for id in ["copy", "writable"] {
            call!(orlop_driver_remove(host.driver, text(id).as_ptr())).unwrap();
            call!(orlop_driver_remove(host.driver, text(id).as_ptr())).unwrap();
        }
        let wanted = if name == "vfs" { json!(["base", "top"]) } else { json!(["top", "base"]) };
        assert_eq!(layers(&host), wanted);

        // What was moved aside can be deleted when the driver has been closed.
        let mut trash = ptr::null_mut();
        call!(orlop_driver_deferred_remove(host.driver, text("top").as_ptr(), &mut trash)).unwrap();
        assert!(!exists(&host, "top") && host.leftovers() > 0);
        host.close();
        call!(orlop_trash_empty(trash)).unwrap();
        assert_eq!(host.leftovers(), 0);
        host.driver = host.another();
        for id in ["base", "never was"] {
            call!(orlop_driver_deferred_remove(host.driver, text(id).as_ptr(), &mut trash))
                .unwrap();
            // SAFETY: handed out by the line above.
            unsafe { orlop_trash_free(trash) };
        }
        assert_eq!((layers(&host), host.leftovers()), (json!([]), 0));
        call!(orlop_driver_cleanup(host.driver)).unwrap();
        call!(orlop_driver_prepare(host.driver)).unwrap();
    }
}

#[test]
fn mounts_are_counted() {
    for name in drivers() {
        let host = filled(name);
        let id = text("top");
        let mut read_only: orlop_mount_options = zeroed();
        read_only.options = list(&["ro"]);
        let mut paths = [EMPTY, EMPTY];
        for path in &mut paths {
            call!(orlop_driver_get(host.driver, id.as_ptr(), &read_only, path)).unwrap();
        }
        let [path, same] = paths.map(|p| String::from_utf8(taken(p)).unwrap());
        assert_eq!(path, same);
        let mounted =
            || call!(orlop_driver_is_mounted(host.driver, text(&path).as_ptr())).unwrap() == 1;
        assert!(mounted());
        if name == "overlay" {
            let refused = fs::write(format!("{path}/f"), "").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
        }
        call!(orlop_driver_put(host.driver, id.as_ptr())).unwrap();
        assert!(mounted() && fs::exists(format!("{path}/d/new")).unwrap());
        call!(orlop_driver_put(host.driver, id.as_ptr())).unwrap();
        assert_eq!(mounted(), name == "vfs");
    }
}

#[test]
fn mounts_can_be_placed_by_the_caller() {
    for name in drivers() {
        let host = filled(name);
        let id = text("top");
        let mut read_only: orlop_mount_options = zeroed();
        read_only.options = list(&["ro"]);
        let mut told = EMPTY;
        call!(orlop_driver_describe_mount(host.driver, id.as_ptr(), &read_only, &mut told))
            .unwrap();
        let told: serde_json::Value = serde_json::from_slice(&taken(told)).unwrap();
        let mut fd = 0;
        let made =
            call!(orlop_driver_mount_detached(host.driver, id.as_ptr(), &read_only, &mut fd));
        if name == "vfs" {
            assert_eq!(told, json!({"directory": host.home().join("dir/top")}));
            assert_eq!((made.unwrap_err().code, fd), (ORLOP_ERR_NOT_SUPPORTED, -1));
            continue;
        }
        let at = |layer: &str| host.home().join(layer).join("diff");
        assert_eq!(told, json!({"lowers": [at("top"), at("base")], "options": ["ro"]}));
        made.unwrap();
        assert!(fs::exists(format!("/proc/self/fd/{fd}/d/new")).unwrap());
        // SAFETY: the descriptor is ours to close.
        assert_eq!(unsafe { libc::close(fd) }, 0);
    }
}

#[test]
fn a_layer_is_described() {
    for name in drivers() {
        let host = filled(name);
        let id = text("top");
        let mut rows = EMPTY;
        call!(orlop_driver_metadata(host.driver, id.as_ptr(), &mut rows)).unwrap();
        let wanted = match name {
            "overlay" => {
                let at = |path: &str| host.home().join(path);
                json!({
                    "LowerDir": at("base/diff"), "MergedDir": at("top/merged"),
                    "UpperDir": at("top/diff"), "WorkDir": at("top/work"),
                })
            }
            _ => json!({}),
        };
        assert_eq!(json(rows), wanted);
        let mut status = EMPTY;
        call!(orlop_driver_status(host.driver, &mut status)).unwrap();
        let status = json(status);
        let shifting = json!(["Supports shifting", "true"]);
        assert_eq!(status.as_array().unwrap().contains(&shifting), name == "overlay", "{status}");
        let mut stores = EMPTY;
        call!(orlop_driver_additional_image_stores(host.driver, &mut stores)).unwrap();
        assert_eq!(json(stores), json!([]));

        // Root, d, new and kept; vfs has the base's big, too.
        let mut usage: orlop_disk_usage = zeroed();
        call!(orlop_driver_disk_usage(host.driver, id.as_ptr(), &mut usage)).unwrap();
        let own = if name == "vfs" { (300_010, 5) } else { (10, 5) };
        assert_eq!((usage.bytes, usage.inodes), own);
        // A struct as an older program knows it gets no more than it has room for.
        let mut older = orlop_disk_usage { size: 16, bytes: 0, inodes: 77 };
        call!(orlop_driver_disk_usage(host.driver, id.as_ptr(), &mut older)).unwrap();
        assert_eq!((older.bytes, older.inodes), (own.0, 77));
    }
}

#[test]
fn files_are_opened_one_by_one() {
    for name in drivers() {
        let mut host = filled(name);
        host.within("top", |root| {
            std::os::unix::fs::symlink("/etc/passwd", root.join("out")).unwrap();
            fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff")), "any bytes").unwrap();
        });
        let mut files = ptr::null_mut();
        call!(orlop_driver_files(host.driver, text("top").as_ptr(), &mut files)).unwrap();
        host.close();
        let open = |name: &[u8]| {
            let (name, mut fd) = (std::ffi::CString::new(name).unwrap(), 0);
            let outcome = call!(orlop_files_open(files, name.as_ptr(), &mut fd));
            outcome.map_err(|e| (e, fd)).map(|_| {
                // SAFETY: a descriptor that is handed out is the caller's.
                let mut file = unsafe { fs::File::from_raw_fd(fd) };
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                content
            })
        };
        assert_eq!(open(b"d/new").unwrap(), b"new");
        assert_eq!(open(b"./d/big").unwrap().len(), 300_000, "from below");
        assert_eq!(open(b"\xff").unwrap(), b"any bytes");
        for none in [b"d/none".as_slice(), b"out", b"d", b"../../top/link"] {
            let (e, fd) = open(none).unwrap_err();
            assert_eq!((e.code, e.errno, fd), (ORLOP_ERR_IO, libc::ENOENT, -1), "{}", e.message);
        }
        // SAFETY: handed out above.
        unsafe { orlop_files_free(files) };
    }
}
