//! How a path stands in an option string of `mount(2)`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether a path holds what separates paths and words in an option string.
pub(super) fn needs_escape(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|b| matches!(b, b',' | b':' | b'\\'))
}

/// Writes a path as the option string has it: the separators and the backslash behind a backslash.
pub(super) fn escape(path: &Path, out: &mut Vec<u8>) {
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b',' | b':' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_escaped() {
        // DEF-10
        let mut out = Vec::new();
        escape(Path::new("/a,b:c\\d e"), &mut out);
        assert_eq!(out, b"/a\\,b\\:c\\\\d e");
    }
}
