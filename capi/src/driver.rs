//! A driver as a handle, and what it says of itself.

use std::path::PathBuf;
use std::sync::Arc;

use orlop::driver::{self, Driver};
use orlop::{Dialect, IdMaps};

use crate::buffer::{BufferOut, PointerOut, orlop_buf};
use crate::config::orlop_config;
use crate::error::orlop_error;
use crate::guard::{call, run};
use crate::handle::{self, Handle, opaque};
use crate::input::{id_maps, orlop_id_maps};
use crate::json;

/// A driver of layers alone, without the records and locks of a store: for a program that keeps those itself. It does what Go's
/// graphdriver.Driver does, on the same files.
///
/// Calls that change a layer want what the Go interface wants: a lock of the caller's that keeps other processes away.
pub struct orlop_driver(Handle<Arc<dyn Driver>>);
opaque!(orlop_driver, Arc<dyn Driver>, "driver");

/// Opens the driver that `config` names, else the one that fits, as a store does: the first of the priorities that has layers, else
/// the first that this host serves. It asks whether the host serves it, and leaves the disk alone: what must exist is made by
/// orlop_driver_prepare or by the first call that writes.
///
/// Ownership: *driver is the caller's, to be freed with orlop_driver_free; `config` may be freed at once.
/// Threads: any.
/// Errors: ORLOP_ERR_INCOMPLETE_OPTIONS for a missing root; ORLOP_ERR_CONFIG for a malformed option; ORLOP_ERR_NOT_SUPPORTED or
/// ORLOP_ERR_INCOMPATIBLE_FS where the driver cannot serve, which is when Go's Init would have the next one tried.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_open(
    config: *const orlop_config,
    driver: *mut *mut orlop_driver,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = PointerOut::new(driver, "driver")?;
            let mut options = handle::borrow(config)?.clone();
            options.make_roots_absolute()?;
            let driver = driver::of(&options)?;
            driver.check()?;
            out.put(orlop_driver(Handle::new(Arc::from(driver))));
            Ok(())
        })
    }
}

/// Closes a driver; NULL is fine. What is mounted stays mounted. Handles of removed layers, of staged content and of files that it gave
/// out live on. After a fork it does nothing in the child.
///
/// Threads: any; no call on the driver may be running, and nobody may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_free(driver: *mut orlop_driver) {
    // SAFETY: NULL or a driver that the caller has not freed.
    unsafe { handle::free(driver) };
}

/// The driver's name, "overlay" or "vfs" (or as a foreign home's engine calls it: "overlay2"), as text.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_name(
    driver: *const orlop_driver,
    name: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(name);
            out.put(handle::borrow(driver)?.name());
            Ok(())
        })
    }
}

/// Whose layout the driver's layers have, "containers", "moby", "legacy" or "cvmfs", as text; empty for vfs.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_dialect(
    driver: *const orlop_driver,
    dialect: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(dialect);
            out.put(handle::borrow(driver)?.dialect().map_or("", Dialect::name));
            Ok(())
        })
    }
}

/// Makes what the driver needs on disk (its directories, for overlay the private mount of its home), as Go's Init does. Without it the
/// first call that writes does so.
///
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_SUPPORTED and ORLOP_ERR_INCOMPATIBLE_FS where kernel, user or file system do not serve; ORLOP_ERR_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_prepare(
    driver: *const orlop_driver,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::borrow(driver)?.prepare()) }
}

/// Lets go what the driver holds, for overlay the private mount of its home unless layers are mounted; called at shutdown. The next call
/// that needs it makes it again.
///
/// Threads: any.
/// Errors: when the kernel refuses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_cleanup(
    driver: *const orlop_driver,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { run(error, || handle::borrow(driver)?.cleanup()) }
}

/// Whether a new layer is to be synced to disk before it counts (option "sync"): 1 as Go's SyncModeFilesystem, 0 as SyncModeNone.
///
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_syncs(
    driver: *const orlop_driver,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { call(error, || Ok(i32::from(handle::borrow(driver)?.sync_filesystem()))) }
}

/// Whether the driver can map these ids when it mounts, so that no file needs another owner: 1 or 0.
///
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL; when the kernel could not be tried out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_supports_shifting(
    driver: *const orlop_driver,
    uid_map: orlop_id_maps,
    gid_map: orlop_id_maps,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        call(error, || {
            let driver = handle::borrow(driver)?;
            let maps =
                IdMaps { uids: id_maps(uid_map, "uid_map")?, gids: id_maps(gid_map, "gid_map")? };
            Ok(i32::from(driver.supports_shifting(&maps)?))
        })
    }
}

/// Rows for a status display, as a JSON array of [key, value], such as ["Backing Filesystem","extfs"]. For overlay the kernel is tried
/// out, unless the answers are on record.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_status(
    driver: *const orlop_driver,
    rows: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(rows);
            out.put(json::text(&handle::borrow(driver)?.status())?);
            Ok(())
        })
    }
}

/// The directories in which the driver makes its temporary ones, as a JSON array of paths: what a killed process leaves there
/// (store-format 10.3) is for whoever opens the store to clear away.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_temp_dir_roots(
    driver: *const orlop_driver,
    paths: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(paths);
            out.put(path_list(&handle::borrow(driver)?.temp_dir_roots())?);
            Ok(())
        })
    }
}

/// The roots of the additional image stores of the driver's options, in order, as a JSON array of paths.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_additional_image_stores(
    driver: *const orlop_driver,
    paths: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(paths);
            out.put(path_list(handle::borrow(driver)?.additional_image_stores())?);
            Ok(())
        })
    }
}

/// What is no UTF-8 becomes U+FFFD, as everywhere in JSON.
fn path_list(paths: &[PathBuf]) -> orlop::Result<String> {
    json::text(&paths.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>())
}
