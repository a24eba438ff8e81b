//! What a tar-split file tells of its stream's members, without their content.

use std::io::{self, BufRead, Read, Sink};

use crate::disassemble::Disassembler;
use crate::error::Error;
use crate::member::Member;
use crate::parts::{Part, Parts};

/// Reads the members' headers from a tar-split file alone: no file is opened.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut builder = tar::Builder::new(Vec::new());
/// # let mut header = tar::Header::new_gnu();
/// # header.set_size(6);
/// # header.set_mode(0o644);
/// # builder.append_data(&mut header, "etc/hello", &b"hello\n"[..])?;
/// # let tar = builder.into_inner()?;
/// # let mut stream = tar_split_rs::Disassembler::new(&tar[..], Vec::new());
/// # while stream.next_member()?.is_some() {}
/// # let (_, log) = stream.finish()?;
/// let mut headers = tar_split_rs::Headers::new(&log[..]);
/// while let Some(member) = headers.next_member()? {
///     assert_eq!((&member.name[..], member.size, member.mode), (&b"etc/hello"[..], 6, 0o644));
/// }
/// assert_eq!(headers.finish()?, tar.len() as u64);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Headers<R: BufRead> {
    stream: Disassembler<Blank<R>, Sink>,
}

impl<R: BufRead> Headers<R> {
    /// `log` gives the uncompressed lines.
    pub fn new(log: R) -> Self {
        let blank = Blank { parts: Parts::new(log), segment: 0, zeros: 0, total: 0 };
        Self { stream: Disassembler::without_log(blank) }
    }

    /// The next member; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`Disassembler::next_member`] for headers that are malformed; [`Error::Io`], around what is wrong, for a malformed log and for one
    /// that cannot be read.
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        self.stream.next_member()
    }

    /// Goes over what is left; returns the length of the whole stream in bytes.
    ///
    /// # Errors
    ///
    /// As [`Headers::next_member`].
    pub fn finish(self) -> Result<u64, Error> {
        self.stream.finish().map(|(blank, _)| blank.total)
    }
}

/// The stream with zeros in the place of what files hold.
#[derive(Debug)]
struct Blank<R> {
    parts: Parts<R>,
    /// Bytes of the present segment that have been read.
    segment: usize,
    /// Bytes of the present file that have not.
    zeros: u64,
    total: u64,
}

impl<R: BufRead> Read for Blank<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = if self.zeros > 0 {
                let most = usize::try_from(self.zeros).unwrap_or(usize::MAX).min(buffer.len());
                buffer.get_mut(..most).unwrap_or_default().fill(0);
                self.zeros -= most as u64;
                most
            } else {
                let mut left = self.parts.segment().get(self.segment..).unwrap_or_default();
                let count = left.read(buffer)?;
                self.segment += count;
                count
            };
            if count > 0 {
                self.total = self.total.saturating_add(count as u64);
                return Ok(count);
            }
            let length = match self.parts.next()? {
                None => return Ok(0),
                Some(Part::Segment(_)) => None,
                Some(Part::File { size, .. }) => Some(size),
            };
            (self.segment, self.zeros) = match length {
                None => (0, 0),
                // What the last line left is no segment.
                Some(size) => (usize::MAX, size),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(tar: &[u8]) -> Vec<u8> {
        let mut stream = Disassembler::new(tar, Vec::new());
        while stream.next_member().unwrap().is_some() {}
        stream.finish().unwrap().1
    }

    #[test]
    fn headers_are_those_of_the_stream() {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, size, kind) in [
            ("d/", 0, tar::EntryType::Directory),
            ("d/large", 300_000, tar::EntryType::Regular),
            ("d/empty", 0, tar::EntryType::Regular),
            (&*"n".repeat(300), 1, tar::EntryType::Regular),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(size as u64);
            header.set_mode(0o751);
            header.set_uid(7);
            builder.append_data(&mut header, name, &vec![b'x'; size][..]).unwrap();
        }
        let mut tar = builder.into_inner().unwrap();
        tar.extend([7; 5000]);
        let log = log_of(&tar);
        let mut stream = Disassembler::without_log(&tar[..]);
        let mut headers = Headers::new(&log[..]);
        while let Some(member) = stream.next_member().unwrap() {
            assert_eq!(headers.next_member().unwrap(), Some(member));
        }
        assert_eq!(headers.next_member().unwrap(), None);
        assert_eq!(headers.finish().unwrap(), tar.len() as u64);
        // The rest is counted also where nobody asks for the members.
        assert_eq!(Headers::new(&log[..]).finish().unwrap(), tar.len() as u64);
    }

    #[test]
    fn a_malformed_log_is_an_error() {
        for bad in ["{", r#"{"type":3}"#, r#"{"type":1,"name":"x","size":-1}"#] {
            assert!(Headers::new(bad.as_bytes()).next_member().is_err(), "{bad}");
        }
        let twice = r#"{"type":1,"name":"x","payload":null}"#;
        assert!(Headers::new(format!("{twice}\n{twice}").as_bytes()).finish().is_err());
    }
}
