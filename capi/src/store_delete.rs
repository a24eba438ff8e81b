//! Deleting, and the end of a store's work.

use std::ffi::c_char;

use crate::buffer::{BufferOut, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{flag, text};
use crate::json;
use crate::store::orlop_store;

/// Deletes whatever `id` is: a container with its layer, an image's record and data alone, or a layer, without any checks.
///
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN if it is none of them, or belongs to an additional store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_delete(
    store: *const orlop_store,
    id: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::borrow(store)?.delete(text(id, "id")?)) }
}

/// Deletes a layer that no other layer, image or container uses.
///
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_A_LAYER, ORLOP_ERR_LAYER_HAS_CHILDREN, ORLOP_ERR_LAYER_USED_BY_IMAGE, ORLOP_ERR_LAYER_USED_BY_CONTAINER.
/// Nothing is changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_delete_layer(
    store: *const orlop_store,
    id: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::borrow(store)?.delete_layer(text(id, "id")?)) }
}

/// Deletes a container, its layer and its directories.
///
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_A_CONTAINER; ORLOP_ERR_IO when its layer cannot be unmounted or moved. Nothing is changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_delete_container(
    store: *const orlop_store,
    id: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::borrow(store)?.delete_container(text(id, "id")?)) }
}

/// Deletes an image that no container uses, and the layers that nothing else needs; gives their ids, top first, as a JSON array.
/// With `test` 1 nothing is deleted.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_AN_IMAGE, ORLOP_ERR_IMAGE_USED_BY_CONTAINER; ORLOP_ERR_READ_ONLY for an image of an additional store.
/// Nothing is changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_delete_image(
    store: *const orlop_store,
    id: *const c_char,
    test: u32,
    layers: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(layers);
            let store = handle::borrow(store)?;
            out.put(json::text(&store.delete_image(text(id, "id")?, flag(test, "test")?)?)?);
            Ok(())
        })
    }
}

/// Deletes every container, image and layer; the empty store stays.
///
/// Threads: any.
/// Errors: ORLOP_ERR_IO when something cannot be unmounted or removed; what is left is listed as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_wipe(
    store: *const orlop_store,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::borrow(store)?.wipe()) }
}

/// Releases what the driver holds on the machine, such as the mount of its directory on itself, if no layer is mounted; the
/// handle stays usable. With `force` 1 mounted layers are unmounted first.
///
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_USED_BY_CONTAINER if layers were mounted, even if `force` has unmounted them, as in Go: the message has
/// the ids of all of them, orlop_error_id is the first. ORLOP_ERR_IO if one cannot be unmounted; the others are. The driver is then
/// left as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_shutdown(
    store: *const orlop_store,
    force: u32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::borrow(store)?.shutdown(flag(force, "force")?)) }
}
