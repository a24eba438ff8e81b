//! What a header says of a file that is not what the disk says: owners inside the maps (TAR-5, TAR-9), and what an
//! `override_stat` says (FMK-3).

use super::header::Header;
use crate::archive::names::last_part;
use crate::archive::names::show;
use crate::archive::override_stat::{KEY, Kind, OverrideStat};
use crate::archive::unpack::WHITEOUT_PREFIX;
use crate::archive::{PackOptions, capability};

/// Changes the header of the file at `path`; tells whether the file is to be written. `is_whiteout` is one on the disk: it stands
/// for a deletion, which must not get lost, whoever owns it.
pub(super) fn translate(
    header: &mut Header,
    path: &[u8],
    is_whiteout: bool,
    options: &PackOptions,
) -> bool {
    if options.override_stat && !take_note(header, path) {
        return false;
    }
    // Whiteouts kept as files have their names in the archive already, and no ids but those they were made with.
    if options.maps.is_empty() || last_part(&header.name).starts_with(WHITEOUT_PREFIX) {
        return true;
    }
    match options.maps.to_container(header.uid, header.gid) {
        Some((uid, gid)) => (header.uid, header.gid) = (uid, gid),
        // The kernel makes them root's of the host.
        None if is_whiteout => (header.uid, header.gid) = (0, 0),
        None => {
            tracing::error!(
                path = %show(path), uid = header.uid, gid = header.gid,
                "left out of the archive: its owner is not in the id maps"
            );
            return false;
        }
    }
    header.xattrs.retain_mut(|(key, value)| {
        if key != capability::KEY {
            return true;
        }
        match capability::inside(value, &options.maps) {
            Some(inside) => *value = inside,
            None => {
                tracing::error!(
                    path = %show(path),
                    "file capability left out of the archive: its root id is not in the id maps"
                );
                return false;
            }
        }
        true
    });
    true
}

/// Takes what the attribute says, which is then none of the archive's. A hard link stays one; a note that contradicts what is on
/// the disk counts for owner and mode alone.
fn take_note(header: &mut Header, path: &[u8]) -> bool {
    let Some(at) = header.xattrs.iter().position(|(key, _)| key == KEY) else { return true };
    let (_, value) = header.xattrs.remove(at);
    let Some(note) = OverrideStat::parse(&value) else {
        tracing::warn!(path = %show(path), value = %show(&value), "attribute override_stat ignored");
        header.xattrs.insert(at, (KEY.to_vec(), value));
        return true;
    };
    (header.uid, header.gid, header.mode) = (note.uid, note.gid, note.mode);
    let (kind, major, minor) = match note.kind {
        Some(Kind::Fifo) => (b'6', 0, 0),
        Some(Kind::Char(major, minor)) => (b'3', major, minor),
        Some(Kind::Block(major, minor)) => (b'4', major, minor),
        Some(Kind::Socket) if header.kind == b'0' => {
            tracing::info!(path = %show(path), "left out: tars have no sockets");
            return false;
        }
        _ => return true,
    };
    if header.kind == b'0' {
        (header.kind, header.size) = (kind, 0);
        (header.dev_major, header.dev_minor) = (major, minor);
    }
    true
}
