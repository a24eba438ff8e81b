//! Which library this is, and what it can do.

use std::ffi::{CStr, c_char};

/// The version of the header; orlop_version gives that of the library that the program runs with.
pub const ORLOP_VERSION_MAJOR: u32 = 0;
/// The second number of the version.
pub const ORLOP_VERSION_MINOR: u32 = 1;
/// The third number of the version.
pub const ORLOP_VERSION_PATCH: u32 = 0;

/// The library's version, as "0.1.0".
///
/// Ownership: the text is the library's and never changes.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn orlop_version() -> *const c_char {
    fixed(concat!(env!("CARGO_PKG_VERSION"), "\0"))
}

/// The commit that the library was built from, 12 hexadecimal digits, or "unknown".
///
/// Ownership: the text is the library's and never changes.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn orlop_version_commit() -> *const c_char {
    static COMMIT: std::sync::OnceLock<std::ffi::CString> = std::sync::OnceLock::new();
    COMMIT.get_or_init(|| std::ffi::CString::new(orlop::COMMIT).unwrap_or_default()).as_ptr()
}

fn fixed(text: &'static str) -> *const c_char {
    CStr::from_bytes_with_nul(text.as_bytes()).map_or(std::ptr::null(), CStr::as_ptr)
}

/// What this library can do, for programs that run with several versions of it.
const FEATURES: [&CStr; 2] = [c"overlay", c"vfs"];

/// 1 if the library has the feature of that name, else 0. Features: "overlay" and "vfs" (the drivers).
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_has(feature: *const c_char) -> i32 {
    if feature.is_null() {
        return 0;
    }
    // SAFETY: a C string of the caller's.
    let feature = unsafe { CStr::from_ptr(feature) };
    i32::from(FEATURES.contains(&feature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_version_of_the_manifest() {
        let header = format!("{ORLOP_VERSION_MAJOR}.{ORLOP_VERSION_MINOR}.{ORLOP_VERSION_PATCH}");
        assert_eq!(header, orlop::VERSION);
        assert_eq!(header, env!("CARGO_PKG_VERSION"));
    }
}
