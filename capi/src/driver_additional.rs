//! Layers of a driver that an additional layer store serves.

use std::ffi::c_char;
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use orlop::driver::{AdditionalLayer, AdditionalLayers, Driver};
use orlop::{Digest, Error, ErrorKind, Result};

use crate::buffer::PointerOut;
use crate::driver::orlop_driver;
use crate::driver_layers::{layer_id, parent_id};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle::{self, Handle, opaque};
use crate::input::{self, optional_text, text};

/// A layer that an additional layer store serves. The store counts it as used until it is freed.
pub struct orlop_additional_layer(Handle<AdditionalLayer>);
opaque!(orlop_additional_layer, AdditionalLayer, "layer");

/// The driver, if it has additional layers.
///
/// # Errors
/// [`ErrorKind::LayerUnknown`]
fn served(driver: &Arc<dyn Driver>) -> Result<&dyn AdditionalLayers> {
    driver.additional_layers().ok_or_else(|| {
        Error::new(ErrorKind::LayerUnknown, "looking for an additional layer")
            .detail(format!("the driver {} has none", driver.name()))
    })
}

/// Finds the layer that an additional layer store serves under the digest `toc` of its table of contents; `reference` (NULL or empty:
/// none) is that of the image, for a store that tells layers apart by it.
///
/// Ownership: *layer is the caller's, to be freed with orlop_additional_layer_free, which tells the store; it may outlive the driver.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN when no store has it, or none is configured; ORLOP_ERR_INVALID_DIGEST.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_additional_layer(
    driver: *const orlop_driver,
    toc: *const c_char,
    reference: *const c_char,
    layer: *mut *mut orlop_additional_layer,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = PointerOut::new(layer, "layer")?;
            let driver = handle::borrow(driver)?;
            let toc = Digest::parse(text(toc, "toc")?)?;
            let reference = optional_text(reference, "reference")?.unwrap_or_default();
            let found = served(&driver)?.look_up(&toc, reference)?;
            out.put(orlop_additional_layer(Handle::new(found)));
            Ok(())
        })
    }
}

/// Gives the additional layer that the layer `id` of the driver was made of.
///
/// Ownership: as for orlop_driver_additional_layer.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN, also for a layer with content of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_additional_layer_of(
    driver: *const orlop_driver,
    id: *const c_char,
    layer: *mut *mut orlop_additional_layer,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = PointerOut::new(layer, "layer")?;
            let driver = handle::borrow(driver)?;
            let id = layer_id(id, "id")?;
            let found = served(&driver)?.of_layer(&id)?;
            out.put(orlop_additional_layer(Handle::new(found)));
            Ok(())
        })
    }
}

/// Creates the layer `id` on `parent` (NULL or empty: on none) with the content of an additional layer, which stays in its store; the
/// store counts it as used until the layer is removed.
///
/// Ownership: everything stays the caller's.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN for the parent; ORLOP_ERR_NOT_SUPPORTED for a layer of a store that this driver does not have.
/// Nothing is left behind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_create_from_additional(
    driver: *const orlop_driver,
    id: *const c_char,
    parent: *const c_char,
    layer: *const orlop_additional_layer,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let (id, parent) = (layer_id(id, "id")?, parent_id(parent)?);
            let layer = handle::borrow(layer)?;
            served(&driver)?.create_from(&id, parent.as_ref(), &layer)
        })
    }
}

/// Opens what the store tells of an additional layer: JSON of its own making.
///
/// Ownership: *fd is the caller's, to be closed by it; -1 after a failure.
/// Threads: any.
/// Errors: ORLOP_ERR_IO with the errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_additional_layer_info(
    layer: *const orlop_additional_layer,
    fd: *mut i32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            if fd.is_null() {
                return Err(input::missing("fd"));
            }
            fd.write(-1);
            fd.write(handle::borrow(layer)?.info()?.into_raw_fd());
            Ok(())
        })
    }
}

/// Opens an additional layer as it was distributed: a compressed tar.
///
/// Ownership: *fd is the caller's, to be closed by it; -1 after a failure.
/// Threads: any.
/// Errors: ORLOP_ERR_IO with the errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_additional_layer_blob(
    layer: *const orlop_additional_layer,
    fd: *mut i32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            if fd.is_null() {
                return Err(input::missing("fd"));
            }
            fd.write(-1);
            fd.write(handle::borrow(layer)?.blob()?.into_raw_fd());
            Ok(())
        })
    }
}

/// Lets an additional layer go, and tells its store; NULL is fine.
///
/// Threads: any; no call on it may be running, and nobody may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_additional_layer_free(layer: *mut orlop_additional_layer) {
    // SAFETY: NULL or a layer that the caller has not freed.
    unsafe { handle::free(layer) };
}
