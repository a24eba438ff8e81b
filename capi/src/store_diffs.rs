//! Layers out: as a tar stream, as a list of changes, as a size.

use std::ffi::c_char;

use orlop::Result;
use orlop::archive::Compression;
use orlop::progress::{Counted, Progress};

use crate::buffer::{BufferOut, orlop_buf, put};
use crate::driver_trees::change_records;
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{descriptor, invalid, text};
use crate::operation::{Watch, orlop_operation};
use crate::store::orlop_store;
use crate::store_input::some_text;
use crate::stream::{Stream, gathered};

/// The compression that the layer's blob once came in.
pub const ORLOP_COMPRESSION_AS_IT_CAME: i32 = -1;
/// No compression. This and the following are the numbers in the records, too.
pub const ORLOP_COMPRESSION_NONE: i32 = 0;
/// bzip2, which is read and not written.
pub const ORLOP_COMPRESSION_BZIP2: i32 = 1;
/// gzip.
pub const ORLOP_COMPRESSION_GZIP: i32 = 2;
/// xz, which is read and not written.
pub const ORLOP_COMPRESSION_XZ: i32 = 3;
/// zstd.
pub const ORLOP_COMPRESSION_ZSTD: i32 = 4;

/// Larger than what a pipe takes at once: fewer rounds of the compressor, no more of the descriptor.
const BUFFER: usize = 1 << 16;

fn wanted(number: i32) -> Result<Option<Compression>> {
    Ok(match number {
        ORLOP_COMPRESSION_AS_IT_CAME => None,
        ORLOP_COMPRESSION_NONE => Some(Compression::None),
        ORLOP_COMPRESSION_BZIP2 => Some(Compression::Bzip2),
        ORLOP_COMPRESSION_GZIP => Some(Compression::Gzip),
        ORLOP_COMPRESSION_XZ => Some(Compression::Xz),
        ORLOP_COMPRESSION_ZSTD => Some(Compression::Zstd),
        _ => {
            return Err(invalid("compression")
                .detail(format!("{number} is no compression"))
                .hint("ORLOP_COMPRESSION_AS_IT_CAME (-1) to ORLOP_COMPRESSION_ZSTD (4)"));
        }
    })
}

/// Writes the tar of what a layer or container has over `reference` (NULL: over its parent, and then the very bytes that once came
/// in, where that is recorded), compressed as ORLOP_COMPRESSION_* says. *bytes are those of the uncompressed tar.
///
/// The progress has one item, "layer" and the id, which counts the bytes that are written to the descriptor.
///
/// Ownership: the descriptor stays the caller's.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_NOT_SUPPORTED for bzip2 and xz; ORLOP_ERR_CORRUPT when the files no longer give the tar
/// that came in; ORLOP_ERR_CANCELLED; ORLOP_ERR_IO with EPIPE when nobody reads any more. What was written until then stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_export(
    store: *const orlop_store,
    id: *const c_char,
    reference: *const c_char,
    compression: i32,
    out_fd: i32,
    operation: *const orlop_operation,
    bytes: *mut u64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; the descriptor stays open for the call.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            let (id, reference) = (text(id, "id")?, some_text(reference, "reference")?);
            let compression = wanted(compression)?;
            let fd = descriptor(out_fd, "out_fd")?;
            let watch = Watch::new(operation)?;
            let item = watch.start(&format!("layer {id}"), None);
            let counted = Counted::new(Stream::new(fd, &watch), &*item);
            let plain = gathered(counted, BUFFER, format!("exporting layer {id}"), |out| {
                store.diff(id, reference, compression, out)
            })?;
            put(bytes, plain);
            item.finish("done");
            Ok(())
        })
    }
}

/// What a layer or container changes over `reference` (NULL: its parent): for each path a byte 'C' (modified), 'A' (added) or
/// 'D' (deleted), the path, absolute in the layer, and a NUL byte.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when content cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_changes(
    store: *const orlop_store,
    id: *const c_char,
    reference: *const c_char,
    changes: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(changes);
            let store = handle::borrow(store)?;
            let reference = some_text(reference, "reference")?;
            out.put(change_records(&store.changes(text(id, "id")?, reference)?));
            Ok(())
        })
    }
}

/// An estimate of the bytes that a layer or container changes over `reference` (NULL: its parent).
///
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when content cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_diff_size(
    store: *const orlop_store,
    id: *const c_char,
    reference: *const c_char,
    bytes: *mut u64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            let reference = some_text(reference, "reference")?;
            put(bytes, store.diff_size(text(id, "id")?, reference)?);
            Ok(())
        })
    }
}
