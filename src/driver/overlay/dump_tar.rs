//! A dump and the content that it names, as the tar of an ordinary layer: for layers that delete, which images of mkcomposefs cannot do
//! (`overlay-driver.md` APL-6a).

use std::fs::File;
use std::io::{self, Read, Take};
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::dump::{Content, Line, Lines};
use crate::archive::Header;

const BLOCK: u64 = 512;

/// Reads as a tar.
pub(super) struct DumpTar<'a, R> {
    lines: Lines<R>,
    content: BorrowedFd<'a>,
    /// What comes next, and where in it this is.
    ahead: Vec<u8>,
    at: usize,
    /// What comes then, and the zeros behind it.
    file: Option<(Take<File>, u64)>,
    ended: bool,
}

impl<'a, R: Read> DumpTar<'a, R> {
    pub(super) fn new(list: R, content: BorrowedFd<'a>) -> Self {
        Self { lines: Lines::of(list), content, ahead: Vec::new(), at: 0, file: None, ended: false }
    }

    fn put(&mut self, bytes: Vec<u8>) {
        self.ahead = bytes;
        self.at = 0;
    }

    fn next_member(&mut self) -> io::Result<()> {
        let Some(line) = self.lines.next().map_err(io::Error::other)? else {
            self.ended = true;
            self.put(vec![0; 2 * BLOCK as usize]);
            return Ok(());
        };
        let mut bytes = Vec::new();
        let file = Line::parse(&line).map_err(io::Error::other)?;
        let content = match file.deletes() {
            true => None,
            false => file.open_content(self.content).map_err(io::Error::other)?,
        };
        let size = content.as_ref().map_or(0, |(_, size)| *size);
        header(&file, size).map_err(io::Error::other)?.write(&mut bytes)?;
        match content {
            Some((Content::Line(inline), _)) => {
                bytes.extend_from_slice(&inline);
                bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
            }
            Some((Content::File(file), size)) => {
                self.file = Some((file.take(size), size.next_multiple_of(BLOCK) - size));
            }
            None => {}
        }
        self.put(bytes);
        Ok(())
    }
}

fn header(file: &Line<'_>, size: u64) -> Result<Header, String> {
    let (uid, gid) = file.owner()?;
    let whole = Header {
        name: file.tar_name(),
        mode: file.mode & 0o7777,
        uid,
        gid,
        mtime: file.mtime()?,
        ..Header::default()
    };
    if file.deletes() {
        return Ok(Header { kind: b'0', ..whole });
    }
    if file.is_link {
        let target = file.target()?;
        let link_name = target.strip_prefix(b"/").unwrap_or(&target).to_vec();
        return Ok(Header { kind: b'1', link_name, ..whole });
    }
    let whole = Header { xattrs: file.xattrs()?, ..whole };
    let device = || {
        let device = file.device()?;
        Ok::<_, String>((rustix::fs::major(device), rustix::fs::minor(device)))
    };
    Ok(match file.kind() {
        FileType::RegularFile => Header { kind: b'0', size, ..whole },
        FileType::Directory => Header { kind: b'5', ..whole },
        FileType::Symlink => Header { kind: b'2', link_name: file.target()?, ..whole },
        FileType::Fifo => Header { kind: b'6', ..whole },
        kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
            let (dev_major, dev_minor) = device()?;
            let kind = if kind == FileType::BlockDevice { b'4' } else { b'3' };
            Header { kind, dev_major, dev_minor, ..whole }
        }
        _ => return Err(format!("{:o} is no mode of a layer's file", file.mode)),
    })
}

impl<R: Read> Read for DumpTar<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut rest = self.ahead.get(self.at..).unwrap_or_default();
            if !rest.is_empty() {
                let n = rest.read(buffer)?;
                self.at += n;
                return Ok(n);
            }
            if let Some((file, zeros)) = &mut self.file {
                let (left, zeros) = (file.limit(), *zeros);
                match file.read(buffer)? {
                    0 if left > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    0 => {
                        self.file = None;
                        self.put(vec![0; usize::try_from(zeros).unwrap_or_default()]);
                    }
                    n => return Ok(n),
                }
                continue;
            }
            if self.ended {
                return Ok(0);
            }
            self.next_member()?;
        }
    }
}
