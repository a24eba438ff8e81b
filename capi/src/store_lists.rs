//! What there is in a store, and finding it.

use std::ffi::c_char;

use orlop::store::Store;
use orlop::{Digest, Result};

use crate::buffer::{BufferOut, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::text;
use crate::store::orlop_store;
use crate::store_records::Print;

/// Prints what a question to the store gives.
///
/// # Safety
/// The pointers are as the header asks.
unsafe fn list<T: Print>(
    store: *const orlop_store,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
    ask: impl FnOnce(&Store) -> Result<Vec<T>>,
) -> i32 {
    // SAFETY: the same promise.
    unsafe {
        run(error, || {
            let out = BufferOut::new(records);
            out.put(ask(&*handle::borrow(store)?)?.as_slice().print()?);
            Ok(())
        })
    }
}

/// Prints what a question about `key` gives.
///
/// # Safety
/// The pointers are as the header asks.
unsafe fn find<T: Print>(
    store: *const orlop_store,
    id: *const c_char,
    record: *mut orlop_buf,
    error: *mut *mut orlop_error,
    ask: impl FnOnce(&Store, &str) -> Result<T>,
) -> i32 {
    // SAFETY: the same promise.
    unsafe {
        run(error, || {
            let out = BufferOut::new(record);
            let store = handle::borrow(store)?;
            out.put(ask(&store, text(id, "id")?)?.print()?);
            Ok(())
        })
    }
}

/// The layers as a JSON array, those of additional stores last. An object has the fields of layers.json, byte for byte as Go
/// writes them; behind them "mountpoint" (bytes that are not UTF-8 become U+FFFD), "mount-count" and "read-only": true, where they
/// are not empty, 0 or false.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: when a record file cannot be read (ORLOP_ERR_IO) or parsed (ORLOP_ERR_CORRUPT).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_layers(
    store: *const orlop_store,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { list(store, records, error, Store::layers) }
}

/// The images as a JSON array, those of additional stores last. An object has the fields of images.json, byte for byte as Go
/// writes them; behind them "read-only": true where it belongs to an additional store.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_images(
    store: *const orlop_store,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { list(store, records, error, Store::images) }
}

/// The containers as a JSON array of objects with the fields of containers.json, byte for byte as Go writes them.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_containers(
    store: *const orlop_store,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { list(store, records, error, Store::containers) }
}

/// A layer by id, name or unique beginning of an id, as an object of orlop_layers.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_layer(
    store: *const orlop_store,
    id: *const c_char,
    record: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { find(store, id, record, error, Store::layer) }
}

/// An image by id, name or unique beginning of an id, as an object of orlop_images.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN; as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_image(
    store: *const orlop_store,
    id: *const c_char,
    record: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { find(store, id, record, error, Store::image) }
}

/// A container by id, name, id of its layer or unique beginning of an id, as an object of orlop_containers.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_CONTAINER_UNKNOWN; as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_container(
    store: *const orlop_store,
    id: *const c_char,
    record: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { find(store, id, record, error, Store::container) }
}

/// What an id or name is, as {"kind": "layer", "image" or "container", "record": {...}}: looked for among the layers, then the
/// images, then the containers. The record is as from orlop_layers, orlop_images or orlop_containers.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_FOUND; as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_lookup(
    store: *const orlop_store,
    id: *const c_char,
    found: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { find(store, id, found, error, Store::lookup) }
}

/// The layers whose uncompressed tar has that digest, as orlop_layers prints them; [] for none.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_DIGEST; as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_layers_by_diff_digest(
    store: *const orlop_store,
    digest: *const c_char,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        list(store, records, error, |s| {
            s.layers_by_diff_digest(&Digest::parse(text(digest, "digest")?)?)
        })
    }
}

/// The layers whose blob, as it came, has that digest, as orlop_layers prints them; [] for none.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_DIGEST; as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_layers_by_compressed_digest(
    store: *const orlop_store,
    digest: *const c_char,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        list(store, records, error, |s| {
            s.layers_by_compressed_digest(&Digest::parse(text(digest, "digest")?)?)
        })
    }
}

/// The images with that digest, be it their own or that of one of their manifests, as orlop_images prints them; [] for none.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_DIGEST; as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_images_by_digest(
    store: *const orlop_store,
    digest: *const c_char,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        list(store, records, error, |s| {
            s.images_by_digest(&Digest::parse(text(digest, "digest")?)?)
        })
    }
}

/// The images with the top layer of that id, mapped ones included, as orlop_images prints them; [] for none.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: as for orlop_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_images_by_top_layer(
    store: *const orlop_store,
    layer: *const c_char,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { list(store, records, error, |s| s.images_by_top_layer(text(layer, "layer")?)) }
}
