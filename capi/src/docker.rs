//! What a docker daemon keeps in its data root, read without the daemon.

use std::ffi::c_char;

use orlop::Result;
use orlop::docker::DataRoot;
use serde::Serialize;

use crate::buffer::{BufferOut, PointerOut, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle::{self, Handle, opaque};
use crate::input::optional_path;
use crate::json;

/// The data root of a docker daemon, which may run or not. Nothing is changed by reading it; any number of threads may use it at
/// once, not after fork.
pub struct orlop_docker(Handle<DataRoot>);
opaque!(orlop_docker, DataRoot, "docker");

/// Opens the data root at `path`, which `docker info` shows as Docker Root Dir; NULL or empty: as /etc/docker/daemon.json says, else
/// /var/lib/docker.
///
/// Ownership: *docker is the caller's, to be freed with orlop_docker_free.
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_SUPPORTED for one without layers of overlay2, or of a daemon that remaps users; ORLOP_ERR_CORRUPT for links and
/// other things in the place of directories; ORLOP_ERR_CONFIG for a malformed daemon.json; ORLOP_ERR_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_docker_open(
    path: *const c_char,
    docker: *mut *mut orlop_docker,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = PointerOut::new(docker, "docker")?;
            let path = optional_path(path).map_or_else(DataRoot::configured, Ok)?;
            out.put(orlop_docker(Handle::new(DataRoot::open(path)?)));
            Ok(())
        })
    }
}

/// Closes a data root; NULL is fine.
///
/// Threads: any; no call on it may be running, and nobody may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_docker_free(docker: *mut orlop_docker) {
    // SAFETY: NULL or a data root that the caller has not freed.
    unsafe { handle::free(docker) };
}

/// Prints what is asked of a data root.
///
/// # Safety
/// The pointers are as the header asks.
unsafe fn list<T: Serialize>(
    docker: *const orlop_docker,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
    ask: impl FnOnce(&DataRoot) -> Result<Vec<T>>,
) -> i32 {
    // SAFETY: the same promise.
    unsafe {
        run(error, || {
            let out = BufferOut::new(records);
            out.put(json::text(&ask(&*handle::borrow(docker)?)?)?);
            Ok(())
        })
    }
}

/// Docker's images, sorted by id, as a JSON array of {"id", "names" (as docker has them, with tag), "parent" (the image that it was
/// built upon there), "created", "diff-digests" (base first)}; "parent" and "created" only where they are known. One whose record is
/// damaged is left out, and the log says so.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_CORRUPT, ORLOP_ERR_IO when the database cannot be read as a whole.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_docker_images(
    docker: *const orlop_docker,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { list(docker, records, error, DataRoot::images) }
}

/// The layers of docker's images, sorted by id, as a JSON array of {"id" (the chain id), "parent" (not of a base layer),
/// "diff-digest", "cache-id" (the name of its directory), "size" (bytes of file content)}. One whose record is damaged is left out,
/// and the log says so.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: as for orlop_docker_images.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_docker_layers(
    docker: *const orlop_docker,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { list(docker, records, error, DataRoot::layers) }
}

/// Docker's containers, sorted by id, as a JSON array of {"id", "name", "image", "running" (as its record says: a daemon that was
/// killed leaves records that say so for ever), "created", "layer" (the name of its directory)}. One whose record is damaged is left
/// out, and the log says so.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: as for orlop_docker_images.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_docker_containers(
    docker: *const orlop_docker,
    records: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe { list(docker, records, error, DataRoot::containers) }
}
