//! Links to files that a tree shares with another one, whose attributes are not this archive's to change (`overlay-driver.md` LEG-9).

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Result;

use super::Unpacker;
use super::entry::Entry;
use super::parents::Dir;
use crate::archive::copy::copy_one;

/// No archive can make this name: it would be a whiteout's.
const COPY: &[u8] = b".wh..wh.copy";

impl Unpacker<'_> {
    /// Before a link to `base` in `from` is made: makes a file of the tree's own of one that it shares, if the link's attributes are
    /// others than the file has. Tells whether the link gets its attributes from the entry; else it has them.
    pub(super) fn unshare(&mut self, from: &Dir, base: &[u8], entry: &Entry<'_>) -> Result<bool> {
        if !self.options.shares_files || self.made.contains(from.id, base) {
            return Ok(true);
        }
        let stat = rustix::fs::statat(&from.fd, base, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(true);
        }
        let wanted = entry.wanted();
        let as_it_is = wanted.xattrs.is_empty()
            && (stat.st_uid, stat.st_gid) == (wanted.owner.uid, wanted.owner.gid)
            && stat.st_mode & 0o7777 == wanted.mode
            && (stat.st_mtime, stat.st_mtime_nsec)
                == (wanted.mtime.seconds, u64::from(wanted.mtime.nanos));
        if as_it_is {
            return Ok(false);
        }
        let place = from.fd.as_fd();
        copy_one((place, base), (place, COPY), &stat, |_| true)?;
        rustix::fs::renameat(place, COPY, place, base)?;
        self.made.insert(from.id, base);
        Ok(true)
    }
}
