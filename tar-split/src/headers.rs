//! What a tar-split file tells of its stream's members, without the files.

use std::io::{self, BufRead, Read, Sink};

use crate::disassemble::Disassembler;
use crate::error::{Error, Quoted};
use crate::member::Member;
use crate::parts::{Part, Parts};

/// Reads the members' headers from a tar-split file alone: no file is opened.
///
/// Who puts the stream together by [`assemble`](crate::assemble) and compares its digest knows the files behind it only as far as they
/// were read. So the content of each member must be left to its file: right after the header comes one entry, with the member's name and
/// size. A log that has the content among its segments, or an entry anywhere else, is malformed. Of sparse members alone a log may hold
/// the content ([`Headers::holds_content`]), as [`Disassembler`] writes it; it is read by [`Read`], and is for the caller to compare.
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
    holds_content: bool,
}

impl<R: BufRead> Headers<R> {
    /// `log` gives the uncompressed lines.
    pub fn new(log: R) -> Self {
        let blank = Blank { parts: Parts::new(log), segment: 0, zeros: 0, total: 0 };
        Self { stream: Disassembler::without_log(blank), holds_content: false }
    }

    /// The next member; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`Disassembler::next_member`] for headers that are malformed; [`Error::Record`] for a member without an entry of its own;
    /// [`Error::Io`], around what is wrong, for a log that is malformed otherwise, and for one that cannot be read.
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        self.holds_content = false;
        let Some(member) = self.stream.next_member()? else { return Ok(None) };
        self.holds_content = self.stream.guard(|stream| go_to_content(stream, &member))?;
        Ok(Some(member))
    }

    /// Whether the present member's content is in the log itself: that of a sparse member may be. Reading gives it, expanded; of other
    /// members reading gives nothing.
    pub fn holds_content(&self) -> bool {
        self.holds_content
    }

    /// As [`Disassembler::skip_hole`].
    pub fn skip_hole(&mut self) -> u64 {
        if self.holds_content { self.stream.skip_hole() } else { 0 }
    }

    /// Goes over what is left; returns the length of the whole stream in bytes.
    ///
    /// # Errors
    ///
    /// As [`Headers::next_member`].
    pub fn finish(mut self) -> Result<u64, Error> {
        while self.next_member()?.is_some() {}
        self.stream.finish().map(|(blank, _)| blank.total)
    }
}

impl<R: BufRead> Read for Headers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.holds_content { self.stream.read(buffer) } else { Ok(0) }
    }
}

/// Goes past the entry that must follow the header of `member`; tells whether the content comes without one.
fn go_to_content<R: BufRead>(
    stream: &mut Disassembler<Blank<R>, Sink>,
    member: &Member,
) -> Result<bool, Error> {
    let name = || Quoted(&member.name);
    let stored = stream.stored();
    let (blank, has_passed_all) = stream.source();
    let entry = if has_passed_all { blank.entry()? } else { None };
    let why = match entry {
        Some((other, _)) if other != member.name => {
            format!("it is an entry of {}, and follows the header of {}", Quoted(&other), name())
        }
        Some((_, size)) if size != member.size => {
            format!("the entry of {} has {size} bytes, its header {}", name(), member.size)
        }
        Some((_, size)) => {
            // Of a sparse file an entry by Go has the size that reading it gives, and the stream the data alone.
            blank.zeros = if size == 0 { 0 } else { stored };
            return Ok(false);
        }
        None if member.sparse.is_some() => return Ok(true),
        None if member.size == 0 => return Ok(false),
        None => format!("the header of {} is not followed by the entry of its content", name()),
    };
    Err(blank.parts.malformed(why))
}

/// The stream with zeros in the place of what files hold. It does not go past an entry by itself.
#[derive(Debug)]
struct Blank<R> {
    parts: Parts<R>,
    /// Bytes of the present segment that have been read.
    segment: usize,
    /// Bytes of the present file that have not.
    zeros: u64,
    total: u64,
}

impl<R: BufRead> Blank<R> {
    /// What is left of the present segment.
    fn left(&self) -> &[u8] {
        self.parts.segment().get(self.segment..).unwrap_or_default()
    }

    /// Goes past the entry that is next; `None`, and no further, if bytes of the stream are.
    fn entry(&mut self) -> Result<Option<(Vec<u8>, u64)>, Error> {
        while self.left().is_empty() {
            match self.parts.next()? {
                None => return Ok(None),
                Some(Part::Segment(_)) => self.segment = 0,
                Some(Part::File { name, size, .. }) => {
                    // What the line left is no segment.
                    self.segment = usize::MAX;
                    return Ok(Some((name, size)));
                }
            }
        }
        Ok(None)
    }
}

impl<R: BufRead> Read for Blank<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = if self.zeros > 0 {
            let most = usize::try_from(self.zeros).unwrap_or(usize::MAX).min(buffer.len());
            buffer.get_mut(..most).unwrap_or_default().fill(0);
            self.zeros -= most as u64;
            most
        } else {
            if let Some((name, _)) = self.entry()? {
                let why = format!("the entry of {} does not follow its header", Quoted(&name));
                return Err(self.parts.malformed(why).into());
            }
            let count = self.left().read(buffer)?;
            self.segment += count;
            count
        };
        self.total = self.total.saturating_add(count as u64);
        Ok(count)
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
