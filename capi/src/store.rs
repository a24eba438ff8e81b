//! The store as a handle.

use std::ffi::c_char;

use orlop::store::Store;

use crate::buffer::{BufferOut, PointerOut, orlop_buf};
use crate::config::{self, orlop_config};
use crate::error::orlop_error;
use crate::guard::{call, run};
use crate::handle::{self, Handle, opaque};
use crate::input::text;
use crate::json;

/// A store of layers, images and containers, shared with other processes under its locks. Any number of threads may use it at
/// once; not after fork.
pub struct orlop_store(Handle<Store>);
opaque!(orlop_store, Store, "store");

/// Opens the store that `config` describes. Nothing on disk is touched; what must exist is made by the first call that writes.
///
/// Ownership: *store is the caller's, to be freed with orlop_store_free; `config` may be freed at once.
/// Threads: any.
/// Errors: ORLOP_ERR_INCOMPLETE_OPTIONS for a missing root; ORLOP_ERR_CONFIG for a malformed option; ORLOP_ERR_NOT_SUPPORTED for a
/// driver that is not served.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_store_open(
    config: *const orlop_config,
    store: *mut *mut orlop_store,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = PointerOut::new(store, "store")?;
            let options = handle::borrow(config)?.clone();
            out.put(orlop_store(Handle::new(Store::open(options)?)));
            Ok(())
        })
    }
}

/// Closes a store; NULL is fine. What is mounted stays mounted. After a fork it does nothing in the child.
///
/// Threads: any; no call on the store may be running, and nobody may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_store_free(store: *mut orlop_store) {
    // SAFETY: NULL or a store that the caller has not freed.
    unsafe { handle::free(store) };
}

/// Whether a layer, image or container has that id, name or unique beginning of an id: 1 or 0.
///
/// Threads: any.
/// Errors: when the records cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_exists(
    store: *const orlop_store,
    id: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { call(error, || handle::borrow(store)?.exists(text(id, "id")?).map(i32::from)) }
}

/// What a store was opened with, as orlop_config_json prints it, its driver's name filled in.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_store_config(
    store: *const orlop_store,
    text: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(text);
            out.put(config::print(handle::borrow(store)?.options())?);
            Ok(())
        })
    }
}

/// What the driver says of itself, as podman info prints it: [["key", "value"], ...].
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_store_status(
    store: *const orlop_store,
    rows: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(rows);
            out.put(json::text(&handle::borrow(store)?.driver_status())?);
            Ok(())
        })
    }
}
