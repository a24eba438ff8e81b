//! What to do about a failure where the library, which knows neither the user nor the purpose, has no advice of its own.

use std::io;

use orlop::Error;

/// Advice on `error` for a user who is root of the machine or not.
pub(crate) fn on(error: &Error, rootless: bool) -> Option<&'static str> {
    if error.advice().is_some() {
        return None;
    }
    match error.os_error()? {
        io::ErrorKind::PermissionDenied if rootless => Some(
            "without root, give orlop a store of your own: --root and --runroot, or graphroot and runroot in \
             ~/.config/containers/storage.conf",
        ),
        io::ErrorKind::ReadOnlyFilesystem => Some(
            "the file system is mounted read-only: a store there can be listed and saved from, not changed",
        ),
        io::ErrorKind::StorageFull => Some("free some space in that file system"),
        io::ErrorKind::QuotaExceeded => Some("the quota of that file system is used up"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_suits_the_failure_and_the_user() {
        let failed = |kind: io::ErrorKind| Error::io("opening", "/x", kind);
        let denied = failed(io::ErrorKind::PermissionDenied);
        assert!(on(&denied, true).unwrap().contains("store of your own"));
        assert_eq!(on(&denied, false), None);
        assert!(
            on(&failed(io::ErrorKind::StorageFull), false).unwrap().contains("free some space")
        );
        let read_only = failed(io::ErrorKind::ReadOnlyFilesystem);
        assert!(on(&read_only, true).unwrap().contains("read-only"));
        assert_eq!(on(&read_only.hint("remount it"), true), None, "the library's own goes first");
    }
}
