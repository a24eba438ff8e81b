//! A whole tree, or the upper directory of an overlay, as a tar.

use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;

use super::failed;
use super::header::Header;
use super::member::{NoWhiteouts, Packer, Subject, Whiteouts, is_whiteout, whiteout_name};
use crate::Result;
use crate::archive::merged::{Item, MergedWalk, Upper};
use crate::archive::unpack::WHITEOUT_OPAQUE;
use crate::archive::walk::Walk;
use crate::archive::{Compat, PackOptions};

/// Writes what is below `root` as a tar, depth first, in the byte order of names.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when a file cannot be read, which it names, or `out` fails.
pub fn pack_tree(root: BorrowedFd<'_>, options: &PackOptions, out: &mut dyn Write) -> Result<()> {
    let mut walk = Walk::new(root).map_err(|e| failed(b".", e))?;
    let mut packer = Packer::new(out, options);
    while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
        let dir = walk.dir().map_err(|e| failed(walk.path(), e))?;
        let subject = Subject { dir, name: &item.name, path: walk.path(), stat: &item.stat };
        packer.add(&subject, &NoWhiteouts)?;
    }
    packer.finish()
}

/// Writes the upper directory of an overlay as a tar, its whiteouts and opaque directories in the form that archives have for them
/// (`overlay-driver.md` 10.2), in the byte order of names. The data of files that were copied up without them (`metacopy`) come
/// from the layers below, and so does what renamed directories (`redirect`) stand for, which is written out under the new name.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when a file cannot be read, which it names, or `out` fails; [`crate::ErrorKind::Corrupt`] for data or a
/// directory that no layer below has (DEF-2).
pub fn pack_upper(upper: &Upper<'_>, options: &PackOptions, out: &mut dyn Write) -> Result<()> {
    let mut walk = MergedWalk::new(upper)?;
    let mut packer = Packer::new(out, options);
    while let Some(item) = walk.next()? {
        let dir = walk.dir().map_err(|e| failed(walk.path(), e))?;
        let subject = Subject { dir, name: &item.name, path: walk.path(), stat: &item.stat };
        let marks = Marks {
            walk: &walk,
            item: &item,
            prefix: upper.prefix,
            compat: options.compat,
            each_opaque: options.each_opaque,
        };
        packer.add(&subject, &marks)?;
    }
    packer.finish()
}

/// An entry of an upper.
struct Marks<'a> {
    walk: &'a MergedWalk<'a>,
    item: &'a Item,
    prefix: &'a str,
    compat: Compat,
    each_opaque: bool,
}

impl Whiteouts for Marks<'_> {
    fn is_one(&self, subject: &Subject<'_>) -> bool {
        is_whiteout(subject.stat)
    }

    fn convert(&self, subject: &Subject<'_>, header: &mut Header) -> Result<Option<Header>> {
        if is_whiteout(subject.stat) {
            header.name = whiteout_name(subject.path);
            header.mode = match self.compat {
                Compat::Current => 0,
                Compat::V1_24 | Compat::Moby => 0o600,
            };
            header.kind = b'0';
            header.size = 0;
            return Ok(None);
        }
        let replaces = header.kind == b'5' && self.item.replaces && !self.item.moved;
        if !replaces || !self.each_opaque && !self.walk.hides_something()? {
            return Ok(None);
        }
        Ok(Some(Header {
            name: [subject.path, b"/", WHITEOUT_OPAQUE].concat(),
            kind: b'0',
            mode: header.mode & 0o777,
            uid: header.uid,
            gid: header.gid,
            owner: header.owner.clone(),
            group: header.group.clone(),
            ..Header::default()
        }))
    }

    fn is_elsewhere(&self, key: &[u8]) -> bool {
        key.strip_prefix(self.prefix.as_bytes()) == Some(b"metacopy")
    }

    fn open_elsewhere(&self, _: &Subject<'_>, size: u64) -> Result<File> {
        self.walk.open_data(size)
    }
}
