//! Content into layers of a driver: a tar upon what is there, or aside and put in place later.

use std::ffi::c_char;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use orlop::archive::{UnpackOptions, unpack_content};
use orlop::driver::{ApplyOptions, Driver, Staging};
use orlop::progress::{Counted, Progress};
use orlop::{IdMaps, Result};

use crate::buffer::{PointerOut, put};
use crate::driver::orlop_driver;
use crate::driver_layers::{layer_id, parent_id};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle::{self, Handle, opaque};
use crate::input::{
    self, Options, descriptor, flag, id_maps, optional_text, options, orlop_id_maps,
};
use crate::operation::{Watch, orlop_operation};
use crate::store_input::bytes_ahead;
use crate::stream::Stream;

/// How a tar is unpacked. NULL in its place, and zero in each field: as the driver is configured.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_apply_options {
    /// sizeof(struct orlop_apply_options).
    pub size: usize,
    /// SELinux label; may be NULL. The files get what the file system gives them, as with Go's overlay.
    pub mount_label: *const c_char,
    /// User id map: by it the owners in the tar become those on disk. An owner that is not mapped is an error.
    pub uid_map: orlop_id_maps,
    /// Group id map; likewise.
    pub gid_map: orlop_id_maps,
    /// 1: go on when an owner cannot be set.
    pub ignore_chown_errors: u32,
    /// 1: every file gets the mode `force_mask` and stays the calling process's; what the tar says of it goes to the attribute
    /// user.containers.override_stat, and files that are neither directories nor links are regular ones.
    pub has_force_mask: u32,
    /// The mode; zero without has_force_mask.
    pub force_mask: u32,
    /// Zero.
    pub reserved: u32,
    /// orlop_driver_stage: the parent's user id map, which its files change for `uid_map` where the content begins as a copy of them
    /// (vfs).
    pub parent_uid_map: orlop_id_maps,
    /// The parent's group id map; likewise.
    pub parent_gid_map: orlop_id_maps,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_apply_options {
    const NAME: &'static str = "orlop_apply_options";
}

/// Content that belongs to no layer yet.
pub struct orlop_staged(Handle<Staged>);
opaque!(orlop_staged, Staged, "staged");

pub(crate) struct Staged {
    content: Box<dyn Staging>,
    /// Who made it: nobody else may commit it.
    driver: Arc<dyn Driver>,
}

/// How to unpack, as far as the caller says so.
///
/// # Safety
/// `given` is NULL or a struct of the caller's whose lists live as long as the call.
///
/// # Errors
/// When an option is malformed or not served.
pub(crate) unsafe fn wishes(given: *const orlop_apply_options) -> Result<ApplyOptions> {
    // SAFETY: as the caller promises.
    let (given, mount_label, maps, parent_maps) = unsafe {
        let given = options(given)?;
        let label = optional_text(given.mount_label, "mount_label")?.unwrap_or_default();
        let maps = IdMaps {
            uids: id_maps(given.uid_map, "uid_map")?,
            gids: id_maps(given.gid_map, "gid_map")?,
        };
        let parent_maps = IdMaps {
            uids: id_maps(given.parent_uid_map, "parent_uid_map")?,
            gids: id_maps(given.parent_gid_map, "parent_gid_map")?,
        };
        (given, label.to_owned(), maps, parent_maps)
    };
    input::reserved(given.reserved)?;
    let forced = flag(given.has_force_mask, "has_force_mask")?;
    if !forced && given.force_mask != 0 {
        return Err(input::invalid("force_mask").detail("it goes with has_force_mask = 1"));
    }
    if given.force_mask > 0o7777 {
        return Err(input::invalid("force_mask").detail("it is no mode of a file"));
    }
    let force_mask = forced.then_some(given.force_mask);
    let ignore_chown_errors = flag(given.ignore_chown_errors, "ignore_chown_errors")?;
    Ok(ApplyOptions { maps, parent_maps, mount_label, ignore_chown_errors, force_mask })
}

/// Unpacks what comes through `tar`, watched; the bytes of content, and whether the root has an entry.
fn unpack(
    tar: BorrowedFd<'_>,
    watch: &Watch,
    what: &str,
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
) -> Result<(u64, bool)> {
    let item = watch.start(what, bytes_ahead(tar));
    let mut tar = Counted::new(Stream::new(tar, watch), &*item);
    let unpacked = unpack_content(&mut tar, root, options)?;
    item.finish("done");
    Ok(unpacked)
}

/// Unpacks the uncompressed tar that `tar_fd` gives, to its end, upon the present content of a layer. *bytes, unless `bytes` is NULL,
/// is then the sum of the sizes of its files.
///
/// What was unpacked before a failure stays, also when the operation is called off: the layer had content that could not be set
/// aside. orlop_driver_stage leaves nothing.
///
/// The progress has one item, "layer" and the id; its total is known for a file.
///
/// Ownership: the descriptor stays the caller's.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_INVALID_ARCHIVE for a malformed tar; ORLOP_ERR_CANCELLED; ORLOP_ERR_INVALID_ARGUMENT
/// for an owner that is not mapped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_apply_diff(
    driver: *const orlop_driver,
    id: *const c_char,
    tar_fd: i32,
    options: *const orlop_apply_options,
    operation: *const orlop_operation,
    bytes: *mut u64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers and a descriptor of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let id = layer_id(id, "id")?;
            let tar = descriptor(tar_fd, "tar_fd")?;
            let wishes = wishes(options)?;
            let watch = Watch::new(operation)?;
            let what = format!("layer {id}");
            let (root, how) = driver.content(&id, &wishes)?;
            let (unpacked, _) = unpack(tar, &watch, &what, root.as_fd(), &how)?;
            driver.applied(&id, root.as_fd())?;
            put(bytes, unpacked);
            Ok(())
        })
    }
}

/// Unpacks the uncompressed tar that `tar_fd` gives, to its end, as the content of a layer on `parent` (NULL or empty: on none) that
/// orlop_driver_commit_staged puts in place. No lock is needed, and no layer is touched. *bytes as for orlop_driver_apply_diff.
///
/// The progress has one item, "a new layer"; its total is known for a file.
///
/// Ownership: *staged is the caller's, to be handed to orlop_driver_commit_staged or orlop_staged_free. The descriptor stays the
/// caller's.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN for a parent that has vanished; else as for orlop_driver_apply_diff. Nothing is left behind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_stage(
    driver: *const orlop_driver,
    parent: *const c_char,
    tar_fd: i32,
    options: *const orlop_apply_options,
    operation: *const orlop_operation,
    staged: *mut *mut orlop_staged,
    bytes: *mut u64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers and a descriptor of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = PointerOut::new(staged, "staged")?;
            let driver = handle::borrow(driver)?;
            let parent = parent_id(parent)?;
            let tar = descriptor(tar_fd, "tar_fd")?;
            let wishes = wishes(options)?;
            let watch = Watch::new(operation)?;
            let mut content = driver.stage(parent.as_ref(), &wishes)?;
            let how = content.unpack_options().clone();
            let (unpacked, root) = unpack(tar, &watch, "a new layer", content.root(), &how)?;
            if root {
                content.keep_root();
            }
            put(bytes, unpacked);
            out.put(orlop_staged(Handle::new(Staged { content, driver: Arc::clone(&driver) })));
            Ok(())
        })
    }
}

/// Makes staged content the content of the layer `id`, which was created with the same parent and is still empty.
///
/// Ownership: `staged` is taken over, whatever comes of it, and must not be used or freed any more.
/// Threads: any, under the caller's lock; nobody else may use `staged` any more.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for content that was staged by another driver handle; ORLOP_ERR_LAYER_UNKNOWN;
/// ORLOP_ERR_DUPLICATE_ID for a layer of overlay that has content, which vfs replaces. The staged content is then gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_commit_staged(
    driver: *const orlop_driver,
    id: *const c_char,
    staged: *mut orlop_staged,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            // First of all: it is consumed whatever else is wrong.
            let staged = handle::take(staged)?;
            let driver = handle::borrow(driver)?;
            let id = layer_id(id, "id")?;
            if !std::ptr::addr_eq(Arc::as_ptr(&driver), Arc::as_ptr(&staged.driver)) {
                return Err(input::invalid("staged")
                    .id(id.as_str())
                    .detail("the content was staged by another driver handle"));
            }
            driver.commit_staged(&id, staged.content)
        })
    }
}

/// Deletes staged content that is not wanted; NULL is fine.
///
/// Threads: any; nobody else may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_staged_free(staged: *mut orlop_staged) {
    // SAFETY: NULL or staged content that the caller has not freed.
    unsafe { handle::free(staged) };
}
