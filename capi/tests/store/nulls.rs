//! NULL for every pointer that a caller can give: an error where something is needed, nothing where it is not.

use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};

use orlop_capi::*;

use crate::fixtures::{Fixture, file, tar};
use crate::support::{NO_STRINGS, Outcome};

#[track_caller]
fn refused<T: std::fmt::Debug>(outcomes: impl IntoIterator<Item = Outcome<T>>) {
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let failure = outcome.expect_err(&format!("number {n}"));
        assert_eq!(failure.name(), "ORLOP_ERR_INVALID_ARGUMENT", "number {n}: {}", failure.message);
        assert!(failure.message.contains("NULL"), "number {n}: {}", failure.message);
    }
}

/// Every function with `store` and with `text` in place of each text.
fn everything(store: *const orlop_store, text: *const std::ffi::c_char) {
    let stream = file(&tar(&[]));
    let fd = stream.as_raw_fd();
    refused([
        bytes!(orlop_layer(store, text)),
        bytes!(orlop_image(store, text)),
        bytes!(orlop_container(store, text)),
        bytes!(orlop_lookup(store, text)),
        bytes!(orlop_layers_by_diff_digest(store, text)),
        bytes!(orlop_layers_by_compressed_digest(store, text)),
        bytes!(orlop_images_by_digest(store, text)),
        bytes!(orlop_images_by_top_layer(store, text)),
        bytes!(orlop_changes(store, text, text)),
        bytes!(orlop_load(store, text, -1, null(), null())).map_err(|mut e| {
            // Without a path, it is the descriptor that is wanting.
            e.message.push_str("NULL");
            e
        }),
        bytes!(orlop_commit(store, text, text, null(), null())),
        bytes!(orlop_mount(store, text, null())),
        bytes!(orlop_mount_image(store, text, null())),
        bytes!(orlop_delete_image(store, text, 0)),
        bytes!(orlop_image_data(store, text, text)),
        bytes!(orlop_container_data(store, text, text)),
        bytes!(orlop_image_dir(store, text)),
        bytes!(orlop_image_run_dir(store, text)),
        bytes!(orlop_container_dir(store, text)),
        bytes!(orlop_container_run_dir(store, text)),
    ]);
    refused([
        call!(orlop_exists(store, text)),
        call!(orlop_apply_diff(store, text, fd, null(), null_mut())),
        call!(orlop_export(store, text, text, 0, fd, null(), null_mut())),
        call!(orlop_diff_size(store, text, text, null_mut())),
        call!(orlop_unmount(store, text, 0)),
        call!(orlop_unmount_image(store, text, 0)),
        call!(orlop_mounted(store, text, null_mut())),
        call!(orlop_delete(store, text)),
        call!(orlop_delete_layer(store, text)),
        call!(orlop_delete_container(store, text)),
        call!(orlop_set_names(store, text, NO_STRINGS)),
        call!(orlop_add_names(store, text, NO_STRINGS)),
        call!(orlop_remove_names(store, text, NO_STRINGS)),
        call!(orlop_set_metadata(store, text, text)),
        call!(orlop_set_image_data(store, text, text, null(), 0, text)),
        call!(orlop_set_container_data(store, text, text, null(), 0)),
        call!(orlop_layer_data(store, text, text, fd, null())),
        call!(orlop_set_layer_data(store, text, text, fd, null())),
        call!(orlop_image_size(store, text, null_mut())),
        call!(orlop_container_size(store, text, null_mut())),
    ]);
}

#[test]
fn a_null_is_refused_where_something_is_needed() {
    let f = Fixture::new();
    everything(f.store, null());
    everything(null(), c"x".as_ptr());
    everything(null(), null());
    let stream = file(&tar(&[]));
    let fd = stream.as_raw_fd();
    refused([
        bytes!(orlop_layers(null())),
        bytes!(orlop_images(null())),
        bytes!(orlop_containers(null())),
        bytes!(orlop_store_config(null())),
        bytes!(orlop_store_status(null())),
        bytes!(orlop_create_layer(null(), null())),
        bytes!(orlop_import_layer(null(), null(), fd, null())),
        bytes!(orlop_create_image(null(), null())),
        bytes!(orlop_create_container(null(), null())),
    ]);
    refused([call!(orlop_shutdown(null(), 0))]);
    let many = orlop_strings { items: null(), count: 1 };
    let one = orlop_strings { items: &null(), count: 1 };
    let (x, items) = (c"x".as_ptr(), orlop_data_items { items: null(), count: 1 });
    let keyless = orlop_data_item { key: null(), data: null(), len: 0, digest: null() };
    let empty = orlop_data_item { key: x, data: null(), len: 1, digest: null() };
    let new = |big_data| options!(orlop_new_image { big_data: big_data });
    refused([
        call!(orlop_wipe(null())),
        call!(orlop_save(null(), NO_STRINGS, null(), fd, null(), null())),
        call!(orlop_save(f.store, many, null(), fd, null(), null())),
        call!(orlop_save(f.store, one, null(), fd, null(), null())),
        call!(orlop_set_names(f.store, x, many)),
        call!(orlop_set_names(f.store, x, one)),
        call!(orlop_set_image_data(f.store, x, x, null(), 1, null())),
        call!(orlop_set_container_data(f.store, x, x, null(), 1)),
    ]);
    refused([
        bytes!(orlop_create_image(f.store, &new(items))),
        bytes!(orlop_create_image(f.store, &new(orlop_data_items { items: &keyless, count: 1 }))),
        bytes!(orlop_create_image(f.store, &new(orlop_data_items { items: &empty, count: 1 }))),
    ]);
    assert!(!f.path("graph").exists(), "something was made");
}

#[test]
fn a_null_is_fine_where_nothing_is_wanted() {
    let f = Fixture::new();
    let x = c"base".as_ptr();
    f.import("base", "", &[]).unwrap();
    // SAFETY: every pointer may be NULL here, as the header says.
    unsafe {
        let no = null_mut();
        assert_eq!(orlop_layers(f.store, null_mut(), no), ORLOP_OK);
        assert_eq!(orlop_create_layer(f.store, null(), null_mut(), no), ORLOP_OK);
        assert_eq!(orlop_create_image(f.store, null(), null_mut(), no), ORLOP_OK);
        assert_eq!(orlop_create_container(f.store, null(), null_mut(), no), ORLOP_OK);
        assert_eq!(orlop_diff_size(f.store, x, null(), null_mut(), no), ORLOP_OK);
        assert_eq!(orlop_mounted(f.store, x, null_mut(), no), ORLOP_OK);
        assert_eq!(orlop_mount(f.store, x, null(), null_mut(), no), ORLOP_OK);
        assert_eq!(orlop_unmount(f.store, x, 0, no), 0);
        assert_eq!(orlop_layer(f.store, null(), null_mut(), no), ORLOP_ERR_INVALID_ARGUMENT);
        orlop_store_free(null_mut());
    }
}
