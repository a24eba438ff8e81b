//! Errors as objects of the caller's.

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt;

use orlop::{Error, ErrorKind};

/// Why a call has failed. The caller frees it with orlop_error_free.
///
/// An error never changes: any thread may read it, and what its getters return lives as long as it does.
pub struct orlop_error {
    kind: ErrorKind,
    errno: i32,
    message: CString,
    path: Option<CString>,
    id: Option<CString>,
    advice: Option<CString>,
}

impl From<Error> for orlop_error {
    fn from(e: Error) -> Self {
        Self {
            kind: e.kind(),
            errno: e.raw_os_error().unwrap_or(0),
            message: text(e.to_string().as_bytes()),
            path: e.file().and_then(|p| named(p.as_os_str().as_bytes())),
            id: e.object_id().and_then(|id| named(id.as_bytes())),
            advice: e.advice().map(|a| text(a.as_bytes())),
        }
    }
}

/// A C string; what it cannot hold is left out.
fn text(bytes: &[u8]) -> CString {
    CString::new(bytes.iter().copied().filter(|b| *b != 0).collect::<Vec<u8>>()).unwrap_or_default()
}

/// As [`text`]; nothing where it would be empty.
fn named(bytes: &[u8]) -> Option<CString> {
    Some(text(bytes)).filter(|t| !t.is_empty())
}

fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(std::ptr::null(), |t| t.as_ptr())
}

/// The code, one of ORLOP_ERR_*; the same that the call returned. ORLOP_OK for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_error_code(error: *const orlop_error) -> i32 {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { error.as_ref() }.map_or(crate::ORLOP_OK, |e| e.kind.code())
}

/// The errno of the system call that failed, 0 where there was none or for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_error_errno(error: *const orlop_error) -> i32 {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { error.as_ref() }.map_or(0, |e| e.errno)
}

/// The whole message in one line: what was tried, on what, why it failed, what to do. NULL for NULL.
///
/// Ownership: the text belongs to the error.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_error_message(error: *const orlop_error) -> *const c_char {
    // SAFETY: NULL or an error that the caller has not freed.
    pointer(unsafe { error.as_ref() }.map(|e| &e.message))
}

/// The file concerned, NULL where there is none.
///
/// Ownership: the text belongs to the error.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_error_path(error: *const orlop_error) -> *const c_char {
    // SAFETY: NULL or an error that the caller has not freed.
    pointer(unsafe { error.as_ref() }.and_then(|e| e.path.as_ref()))
}

/// The id of the layer, image or container concerned, NULL where there is none.
///
/// Ownership: the text belongs to the error.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_error_id(error: *const orlop_error) -> *const c_char {
    // SAFETY: NULL or an error that the caller has not freed.
    pointer(unsafe { error.as_ref() }.and_then(|e| e.id.as_ref()))
}

/// What to do about it, NULL where nothing is known. The message has it, too.
///
/// Ownership: the text belongs to the error.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_error_advice(error: *const orlop_error) -> *const c_char {
    // SAFETY: NULL or an error that the caller has not freed.
    pointer(unsafe { error.as_ref() }.and_then(|e| e.advice.as_ref()))
}

/// Frees an error; NULL is fine.
///
/// Threads: any; nobody may use the error or its texts any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_error_free(error: *mut orlop_error) {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { crate::buffer::free(error) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_null() {
        let of = |path: &str, id: &str| {
            orlop_error::from(Error::new(ErrorKind::Io, "reading").path(path).id(id))
        };
        let (unnamed, named) = (of("", ""), of("/p", "i"));
        // SAFETY: both live until the end of the test.
        unsafe {
            assert!(orlop_error_path(&raw const unnamed).is_null());
            assert!(orlop_error_id(&raw const unnamed).is_null());
            assert_eq!(std::ffi::CStr::from_ptr(orlop_error_path(&raw const named)), c"/p");
            assert_eq!(std::ffi::CStr::from_ptr(orlop_error_id(&raw const named)), c"i");
        }
    }
}
