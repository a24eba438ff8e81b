//! Big data items: what is kept beside a record under a key, such as an image's manifest.

use std::ffi::c_char;
use std::io;

use orlop::progress::{Counted, Progress};
use orlop::store::BigDataItem;
use orlop::{Error, ErrorKind};

use crate::buffer::{BufferOut, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{data, descriptor, text};
use crate::operation::{Watch, orlop_operation};
use crate::store::orlop_store;
use crate::store_input::{bytes_ahead, some_digest};
use crate::stream::Stream;

/// An item of an image: its bytes.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN, ORLOP_ERR_DATA_UNKNOWN; ORLOP_ERR_INVALID_DATA_NAME for a key that no file can have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_image_data(
    store: *const orlop_store,
    id: *const c_char,
    key: *const c_char,
    content: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(content);
            let store = handle::borrow(store)?;
            out.put(store.image_big_data(text(id, "id")?, text(key, "key")?)?);
            Ok(())
        })
    }
}

/// Stores an item of an image, in place of one that it has: `len` bytes of `content`, and the digest to record (NULL: the SHA-256).
///
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN also for one of an additional store, ORLOP_ERR_INVALID_DIGEST; ORLOP_ERR_INVALID_DATA_NAME for a key
/// that no file can have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_set_image_data(
    store: *const orlop_store,
    id: *const c_char,
    key: *const c_char,
    content: *const u8,
    len: usize,
    digest: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            let item = BigDataItem {
                key: text(key, "key")?.to_owned(),
                data: data(content, len, "content")?.to_vec(),
                digest: some_digest(digest, "digest")?,
            };
            store.set_image_big_data(text(id, "id")?, item)
        })
    }
}

/// An item of a container: its bytes.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_CONTAINER_UNKNOWN, ORLOP_ERR_DATA_UNKNOWN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_container_data(
    store: *const orlop_store,
    id: *const c_char,
    key: *const c_char,
    content: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(content);
            let store = handle::borrow(store)?;
            out.put(store.container_big_data(text(id, "id")?, text(key, "key")?)?);
            Ok(())
        })
    }
}

/// Stores an item of a container, in place of one that it has: `len` bytes of `content`.
///
/// Threads: any.
/// Errors: ORLOP_ERR_CONTAINER_UNKNOWN; ORLOP_ERR_INVALID_DATA_NAME for a key that no file can have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_set_container_data(
    store: *const orlop_store,
    id: *const c_char,
    key: *const c_char,
    content: *const u8,
    len: usize,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            let content = data(content, len, "content")?;
            store.set_container_big_data(text(id, "id")?, text(key, "key")?, content)
        })
    }
}

/// Writes an item of a layer to a descriptor.
///
/// The progress has one item, "data item", the key in quotes, "of layer" and the id.
///
/// Ownership: the descriptor stays the caller's.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN, ORLOP_ERR_DATA_UNKNOWN; ORLOP_ERR_INVALID_DATA_NAME for a key that no file can have;
/// ORLOP_ERR_CANCELLED; ORLOP_ERR_IO when it cannot be written. What was written until then stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_layer_data(
    store: *const orlop_store,
    id: *const c_char,
    key: *const c_char,
    out_fd: i32,
    operation: *const orlop_operation,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; the descriptor stays open for the call.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            let (id, key) = (text(id, "id")?, text(key, "key")?);
            let out = descriptor(out_fd, "out_fd")?;
            let watch = Watch::new(operation)?;
            let mut content = store.layer_big_data(id, key)?;
            let what = item(key, id);
            let progress = watch.start(&what, None);
            let mut out = Counted::new(Stream::new(out, &watch), &*progress);
            io::copy(&mut content, &mut out).map_err(|e| {
                Error::new(ErrorKind::Io, format!("writing the {what}")).caused_by(e)
            })?;
            progress.finish("done");
            Ok(())
        })
    }
}

/// Stores an item of a layer, in place of one that it has: what the descriptor gives until its end, which is kept in memory first.
/// From then on it is not called off any more.
///
/// The progress has one item as that of orlop_layer_data; its total is known for a file.
///
/// Ownership: the descriptor stays the caller's.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN, also for one of an additional store; ORLOP_ERR_INVALID_DATA_NAME for a key that no file can have;
/// ORLOP_ERR_CANCELLED. Nothing is changed then; of the first two, nothing has been read either.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_set_layer_data(
    store: *const orlop_store,
    id: *const c_char,
    key: *const c_char,
    in_fd: i32,
    operation: *const orlop_operation,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; the descriptor stays open for the call.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            let (id, key) = (text(id, "id")?, text(key, "key")?);
            let from = descriptor(in_fd, "in_fd")?;
            let watch = Watch::new(operation)?;
            let progress = watch.start(&item(key, id), bytes_ahead(from));
            let mut from = Counted::new(Stream::new(from, &watch), &*progress);
            store.set_layer_big_data(id, key, &mut from)?;
            progress.finish("done");
            Ok(())
        })
    }
}

/// What an item is called where somebody watches it, and in messages.
fn item(key: &str, layer: &str) -> String {
    format!("data item {key:?} of layer {layer}")
}
