//! Layers of a driver: made, looked at, removed.

use std::ffi::c_char;

use orlop::driver::{CreateOptions, Trash};
use orlop::{IdMaps, LayerId, Result};

use crate::buffer::{BufferOut, PointerOut, orlop_buf};
use crate::driver::orlop_driver;
use crate::error::orlop_error;
use crate::guard::{call, run};
use crate::handle::{self, Handle, opaque};
use crate::input::{
    self, Options, flag, id_maps, optional_text, options, orlop_id_maps, orlop_strings, pairs, text,
};
use crate::json;

/// What a layer is made with. NULL in its place, and zero in each field: nothing special.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_layer_options {
    /// sizeof(struct orlop_layer_options).
    pub size: usize,
    /// SELinux label; may be NULL.
    pub mount_label: *const c_char,
    /// "key=value" options of a container's layer ("size", "inodes"); refused where the file system has no project quotas.
    pub storage_opt: orlop_strings,
    /// User id map: its root owns the layer's directories, and vfs gives it all files.
    pub uid_map: orlop_id_maps,
    /// Group id map; likewise.
    pub gid_map: orlop_id_maps,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_layer_options {
    const NAME: &'static str = "orlop_layer_options";
}

/// A removed layer whose bytes are still to be deleted.
pub struct orlop_trash(Handle<Box<dyn Trash>>);
opaque!(orlop_trash, Box<dyn Trash>, "trash");

/// What orlop_driver_disk_usage fills in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_disk_usage {
    /// sizeof(struct orlop_disk_usage), set by the caller; what is beyond it is not written.
    pub size: usize,
    /// The sizes of all files that are no directories, hard links once.
    pub bytes: u64,
    /// Inodes, directories included.
    pub inodes: u64,
}

/// # Safety
/// `id` is NULL or a C string.
///
/// # Errors
/// When it is no id of a layer.
pub(crate) unsafe fn layer_id(id: *const c_char, what: &str) -> Result<LayerId> {
    // SAFETY: the same promise.
    LayerId::new(unsafe { text(id, what) }?)
}

/// A layer that may be absent: NULL, or as in Go an empty string.
///
/// # Safety
/// `id` is NULL or a C string.
///
/// # Errors
/// When it is no id of a layer.
pub(crate) unsafe fn parent_id(id: *const c_char) -> Result<Option<LayerId>> {
    // SAFETY: the same promise.
    let text = unsafe { optional_text(id, "parent") }?;
    text.filter(|t| !t.is_empty()).map(LayerId::new).transpose()
}

/// # Safety
/// `given` is NULL or a struct of the caller's whose lists live as long as the call.
///
/// # Errors
/// When an option is malformed.
pub(crate) unsafe fn create_options(given: *const orlop_layer_options) -> Result<CreateOptions> {
    // SAFETY: as the caller promises.
    unsafe {
        let given = options(given)?;
        Ok(CreateOptions {
            mount_label: optional_text(given.mount_label, "mount_label")?
                .unwrap_or_default()
                .to_owned(),
            storage_opt: pairs(given.storage_opt, "storage_opt")?,
            uid_map: id_maps(given.uid_map, "uid_map")?,
            gid_map: id_maps(given.gid_map, "gid_map")?,
        })
    }
}

/// Makes an empty layer for image content on `parent`, or on nothing where that is NULL or empty.
///
/// Ownership: everything stays the caller's.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN for the parent; ORLOP_ERR_NOT_SUPPORTED for a limit where
/// the file system has no project quotas; ORLOP_ERR_INVALID_ARGUMENT for a map without root. Nothing is left behind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_create(
    driver: *const orlop_driver,
    id: *const c_char,
    parent: *const c_char,
    options: *const orlop_layer_options,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let (id, parent) = (layer_id(id, "id")?, parent_id(parent)?);
            driver.create(&id, parent.as_ref(), &create_options(options)?)
        })
    }
}

/// Makes an empty layer for a container; else as orlop_driver_create.
///
/// Ownership: everything stays the caller's.
/// Threads: any, under the caller's lock.
/// Errors: as for orlop_driver_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_create_read_write(
    driver: *const orlop_driver,
    id: *const c_char,
    parent: *const c_char,
    options: *const orlop_layer_options,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let (id, parent) = (layer_id(id, "id")?, parent_id(parent)?);
            driver.create_read_write(&id, parent.as_ref(), &create_options(options)?)
        })
    }
}

/// Makes a layer with the content of the layer `template`; with `read_write` 1 one for a container, with 0 one for image content.
///
/// Ownership: everything stays the caller's.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN for the template; else as for orlop_driver_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_create_from_template(
    driver: *const orlop_driver,
    id: *const c_char,
    template_id: *const c_char,
    options: *const orlop_layer_options,
    read_write: u32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let (id, template) = (layer_id(id, "id")?, layer_id(template_id, "template_id")?);
            let read_write = flag(read_write, "read_write")?;
            driver.create_from_template(&id, &template, &create_options(options)?, read_write)
        })
    }
}

/// Removes a layer at once, unmounting it; a missing one is fine.
///
/// Ownership: everything stays the caller's.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_READ_ONLY for a layer of an additional store; ORLOP_ERR_IO for what could not be removed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_remove(
    driver: *const orlop_driver,
    id: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::borrow(driver)?.remove(&layer_id(id, "id")?)) }
}

/// Moves a layer aside, unmounting it, to be deleted by orlop_trash_empty when the caller's lock is released; a missing one is fine.
///
/// Ownership: *trash is the caller's, to be handed to orlop_trash_empty or orlop_trash_free.
/// Threads: any, under the caller's lock.
/// Errors: as for orlop_driver_remove; the layer is then still there, or in a temp dir, from which opening the store clears it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_deferred_remove(
    driver: *const orlop_driver,
    id: *const c_char,
    trash: *mut *mut orlop_trash,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = PointerOut::new(trash, "trash")?;
            let removed = handle::borrow(driver)?.deferred_remove(&layer_id(id, "id")?)?;
            out.put(orlop_trash(Handle::new(removed)));
            Ok(())
        })
    }
}

/// Deletes the bytes of a layer that was moved aside, whether its driver is still open or not.
///
/// Ownership: `trash` is taken over, whatever comes of it, and must not be used or freed any more.
/// Threads: any, without the lock; nobody else may use the pointer any more.
/// Errors: the first file that could not be removed; it stays for whoever opens the store next.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_trash_empty(
    trash: *mut orlop_trash,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::take(trash)?.empty()) }
}

/// As orlop_trash_empty for whoever does not want to know how it went; NULL is fine.
///
/// Threads: any; nobody else may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_trash_free(trash: *mut orlop_trash) {
    // SAFETY: NULL or a trash that the caller has not freed.
    unsafe { handle::free(trash) };
}

/// Whether the driver has that layer, in its home or an additional store: 1 or 0.
///
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for what cannot be an id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_exists(
    driver: *const orlop_driver,
    id: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { call(error, || Ok(i32::from(handle::borrow(driver)?.exists(&layer_id(id, "id")?)))) }
}

/// The ids of the layers in the driver's home, without those of additional stores, as a JSON array. Children come before parents, so
/// that they can be removed in that order.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_IO when the home cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_layers(
    driver: *const orlop_driver,
    ids: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(ids);
            out.put(json::text(&handle::borrow(driver)?.list_layers()?)?);
            Ok(())
        })
    }
}

/// What the driver tells of a layer, as a JSON object of texts: for overlay "UpperDir", "LowerDir", "WorkDir" and "MergedDir", for vfs
/// nothing. "Unclean" is there, and "true", where the last mount for writing was volatile and the machine was started anew since, by the
/// wall clock: what was written may be missing. The next such mount forgets it, with a warning in the log.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_CORRUPT for a damaged layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_metadata(
    driver: *const orlop_driver,
    id: *const c_char,
    metadata: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(metadata);
            out.put(json::text(&handle::borrow(driver)?.metadata(&layer_id(id, "id")?)?)?);
            Ok(())
        })
    }
}

/// Counts what a layer itself holds, without those below it.
///
/// Ownership: `usage` is the caller's struct, its size field set.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_disk_usage(
    driver: *const orlop_driver,
    id: *const c_char,
    usage: *mut orlop_disk_usage,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; no more is written than his struct has.
    unsafe {
        run(error, || {
            if usage.is_null() {
                return Err(input::missing("usage"));
            }
            let found = handle::borrow(driver)?.disk_usage(&layer_id(id, "id")?)?;
            let size = size_of::<orlop_disk_usage>();
            input::fill(usage, orlop_disk_usage { size, bytes: found.size, inodes: found.inodes })
        })
    }
}

/// Changes the owners of all files of a layer, those below it included, from one pair of id maps to another: what a file's owner is
/// inside by the first pair, it is inside by the second. What the second pair does not map becomes nobody's (65534).
///
/// Ownership: everything stays the caller's.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_BUSY for a mounted layer; ORLOP_ERR_INVALID_ARGUMENT for a file whose owner the first
/// pair does not map, or a second one without root; ORLOP_ERR_NOT_SUPPORTED by a driver that cannot. The layer may be changed in part.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_update_id_maps(
    driver: *const orlop_driver,
    id: *const c_char,
    container_uid_map: orlop_id_maps,
    container_gid_map: orlop_id_maps,
    host_uid_map: orlop_id_maps,
    host_gid_map: orlop_id_maps,
    mount_label: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let id = layer_id(id, "id")?;
            let to_container = IdMaps {
                uids: id_maps(container_uid_map, "container_uid_map")?,
                gids: id_maps(container_gid_map, "container_gid_map")?,
            };
            let to_host = IdMaps {
                uids: id_maps(host_uid_map, "host_uid_map")?,
                gids: id_maps(host_gid_map, "host_gid_map")?,
            };
            let label = optional_text(mount_label, "mount_label")?.unwrap_or_default();
            driver.update_id_maps(&id, &to_container, &to_host, label)
        })
    }
}
