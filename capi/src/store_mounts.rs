//! Mounting and unmounting.

use std::ffi::c_char;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use orlop::Result;
use orlop::store::{MountRequest, Store};

use crate::buffer::{BufferOut, orlop_buf, put};
use crate::error::orlop_error;
use crate::guard::{call, run};
use crate::handle;
use crate::input::{self, Options, flag, options, orlop_strings, strings, text};
use crate::store::orlop_store;
use crate::store_input::string;

/// How to mount. NULL in its place: as the layer's record and the configuration say.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_mount_request {
    /// sizeof(struct orlop_mount_request).
    pub size: usize,
    /// SELinux label; NULL: the container's or the layer's own.
    pub mount_label: *const c_char,
    /// 1: mount read-only.
    pub read_only: u32,
    /// Zero.
    pub reserved: u32,
    /// Mount words for the driver, in place of the configured ones.
    pub options: orlop_strings,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_mount_request {
    const NAME: &'static str = "orlop_mount_request";
}

/// # Safety
/// The pointers are as the header asks.
unsafe fn mount(
    store: *const orlop_store,
    id: *const c_char,
    request: *const orlop_mount_request,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
    mount: impl FnOnce(&Store, &str, &MountRequest) -> Result<PathBuf>,
) -> i32 {
    // SAFETY: the same promise.
    unsafe {
        run(error, || {
            let out = BufferOut::new(path);
            let store = handle::borrow(store)?;
            let id = text(id, "id")?;
            let given = options(request)?;
            input::reserved(given.reserved)?;
            let request = MountRequest {
                mount_label: string(given.mount_label, "mount_label")?,
                read_only: flag(given.read_only, "read_only")?,
                options: strings(given.options, "options")?,
            };
            out.put(mount(&store, id, &request)?.into_os_string().into_vec());
            Ok(())
        })
    }
}

/// Mounts a layer, or a container's layer with the container's label, options and volatility; gives the path, any bytes. What is
/// mounted is counted once more. The mount outlives the process.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; each mount is given back with orlop_unmount.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_READ_ONLY for a layer of an additional store; ORLOP_ERR_MAX_DEPTH; ORLOP_ERR_IO with what
/// the kernel says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_mount(
    store: *const orlop_store,
    id: *const c_char,
    request: *const orlop_mount_request,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { mount(store, id, request, path, error, Store::mount) }
}

/// Mounts an image's top layer, read-only; gives the path, any bytes.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; each mount is given back with orlop_unmount_image.
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN; as for orlop_mount.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_mount_image(
    store: *const orlop_store,
    id: *const c_char,
    request: *const orlop_mount_request,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { mount(store, id, request, path, error, Store::mount_image) }
}

/// Gives one mount of a layer or container back, with `force` 1 all of them: 1 if it is still mounted, else 0. What is not mounted
/// stays so.
///
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when the kernel refuses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_unmount(
    store: *const orlop_store,
    id: *const c_char,
    force: u32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        call(error, || {
            let store = handle::borrow(store)?;
            store.unmount(text(id, "id")?, flag(force, "force")?).map(i32::from)
        })
    }
}

/// As orlop_unmount, of an image's top layer.
///
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN; as for orlop_unmount.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_unmount_image(
    store: *const orlop_store,
    id: *const c_char,
    force: u32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        call(error, || {
            let store = handle::borrow(store)?;
            store.unmount_image(text(id, "id")?, flag(force, "force")?).map(i32::from)
        })
    }
}

/// How many mounts of a layer or container have been asked for and not given back.
///
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_mounted(
    store: *const orlop_store,
    id: *const c_char,
    count: *mut i64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            put(count, handle::borrow(store)?.mounted(text(id, "id")?)?);
            Ok(())
        })
    }
}
