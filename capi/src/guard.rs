//! What stands around every call that can fail: no panic and no SIGPIPE gets out, and the caller gets an error object.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use orlop::{Error, ErrorKind, Result};

use crate::error::orlop_error;
use crate::handle::Used;
use crate::panics;
use crate::signals::PipeGuard;

/// Runs a call; its number if it has worked, else the code of its error.
///
/// # Safety
/// `error` is NULL or points to a pointer of the caller's.
pub(crate) unsafe fn call(error: *mut *mut orlop_error, body: impl FnOnce() -> Result<i32>) -> i32 {
    if !error.is_null() {
        // SAFETY: as the caller promises.
        unsafe { error.write(std::ptr::null_mut()) };
    }
    panics::silence();
    let used = Used::begin();
    let guarded = || {
        let _pipes = PipeGuard::new();
        panics::point("call");
        body()
    };
    // What a panic may have left half done is behind a handle, which is not used again (`handle`).
    let failure = match catch_unwind(AssertUnwindSafe(guarded)) {
        Ok(Ok(number)) => return number,
        Ok(Err(failure)) => failure,
        Err(panic) => panicked(&*panic),
    };
    if failure.kind() == ErrorKind::Internal {
        used.tear();
    }
    drop(used);
    let code = failure.kind().code();
    if !error.is_null() {
        let failure = Box::new(orlop_error::from(failure));
        // SAFETY: as the caller promises.
        unsafe { error.write(Box::into_raw(failure)) };
    }
    code
}

/// As [`call`] for what gives no number.
///
/// # Safety
/// As for [`call`].
pub(crate) unsafe fn run(error: *mut *mut orlop_error, body: impl FnOnce() -> Result<()>) -> i32 {
    // SAFETY: the same promise.
    unsafe { call(error, || body().map(|()| crate::ORLOP_OK)) }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "without a message",
    };
    Error::new(ErrorKind::Internal, "working on a call")
        .detail(format!("the library has panicked: {text}"))
        .hint("this is a defect of orlop: please report it, and open the handle anew")
}
