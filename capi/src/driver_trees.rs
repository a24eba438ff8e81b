//! What a layer of a driver changes: as a tar, as a list, as a number.

use std::ffi::c_char;

use orlop::archive::{Change, ChangeKind, Compat};
use orlop::driver::DiffOptions;
use orlop::progress::{Counted, Progress};
use orlop::{IdMaps, Result};

use crate::buffer::{BufferOut, orlop_buf, put};
use crate::driver::orlop_driver;
use crate::driver_layers::{layer_id, parent_id};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{self, Options, descriptor, id_maps, optional_text, options, orlop_id_maps};
use crate::operation::{Watch, orlop_operation};
use crate::stream::{Stream, gathered};

/// How a layer is compared with its parent. NULL in its place, and zero in each field: without id maps.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_diff_options {
    /// sizeof(struct orlop_diff_options).
    pub size: usize,
    /// The layer's user id map: by it owners on disk become those of the tar. A file whose owner is not mapped is left out of it,
    /// which the log says.
    pub uid_map: orlop_id_maps,
    /// The layer's group id map; likewise.
    pub gid_map: orlop_id_maps,
    /// The parent's user id map: owners are compared as they are inside.
    pub parent_uid_map: orlop_id_maps,
    /// The parent's group id map; likewise.
    pub parent_gid_map: orlop_id_maps,
    /// SELinux label of the mounts that a comparison may need; may be NULL.
    pub mount_label: *const c_char,
    /// Whose tars the tar is like: 0 those of the current Go library, 1 those of its version 1.24 (file types in the mode, names of
    /// users and groups of this host).
    pub compat: u32,
    /// Zero.
    pub reserved: u32,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_diff_options {
    const NAME: &'static str = "orlop_diff_options";
}

/// # Safety
/// `given` is NULL or a struct of the caller's whose lists live as long as the call.
///
/// # Errors
/// When an option is malformed.
unsafe fn diff_options(given: *const orlop_diff_options) -> Result<DiffOptions> {
    // SAFETY: as the caller promises.
    unsafe {
        let given = options(given)?;
        input::reserved(given.reserved)?;
        Ok(DiffOptions {
            maps: IdMaps {
                uids: id_maps(given.uid_map, "uid_map")?,
                gids: id_maps(given.gid_map, "gid_map")?,
            },
            parent_maps: IdMaps {
                uids: id_maps(given.parent_uid_map, "parent_uid_map")?,
                gids: id_maps(given.parent_gid_map, "parent_gid_map")?,
            },
            mount_label: optional_text(given.mount_label, "mount_label")?
                .unwrap_or_default()
                .to_owned(),
            compat: match given.compat {
                0 => Compat::Current,
                1 => Compat::V1_24,
                other => {
                    let why = format!("{other} is neither 0 (current) nor 1 (as of 1.24)");
                    return Err(input::invalid("compat").detail(why));
                }
            },
        })
    }
}

/// Writes what a layer changes over `parent` (NULL or empty: all that it shows) to `out_fd` as an uncompressed tar with AUFS
/// whiteouts (".wh.").
///
/// Ownership: the descriptor stays the caller's.
/// Threads: any, under the caller's lock: overlay may have to mount.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_CANCELLED; ORLOP_ERR_IO when a file cannot be read or `out_fd` fails. What was written
/// until then is no whole tar.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_diff(
    driver: *const orlop_driver,
    id: *const c_char,
    parent: *const c_char,
    options: *const orlop_diff_options,
    out_fd: i32,
    operation: *const orlop_operation,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers and a descriptor of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let (id, parent) = (layer_id(id, "id")?, parent_id(parent)?);
            let options = diff_options(options)?;
            let out = descriptor(out_fd, "out_fd")?;
            let watch = Watch::new(operation)?;
            let item = watch.start(&format!("layer {id}"), None);
            let out = Counted::new(Stream::new(out, &watch), &*item);
            gathered(out, 1 << 16, "writing the tar of a layer", |out| {
                driver.diff(&id, parent.as_ref(), &options, out)
            })?;
            item.finish("done");
            Ok(())
        })
    }
}

/// What a layer changes over `parent` (NULL or empty: over an empty tree): for each change one byte, 'C' changed, 'A' added or 'D'
/// deleted, then the path's bytes, absolute within the layer, and a NUL. The order is that of the walk.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any, under the caller's lock: overlay may have to mount.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when content cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_changes(
    driver: *const orlop_driver,
    id: *const c_char,
    parent: *const c_char,
    options: *const orlop_diff_options,
    changes: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(changes);
            let driver = handle::borrow(driver)?;
            let (id, parent) = (layer_id(id, "id")?, parent_id(parent)?);
            let options = diff_options(options)?;
            out.put(change_records(&driver.changes(&id, parent.as_ref(), &options)?));
            Ok(())
        })
    }
}

/// Changes as the header describes them; a path on disk has no NUL.
pub(crate) fn change_records(changes: &[Change]) -> Vec<u8> {
    let mut records = Vec::with_capacity(changes.iter().map(|c| c.path.len() + 2).sum());
    for change in changes {
        records.push(match change.kind {
            ChangeKind::Modify => b'C',
            ChangeKind::Add => b'A',
            ChangeKind::Delete => b'D',
        });
        records.extend_from_slice(&change.path);
        records.push(0);
    }
    records
}

/// The sum of the sizes of the files that a layer changes over `parent` (NULL or empty: of all that it shows). NULL for `bytes` is
/// fine.
///
/// Ownership: `bytes` is a variable of the caller's.
/// Threads: any, under the caller's lock: overlay may have to mount.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when content cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_diff_size(
    driver: *const orlop_driver,
    id: *const c_char,
    parent: *const c_char,
    options: *const orlop_diff_options,
    bytes: *mut u64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let (id, parent) = (layer_id(id, "id")?, parent_id(parent)?);
            let options = diff_options(options)?;
            put(bytes, driver.diff_size(&id, parent.as_ref(), &options)?);
            Ok(())
        })
    }
}
