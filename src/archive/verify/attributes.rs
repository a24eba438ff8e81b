//! Extended attributes: those of the header, and no others but the machine's and overlay's own.

use rustix::fs::FileType;

use super::Check;
use super::files::Place;
use crate::archive::capability;
use crate::archive::names::show;
use crate::archive::xattrs::{self, is_overlay_mark};
use crate::sys::beneath::Identity;

/// Given by the machine, not by the tar.
const LABELS: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];

/// Overlay's notes in an upper directory, from which docker's builder makes layers: none says that content is elsewhere.
const NOTES: [&[u8]; 5] = [b"origin", b"impure", b"nlink", b"upper", b"uuid"];

impl Check<'_> {
    /// Compares the attributes with those of a header.
    pub(super) fn attributes_differ(
        &mut self,
        wanted: &[(Vec<u8>, Vec<u8>)],
        place: &Place<'_>,
        kind: FileType,
        id: Identity,
    ) -> rustix::io::Result<Option<String>> {
        let present = xattrs::list(place.dir, place.base)?;
        for key in &present {
            let value = || xattrs::get(place.dir, place.base, key);
            if LABELS.contains(&key.as_slice()) {
                continue;
            }
            if let Some(mark) = key.strip_prefix(self.marks.as_bytes()) {
                if mark == b"opaque" && value()?.as_deref() == Some(b"y") {
                    self.opaque.insert(id, place.path.to_vec());
                } else if !NOTES.contains(&mark) {
                    return Ok(Some(format!("it has the attribute {}", show(key))));
                }
                continue;
            }
            let header = wanted.iter().find(|(name, _)| name == key).map(|(_, value)| value);
            match header.filter(|_| !is_overlay_mark(key)) {
                None => {
                    let key = show(key);
                    return Ok(Some(format!("it has the attribute {key}, in the tar it has not")));
                }
                Some(header) if !value()?.is_some_and(|value| same_value(key, &value, header)) => {
                    let key = show(key);
                    return Ok(Some(format!("its attribute {key} is another than in the tar")));
                }
                Some(_) => {}
            }
        }
        let lacking = wanted.iter().map(|(key, _)| key).find(|key| {
            let ignored = LABELS.contains(&key.as_slice()) || is_overlay_mark(key);
            !ignored && can_have(kind, key) && !present.contains(key)
        });
        Ok(lacking.map(|key| format!("it lacks the attribute {} of the tar", show(key))))
    }

    /// The attributes of a directory that no member names.
    pub(super) fn unnamed_attributes(
        &mut self,
        place: &Place<'_>,
    ) -> rustix::io::Result<Option<String>> {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(place.dir, place.base, flags)?;
        self.attributes_differ(&[], place, FileType::Directory, Identity::from(&stat))
    }
}

/// What the kernel refuses docker passes over: users' attributes but of files and directories, access lists of symbolic links, and what is
/// none of Linux's.
fn can_have(kind: FileType, key: &[u8]) -> bool {
    match key.split(|b| *b == b'.').next().unwrap_or_default() {
        b"user" => matches!(kind, FileType::RegularFile | FileType::Directory),
        b"system" => kind != FileType::Symlink,
        b"security" | b"trusted" => true,
        _ => false,
    }
}

/// The kernel shows a capability whose root is root without it.
fn same_value(key: &[u8], found: &[u8], header: &[u8]) -> bool {
    found == header
        || key == capability::KEY && capability::without_root(header).as_deref() == Some(found)
}
