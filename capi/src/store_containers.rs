//! Making containers.

use std::ffi::c_char;

use orlop::Result;
use orlop::store::NewContainer;

use crate::buffer::{BufferOut, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{
    self, Options, flag, id_maps, invalid, options, orlop_id_maps, orlop_strings, pairs, strings,
};
use crate::store::orlop_store;
use crate::store_input::{data_items, flags, orlop_data_items, some_string, string};
use crate::store_records::Print;

/// A container to create. NULL in its place: an unnamed one made from nothing.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_new_container {
    /// sizeof(struct orlop_new_container).
    pub size: usize,
    /// The id; NULL: a random one.
    pub id: *const c_char,
    /// Names; each must be free.
    pub names: orlop_strings,
    /// Id or name of the image; NULL: made from nothing.
    pub image: *const c_char,
    /// The caller's metadata.
    pub metadata: *const c_char,
    /// 1: need not survive a crash.
    pub is_volatile: u32,
    /// Zero.
    pub reserved: u32,
    /// SELinux label of the process; given together with mount_label or not at all.
    pub process_label: *const c_char,
    /// SELinux label of the mount.
    pub mount_label: *const c_char,
    /// Mount options, used at every mount.
    pub mount_options: orlop_strings,
    /// User id map, used at every mount.
    pub uid_map: orlop_id_maps,
    /// Group id map; likewise.
    pub gid_map: orlop_id_maps,
    /// The caller's flags: the text of a JSON object.
    pub flags: *const c_char,
    /// "key=value" storage options of its layer, such as "size=1G".
    pub storage_opt: orlop_strings,
    /// Big data items, in the order of their names in the record.
    pub big_data: orlop_data_items,
    /// 1: the host's user ids, whatever the image's layer has; uid_map then does not count.
    pub host_uids: u32,
    /// 1: the host's group ids; likewise.
    pub host_gids: u32,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_new_container {
    const NAME: &'static str = "orlop_new_container";
}

/// # Safety
/// `pointer` and what it leads to live as long as the call.
unsafe fn new_container(pointer: *const orlop_new_container) -> Result<NewContainer> {
    // SAFETY: as the caller promises.
    unsafe {
        let given = options(pointer)?;
        input::reserved(given.reserved)?;
        let big_data = data_items(given.big_data, "big_data")?;
        if big_data.iter().any(|item| item.digest.is_some()) {
            return Err(invalid("digest").detail("a container's data has that of its content"));
        }
        Ok(NewContainer {
            id: some_string(given.id, "id")?,
            names: strings(given.names, "names")?,
            image: some_string(given.image, "image")?,
            metadata: string(given.metadata, "metadata")?,
            volatile: flag(given.is_volatile, "is_volatile")?,
            process_label: string(given.process_label, "process_label")?,
            mount_label: string(given.mount_label, "mount_label")?,
            mount_options: strings(given.mount_options, "mount_options")?,
            uid_map: id_maps(given.uid_map, "uid_map")?,
            gid_map: id_maps(given.gid_map, "gid_map")?,
            host_uids: flag(given.host_uids, "host_uids")?,
            host_gids: flag(given.host_gids, "host_gids")?,
            flags: flags(given.flags, "flags")?,
            storage_opt: pairs(given.storage_opt, "storage_opt")?,
            big_data,
        })
    }
}

/// Creates a container and its read-write layer, and gives its record as orlop_container does.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN, ORLOP_ERR_LAYER_UNKNOWN for an image whose layer is missing, ORLOP_ERR_DUPLICATE_ID,
/// ORLOP_ERR_DUPLICATE_NAME; ORLOP_ERR_INVALID_ARGUMENT for one label without the other, and for id maps without root;
/// ORLOP_ERR_NOT_SUPPORTED for id maps that the driver cannot apply. Nothing is left then, unless a copy of the image's layer for
/// these id maps, which the next container uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_create_container(
    store: *const orlop_store,
    container: *const orlop_new_container,
    record: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(record);
            let store = handle::borrow(store)?;
            out.put(store.create_container(new_container(container)?)?.print()?);
            Ok(())
        })
    }
}
