//! Layers of a driver whose content the caller writes itself: partial pulls.

use std::ffi::c_char;
use std::os::unix::ffi::OsStringExt;

use orlop::archive::{UnpackOptions, Whiteouts};
use orlop::driver::{Driver, PartialPulls};
use orlop::{Error, ErrorKind, Result};

use crate::buffer::{BufferOut, orlop_buf};
use crate::driver::orlop_driver;
use crate::driver_layers::{layer_id, parent_id};
use crate::driver_streams::{orlop_apply_options, wishes};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{self, descriptor, flag, path};
use crate::operation::Watch;
use crate::stream::Stream;

/// How files are to be written into the directory of a partial pull; orlop_driver_begin_partial fills it in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_partial {
    /// sizeof(struct orlop_partial), set by the caller; what is beyond it is not written.
    pub size: usize,
    /// 1: whiteouts are files as in the tar (".wh."); 0: as the kernel's overlay has them, character devices 0:0 and the attribute
    /// trusted.overlay.opaque.
    pub keep_whiteouts: u32,
    /// 1: in a user namespace, where device nodes cannot be made and the attribute is user.overlay.opaque.
    pub in_user_namespace: u32,
    /// 1: go on when an owner cannot be set.
    pub ignore_chown_errors: u32,
    /// 1: every file gets the mode `force_mask`.
    pub has_force_mask: u32,
    /// The mode; zero without has_force_mask.
    pub force_mask: u32,
    /// 1: only the content of regular files is to be written, at "ab/cdef..." by its SHA-256, and orlop_driver_commit_partial_image is to
    /// be told the rest: use_composefs is set. 0: everything, for orlop_driver_commit_partial.
    pub by_digest: u32,
}

impl orlop_partial {
    fn of(how: &UnpackOptions, by_digest: bool) -> Self {
        Self {
            size: size_of::<Self>(),
            keep_whiteouts: u32::from(how.whiteouts == Whiteouts::Keep),
            in_user_namespace: u32::from(how.in_user_namespace),
            ignore_chown_errors: u32::from(how.ignore_chown_errors),
            has_force_mask: u32::from(how.force_mask.is_some()),
            force_mask: how.force_mask.unwrap_or(0),
            by_digest: u32::from(by_digest),
        }
    }
}

/// The driver, if it takes content that the caller writes.
///
/// # Errors
/// [`ErrorKind::NotSupported`]
fn pulls(driver: &dyn Driver) -> Result<&dyn PartialPulls> {
    driver.partial_pulls().ok_or_else(|| {
        Error::new(ErrorKind::NotSupported, "using a partial pull")
            .detail(format!("the driver {} takes layers only whole", driver.name()))
    })
}

/// Begins a layer's content that the caller writes itself, such as a pull of those parts of a layer that are not there yet: makes an
/// empty directory, whose absolute path *target is; `target` may not be NULL. Its parent is free for what the caller needs beside it,
/// but for the names "dir", "image" and "staging.lock". Unless `partial` is NULL it tells how to write.
///
/// The directory is this process's until orlop_driver_commit_partial or orlop_driver_discard_partial, on whatever driver handle of
/// the same store; what a killed process leaves goes with the next such call. No lock is needed, and no layer is touched.
///
/// Ownership: *target is the caller's, to be freed with orlop_buf_free; `partial` is the caller's struct, its size field set.
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_SUPPORTED for vfs, and with use_composefs in a user namespace or without the program mkcomposefs;
/// ORLOP_ERR_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_begin_partial(
    driver: *const orlop_driver,
    options: *const orlop_apply_options,
    partial: *mut orlop_partial,
    target: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; no more is written than his struct has.
    unsafe {
        run(error, || {
            // Nobody could ever commit or discard it.
            if target.is_null() {
                return Err(input::missing("target"));
            }
            let out = BufferOut::new(target);
            let driver = handle::borrow(driver)?;
            let wishes = wishes(options)?;
            if !partial.is_null() {
                // Refused before anything is made.
                input::fill(partial, orlop_partial::of(&UnpackOptions::default(), false))?;
            }
            let begun = pulls(&**driver)?.begin(&wishes)?;
            if !partial.is_null() {
                input::fill(partial, orlop_partial::of(&begun.unpack, begun.by_digest))?;
            }
            out.put(begun.target.into_os_string().into_vec());
            Ok(())
        })
    }
}

/// Makes the directory `target` the content of the layer `id`, which was created on `parent` (NULL or empty: on none); what that had
/// before goes. With `keeps_mode` 1 the directory keeps its mode, with 0 it takes that of the parent's root.
///
/// Ownership: everything stays the caller's. The directory is gone, or after a failure for whoever discards it.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for a directory that orlop_driver_begin_partial has not made, which is left as it is;
/// ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_READ_ONLY for a layer of another store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_commit_partial(
    driver: *const orlop_driver,
    id: *const c_char,
    parent: *const c_char,
    target: *const c_char,
    keeps_mode: u32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let (id, parent) = (layer_id(id, "id")?, parent_id(parent)?);
            let target = path(target, "target")?;
            let keeps_mode = flag(keeps_mode, "keeps_mode")?;
            pulls(&**driver)?.commit(&id, parent.as_ref(), &target, keeps_mode)
        })
    }
}

/// As orlop_driver_commit_partial, for a directory with content by digests: the layer becomes a composefs layer. `dump_fd` gives the list
/// of its files, to its end: a line for each in the form of composefs-dump(5), the root first. A name that begins with ".wh.", or a
/// character device 0:0, deletes what is below; a layer that deletes becomes an ordinary one, since images cannot.
///
/// Ownership: everything stays the caller's, the descriptor as well. The directory is gone, or after a failure for whoever discards it.
/// Threads: any, under the caller's lock.
/// Errors: as orlop_driver_commit_partial; ORLOP_ERR_INVALID_ARGUMENT for a malformed list, or one that names content that is not there;
/// ORLOP_ERR_NOT_SUPPORTED without the program mkcomposefs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_commit_partial_image(
    driver: *const orlop_driver,
    id: *const c_char,
    parent: *const c_char,
    target: *const c_char,
    keeps_mode: u32,
    dump_fd: i32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers and a descriptor of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let (id, parent) = (layer_id(id, "id")?, parent_id(parent)?);
            let target = path(target, "target")?;
            let keeps_mode = flag(keeps_mode, "keeps_mode")?;
            let watch = Watch::new(std::ptr::null())?;
            let mut dump = Stream::new(descriptor(dump_fd, "dump_fd")?, &watch);
            pulls(&**driver)?.commit_image(&id, parent.as_ref(), &target, keeps_mode, &mut dump)
        })
    }
}

/// Deletes the directory `target` of a partial pull with all that lies beside it; one that is committed or gone is fine.
///
/// Ownership: everything stays the caller's.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for a directory that orlop_driver_begin_partial has not made; ORLOP_ERR_BUSY for one that another
/// process fills.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_discard_partial(
    driver: *const orlop_driver,
    target: *const c_char,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let target = path(target, "target")?;
            pulls(&**driver)?.discard(&target)
        })
    }
}

/// The directory with a layer's own files, as the bytes of an absolute path: where a partial pull finds those that it need not fetch.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_CORRUPT for a damaged layer; ORLOP_ERR_NOT_SUPPORTED for vfs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_content_path(
    driver: *const orlop_driver,
    id: *const c_char,
    path: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(path);
            let driver = handle::borrow(driver)?;
            let id = layer_id(id, "id")?;
            let found = pulls(&**driver)?.content_path(&id)?;
            out.put(found.into_os_string().into_vec());
            Ok(())
        })
    }
}
