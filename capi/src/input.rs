//! What callers hand in: checked, and copied before the call returns.

use std::ffi::{CStr, OsStr, c_char};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use orlop::IdMap;
use orlop::{Error, ErrorKind, Result};

/// A list of C strings.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_strings {
    /// The strings; may be NULL when there are none.
    pub items: *const *const c_char,
    /// How many.
    pub count: usize,
}

/// A range of ids inside a container and the ids outside that it stands for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_id_map {
    /// The first id inside.
    pub container_id: u32,
    /// The first id outside.
    pub host_id: u32,
    /// How many ids.
    pub size: u32,
}

/// A list of ranges.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_id_maps {
    /// The ranges; may be NULL when there are none.
    pub items: *const orlop_id_map,
    /// How many.
    pub count: usize,
}

/// The error for an argument that is not what it should be.
pub(crate) fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("taking the argument {what:?}"))
}

/// The error for a NULL where something is needed.
pub(crate) fn missing(what: &str) -> Error {
    invalid(what).detail("it is NULL")
}

/// # Safety
/// `pointer` is NULL or a C string, which lives as long as the call.
unsafe fn bytes<'a>(pointer: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// A text that may be absent (NULL).
///
/// # Safety
/// `pointer` is NULL or a C string, which lives as long as the call.
///
/// # Errors
/// When it is not UTF-8.
pub(crate) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    what: &str,
) -> Result<Option<&'a str>> {
    // SAFETY: as the caller promises.
    let Some(bytes) = (unsafe { bytes(pointer) }) else { return Ok(None) };
    std::str::from_utf8(bytes).map(Some).map_err(|_| invalid(what).detail("it is not UTF-8"))
}

/// A text that must be there.
///
/// # Safety
/// As for [`optional_text`].
///
/// # Errors
/// When it is NULL or not UTF-8.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str> {
    // SAFETY: the same promise.
    unsafe { optional_text(pointer, what) }?.ok_or_else(|| missing(what))
}

/// A path that may be absent (NULL or empty); any bytes.
///
/// # Safety
/// As for [`optional_text`].
pub(crate) unsafe fn optional_path(pointer: *const c_char) -> Option<PathBuf> {
    // SAFETY: the same promise.
    let bytes = unsafe { bytes(pointer) }.filter(|b| !b.is_empty());
    bytes.map(|b| Path::new(OsStr::from_bytes(b)).to_path_buf())
}

/// A path that must be there.
///
/// # Safety
/// As for [`optional_text`].
///
/// # Errors
/// When it is NULL or empty.
pub(crate) unsafe fn path(pointer: *const c_char, what: &str) -> Result<PathBuf> {
    // SAFETY: the same promise.
    unsafe { optional_path(pointer) }.ok_or_else(|| invalid(what).detail("it is NULL or empty"))
}

/// # Safety
/// `items` is NULL or points to `count` values.
///
/// # Errors
/// When it is NULL and `count` is not 0, or there is no memory that large.
pub(crate) unsafe fn slice<'a, T>(items: *const T, count: usize, what: &str) -> Result<&'a [T]> {
    // What a negative number becomes on its way into a size_t.
    let impossible =
        count.checked_mul(size_of::<T>()).is_none_or(|len| isize::try_from(len).is_err());
    match (items.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(missing(what)),
        _ if impossible => Err(invalid(what).detail(format!("nothing has {count} items"))),
        // SAFETY: as the caller promises, and no longer than a slice may be.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(items, count) }),
    }
}

/// A list of texts.
///
/// # Safety
/// The list and its strings live as long as the call.
///
/// # Errors
/// When one is NULL or not UTF-8.
pub(crate) unsafe fn strings(list: orlop_strings, what: &str) -> Result<Vec<String>> {
    // SAFETY: as the caller promises.
    let items = unsafe { slice(list.items, list.count, what) }?;
    // SAFETY: the same promise.
    items.iter().map(|s| unsafe { text(*s, what) }.map(str::to_owned)).collect()
}

/// A list of `key=value` texts.
///
/// # Safety
/// As for [`strings`].
///
/// # Errors
/// As for [`strings`]; when one has no `=`.
pub(crate) unsafe fn pairs<C: FromIterator<(String, String)>>(
    list: orlop_strings,
    what: &str,
) -> Result<C> {
    // SAFETY: the same promise.
    let texts = unsafe { strings(list, what) }?;
    let pair = |text: &String| {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| invalid(what).detail(format!("{text:?} is not key=value")))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    texts.iter().map(pair).collect()
}

/// A list of id ranges.
///
/// # Safety
/// The list lives as long as the call.
///
/// # Errors
/// When it is NULL with a count.
pub(crate) unsafe fn id_maps(list: orlop_id_maps, what: &str) -> Result<Vec<IdMap>> {
    // SAFETY: as the caller promises.
    let items = unsafe { slice(list.items, list.count, what) }?;
    let map =
        |m: &orlop_id_map| IdMap { container_id: m.container_id, host_id: m.host_id, size: m.size };
    Ok(items.iter().map(map).collect())
}

/// Bytes of the caller's.
///
/// # Safety
/// `data` is NULL or points to `len` bytes, which live as long as the call.
///
/// # Errors
/// When it is NULL with a length.
pub(crate) unsafe fn data<'a>(data: *const u8, len: usize, what: &str) -> Result<&'a [u8]> {
    // SAFETY: the same promise.
    unsafe { slice(data, len, what) }
}

/// A yes or a no.
///
/// # Errors
/// For anything but 0 and 1.
pub(crate) fn flag(value: u32, what: &str) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(invalid(what).detail(format!("it is {value}, neither 0 nor 1"))),
    }
}

/// A field that is for a later version.
///
/// # Errors
/// When it is not zero.
pub(crate) fn reserved(value: u32) -> Result<()> {
    if value == 0 { Ok(()) } else { Err(invalid("reserved").detail("it is not zero")) }
}

/// A descriptor of the caller's, which stays the caller's.
///
/// # Safety
/// It stays open for the call.
///
/// # Errors
/// When it is below zero or not open.
pub(crate) unsafe fn descriptor<'a>(fd: i32, what: &str) -> Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(invalid(what).detail(format!("{fd} is no descriptor")));
    }
    // SAFETY: not negative, and open as the caller promises; the next line checks.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    nix::fcntl::fcntl(borrowed, nix::fcntl::FcntlArg::F_GETFD).map_err(|e| {
        invalid(what).detail(format!("the descriptor {fd} is not open")).caused_by(e)
    })?;
    Ok(borrowed)
}

/// A struct of options: plain values that mean nothing when they are zero, the first of which is `size`.
///
/// # Safety
/// `repr(C)`, the first field a `usize` with the size of the struct as the caller knows it, valid with all bytes zero.
pub(crate) unsafe trait Options: Copy {
    /// As the header names it.
    const NAME: &'static str;
}

/// The caller's options: of an older program the missing ones are zero; of a newer one those that are not known here must be.
///
/// # Safety
/// `pointer` is NULL or points to as many bytes as its first field says.
///
/// # Errors
/// When the size is impossible, or an option that this version does not know is set.
pub(crate) unsafe fn options<T: Options>(pointer: *const T) -> Result<T> {
    let known = size_of::<T>();
    let mut taken = MaybeUninit::<T>::zeroed();
    if !pointer.is_null() {
        // SAFETY: the first field, as the caller promises.
        let given = unsafe { pointer.cast::<usize>().read_unaligned() };
        // No struct of options will ever be that large; what claims to be has not been initialised.
        if given < size_of::<usize>() || given > 64 * 1024 {
            return Err(invalid(T::NAME)
                .detail(format!("its size field is {given}"))
                .hint(format!("set it to sizeof(struct {})", T::NAME)));
        }
        // SAFETY: as many bytes as the caller promises.
        let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), given) };
        let (mine, tail) = bytes.split_at(given.min(known));
        if tail.iter().any(|b| *b != 0) {
            return Err(invalid(T::NAME)
                .detail("it sets an option that this version of the library does not have")
                .hint("leave it out, or use a newer liborlop"));
        }
        // SAFETY: at most the size of the type.
        unsafe {
            std::ptr::copy_nonoverlapping(mine.as_ptr(), taken.as_mut_ptr().cast(), mine.len())
        };
    }
    // SAFETY: zeroes with the caller's values upon them, which the trait allows.
    Ok(unsafe { taken.assume_init() })
}

/// Fills the caller's struct in, as far as it goes.
///
/// # Safety
/// `pointer` points to as many bytes as its first field says, on both sides a `usize`; `T` is `repr(C)`.
///
/// # Errors
/// When the size has no room for any field.
pub(crate) unsafe fn fill<T: Copy>(pointer: *mut T, value: T) -> Result<()> {
    // SAFETY: the first field, as the caller promises.
    let given = unsafe { pointer.cast::<usize>().read_unaligned() };
    if given <= size_of::<usize>() {
        return Err(invalid("size").detail(format!("the size field of the struct is {given}")));
    }
    let (from, skip) = (std::ptr::from_ref(&value).cast::<u8>(), size_of::<usize>());
    // SAFETY: within both structs; the caller's size field stays.
    unsafe {
        let to = pointer.cast::<u8>().add(skip);
        std::ptr::copy_nonoverlapping(from.add(skip), to, given.min(size_of::<T>()) - skip);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Sample {
        size: usize,
        first: u32,
        second: u32,
    }

    // SAFETY: plain numbers, `size` first.
    unsafe impl Options for Sample {
        const NAME: &'static str = "sample";
    }

    #[repr(C)]
    struct Later {
        known: Sample,
        third: u64,
    }

    fn take(pointer: *const Sample) -> Result<Sample> {
        // SAFETY: the tests give what the sizes say.
        unsafe { options(pointer) }
    }

    #[test]
    fn options_of_older_and_newer_programs() {
        assert_eq!(take(std::ptr::null()).unwrap().second, 0);
        let older = Sample { size: 12, first: 1, second: 9 };
        let taken = take(&older).unwrap();
        assert_eq!((taken.first, taken.second), (1, 0));
        let mut later = Later { known: Sample { size: 24, first: 1, second: 2 }, third: 0 };
        let pointer = std::ptr::from_ref(&later).cast::<Sample>();
        assert_eq!(take(pointer).unwrap().second, 2);
        later.third = 1;
        let refusal = take(std::ptr::from_ref(&later).cast()).map(|s| s.first).unwrap_err();
        assert!(refusal.to_string().contains("does not have"), "{refusal}");
        for size in [0, 7, usize::MAX] {
            let wrong = Sample { size, first: 1, second: 1 };
            assert_eq!(
                take(&wrong).map(|s| s.first).unwrap_err().kind(),
                ErrorKind::InvalidArgument
            );
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let ids = IdMap { container_id: 0, host_id: 0, size: 1 };
        for count in [usize::MAX, usize::MAX / 4, isize::MAX as usize] {
            // SAFETY: refused before anything is read.
            let refusal = unsafe { slice(&ids, count, "uid_map") }.map(<[_]>::len).unwrap_err();
            assert_eq!(refusal.kind(), ErrorKind::InvalidArgument);
        }
        // SAFETY: a single byte.
        assert!(unsafe { data(&7, usize::MAX, "content") }.is_err());
    }

    #[test]
    fn descriptors_are_looked_at() {
        for fd in [-1, 1_000_000] {
            // SAFETY: nothing is done with it.
            let refusal = unsafe { descriptor(fd, "in_fd") }.map(|_| ()).unwrap_err();
            assert_eq!(refusal.kind(), ErrorKind::InvalidArgument);
        }
    }
}
