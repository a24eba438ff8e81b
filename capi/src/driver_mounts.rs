//! Layers of a driver, mounted.

use std::ffi::c_char;
use std::os::unix::ffi::OsStringExt;

use orlop::Result;
use orlop::driver::MountOptions;

use crate::buffer::{BufferOut, orlop_buf};
use crate::driver::orlop_driver;
use crate::driver_layers::layer_id;
use crate::error::orlop_error;
use crate::guard::{call, run};
use crate::handle;
use crate::input::{
    self, Options, flag, id_maps, optional_text, options, orlop_id_maps, orlop_strings, path,
    strings,
};

/// What a layer is mounted with. NULL in its place, and zero in each field: nothing special.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_mount_options {
    /// sizeof(struct orlop_mount_options).
    pub size: usize,
    /// SELinux label; may be NULL.
    pub mount_label: *const c_char,
    /// User id map: the layers below are shown with mapped owners, where orlop_driver_supports_shifting says that mounts can.
    /// orlop_driver_describe_mount and orlop_driver_mount_detached refuse anything but an empty one.
    pub uid_map: orlop_id_maps,
    /// Group id map; likewise.
    pub gid_map: orlop_id_maps,
    /// Mount words, which replace the configured ones; "ro" asks for a read-only mount.
    pub options: orlop_strings,
    /// 1: the content need not survive a crash of the machine.
    pub is_volatile: u32,
    /// Zero.
    pub reserved: u32,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_mount_options {
    const NAME: &'static str = "orlop_mount_options";
}

/// # Safety
/// `given` is NULL or a struct of the caller's whose lists live as long as the call.
pub(crate) unsafe fn mount_options(given: *const orlop_mount_options) -> Result<MountOptions> {
    // SAFETY: as the caller promises.
    unsafe {
        let given = options(given)?;
        input::reserved(given.reserved)?;
        Ok(MountOptions {
            mount_label: optional_text(given.mount_label, "mount_label")?
                .unwrap_or_default()
                .to_owned(),
            uid_map: id_maps(given.uid_map, "uid_map")?,
            gid_map: id_maps(given.gid_map, "gid_map")?,
            options: strings(given.options, "options")?,
            volatile: flag(given.is_volatile, "is_volatile")?,
        })
    }
}

/// Mounts a layer and tells where, as the bytes of an absolute path. Uses are counted within the process: each one is given back with
/// orlop_driver_put, the last of which unmounts. vfs mounts nothing and gives the layer's own directory.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_BUSY where it is mounted with other options; ORLOP_ERR_CORRUPT for a damaged layer;
/// ORLOP_ERR_INVALID_ARGUMENT for a map without root; ORLOP_ERR_IO when the kernel refuses. Nothing is then counted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_get(
    driver: *const orlop_driver,
    id: *const c_char,
    options: *const orlop_mount_options,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(path);
            let driver = handle::borrow(driver)?;
            let mounted = driver.get(&layer_id(id, "id")?, &mount_options(options)?)?;
            out.put(mounted.into_os_string().into_vec());
            Ok(())
        })
    }
}

/// Gives one orlop_driver_get back.
///
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN (overlay); ORLOP_ERR_IO when the kernel refuses to unmount.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_put(
    driver: *const orlop_driver,
    id: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::borrow(driver)?.put(&layer_id(id, "id")?)) }
}

/// Whether a mount of the driver's kind is at `path`, made by whatever process: 1 or 0. For vfs, whether a directory is there.
///
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL or an empty path.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_is_mounted(
    driver: *const orlop_driver,
    path: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        call(error, || {
            let driver = handle::borrow(driver)?;
            Ok(i32::from(driver.is_mounted(&self::path(path, "path")?)))
        })
    }
}
