//! Mounts of a driver's layers that others place.

use std::ffi::c_char;
use std::os::fd::IntoRawFd;
use std::path::Path;

use orlop::driver::MountDescription;
use orlop::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::buffer::{BufferOut, orlop_buf, put};
use crate::driver::orlop_driver;
use crate::driver_layers::layer_id;
use crate::driver_mounts::{mount_options, orlop_mount_options};
use crate::error::orlop_error;
use crate::guard::run;
use crate::{handle, input, json};

/// The JSON of a description; the fields that do not apply are left out.
#[derive(Default, Serialize)]
struct Described {
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lowers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    label: String,
}

impl Described {
    fn new(description: MountDescription) -> Result<Self> {
        Ok(match description {
            MountDescription::Directory(path) => {
                Self { directory: Some(text(&path)?), ..Self::default() }
            }
            MountDescription::Overlay { lowers, upper, work, options, label } => Self {
                directory: None,
                lowers: lowers.iter().map(|l| text(l)).collect::<Result<_>>()?,
                upper: upper.as_deref().map(text).transpose()?,
                work: work.as_deref().map(text).transpose()?,
                options,
                label,
            },
        })
    }
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, "describing a mount")
            .path(path)
            .detail("the path is not UTF-8, which JSON needs")
    })
}

/// What orlop_driver_get would mount, as a JSON object, for a program that mounts by itself (in another mount namespace, in a virtual
/// machine): "lowers" (uppermost first; of a read-only mount the layer's own directory is the first), "upper", "work" (without these
/// two the mount is read-only), "options" (words of mount(8)), "label" (for context=); or "directory", a plain directory, of vfs. The
/// layer is neither mounted nor counted, and if it is mounted nothing of it is changed; the driver's home is made ready as for
/// orlop_driver_get.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any, under the caller's lock.
/// Errors: as for orlop_driver_get; ORLOP_ERR_INVALID_ARGUMENT for a path that is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_describe_mount(
    driver: *const orlop_driver,
    id: *const c_char,
    options: *const orlop_mount_options,
    description: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(description);
            let driver = handle::borrow(driver)?;
            let found = driver.describe_mount(&layer_id(id, "id")?, &mount_options(options)?)?;
            out.put(json::text(&Described::new(found)?)?.into_bytes());
            Ok(())
        })
    }
}

/// Mounts a layer without a place in the tree, as fsmount(2) does: *mount_fd can be attached with move_mount(2), in whatever mount
/// namespace, or files be opened below it. The mount is not counted and ends with its last user; until then the layer must be mounted in
/// no other way, unless both are read-only.
///
/// Ownership: the descriptor is the caller's, to be closed with close(2); it has the flag FD_CLOEXEC.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_NOT_SUPPORTED for vfs and before Linux 6.7; ORLOP_ERR_BUSY for a mounted layer that is asked for writing; as for
/// orlop_driver_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_mount_detached(
    driver: *const orlop_driver,
    id: *const c_char,
    options: *const orlop_mount_options,
    mount_fd: *mut i32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            put(mount_fd, -1);
            if mount_fd.is_null() {
                return Err(input::missing("mount_fd"));
            }
            let driver = handle::borrow(driver)?;
            let made = driver.mount_detached(&layer_id(id, "id")?, &mount_options(options)?)?;
            put(mount_fd, made.into_raw_fd());
            Ok(())
        })
    }
}
