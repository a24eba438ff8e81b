//! Every code that a call on a store can give, from the fault that is its reason.
//!
//! Three are given by no call today: ORLOP_ERR_PARENT_UNKNOWN (a missing parent is ORLOP_ERR_LAYER_UNKNOWN, as in Go's
//! CreateLayer), ORLOP_ERR_PREREQUISITES (no driver has any) and ORLOP_ERR_INTERNAL, which is for defects (`guard`, `handle`).

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use orlop_capi::*;

use crate::fixtures::{Fixture, docker, file, is_root, open, tar};
use crate::support::{Failure, NO_STRINGS, Outcome, Strings, c};

#[track_caller]
fn fails<T: std::fmt::Debug>(name: &str, outcome: Outcome<T>) -> Failure {
    let failure = outcome.expect_err(name);
    assert_eq!(failure.name(), format!("ORLOP_ERR_{name}"), "{}", failure.message);
    failure
}

/// A base and a layer upon it, an image of the latter, a container of that.
fn ship() -> Fixture {
    let f = Fixture::new();
    f.import("base", "", &[("f", b"x")]).unwrap();
    f.import("next", "base", &[("g", b"y")]).unwrap();
    f.image("pic", "next", &["localhost/pic:1"]).unwrap();
    f.container("crew", "pic").unwrap();
    f
}

#[test]
fn what_is_not_there() {
    let f = ship();
    let no = c"nobody".as_ptr();
    let none = std::ptr::null();
    fails("LAYER_UNKNOWN", text!(orlop_layer(f.store, no)));
    fails("LAYER_UNKNOWN", f.import("new", "nobody", &[]));
    fails("LAYER_UNKNOWN", f.image("new", "nobody", &[]));
    fails("LAYER_UNKNOWN", call!(orlop_delete(f.store, no)));
    fails("LAYER_UNKNOWN", text!(orlop_mount(f.store, no, std::ptr::null())));
    fails("LAYER_UNKNOWN", call!(orlop_unmount(f.store, no, 0)));
    fails("LAYER_UNKNOWN", bytes!(orlop_changes(f.store, no, none)));
    fails("IMAGE_UNKNOWN", text!(orlop_image(f.store, no)));
    fails("IMAGE_UNKNOWN", f.container("new", "nobody"));
    fails("NOT_AN_IMAGE", text!(orlop_delete_image(f.store, no, 0)));
    fails("IMAGE_UNKNOWN", text!(orlop_mount_image(f.store, no, std::ptr::null())));
    let out = file(b"");
    let save = call!(orlop_save(
        f.store,
        Strings::new(&["nobody"]).list(),
        none,
        out.as_raw_fd(),
        std::ptr::null(),
        std::ptr::null()
    ));
    fails("IMAGE_UNKNOWN", save);
    fails("CONTAINER_UNKNOWN", text!(orlop_container(f.store, no)));
    let commit = text!(orlop_commit(f.store, no, none, std::ptr::null(), std::ptr::null()));
    fails("CONTAINER_UNKNOWN", commit);
    fails("NOT_FOUND", text!(orlop_lookup(f.store, no)));
    fails("NOT_FOUND", call!(orlop_set_metadata(f.store, no, c"".as_ptr())));
    fails("NOT_FOUND", call!(orlop_add_names(f.store, no, NO_STRINGS)));
    fails("NOT_A_LAYER", call!(orlop_delete_layer(f.store, c"pic".as_ptr())));
    fails("NOT_A_CONTAINER", call!(orlop_delete_container(f.store, c"pic".as_ptr())));
    fails("DATA_UNKNOWN", bytes!(orlop_image_data(f.store, c"pic".as_ptr(), no)));
    fails("DATA_UNKNOWN", bytes!(orlop_container_data(f.store, c"crew".as_ptr(), no)));
    let fd = out.as_raw_fd();
    fails(
        "DATA_UNKNOWN",
        call!(orlop_layer_data(f.store, c"base".as_ptr(), no, fd, std::ptr::null())),
    );
}

#[test]
fn what_is_taken_or_in_use() {
    let f = ship();
    fails("DUPLICATE_ID", f.import("base", "", &[]));
    fails("DUPLICATE_ID", f.image("pic", "base", &[]));
    fails("DUPLICATE_ID", f.container("crew", "pic"));
    fails("DUPLICATE_NAME", f.image("new", "base", &["localhost/pic:1"]));
    fails("LAYER_HAS_CHILDREN", call!(orlop_delete_layer(f.store, c"base".as_ptr())));
    f.import("top", "", &[]).unwrap();
    f.image("other", "top", &[]).unwrap();
    fails("LAYER_USED_BY_IMAGE", call!(orlop_delete_layer(f.store, c"top".as_ptr())));
    let crew = json!(orlop_container(f.store, c"crew".as_ptr())).unwrap();
    let layer = crew["layer"].as_str().unwrap();
    fails("LAYER_USED_BY_CONTAINER", call!(orlop_delete_layer(f.store, c(layer).as_ptr())));
    fails("PARENT_IS_CONTAINER", f.import("new", layer, &[]));
    fails("IMAGE_USED_BY_CONTAINER", text!(orlop_delete_image(f.store, c"pic".as_ptr(), 0)));
    text!(orlop_mount(f.store, c"crew".as_ptr(), std::ptr::null())).unwrap();
    fails("LAYER_USED_BY_CONTAINER", call!(orlop_shutdown(f.store, 0)));
    call!(orlop_unmount(f.store, c"crew".as_ptr(), 0)).unwrap();
    // Nothing has come of all that.
    assert_eq!(json!(orlop_layers(f.store)).unwrap().as_array().unwrap().len(), 4);
}

#[test]
fn what_is_malformed() {
    let f = ship();
    let broken = c"sha256:short".as_ptr();
    fails("INVALID_DIGEST", text!(orlop_layers_by_diff_digest(f.store, broken)));
    fails("INVALID_DIGEST", text!(orlop_images_by_digest(f.store, broken)));
    let (pic, key) = (c"pic".as_ptr(), c"k".as_ptr());
    let set = call!(orlop_set_image_data(f.store, pic, key, std::ptr::null(), 0, broken));
    fails("INVALID_DIGEST", set);
    let digest = c(orlop::Digest::sha256(b"other").to_string());
    let layer = options!(orlop_new_layer { expected_diff_digest: digest.as_ptr() });
    let stream = file(&tar(&[("f", b"x")]));
    let (fd, none) = (stream.as_raw_fd(), std::ptr::null());
    fails("DIGEST_MISMATCH", text!(orlop_import_layer(f.store, &layer, fd, none)));
    let no_layer = std::ptr::null();
    let damaged = file(&tar(&[("f", b"x")])[..512]);
    let fd = damaged.as_raw_fd();
    fails("INVALID_ARCHIVE", text!(orlop_import_layer(f.store, no_layer, fd, none)));
    let no_archive = file(b"no archive at all");
    let fd = no_archive.as_raw_fd();
    let no = std::ptr::null();
    let load = text!(orlop_load(f.store, no, fd, std::ptr::null(), none));
    fails("INVALID_ARCHIVE", load);
    let load = text!(orlop_load(f.store, c"/no/such/file".as_ptr(), -1, std::ptr::null(), none));
    assert!(fails("IO", load).message.contains("/no/such/file"));
    let load = text!(orlop_load(f.store, c"/x".as_ptr(), fd, std::ptr::null(), none));
    fails("INVALID_ARGUMENT", load);
    fails("INVALID_ARGUMENT", text!(orlop_load(f.store, no, -1, std::ptr::null(), none)));
    for text in ["[]", "{", "7"] {
        let flags = c(text);
        let new = options!(orlop_new_layer { flags: flags.as_ptr() });
        fails("INVALID_ARGUMENT", text!(orlop_create_layer(f.store, &new)));
    }
    let new = options!(orlop_new_layer { reserved: 1 });
    fails("INVALID_ARGUMENT", text!(orlop_create_layer(f.store, &new)));
    let new = options!(orlop_new_image { created: c"yesterday".as_ptr() });
    fails("INVALID_ARGUMENT", text!(orlop_create_image(f.store, &new)));
    let new = options!(orlop_new_container { mount_label: c"one".as_ptr() });
    fails("INVALID_ARGUMENT", text!(orlop_create_container(f.store, &new)));
    for key in [c"", c".."] {
        let (null, key) = (std::ptr::null(), key.as_ptr());
        let set = call!(orlop_set_image_data(f.store, pic, key, std::ptr::null(), 0, null));
        fails("INVALID_DATA_NAME", set);
        fails("INVALID_DATA_NAME", bytes!(orlop_container_data(f.store, c"crew".as_ptr(), key)));
    }
    let item = orlop_data_item { key, data: std::ptr::null(), len: 0, digest: digest.as_ptr() };
    let items = orlop_data_items { items: &item, count: 1 };
    let new = options!(orlop_new_container { big_data: items });
    fails("INVALID_ARGUMENT", text!(orlop_create_container(f.store, &new)));
    fails("INVALID_ARGUMENT", call!(orlop_unmount(f.store, c"crew".as_ptr(), 2)));
    let out = file(b"");
    for (compression, name) in [
        (-2, "INVALID_ARGUMENT"),
        (5, "INVALID_ARGUMENT"),
        (1, "NOT_SUPPORTED"),
        (3, "NOT_SUPPORTED"),
    ] {
        let (fd, base) = (out.as_raw_fd(), c"base".as_ptr());
        let bytes = std::ptr::null_mut();
        fails(name, call!(orlop_export(f.store, base, no, compression, fd, none, bytes)));
    }
    assert_eq!(out.metadata().unwrap().len(), 0);
}

#[test]
fn what_the_store_or_the_machine_refuses() {
    let f = ship();
    let none = std::ptr::null();
    fails("NOT_SUPPORTED", open(f.dir.path(), "btrfs", &[]));
    fails("CONFIG", open(f.dir.path(), f.driver, &["no.such=option"]));
    let rootless = options!(orlop_config_options { only_given: 1 });
    let (mut config, mut store) = (std::ptr::null_mut(), std::ptr::null_mut());
    call!(orlop_config_load(&rootless, &mut config)).unwrap();
    fails("INCOMPLETE_OPTIONS", call!(orlop_store_open(config, &mut store)));
    // SAFETY: made above.
    unsafe { orlop_config_free(config) };
    let policy = f.path("policy.json");
    fs::write(&policy, r#"{"default":[{"type":"reject"}]}"#).unwrap();
    let policy = c(policy.as_os_str().as_bytes());
    let given = options!(orlop_load_options { policy: policy.as_ptr() });
    let archive = file(&docker("x", &tar(&[])));
    let fd = archive.as_raw_fd();
    fails("POLICY_REJECTED", text!(orlop_load(f.store, none, fd, &given, std::ptr::null())));
    // A pipe that nobody reads: no SIGPIPE, but its error.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (base, fd) = (c"base".as_ptr(), writer.as_raw_fd());
    let (bytes, operation) = (std::ptr::null_mut(), std::ptr::null());
    let export = call!(orlop_export(f.store, base, none, 0, fd, operation, bytes));
    assert!(fails("IO", export).message.contains("Broken pipe"));
    // Go asks for the sizes of all items.
    let record = fs::read_to_string(f.records("images")).unwrap();
    let sizeless = record.replacen("\"names\"", "\"big-data-names\":[\"k\"],\"names\"", 1);
    fs::write(f.records("images"), sizeless).unwrap();
    let other = f.another();
    let mut size = 0;
    fails("SIZE_UNKNOWN", call!(orlop_image_size(other, c"pic".as_ptr(), &mut size)));
    fs::write(f.records("images"), "[{\"id\":7}]").unwrap();
    let third = f.another();
    assert!(fails("CORRUPT", text!(orlop_images(third))).message.contains("images.json"));
    fs::write(f.records("images"), record).unwrap();
    // SAFETY: opened above.
    unsafe {
        orlop_store_free(other);
        orlop_store_free(third);
    }
}

#[test]
fn what_another_store_only_lends() {
    if !is_root() {
        return println!("skipped: an additional store needs the overlay driver, and that root");
    }
    let lender = ship();
    let f = Fixture::new();
    let option = format!("imagestore={}", lender.path("graph").display());
    let store = open(f.dir.path(), "overlay", &[&option]).unwrap();
    let pic = c"pic".as_ptr();
    let image = json!(orlop_image(store, pic)).unwrap();
    assert_eq!(image["read-only"], true);
    let base = c"base".as_ptr();
    let layer = text!(orlop_layer(store, base)).unwrap();
    assert!(layer.ends_with(r#","read-only":true}"#), "{layer}");
    fails("READ_ONLY", text!(orlop_delete_image(store, pic, 0)));
    fails("READ_ONLY", text!(orlop_mount(store, base, std::ptr::null())));
    fails("READ_ONLY", call!(orlop_set_names(store, base, NO_STRINGS)));
    fails("READ_ONLY", call!(orlop_set_metadata(store, pic, c"{}".as_ptr())));
    // What writes looks among the layers and images that can be written, as in Go.
    let from = file(b"");
    let (fd, none) = (from.as_raw_fd(), std::ptr::null());
    let bytes = std::ptr::null_mut();
    fails("LAYER_UNKNOWN", call!(orlop_apply_diff(store, base, fd, none, bytes)));
    fails("LAYER_UNKNOWN", call!(orlop_set_layer_data(store, base, c"k".as_ptr(), fd, none)));
    let (key, no) = (c"k".as_ptr(), std::ptr::null());
    let set = call!(orlop_set_image_data(store, pic, key, std::ptr::null(), 0, no));
    fails("IMAGE_UNKNOWN", set);
    fails("LAYER_UNKNOWN", call!(orlop_delete(store, base)));
    // SAFETY: opened above.
    unsafe { orlop_store_free(store) };
}

#[test]
fn what_overlay_refuses() {
    if !is_root() {
        return println!("skipped: overlay needs root");
    }
    let mut f = Fixture::on("overlay");
    // SAFETY: used no more; a thousand syncs are not what this is about.
    unsafe { orlop_store_free(f.store) };
    f.store = open(f.dir.path(), "overlay", &["overlay.sync=none"]).unwrap();
    let mut parent = String::new();
    for n in 0..=501 {
        let (id, above) = (format!("l{n}"), c(parent));
        let name = c(id.clone());
        let new = options!(orlop_new_layer { id: name.as_ptr(), parent: above.as_ptr() });
        text!(orlop_create_layer(f.store, &new)).unwrap();
        parent = id;
    }
    let top = c(parent);
    fails("MAX_DEPTH", text!(orlop_mount(f.store, top.as_ptr(), std::ptr::null())));

    // The mount is there, but its count has been lost.
    let l1 = c"l1".as_ptr();
    let path = text!(orlop_mount(f.store, l1, std::ptr::null())).unwrap();
    let counts = f.path("run/overlay-layers/mountpoints.json");
    let known = fs::read(&counts).unwrap();
    fs::write(&counts, "[]").unwrap();
    let read_only = options!(orlop_mount_request { read_only: 1 });
    let refusal = text!(orlop_mount(f.store, l1, &read_only));
    fs::write(&counts, known).unwrap();
    fails("BUSY", refusal);

    // An overlay upon an overlay.
    let nested = std::path::Path::new(&path).join("nested");
    // Layers there belong to the kernel: no program takes its place.
    fs::create_dir_all(nested.join("graph/overlay/layer")).unwrap();
    let store = open(&nested, "overlay", &[]).unwrap();
    fails("INCOMPATIBLE_FS", text!(orlop_create_layer(store, std::ptr::null())));
    // SAFETY: opened above.
    unsafe { orlop_store_free(store) };
    fs::remove_dir_all(&nested).unwrap();
    call!(orlop_unmount(f.store, l1, 1)).unwrap();
}
