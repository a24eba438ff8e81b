//! Making image records.

use std::ffi::c_char;

use orlop::Result;
use orlop::store::NewImage;

use crate::buffer::{BufferOut, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{self, Options, flag, options, orlop_strings, strings};
use crate::store::orlop_store;
use crate::store_input::{
    data_items, flags, orlop_data_items, some_digest, some_string, some_time, string,
};
use crate::store_records::Print;

/// An image to create. NULL in its place: an unnamed one without layers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_new_image {
    /// sizeof(struct orlop_new_image).
    pub size: usize,
    /// The id; NULL: a random one. By convention the hexadecimal digest of the config.
    pub id: *const c_char,
    /// Names; each must be free, unless take_names is set.
    pub names: orlop_strings,
    /// Names that it has had, newest first.
    pub names_history: orlop_strings,
    /// 1: take the names away from the images that have them.
    pub take_names: u32,
    /// Zero.
    pub reserved: u32,
    /// Id or name of the top layer; NULL: an image without layers.
    pub layer: *const c_char,
    /// Any text; the Go image library takes one that is not empty for JSON.
    pub metadata: *const c_char,
    /// The preferred digest; NULL: that of the item "manifest", where there is one.
    pub digest: *const c_char,
    /// When it was created, as RFC 3339 has it; NULL: now.
    pub created: *const c_char,
    /// Big data items, in the order of their names in the record.
    pub big_data: orlop_data_items,
    /// The caller's flags: the text of a JSON object.
    pub flags: *const c_char,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_new_image {
    const NAME: &'static str = "orlop_new_image";
}

/// # Safety
/// `pointer` and what it leads to live as long as the call.
unsafe fn new_image(pointer: *const orlop_new_image) -> Result<NewImage> {
    // SAFETY: as the caller promises.
    unsafe {
        let given = options(pointer)?;
        input::reserved(given.reserved)?;
        Ok(NewImage {
            id: some_string(given.id, "id")?,
            names: strings(given.names, "names")?,
            names_history: strings(given.names_history, "names_history")?,
            take_names: flag(given.take_names, "take_names")?,
            layer: some_string(given.layer, "layer")?,
            metadata: string(given.metadata, "metadata")?,
            digest: some_digest(given.digest, "digest")?,
            created: some_time(given.created, "created")?,
            big_data: data_items(given.big_data, "big_data")?,
            flags: flags(given.flags, "flags")?,
        })
    }
}

/// Creates an image of layers that are there, and gives its record as orlop_image does.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_DUPLICATE_ID, ORLOP_ERR_DUPLICATE_NAME, ORLOP_ERR_LAYER_UNKNOWN, ORLOP_ERR_INVALID_DIGEST. Nothing is left
/// then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_create_image(
    store: *const orlop_store,
    image: *const orlop_new_image,
    record: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(record);
            let store = handle::borrow(store)?;
            out.put(store.create_image(new_image(image)?)?.print()?);
            Ok(())
        })
    }
}
