//! What is refused: NULL everywhere, bad ids and options, and by its name what this version does not serve.

use std::ptr;

use orlop_capi::*;

use crate::host::{Failure, Host, NO_MAPS, call, list, text, zeroed};

/// Every driver function with NULL for all pointers but `driver`, and no descriptor.
fn all_null(driver: *const orlop_driver) -> Vec<(&'static str, Result<i32, Failure>)> {
    let none = ptr::null();
    macro_rules! calls {
        ($($function:ident($($argument:expr),*)),* $(,)?) => {
            vec![$((stringify!($function), call!($function($($argument),*)))),*]
        };
    }
    let no_buf: *mut orlop_buf = ptr::null_mut();
    let (no_bytes, no_map) = (ptr::null_mut(), NO_MAPS);
    calls![
        orlop_driver_create(driver, none, none, ptr::null()),
        orlop_driver_create_read_write(driver, none, none, ptr::null()),
        orlop_driver_create_from_template(driver, none, none, ptr::null(), 0),
        orlop_driver_remove(driver, none),
        orlop_driver_deferred_remove(driver, none, ptr::null_mut()),
        orlop_trash_empty(ptr::null_mut()),
        orlop_driver_get(driver, none, ptr::null(), no_buf),
        orlop_driver_describe_mount(driver, none, ptr::null(), no_buf),
        orlop_driver_mount_detached(driver, none, ptr::null(), ptr::null_mut()),
        orlop_driver_put(driver, none),
        orlop_driver_exists(driver, none),
        orlop_driver_is_mounted(driver, none),
        orlop_driver_metadata(driver, none, no_buf),
        orlop_driver_disk_usage(driver, none, ptr::null_mut()),
        orlop_driver_update_id_maps(driver, none, no_map, no_map, no_map, no_map, none),
        orlop_driver_apply_diff(driver, none, -1, ptr::null(), ptr::null(), no_bytes),
        orlop_driver_stage(driver, none, -1, ptr::null(), ptr::null(), ptr::null_mut(), no_bytes),
        orlop_driver_commit_staged(driver, none, ptr::null_mut()),
        orlop_driver_diff(driver, none, none, ptr::null(), -1, ptr::null()),
        orlop_driver_diff_size(driver, none, none, ptr::null(), no_bytes),
        orlop_driver_changes(driver, none, none, ptr::null(), no_buf),
        orlop_driver_begin_partial(driver, ptr::null(), ptr::null_mut(), no_buf),
        orlop_driver_commit_partial(driver, none, none, none, 0),
        orlop_driver_commit_partial_image(driver, none, none, none, 0, -1),
        orlop_driver_discard_partial(driver, none),
        orlop_driver_content_path(driver, none, no_buf),
        orlop_driver_additional_layer(driver, none, none, ptr::null_mut()),
        orlop_driver_additional_layer_of(driver, none, ptr::null_mut()),
        orlop_driver_create_from_additional(driver, none, none, ptr::null()),
        orlop_additional_layer_info(ptr::null(), ptr::null_mut()),
        orlop_additional_layer_blob(ptr::null(), ptr::null_mut()),
        orlop_driver_files(driver, none, ptr::null_mut()),
        orlop_files_open(ptr::null(), none, ptr::null_mut()),
    ]
}

/// Those that need nothing but a driver.
fn driver_only(driver: *const orlop_driver) -> Vec<(&'static str, Result<i32, Failure>)> {
    let no_buf: *mut orlop_buf = ptr::null_mut();
    vec![
        ("orlop_driver_name", call!(orlop_driver_name(driver, no_buf))),
        ("orlop_driver_dialect", call!(orlop_driver_dialect(driver, no_buf))),
        ("orlop_driver_prepare", call!(orlop_driver_prepare(driver))),
        ("orlop_driver_cleanup", call!(orlop_driver_cleanup(driver))),
        ("orlop_driver_syncs", call!(orlop_driver_syncs(driver))),
        (
            "orlop_driver_supports_shifting",
            call!(orlop_driver_supports_shifting(driver, NO_MAPS, NO_MAPS)),
        ),
        (
            "orlop_driver_dedup",
            call!(orlop_driver_dedup(driver, list(&[]), ORLOP_DEDUP_CRC, ptr::null_mut())),
        ),
        ("orlop_driver_layers", call!(orlop_driver_layers(driver, no_buf))),
        ("orlop_driver_status", call!(orlop_driver_status(driver, no_buf))),
        ("orlop_driver_temp_dir_roots", call!(orlop_driver_temp_dir_roots(driver, no_buf))),
        (
            "orlop_driver_additional_image_stores",
            call!(orlop_driver_additional_image_stores(driver, no_buf)),
        ),
    ]
}

#[test]
fn null_is_refused_and_harms_nobody() {
    let host = Host::new("vfs");
    let without = all_null(ptr::null()).into_iter().chain(driver_only(ptr::null()));
    for (function, outcome) in without.chain(all_null(host.driver)) {
        let e = outcome.map(|n| panic!("{function} gives {n}")).unwrap_err();
        assert_eq!(e.code, ORLOP_ERR_INVALID_ARGUMENT, "{function}: {}", e.message);
    }
    for (function, outcome) in driver_only(host.driver) {
        assert!(outcome.unwrap() >= 0, "{function}");
    }
    let open = call!(orlop_driver_open(ptr::null(), ptr::null_mut())).unwrap_err();
    assert_eq!(open.code, ORLOP_ERR_INVALID_ARGUMENT);
    // SAFETY: NULL is fine for all of them, and nobody has to take the error.
    unsafe {
        orlop_driver_free(ptr::null_mut());
        orlop_trash_free(ptr::null_mut());
        orlop_staged_free(ptr::null_mut());
        orlop_files_free(ptr::null_mut());
        orlop_additional_layer_free(ptr::null_mut());
        let (id, no_error) = (text("x"), ptr::null_mut());
        assert_eq!(orlop_driver_exists(host.driver, id.as_ptr(), no_error), 0);
        let bad = orlop_driver_exists(host.driver, ptr::null(), no_error);
        assert_eq!(bad, ORLOP_ERR_INVALID_ARGUMENT);
    }
    // Every function of this part stands in one of the lists.
    let header = include_str!("../../../include/orlop.h");
    let listed: Vec<_> = all_null(ptr::null())
        .into_iter()
        .chain(driver_only(ptr::null()))
        .map(|(name, _)| name)
        .chain(["orlop_driver_open", "orlop_driver_free"])
        .collect();
    for word in header.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '(') {
        if let Some((name, _)) = word.split_once('(')
            && name.starts_with("orlop_driver_")
        {
            assert!(listed.contains(&name), "{name}");
        }
    }
}

#[test]
fn bad_ids_and_options_change_nothing() {
    let host = Host::new("vfs");
    for bad in ["", "..", "a/b", "l"] {
        let e =
            call!(orlop_driver_create(host.driver, text(bad).as_ptr(), ptr::null(), ptr::null()));
        assert_eq!(e.unwrap_err().code, ORLOP_ERR_INVALID_ARGUMENT, "{bad:?}");
    }
    let not_utf8 = c"\xff";
    let e = call!(orlop_driver_exists(host.driver, not_utf8.as_ptr()));
    assert_eq!(e.unwrap_err().code, ORLOP_ERR_INVALID_ARGUMENT);
    let id = text("a");
    let create = |options: &orlop_layer_options| {
        call!(orlop_driver_create(host.driver, id.as_ptr(), ptr::null(), options)).unwrap_err()
    };
    let mut options: orlop_layer_options = zeroed();
    options.storage_opt = list(&["size"]);
    assert!(create(&options).message.contains("not key=value"));
    options.storage_opt = list(&["size=1g"]);
    assert_eq!(create(&options).code, ORLOP_ERR_NOT_SUPPORTED);
    let mut mount: orlop_mount_options = zeroed();
    mount.is_volatile = 2;
    let e = call!(orlop_driver_get(host.driver, id.as_ptr(), &mount, ptr::null_mut()));
    assert!(e.unwrap_err().message.contains("is_volatile"));
    assert_eq!(call!(orlop_driver_exists(host.driver, id.as_ptr())).unwrap(), 0);
    assert_eq!(host.leftovers(), 0);
}

#[test]
fn malformed_wishes_are_refused_before_a_byte_is_read() {
    let host = Host::new("vfs");
    host.create("a", "");
    let id = text("a");
    let mut by_no_mode: orlop_apply_options = zeroed();
    by_no_mode.has_force_mask = 1;
    by_no_mode.force_mask = 0o10000;
    let mut without_flag: orlop_apply_options = zeroed();
    without_flag.force_mask = 0o700;
    for how in [by_no_mode, without_flag] {
        // Nobody ever writes to this pipe.
        let (reader, _writer) = std::io::pipe().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
        let (operation, bytes) = (ptr::null(), ptr::null_mut());
        let e =
            call!(orlop_driver_apply_diff(host.driver, id.as_ptr(), fd, &how, operation, bytes))
                .unwrap_err();
        assert_eq!(e.code, ORLOP_ERR_INVALID_ARGUMENT, "{}", e.message);
        assert!(e.message.contains("force_mask"), "{}", e.message);
    }
}
