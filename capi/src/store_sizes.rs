//! Sizes, and the directories in which callers may keep files.

use std::ffi::c_char;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use orlop::Result;
use orlop::store::Store;

use crate::buffer::{BufferOut, orlop_buf, put};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::text;
use crate::store::orlop_store;

/// # Safety
/// The pointers are as the header asks.
unsafe fn dir(
    store: *const orlop_store,
    id: *const c_char,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
    make: impl FnOnce(&Store, &str) -> Result<PathBuf>,
) -> i32 {
    // SAFETY: the same promise.
    unsafe {
        run(error, || {
            let out = BufferOut::new(path);
            let store = handle::borrow(store)?;
            out.put(make(&store, text(id, "id")?)?.into_os_string().into_vec());
            Ok(())
        })
    }
}

/// Bytes of an image: the tars of its layers and its big data.
///
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN; ORLOP_ERR_LAYER_UNKNOWN for a layer that is missing; ORLOP_ERR_SIZE_UNKNOWN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_image_size(
    store: *const orlop_store,
    id: *const c_char,
    bytes: *mut i64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            put(bytes, handle::borrow(store)?.image_size(text(id, "id")?)?);
            Ok(())
        })
    }
}

/// Bytes of a container: what its layer changes, its big data and its directories.
///
/// Threads: any.
/// Errors: ORLOP_ERR_CONTAINER_UNKNOWN, ORLOP_ERR_LAYER_UNKNOWN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_container_size(
    store: *const orlop_store,
    id: *const c_char,
    bytes: *mut i64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            put(bytes, handle::borrow(store)?.container_size(text(id, "id")?)?);
            Ok(())
        })
    }
}

/// A directory for the caller's files of an image, made if it is not there; the path, any bytes.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_image_dir(
    store: *const orlop_store,
    id: *const c_char,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { dir(store, id, path, error, Store::image_dir) }
}

/// As orlop_image_dir, in the run root: gone after a reboot.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_image_run_dir(
    store: *const orlop_store,
    id: *const c_char,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { dir(store, id, path, error, Store::image_run_dir) }
}

/// A directory for the caller's files of a container, made if it is not there; the path, any bytes.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_CONTAINER_UNKNOWN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_container_dir(
    store: *const orlop_store,
    id: *const c_char,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { dir(store, id, path, error, Store::container_dir) }
}

/// As orlop_container_dir, in the run root: gone after a reboot.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_CONTAINER_UNKNOWN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_container_run_dir(
    store: *const orlop_store,
    id: *const c_char,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { dir(store, id, path, error, Store::container_run_dir) }
}
