//! A layer's files, one by one, for putting its tar together again.

use std::ffi::c_char;
use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use orlop::Error;
use orlop::archive::FileSource;
use orlop::driver::Driver;

use crate::buffer::PointerOut;
use crate::driver::orlop_driver;
use crate::driver_layers::layer_id;
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle::{self, Handle, opaque};
use crate::input::{missing, path};

/// The files of a layer and of those below it, for reading (Go's DiffGetter).
pub struct orlop_files(Handle<Files>);
opaque!(orlop_files, Files, "files");

pub(crate) struct Files {
    source: Box<dyn FileSource>,
    /// Lives as long as what was got from it.
    _driver: Arc<dyn Driver>,
}

/// Gives the files of a layer; those that it does not have itself come from the layers below.
///
/// Ownership: *files is the caller's, to be freed with orlop_files_free; it may outlive the driver.
/// Threads: any.
/// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_CORRUPT for a damaged layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_files(
    driver: *const orlop_driver,
    id: *const c_char,
    files: *mut *mut orlop_files,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = PointerOut::new(files, "files")?;
            let driver = handle::borrow(driver)?;
            let source = driver.file_source(&layer_id(id, "id")?)?;
            let files = Files { source, _driver: Arc::clone(&driver) };
            out.put(orlop_files(Handle::new(files)));
            Ok(())
        })
    }
}

/// Opens the regular file of that name, as the layer's tar has it, for reading. No symbolic link is followed out of the layer.
///
/// Ownership: *fd is the caller's, to be closed by it; -1 after a failure.
/// Threads: any.
/// Errors: ORLOP_ERR_IO with the errno, ENOENT where no regular file has that name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_files_open(
    files: *const orlop_files,
    name: *const c_char,
    fd: *mut i32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            if fd.is_null() {
                return Err(missing("fd"));
            }
            fd.write(-1);
            let files = handle::borrow(files)?;
            let name = path(name, "name")?;
            let found = files.source.open_file(name.as_os_str().as_bytes());
            let file =
                found.map_err(|e| Error::io("opening a file of a layer", &name, plain(e)))?;
            fd.write(file.into_raw_fd());
            Ok(())
        })
    }
}

/// A file that is not there is ENOENT, by whatever way that was found out.
fn plain(e: io::Error) -> io::Error {
    match (e.kind(), e.raw_os_error()) {
        (io::ErrorKind::NotFound, None) => io::Error::from_raw_os_error(libc::ENOENT),
        _ => e,
    }
}

/// Lets a layer's files go; NULL is fine. Descriptors that were handed out stay open.
///
/// Threads: any; no call on it may be running, and nobody may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_files_free(files: *mut orlop_files) {
    // SAFETY: NULL or files that the caller has not freed.
    unsafe { handle::free(files) };
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::ptr;

    use super::*;
    use crate::{ORLOP_ERR_INTERNAL, orlop_error_code, orlop_error_free};

    struct Broken;

    impl FileSource for Broken {
        fn open_file(&self, name: &[u8]) -> io::Result<File> {
            panic!("no idea where {name:?} is")
        }
    }

    #[test]
    fn a_panic_inside_a_call_is_an_error_and_ends_the_handle() {
        let root = std::path::Path::new("/nowhere");
        let driver = Arc::from(orlop::driver::open("vfs", root, root, None, &[]).unwrap());
        let files = Files { source: Box::new(Broken), _driver: driver };
        let files = Box::into_raw(Box::new(orlop_files(Handle::new(files))));
        // The second call does not reach the source any more.
        for says in ["no idea where", "an earlier call on it has shown a defect"] {
            let (mut error, mut fd) = (ptr::null_mut(), 7);
            // SAFETY: a handle, a C string and variables that live for the call.
            let (code, message) = unsafe {
                let code = orlop_files_open(files, c"f".as_ptr(), &mut fd, &mut error);
                let message = std::ffi::CStr::from_ptr(crate::orlop_error_message(error));
                (code, message.to_string_lossy().into_owned())
            };
            assert_eq!((code, fd), (ORLOP_ERR_INTERNAL, -1));
            assert!(message.contains(says), "{message}");
            // SAFETY: the error of the call above.
            unsafe {
                assert_eq!(orlop_error_code(error), ORLOP_ERR_INTERNAL);
                orlop_error_free(error);
            }
        }
        // SAFETY: made above and not freed yet.
        unsafe { orlop_files_free(files) };
    }
}
