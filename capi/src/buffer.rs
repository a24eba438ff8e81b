//! Bytes that the library hands out.

use std::ffi::c_void;

/// Bytes made by the library; the caller frees them with orlop_buf_free.
///
/// There is always a NUL byte behind the last one, which `len` does not count, so that text can be used as a C string.
#[repr(C)]
pub struct orlop_buf {
    /// The bytes; NULL only in a struct that was never filled or has been freed.
    pub data: *mut u8,
    /// How many, the closing NUL not counted.
    pub len: usize,
}

impl orlop_buf {
    /// What a caller's struct holds when a call has failed.
    pub(crate) const EMPTY: Self = Self { data: std::ptr::null_mut(), len: 0 };

    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let mut bytes = bytes.into();
        let len = bytes.len();
        bytes.push(0);
        let data = Box::into_raw(bytes.into_boxed_slice());
        Self { data: data.cast(), len }
    }
}

/// Frees what a buffer holds and makes it empty.
///
/// Ownership: the struct stays the caller's. NULL and an empty buffer are fine.
/// Threads: any, one at a time for one buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_buf_free(buf: *mut orlop_buf) {
    if buf.is_null() {
        return;
    }
    // SAFETY: the caller's struct, which nobody else uses meanwhile.
    let held = unsafe { std::mem::replace(&mut *buf, orlop_buf::EMPTY) };
    if !held.data.is_null() {
        let all = std::ptr::slice_from_raw_parts_mut(held.data, held.len + 1);
        // SAFETY: made by `orlop_buf::new`, with a byte behind the last.
        drop(unsafe { Box::from_raw(all) });
    }
}

/// Where a call puts a buffer: emptied first, so that a failed one leaves nothing to free.
pub(crate) struct BufferOut(*mut orlop_buf);

impl BufferOut {
    /// # Safety
    /// `out` is NULL or points to a struct of the caller's.
    pub(crate) unsafe fn new(out: *mut orlop_buf) -> Self {
        if !out.is_null() {
            // SAFETY: as the caller promises.
            unsafe { out.write(orlop_buf::EMPTY) };
        }
        Self(out)
    }

    /// Hands `bytes` over; a NULL pointer says that nobody wants them.
    pub(crate) fn put(self, bytes: impl Into<Vec<u8>>) {
        if !self.0.is_null() {
            // SAFETY: as `new` was promised.
            unsafe { self.0.write(orlop_buf::new(bytes)) };
        }
    }
}

/// Where a call puts a handle: NULL first, so that a failed one leaves nothing to free.
pub(crate) struct PointerOut<T>(*mut *mut T);

impl<T> PointerOut<T> {
    /// # Safety
    /// `out` is NULL or points to a pointer of the caller's.
    ///
    /// # Errors
    /// When it is NULL.
    pub(crate) unsafe fn new(out: *mut *mut T, what: &'static str) -> orlop::Result<Self> {
        if out.is_null() {
            return Err(crate::input::missing(what));
        }
        // SAFETY: as the caller promises.
        unsafe { out.write(std::ptr::null_mut()) };
        Ok(Self(out))
    }

    /// Hands the value over to the caller, who frees it with the type's `_free`.
    pub(crate) fn put(self, value: T) {
        // SAFETY: as `new` was promised.
        unsafe { self.0.write(Box::into_raw(Box::new(value))) };
    }
}

/// Where a call puts a number; NULL says that nobody wants it.
///
/// # Safety
/// `out` is NULL or points to a variable of the caller's.
pub(crate) unsafe fn put<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: as the caller promises.
        unsafe { out.write(value) };
    }
}

/// Frees a boxed value of ours; NULL is fine.
///
/// # Safety
/// `pointer` is NULL or came from [`PointerOut::put`] and has not been freed.
pub(crate) unsafe fn free<T>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: as the caller promises.
        drop(unsafe { Box::from_raw(pointer) });
    }
}

/// The size of C's pointers is that of the lengths.
const _: () = assert!(size_of::<orlop_buf>() == 2 * size_of::<*mut c_void>());
