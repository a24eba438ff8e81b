//! Other engines' images, and a store's own old layout, turned into what a store of today has.

use std::ffi::c_char;

use orlop::Result;
use orlop::docker::{MigrateOptions, Transfer, migrate};
use orlop::store::LegacyMigration;

use crate::buffer::{BufferOut, orlop_buf};
use crate::docker::orlop_docker;
use crate::error::orlop_error;
use crate::guard::{call, run};
use crate::handle;
use crate::input::{self, Options, flag, optional_path, options, orlop_strings, strings};
use crate::json;
use crate::operation::{Watch, orlop_operation};
use crate::store::orlop_store;

/// Files are reflinked where the file system can, else copied.
pub const ORLOP_TRANSFER_EITHER: u32 = 0;
/// They are reflinked, or the image is refused.
pub const ORLOP_TRANSFER_REFLINK: u32 = 1;
/// They are copied.
pub const ORLOP_TRANSFER_COPY: u32 = 2;
/// They are moved: docker forgets the images, and their layers as far as nothing else there needs them.
pub const ORLOP_TRANSFER_MOVE: u32 = 3;

/// How to take images over from docker. NULL in its place: all images that `docker images` shows, each layer compared with its tar.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_migrate_docker_options {
    /// sizeof(struct orlop_migrate_docker_options).
    pub size: usize,
    /// Names, ids, or unique beginnings of ids of images there; none: all that `docker images` shows.
    pub images: orlop_strings,
    /// One of ORLOP_TRANSFER_*.
    pub transfer: u32,
    /// 1: make an image of each stopped container, too: localhost/NAME.
    pub containers: u32,
    /// 1: do not compare the layers with their tars.
    pub unverified: u32,
    /// 1: only tell what would be done.
    pub dry_run: u32,
    /// Where a container's changes are packed, in a file without a name; NULL: /var/tmp.
    pub temp_dir: *const c_char,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_migrate_docker_options {
    const NAME: &'static str = "orlop_migrate_docker_options";
}

/// How to migrate a legacy store. NULL in its place: each layer compared with its digest, and the old layout kept.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_migrate_legacy_options {
    /// sizeof(struct orlop_migrate_legacy_options).
    pub size: usize,
    /// 1: only tell what there is to do.
    pub dry_run: u32,
    /// 1: do not put the layers' tars together to compare their digests.
    pub unverified: u32,
    /// 1: remove the old layout, also one that an earlier migration has kept.
    pub remove: u32,
    /// Zero.
    pub reserved: u32,
}

// SAFETY: plain numbers, `size` first.
unsafe impl Options for orlop_migrate_legacy_options {
    const NAME: &'static str = "orlop_migrate_legacy_options";
}

/// # Errors
/// For a number that stands for no way.
fn transfer(number: u32) -> Result<Transfer> {
    match number {
        ORLOP_TRANSFER_EITHER => Ok(Transfer::Either),
        ORLOP_TRANSFER_REFLINK => Ok(Transfer::Reflink),
        ORLOP_TRANSFER_COPY => Ok(Transfer::Copy),
        ORLOP_TRANSFER_MOVE => Ok(Transfer::Move),
        other => Err(input::invalid("transfer").detail(format!("{other} is no ORLOP_TRANSFER_*"))),
    }
}

/// Takes images over from docker into the store: the same ids, the same diff digests, and what a loading of the same images would
/// record. Gives 1 if every image that was asked for is in the store (or with a dry run could be) and nothing went wrong afterwards,
/// else 0: an image that cannot be taken over keeps no other from it, and the report says why.
///
/// The report is {"images": [{"id", "names" (in the store), "names-left-out" (those that another image of the store has), "container"
/// (the name of the one that the image was made of), "layers": [{"id", "diff-digest", "outcome" ("present", "planned", "moved",
/// "reflinked" or "copied"), "bytes"}], "moved", "kept" (why docker keeps it, where it was to be moved), "error"}], "finished"
/// ({"images", "layers"}: which images, and how many layers, an earlier move had begun to delete from docker and this one has),
/// "unfinished" (what went wrong when docker was to forget the images)}; what does not apply is left out.
///
/// Layers that are there are not made again, so that a second call goes on where one that has ended early stopped. Docker may run,
/// unless images are to be moved; it must not delete them meanwhile. The progress has one item for each layer.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN for an image that docker does not have; ORLOP_ERR_BUSY for a daemon that works where images are to be
/// moved from; ORLOP_ERR_NOT_SUPPORTED for a store whose layers have another form; nothing is changed then. ORLOP_ERR_CANCELLED: the
/// images that have been taken over stay, in docker, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_migrate_docker(
    store: *const orlop_store,
    docker: *const orlop_docker,
    given: *const orlop_migrate_docker_options,
    operation: *const orlop_operation,
    report: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        call(error, || {
            let out = BufferOut::new(report);
            let (store, docker) = (handle::borrow(store)?, handle::borrow(docker)?);
            let given = options(given)?;
            let images = strings(given.images, "images")?;
            let watch = Watch::new(operation)?;
            let how = MigrateOptions {
                images,
                containers: flag(given.containers, "containers")?,
                transfer: transfer(given.transfer)?,
                verify: !flag(given.unverified, "unverified")?,
                dry_run: flag(given.dry_run, "dry_run")?,
                temp_dir: optional_path(given.temp_dir),
                progress: &watch,
            };
            let done = migrate(&store, &docker, &how)?;
            out.put(json::text(&done)?);
            Ok(i32::from(done.is_whole()))
        })
    }
}

/// Turns a store in the layout of 2016's overlay driver (a whole tree for each layer) into today's, without a copy of any file; ids and
/// records stay. The old layout is kept beside as <driver's home>.legacy, unless it is to be removed. A store of today's layout stays
/// as it is. Free the store afterwards and open it anew: its driver is that of the layout that it was opened with, and refuses to go on
/// (ORLOP_ERR_BUSY).
///
/// The report is {"image-layers", "container-layers", "verified" (layers whose tar is the one on record), "linked-files", "whiteouts",
/// "removed" (whether an old layout was)}. A process that is killed on the way leaves the store as it was, or migrated; the next call
/// does what is left to do.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_BUSY while a layer is mounted or another process works on the store; ORLOP_ERR_NOT_SUPPORTED for other drivers, a
/// separate image store, a store with id maps or with layers of both layouts, and for anybody but root; ORLOP_ERR_CORRUPT for a damaged
/// layer; ORLOP_ERR_DIGEST_MISMATCH for one whose files are not those of its tar. The store is then as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_migrate_legacy(
    store: *const orlop_store,
    given: *const orlop_migrate_legacy_options,
    report: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(report);
            let store = handle::borrow(store)?;
            let given = options(given)?;
            input::reserved(given.reserved)?;
            let done = store.migrate_legacy(LegacyMigration {
                dry_run: flag(given.dry_run, "dry_run")?,
                unverified: flag(given.unverified, "unverified")?,
                remove: flag(given.remove, "remove")?,
            })?;
            out.put(json::text(&done)?);
            Ok(())
        })
    }
}
