//! What several calls on a store take: texts that may be empty, flags, digests, times, data items.

use std::ffi::c_char;
use std::os::fd::{AsFd, BorrowedFd};

use orlop::record::{Flags, Timestamp};
use orlop::store::BigDataItem;
use orlop::{Digest, Result};

use crate::input::{data, invalid, optional_text, slice, text};

/// A big data item: content that is kept beside a record, under a key.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_data_item {
    /// Its key, such as "manifest".
    pub key: *const c_char,
    /// Its content; may be NULL when there is none.
    pub data: *const u8,
    /// How many bytes.
    pub len: usize,
    /// The digest to record; NULL: the SHA-256 of the content. Only for images: a container's items always have that one.
    pub digest: *const c_char,
}

/// A list of big data items.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_data_items {
    /// The items; may be NULL when there are none.
    pub items: *const orlop_data_item,
    /// How many.
    pub count: usize,
}

/// A text of which NULL and "" are the same.
///
/// # Safety
/// `pointer` is NULL or a C string, which lives as long as the call.
///
/// # Errors
/// When it is not UTF-8.
pub(crate) unsafe fn some_text<'a>(pointer: *const c_char, what: &str) -> Result<Option<&'a str>> {
    // SAFETY: the same promise.
    Ok(unsafe { optional_text(pointer, what) }?.filter(|text| !text.is_empty()))
}

/// As [`some_text`], to keep.
///
/// # Safety
/// As for [`some_text`].
///
/// # Errors
/// As for [`some_text`].
pub(crate) unsafe fn some_string(pointer: *const c_char, what: &str) -> Result<Option<String>> {
    // SAFETY: the same promise.
    Ok(unsafe { some_text(pointer, what) }?.map(str::to_owned))
}

/// A text that is empty where it is NULL.
///
/// # Safety
/// As for [`some_text`].
///
/// # Errors
/// As for [`some_text`].
pub(crate) unsafe fn string(pointer: *const c_char, what: &str) -> Result<String> {
    // SAFETY: the same promise.
    Ok(unsafe { some_string(pointer, what) }?.unwrap_or_default())
}

/// A digest that may be absent.
///
/// # Safety
/// As for [`some_text`].
///
/// # Errors
/// When it is malformed.
pub(crate) unsafe fn some_digest(pointer: *const c_char, what: &str) -> Result<Option<Digest>> {
    // SAFETY: the same promise.
    unsafe { some_text(pointer, what) }?.map(Digest::parse).transpose()
}

/// A time that may be absent, as in the records.
///
/// # Safety
/// As for [`some_text`].
///
/// # Errors
/// When it is malformed.
pub(crate) unsafe fn some_time(pointer: *const c_char, what: &str) -> Result<Option<Timestamp>> {
    // SAFETY: the same promise.
    let text = unsafe { some_text(pointer, what) }?;
    let parse = |text| Timestamp::parse(text).map_err(|e| invalid(what).caused_by(e));
    text.map(parse).transpose()
}

/// The caller's flags of a record: a JSON object, or nothing.
///
/// # Safety
/// As for [`some_text`].
///
/// # Errors
/// When it is no JSON object.
pub(crate) unsafe fn flags(pointer: *const c_char, what: &str) -> Result<Flags> {
    // SAFETY: the same promise.
    let text = unsafe { some_text(pointer, what) }?;
    let parse = |text| {
        serde_json::from_str(text)
            .map_err(|e| invalid(what).detail("it is no JSON object").caused_by(e))
    };
    text.map_or_else(|| Ok(Flags::new()), parse)
}

/// Data items of the caller's.
///
/// # Safety
/// The list, its texts and its data live as long as the call.
///
/// # Errors
/// When something of it is NULL or malformed.
pub(crate) unsafe fn data_items(list: orlop_data_items, what: &str) -> Result<Vec<BigDataItem>> {
    let item = |item: &orlop_data_item| {
        // SAFETY: as the caller promises.
        unsafe {
            Ok(BigDataItem {
                key: text(item.key, "key")?.to_owned(),
                data: data(item.data, item.len, "data")?.to_vec(),
                digest: some_digest(item.digest, "digest")?,
            })
        }
    };
    // SAFETY: as the caller promises.
    unsafe { slice(list.items, list.count, what) }?.iter().map(item).collect()
}

/// The bytes that a descriptor has to give, where that is known: those of a file from where it stands.
pub(crate) fn bytes_ahead(fd: BorrowedFd<'_>) -> Option<u64> {
    use nix::sys::stat::{SFlag, fstat};
    use nix::unistd::{Whence, lseek};
    let stat = fstat(fd.as_fd()).ok()?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return None;
    }
    let position = lseek(fd, 0, Whence::SeekCur).ok()?;
    u64::try_from(stat.st_size.saturating_sub(position)).ok()
}
