//! Names and metadata of what is there.

use std::ffi::c_char;

use orlop::Result;
use orlop::store::Store;

use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{orlop_strings, strings, text};
use crate::store::orlop_store;

/// # Safety
/// The pointers are as the header asks.
unsafe fn rename(
    store: *const orlop_store,
    id: *const c_char,
    names: orlop_strings,
    error: *mut *mut orlop_error,
    change: impl FnOnce(&Store, &str, &[String]) -> Result<()>,
) -> i32 {
    // SAFETY: the same promise.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            change(&store, text(id, "id")?, &strings(names, "names")?)
        })
    }
}

/// Gives a layer, image or container these names in place of its own; another one of its kind loses them.
///
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_FOUND; ORLOP_ERR_READ_ONLY for a layer of an additional store. An image of one is copied into this store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_set_names(
    store: *const orlop_store,
    id: *const c_char,
    names: orlop_strings,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { rename(store, id, names, error, Store::set_names) }
}

/// Puts names in front of those that a layer, image or container has; another one of its kind loses them.
///
/// Threads: any.
/// Errors: as for orlop_set_names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_add_names(
    store: *const orlop_store,
    id: *const c_char,
    names: orlop_strings,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { rename(store, id, names, error, Store::add_names) }
}

/// Takes names away from a layer, image or container; those it does not have are ignored.
///
/// Threads: any.
/// Errors: as for orlop_set_names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_remove_names(
    store: *const orlop_store,
    id: *const c_char,
    names: orlop_strings,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { rename(store, id, names, error, Store::remove_names) }
}

/// Replaces the metadata of a layer, image or container: any text.
///
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_FOUND; ORLOP_ERR_READ_ONLY for what belongs to an additional store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_set_metadata(
    store: *const orlop_store,
    id: *const c_char,
    metadata: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            store.set_metadata(text(id, "id")?, text(metadata, "metadata")?)
        })
    }
}
