//! A file whose content the tar-split file holds itself, so that the tar's digest tells nothing of it: a sparse member's.

use std::fs::File;
use std::io::{BufRead, Read};
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;
use tar_split_rs::Headers;

use super::facts::unreadable;
use super::failed;
use super::files::Place;
use crate::Result;
use crate::progress::{self, ProgressItem};
use crate::sys::beneath::Beneath;

const BUFFER: usize = 64 * 1024;

/// What is different, if anything is: the file has `size` bytes, as the member that `headers` are at.
pub(super) fn content_differs(
    place: &Place<'_>,
    size: u64,
    headers: &mut Headers<impl BufRead>,
    progress: &dyn ProgressItem,
) -> Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = Beneath::new(place.dir).open(place.base, flags);
    let file = File::from(opened.map_err(|e| failed(place.path, e))?);
    let mut found = Found { file, buffer: vec![0; BUFFER], place, progress };
    let mut wanted = vec![0; BUFFER];
    let mut at = 0;
    while at < size {
        let hole = headers.skip_hole();
        let end = at.saturating_add(hole);
        let same = match hole {
            0 => {
                let n = headers.read(&mut wanted).map_err(unreadable)?;
                at = at.saturating_add(n as u64);
                n > 0 && found.is(wanted.get(..n).unwrap_or_default(), at - n as u64)?
            }
            _ => found.is_zeros(std::mem::replace(&mut at, end), end)?,
        };
        if !same {
            return Ok(Some("its content is another than in the tar".to_owned()));
        }
    }
    Ok(None)
}

struct Found<'a> {
    file: File,
    buffer: Vec<u8>,
    place: &'a Place<'a>,
    progress: &'a dyn ProgressItem,
}

impl Found<'_> {
    /// Whether these bytes are there.
    fn is(&mut self, wanted: &[u8], at: u64) -> Result<bool> {
        progress::check(self.progress)?;
        let room = self.buffer.get_mut(..wanted.len()).unwrap_or_default();
        match self.file.read_exact_at(room, at) {
            Ok(()) => Ok(room == wanted),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Whether there is nothing but zeros. Holes of the file are passed over: theirs can be of any length.
    fn is_zeros(&mut self, mut at: u64, end: u64) -> Result<bool> {
        static ZEROS: [u8; BUFFER] = [0; BUFFER];
        while at < end {
            at = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(Errno::NXIO) => return Ok(true),
                Err(e) => return Err(self.failed(e.into())),
            };
            let length = end.saturating_sub(at).min(BUFFER as u64);
            let zeros = ZEROS.get(..usize::try_from(length).unwrap_or(BUFFER)).unwrap_or_default();
            if !self.is(zeros, at)? {
                return Ok(false);
            }
            at = at.saturating_add(length.max(1));
        }
        Ok(true)
    }

    fn failed(&self, e: std::io::Error) -> crate::Error {
        let code = e.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        failed(self.place.path, code)
    }
}
