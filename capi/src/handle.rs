//! What an opaque pointer of the caller's points to.

use std::cell::RefCell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orlop::{Error, ErrorKind, Result};

use crate::input::missing;
use crate::panics;

/// A value behind an opaque pointer: not usable in another process than the one that made it, nor after a defect showed in it.
pub(crate) struct Handle<T> {
    value: T,
    process: u32,
    torn: Arc<AtomicBool>,
}

thread_local! {
    /// The handles that the running call uses. A panic on a thread of the library's ends as an error of the call, so that it
    /// is the call that tells whether they are torn.
    static USED: RefCell<Vec<Arc<AtomicBool>>> = const { RefCell::new(Vec::new()) };
}

/// Works on the list; where the thread is about to end and has none any more, on an empty one.
fn used<R>(work: impl Fn(&mut Vec<Arc<AtomicBool>>) -> R) -> R {
    USED.try_with(|list| work(&mut list.borrow_mut())).unwrap_or_else(|_| work(&mut Vec::new()))
}

/// The handles that one call uses.
pub(crate) struct Used {
    outer: Vec<Arc<AtomicBool>>,
}

impl Used {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self { outer: used(std::mem::take) }
    }

    /// The call has shown a defect: what it worked on may be half done, and is not used again.
    pub(crate) fn tear(&self) {
        used(|handles| handles.iter().for_each(|torn| torn.store(true, Ordering::Relaxed)));
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        used(|handles| handles.clone_from(&self.outer));
    }
}

impl<T> Handle<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, process: std::process::id(), torn: Arc::default() }
    }

    /// The value, for one call.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] after a fork, [`ErrorKind::Internal`] after a defect.
    pub(crate) fn borrow(&self) -> Result<Borrowed<'_, T>> {
        if !self.is_ours() {
            return Err(Error::new(ErrorKind::InvalidArgument, "using a handle")
                .detail("it was opened by the process that this one was forked from")
                .hint("open another one after fork"));
        }
        if self.torn.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Internal, "using a handle")
                .detail("an earlier call on it has shown a defect of the library")
                .hint("free it and open another one"));
        }
        used(|handles| handles.push(Arc::clone(&self.torn)));
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

/// A handle in use.
pub(crate) struct Borrowed<'a, T>(&'a Handle<T>);

impl<T> Deref for Borrowed<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        panics::point("handle");
        &self.0.value
    }
}

/// A type of the header that is nothing but a handle.
pub(crate) trait Opaque: Sized {
    /// What it stands for. Whatever thread frees it, or takes it over, may be another one than the one that made it.
    type Value: Send;
    /// Its name as an argument, for messages.
    const NAME: &'static str;

    fn handle(&self) -> &Handle<Self::Value>;

    fn into_handle(self) -> Handle<Self::Value>;
}

/// Makes an opaque type out of a struct with one field.
macro_rules! opaque {
    ($name:ident, $value:ty, $what:literal) => {
        impl $crate::handle::Opaque for $name {
            type Value = $value;
            const NAME: &'static str = $what;

            fn handle(&self) -> &$crate::handle::Handle<$value> {
                &self.0
            }

            fn into_handle(self) -> $crate::handle::Handle<$value> {
                self.0
            }
        }
    };
}
pub(crate) use opaque;

/// What a caller's pointer stands for, for one call.
///
/// # Safety
/// `pointer` is NULL or a handle that has not been freed.
///
/// # Errors
/// When it is NULL, of another process, or torn by a panic.
pub(crate) unsafe fn borrow<'a, T>(pointer: *const T) -> Result<Borrowed<'a, T::Value>>
where
    // Any number of threads may use it at once: the compiler cannot see that of a pointer.
    T: Opaque<Value: Sync> + 'a,
{
    // SAFETY: as the caller promises.
    unsafe { pointer.as_ref() }.ok_or_else(|| missing(T::NAME))?.handle().borrow()
}

/// What any thread may use without being a handle.
const _: () = {
    const fn for_any_thread<T: Send + Sync>() {}
    for_any_thread::<crate::orlop_cancel>();
    for_any_thread::<crate::orlop_progress>();
    for_any_thread::<crate::orlop_error>();
};

/// Takes a caller's handle over, and with it what it stands for; whatever the outcome, the pointer must not be used again.
///
/// # Safety
/// `pointer` is NULL or a handle that has not been freed.
///
/// # Errors
/// As for [`borrow`].
pub(crate) unsafe fn take<T: Opaque>(pointer: *mut T) -> Result<T::Value> {
    if pointer.is_null() {
        return Err(missing(T::NAME));
    }
    // SAFETY: as the caller promises.
    unsafe { Box::from_raw(pointer) }.into_handle().take()
}

/// Closes a caller's handle; NULL is fine, and in a forked child nothing happens.
///
/// # Safety
/// As for [`take`].
pub(crate) unsafe fn free<T: Opaque>(pointer: *mut T) {
    if pointer.is_null() {
        return;
    }
    // SAFETY: as the caller promises.
    let handle = unsafe { Box::from_raw(pointer) }.into_handle();
    // Whatever it takes to close it, no panic gets out.
    panics::silence();
    let _ = catch_unwind(AssertUnwindSafe(|| {
        panics::point("free");
        handle.discard();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::run;

    fn call(body: impl FnOnce() -> Result<()>) -> i32 {
        // SAFETY: no error object is asked for.
        unsafe { run(std::ptr::null_mut(), body) }
    }

    #[test]
    fn a_defect_tears_the_handles_of_its_call_and_no_other() {
        for panics in [true, false] {
            let (used, other) = (Handle::new(7), Handle::new(8));
            let code = call(|| {
                assert_eq!(*used.borrow()?, 7);
                // As where a thread of a pipeline has panicked.
                let defect = Error::new(ErrorKind::Internal, "working");
                if panics { panic!("on purpose") } else { Err(defect) }
            });
            assert_eq!(code, ErrorKind::Internal.code());
            let refusal = used.borrow().map(|b| *b).unwrap_err();
            assert_eq!(refusal.kind(), ErrorKind::Internal);
            assert_eq!(*other.borrow().unwrap(), 8);
            let failure = || Err(Error::new(ErrorKind::Io, "working"));
            assert_eq!(call(|| other.borrow().and_then(|_| failure())), ErrorKind::Io.code());
            assert_eq!(*other.borrow().unwrap(), 8);
        }
    }
}
