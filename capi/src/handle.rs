//! What an opaque pointer of the caller's points to.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use orlop::{Error, ErrorKind, Result};

/// A value behind an opaque pointer: not usable in another process than the one that made it, nor after a panic in it.
pub(crate) struct Handle<T> {
    value: T,
    process: u32,
    torn: AtomicBool,
}

impl<T> Handle<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, process: std::process::id(), torn: AtomicBool::new(false) }
    }

    /// The value, for one call.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] after a fork, [`ErrorKind::Internal`] after a panic.
    pub(crate) fn borrow(&self) -> Result<Borrowed<'_, T>> {
        if !self.is_ours() {
            return Err(Error::new(ErrorKind::InvalidArgument, "using a handle")
                .detail("it was opened by the process that this one was forked from")
                .hint("open another one after fork"));
        }
        if self.torn.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Internal, "using a handle")
                .detail("an earlier call on it has panicked")
                .hint("free it and open another one"));
        }
        Ok(Borrowed(self))
    }

    /// Whether this process made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// The value by itself.
    ///
    /// # Errors
    /// As [`Handle::borrow`]; the value is then leaked or dropped as [`Handle::discard`] does.
    pub(crate) fn take(self) -> Result<T> {
        match self.borrow().map(|_| ()) {
            Ok(()) => Ok(self.value),
            Err(e) => {
                self.discard();
                Err(e)
            }
        }
    }

    /// Drops the value, but for one of another process: that one's locks, mounts and files are not ours to release.
    pub(crate) fn discard(self) {
        if !self.is_ours() {
            std::mem::forget(self.value);
        }
    }
}

/// A handle in use; a panic meanwhile makes it useless.
pub(crate) struct Borrowed<'a, T>(&'a Handle<T>);

impl<T> Deref for Borrowed<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.torn.store(true, Ordering::Relaxed);
        }
    }
}

/// Declares an opaque type of the header and what every one of them has: a borrow of the caller's pointer, and its `_free`.
macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident($value:ty), $what:literal, $free:ident, $(#[$free_doc:meta])*) => {
        $(#[$doc])*
        pub struct $name($crate::handle::Handle<$value>);

        #[allow(dead_code, reason = "not every type uses each of them")]
        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self($crate::handle::Handle::new(value))
            }

            /// # Safety
            /// `pointer` is NULL or a handle that has not been freed.
            ///
            /// # Errors
            /// When it is NULL, of another process, or torn by a panic.
            pub(crate) unsafe fn borrow<'a>(
                pointer: *const Self,
            ) -> orlop::Result<$crate::handle::Borrowed<'a, $value>> {
                // SAFETY: as the caller promises.
                unsafe { pointer.as_ref() }.ok_or_else(|| $crate::input::missing($what))?.0.borrow()
            }

            /// # Safety
            /// As for `borrow`; the pointer must not be used again.
            ///
            /// # Errors
            /// As for `borrow`.
            pub(crate) unsafe fn take(pointer: *mut Self) -> orlop::Result<$value> {
                if pointer.is_null() {
                    return Err($crate::input::missing($what));
                }
                // SAFETY: as the caller promises.
                unsafe { Box::from_raw(pointer) }.0.take()
            }
        }

        $(#[$free_doc])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $free(pointer: *mut $name) {
            if !pointer.is_null() {
                // SAFETY: a handle that the caller has not freed.
                let handle = unsafe { Box::from_raw(pointer) };
                // Whatever it takes to close it, no panic gets out.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handle.0.discard()));
            }
        }
    };
}
pub(crate) use opaque;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_tears_a_handle() {
        let handle = Handle::new(7);
        assert_eq!(*handle.borrow().unwrap(), 7);
        let panicking = std::panic::AssertUnwindSafe(|| {
            let _used = handle.borrow().unwrap();
            panic!("on purpose");
        });
        assert!(std::panic::catch_unwind(panicking).is_err());
        let refusal = handle.borrow().map(|b| *b).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Internal);
    }
}
