//! The data of files that were copied up without them.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};

use super::marks::path_of;
use super::search::Search;
use super::{failed, lost};
use crate::sys::verity;
use crate::{Result, archive::names::show};

/// Opens what a search for a file found as its data.
///
/// # Errors
/// Where there are none, or others than the file is marked with: a copy would be wrong, and look right.
pub(super) fn open(search: &Search, path: &[u8], size: u64) -> Result<File> {
    let (Some(first), Some(last)) = (search.hits.first(), search.hits.last()) else {
        return Err(lost(path, "it was removed while it was read"));
    };
    if last.metacopy.is_some() {
        let why = "it was copied up without its data (metacopy), and no layer below has them";
        return Err(lost(path, why));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let data = rustix::fs::open(path_of(last.fd.as_fd()), flags, Mode::empty())
        .map_err(|e| failed(path, e))?;
    let found = u64::try_from(last.stat.st_size).unwrap_or(0);
    // A file that has got its data meanwhile may be growing.
    if found != size && search.hits.len() > 1 {
        let why = format!(
            "its data, {} in a layer below, have {found} bytes and not {size}",
            show(&last.path)
        );
        return Err(lost(path, why));
    }
    if let Some(wanted) = first.metacopy.as_ref().and_then(|mark| mark.digest.as_ref()) {
        let measured = verity::measure(&data).map_err(|e| failed(path, e))?;
        if measured.as_ref() != Some(wanted) {
            let has = if measured.is_some() { "another" } else { "no" };
            let why = format!(
                "its data, {} in a layer below, have {has} fs-verity digest",
                show(&last.path)
            );
            return Err(lost(path, why));
        }
    }
    Ok(File::from(data))
}
