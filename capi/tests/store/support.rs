//! Calling the functions, with all that a C caller would check of each.

use std::ffi::{CStr, CString, c_char};

use orlop_capi::*;

/// What an error object says.
#[derive(Debug)]
#[allow(dead_code)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl Failure {
    /// The code's name.
    pub(crate) fn name(&self) -> String {
        // SAFETY: the text is the library's.
        unsafe { CStr::from_ptr(orlop_code_name(self.code)) }.to_str().unwrap().to_owned()
    }
}

pub(crate) type Outcome<T> = Result<T, Failure>;

/// The number of a call, or what its error object says, which must agree with it.
pub(crate) fn outcome(call: impl FnOnce(*mut *mut orlop_error) -> i32) -> Outcome<i32> {
    let mut error = std::ptr::dangling_mut();
    let number = call(&mut error);
    if number >= 0 {
        assert!(error.is_null(), "an error object after success");
        return Ok(number);
    }
    // SAFETY: the object is the call's, and freed once.
    let failure = unsafe {
        assert_eq!(orlop_error_code(error), number);
        let message = CStr::from_ptr(orlop_error_message(error)).to_str().unwrap().to_owned();
        orlop_error_free(error);
        Failure { code: number, message }
    };
    assert!(!failure.message.is_empty());
    Err(failure)
}

/// What a call puts into a buffer, which must be empty after a failure.
pub(crate) fn filled(
    call: impl FnOnce(*mut orlop_buf, *mut *mut orlop_error) -> i32,
) -> Outcome<Vec<u8>> {
    let mut buf = orlop_buf { data: std::ptr::dangling_mut(), len: 7 };
    if let Err(failure) = outcome(|error| call(&mut buf, error)) {
        assert!(buf.data.is_null() && buf.len == 0, "a failed call left a buffer");
        return Err(failure);
    }
    // SAFETY: filled by the call, with a NUL behind the last byte.
    unsafe {
        let all = std::slice::from_raw_parts(buf.data, buf.len + 1);
        let (end, bytes) = all.split_last().unwrap();
        assert_eq!(*end, 0);
        let bytes = bytes.to_vec();
        orlop_buf_free(&mut buf);
        assert!(buf.data.is_null());
        Ok(bytes)
    }
}

/// Calls a function; the error's place is added.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {
        crate::support::outcome(|error| {
            // SAFETY: the pointers are to values that live as long as the call.
            unsafe { orlop_capi::$function($($argument,)* error) }
        })
    };
}

/// Calls a function that fills a buffer; its place and the error's are added.
macro_rules! bytes {
    ($function:ident($($argument:expr),* $(,)?)) => {
        crate::support::filled(|buf, error| {
            // SAFETY: the pointers are to values that live as long as the call.
            unsafe { orlop_capi::$function($($argument,)* buf, error) }
        })
    };
}

/// As `bytes`, for text.
macro_rules! text {
    ($($call:tt)*) => { bytes!($($call)*).map(|bytes| String::from_utf8(bytes).unwrap()) };
}

/// As `bytes`, for JSON.
macro_rules! json {
    ($($call:tt)*) => {
        bytes!($($call)*).map(|b| serde_json::from_slice::<serde_json::Value>(&b).unwrap())
    };
}

/// A struct of options with these fields and its size, all else zero.
macro_rules! options {
    ($type:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        // SAFETY: the struct's rule: all zeroes mean nothing.
        let mut options: orlop_capi::$type = unsafe { std::mem::zeroed() };
        options.size = size_of::<orlop_capi::$type>();
        $(options.$field = $value;)*
        options
    }};
}

/// C strings, and a list of them.
pub(crate) struct Strings {
    _texts: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    pub(crate) fn new(texts: &[&str]) -> Self {
        let texts: Vec<CString> = texts.iter().map(|t| CString::new(*t).unwrap()).collect();
        let pointers = texts.iter().map(|t| t.as_ptr()).collect();
        Self { _texts: texts, pointers }
    }

    pub(crate) fn list(&self) -> orlop_strings {
        orlop_strings { items: self.pointers.as_ptr(), count: self.pointers.len() }
    }
}

pub(crate) fn c(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap()
}

pub(crate) const NO_STRINGS: orlop_strings = orlop_strings { items: std::ptr::null(), count: 0 };
