//! Layers in: empty ones, and those from tar streams.

use std::ffi::c_char;

use orlop::Result;
use orlop::progress::{Counted, Progress};
use orlop::store::NewLayer;

use crate::buffer::{BufferOut, orlop_buf, put};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{
    self, Options, descriptor, flag, id_maps, options, orlop_id_maps, orlop_strings, pairs,
    strings, text,
};
use crate::operation::{Watch, orlop_operation};
use crate::store::orlop_store;
use crate::store_input::{bytes_ahead, flags, some_digest, some_string, string};
use crate::store_records::Print;
use crate::stream::Stream;

/// A layer to create. NULL in its place: an unnamed read-write layer without a parent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_new_layer {
    /// sizeof(struct orlop_new_layer).
    pub size: usize,
    /// The id; NULL: a random one.
    pub id: *const c_char,
    /// Id or name of the parent; NULL: none.
    pub parent: *const c_char,
    /// Names; each must be free.
    pub names: orlop_strings,
    /// SELinux label of its mounts.
    pub mount_label: *const c_char,
    /// 1: for image content (Go's "non-writeable").
    pub read_only: u32,
    /// Zero.
    pub reserved: u32,
    /// User id map of its files; empty: the parent's, or the configured one without a parent.
    pub uid_map: orlop_id_maps,
    /// Group id map; likewise.
    pub gid_map: orlop_id_maps,
    /// The caller's metadata.
    pub metadata: *const c_char,
    /// The caller's flags: the text of a JSON object.
    pub flags: *const c_char,
    /// "key=value" storage options of the layer, such as "size=1G".
    pub storage_opt: orlop_strings,
    /// The digest that the stream, as it comes, must have; NULL: any.
    pub expected_compressed_digest: *const c_char,
    /// The digest that the uncompressed tar must have; NULL: any.
    pub expected_diff_digest: *const c_char,
    /// With original_size: recorded in place of the digest and size of the stream, for one that was decompressed on its way.
    pub original_digest: *const c_char,
    /// Bytes of what original_digest is of.
    pub original_size: u64,
    /// 1: the host's user ids, whatever the parent has; uid_map then does not count.
    pub host_uids: u32,
    /// 1: the host's group ids; likewise.
    pub host_gids: u32,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_new_layer {
    const NAME: &'static str = "orlop_new_layer";
}

/// # Safety
/// `pointer` and what it leads to live as long as the call.
unsafe fn new_layer(pointer: *const orlop_new_layer) -> Result<NewLayer> {
    // SAFETY: as the caller promises.
    unsafe {
        let given = options(pointer)?;
        input::reserved(given.reserved)?;
        let original = some_digest(given.original_digest, "original_digest")?;
        Ok(NewLayer {
            id: some_string(given.id, "id")?,
            parent: some_string(given.parent, "parent")?,
            names: strings(given.names, "names")?,
            mount_label: string(given.mount_label, "mount_label")?,
            read_only: flag(given.read_only, "read_only")?,
            uid_map: id_maps(given.uid_map, "uid_map")?,
            gid_map: id_maps(given.gid_map, "gid_map")?,
            host_uids: flag(given.host_uids, "host_uids")?,
            host_gids: flag(given.host_gids, "host_gids")?,
            metadata: string(given.metadata, "metadata")?,
            flags: flags(given.flags, "flags")?,
            storage_opt: pairs(given.storage_opt, "storage_opt")?,
            expected_compressed_digest: some_digest(
                given.expected_compressed_digest,
                "expected_compressed_digest",
            )?,
            expected_diff_digest: some_digest(given.expected_diff_digest, "expected_diff_digest")?,
            original_blob: original.map(|digest| (digest, given.original_size)),
        })
    }
}

/// Creates a layer without content of its own, and gives its record as orlop_layer does.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_DUPLICATE_ID, ORLOP_ERR_DUPLICATE_NAME, ORLOP_ERR_LAYER_UNKNOWN for the parent,
/// ORLOP_ERR_PARENT_IS_CONTAINER; ORLOP_ERR_NOT_SUPPORTED for id maps that the driver cannot apply. Nothing is left then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_create_layer(
    store: *const orlop_store,
    layer: *const orlop_new_layer,
    record: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(record);
            let store = handle::borrow(store)?;
            out.put(store.create_layer(new_layer(layer)?)?.print()?);
            Ok(())
        })
    }
}

/// Creates a layer from a tar stream, compressed or not, and gives its record as orlop_layer does. The stream is read to its end.
///
/// The progress has one item, "layer" and the id where one is given; its total is known for a file.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; the descriptor stays the caller's.
/// Threads: any.
/// Errors: as for orlop_create_layer; ORLOP_ERR_INVALID_ARCHIVE, ORLOP_ERR_DIGEST_MISMATCH, ORLOP_ERR_CANCELLED. Nothing is left
/// then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_import_layer(
    store: *const orlop_store,
    layer: *const orlop_new_layer,
    fd: i32,
    operation: *const orlop_operation,
    record: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; the descriptor stays open for the call.
    unsafe {
        run(error, || {
            let out = BufferOut::new(record);
            let store = handle::borrow(store)?;
            let layer = new_layer(layer)?;
            let fd = descriptor(fd, "fd")?;
            let watch = Watch::new(operation)?;
            let what = layer.id.as_ref().map_or_else(|| "layer".into(), |id| format!("layer {id}"));
            let item = watch.start(&what, bytes_ahead(fd));
            let mut stream = Counted::new(Stream::new(fd, &watch), &*item);
            let made = store.import_layer(layer, &mut stream)?;
            item.finish("done");
            out.put(made.print()?);
            Ok(())
        })
    }
}

/// Unpacks a tar stream, compressed or not, over the content of a layer or container, and records its digests and sizes. The layers
/// are locked meanwhile: the stream must not come from a call on the same store. *bytes are those of the content.
///
/// Ownership: the descriptor stays the caller's.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN, also for one of an additional store; ORLOP_ERR_INVALID_ARCHIVE and ORLOP_ERR_CANCELLED, after
/// which the record is as it was, and what was unpacked is there: it lies among content that was there before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_apply_diff(
    store: *const orlop_store,
    id: *const c_char,
    fd: i32,
    operation: *const orlop_operation,
    bytes: *mut u64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; the descriptor stays open for the call.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            let id = text(id, "id")?;
            let fd = descriptor(fd, "fd")?;
            let watch = Watch::new(operation)?;
            let item = watch.start(&format!("layer {id}"), bytes_ahead(fd));
            let mut stream = Counted::new(Stream::new(fd, &watch), &*item);
            let unpacked = store.apply_diff(id, &mut stream)?;
            item.finish("done");
            put(bytes, unpacked);
            Ok(())
        })
    }
}
