//! A whole tree, or the upper directory of an overlay, as a tar.

use std::io::Write;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::elsewhere::mark_of;
use super::failed;
use super::header::Header;
use super::member::{NoWhiteouts, Packer, Subject, Whiteouts, is_whiteout, whiteout_name};
use crate::Result;
use crate::archive::PackOptions;
use crate::archive::unpack::WHITEOUT_OPAQUE;
use crate::archive::walk::Walk;
use crate::archive::xattrs;
use crate::sys::beneath::{Beneath, Found};

/// Writes what is below `root` as a tar, depth first, in the byte order of names.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when a file cannot be read, which it names, or `out` fails.
pub fn pack_tree(root: BorrowedFd<'_>, options: &PackOptions, out: &mut dyn Write) -> Result<()> {
    pack(root, &NoWhiteouts, options, out)
}

/// Writes the upper directory of an overlay as a tar, its whiteouts and opaque directories in the form that archives
/// have for them (`overlay-driver.md` 10.2). `lowers` are the layers below it, the nearest first; `opaque_prefix` is
/// `trusted.overlay.` or `user.overlay.`.
///
/// # Errors
/// [`crate::ErrorKind::Io`] when a file cannot be read, which it names, or `out` fails; also for a file whose content is in a
/// lower layer (DEF-2), of which [`has_content_elsewhere`](crate::archive::has_content_elsewhere) tells before.
pub fn pack_upper(
    upper: BorrowedFd<'_>,
    lowers: &[BorrowedFd<'_>],
    opaque_prefix: &str,
    options: &PackOptions,
    out: &mut dyn Write,
) -> Result<()> {
    let lowers = lowers.iter().map(|fd| Beneath::new(*fd)).collect();
    pack(upper, &Overlay { lowers, opaque_prefix }, options, out)
}

fn pack(
    root: BorrowedFd<'_>,
    whiteouts: &dyn Whiteouts,
    options: &PackOptions,
    out: &mut dyn Write,
) -> Result<()> {
    let mut walk = Walk::new(root).map_err(|e| failed(b".", e))?;
    let mut packer = Packer::new(out, options);
    while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
        let dir = walk.dir().map_err(|e| failed(walk.path(), e))?;
        let subject = Subject { dir, name: &item.name, path: walk.path(), stat: &item.stat };
        packer.add(&subject, whiteouts)?;
    }
    packer.finish()
}

struct Overlay<'a> {
    lowers: Vec<Beneath<'a>>,
    opaque_prefix: &'a str,
}

impl Whiteouts for Overlay<'_> {
    fn is_one(&self, subject: &Subject<'_>) -> bool {
        is_whiteout(subject.stat)
    }

    fn convert(&self, subject: &Subject<'_>, header: &mut Header) -> Result<Option<Header>> {
        if is_whiteout(subject.stat) {
            header.name = whiteout_name(subject.path);
            header.mode = 0;
            header.kind = b'0';
            header.size = 0;
            return Ok(None);
        }
        let is_dir = FileType::from_raw_mode(subject.stat.st_mode) == FileType::Directory;
        let fail = |e| failed(subject.path, e);
        if !is_dir
            || !xattrs::is_opaque(subject.dir, subject.name, self.opaque_prefix).map_err(fail)?
            || !self.hides_something(subject.path).map_err(fail)?
        {
            return Ok(None);
        }
        Ok(Some(Header {
            name: [subject.path, b"/", WHITEOUT_OPAQUE].concat(),
            kind: b'0',
            mode: header.mode & 0o777,
            uid: header.uid,
            gid: header.gid,
            ..Header::default()
        }))
    }

    fn is_elsewhere(&self, kind: FileType, key: &[u8]) -> bool {
        let name = key.strip_prefix(self.opaque_prefix.as_bytes());
        name.is_some_and(|name| mark_of(kind).is_some_and(|mark| mark.as_bytes() == name))
    }
}

impl Overlay<'_> {
    /// Whether the nearest layer that knows of the path has a file there.
    fn hides_something(&self, path: &[u8]) -> rustix::io::Result<bool> {
        for lower in &self.lowers {
            match lower.look(path)? {
                Found::File(stat) => return Ok(!is_whiteout(&stat)),
                Found::Hidden => return Ok(false),
                Found::Missing => {}
            }
        }
        Ok(false)
    }
}
