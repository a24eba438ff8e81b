//! Tar headers, byte for byte as Go's `archive/tar` writes them (TAR-2, TAR-3, TAR-6): USTAR where everything fits, else a
//! PAX header with the records that do not, in front of it.

use std::borrow::Cow;
use std::io::{self, Write};

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;
const OWNER: usize = 32;

/// PAX headers beyond this size are not read by Go, nor by us.
const PAX_LIMIT: usize = 1 << 20;

/// One member's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    /// Relative, with a slash at the end for directories.
    pub(crate) name: Vec<u8>,
    /// A type flag.
    pub(crate) kind: u8,
    pub(crate) link_name: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The owners' names, mostly empty.
    pub(crate) owner: Vec<u8>,
    pub(crate) group: Vec<u8>,
    pub(crate) size: u64,
    /// Whole seconds since the epoch.
    pub(crate) mtime: i64,
    pub(crate) dev_major: u32,
    pub(crate) dev_minor: u32,
    /// Names and values.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Header {
    /// Writes the header's blocks.
    ///
    /// An error of kind `InvalidInput` means that no tar can hold the member, and that nothing was written.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let records = self.records();
        let mut bytes = Vec::with_capacity(BLOCK);
        if records.is_empty() {
            let (prefix, name) = split_name(&self.name).unwrap_or((&[], &self.name));
            bytes.extend_from_slice(&self.block(name, prefix));
        } else {
            self.write_pax(records, &mut bytes)?;
        }
        out.write_all(&bytes)
    }

    /// The records of the PAX header; none if USTAR can hold everything.
    fn records(&self) -> Vec<(Vec<u8>, Cow<'_, [u8]>)> {
        let mut records: Vec<(Vec<u8>, Cow<'_, [u8]>)> = Vec::new();
        let mut needed = !self.xattrs.is_empty();
        let mut add = |key: &str, value: Cow<'static, [u8]>| records.push((key.into(), value));
        if does_not_fit(&self.name) {
            needed |= split_name(&self.name).is_none();
            add("path", Cow::Owned(self.name.clone()));
        }
        if does_not_fit(&self.link_name) {
            needed = true;
            add("linkpath", Cow::Owned(self.link_name.clone()));
        }
        for (key, value) in [("uname", &self.owner), ("gname", &self.group)] {
            if value.len() > OWNER || !is_ascii(value) {
                needed = true;
                add(key, Cow::Owned(value.clone()));
            }
        }
        for (key, value, digits) in [
            ("uid", i64::from(self.uid), 7),
            ("gid", i64::from(self.gid), 7),
            ("size", i64::try_from(self.size).unwrap_or(i64::MAX), 11),
            ("mtime", self.mtime, 11),
        ] {
            if !fits_octal(value, digits) {
                needed = true;
                add(key, Cow::Owned(value.to_string().into_bytes()));
            }
        }
        if !needed {
            return Vec::new();
        }
        for (key, value) in &self.xattrs {
            let key = [b"SCHILY.xattr.", key.as_slice()].concat();
            records.push((key, Cow::Borrowed(value)));
        }
        records.sort();
        records
    }

    fn write_pax(
        &self,
        records: Vec<(Vec<u8>, Cow<'_, [u8]>)>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut data = Vec::new();
        for (key, value) in records {
            if key.contains(&b'=') || key.contains(&0) {
                let text = format!("no tar can hold an attribute named {}", key.escape_ascii());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            append_record(&mut data, &key, &value);
        }
        if data.len() > PAX_LIMIT {
            let text = "its names and attributes exceed the limit of 1 MiB for PAX headers";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut block = [0; BLOCK];
        let name = ascii(&pax_name(&self.name));
        put(&mut block, 0, without_end_slashes(name.get(..NAME).unwrap_or(&name)));
        for (at, length) in [(100, 8), (108, 8), (116, 8), (136, 12)] {
            put_octal(&mut block, at, length, 0);
        }
        put_octal(&mut block, 124, 12, data.len() as i64);
        put(&mut block, 156, b"x");
        seal(&mut block);
        out.extend_from_slice(&block);
        data.resize(data.len().next_multiple_of(BLOCK), 0);
        out.extend_from_slice(&data);
        out.extend_from_slice(&self.block(&self.name, &[]));
        Ok(())
    }

    /// The header block; what does not fit is cut or zero, for the PAX header has it.
    fn block(&self, name: &[u8], prefix: &[u8]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put_name(&mut block, 0, &ascii(name));
        put_octal(&mut block, 100, 8, i64::from(self.mode));
        put_octal(&mut block, 108, 8, i64::from(self.uid));
        put_octal(&mut block, 116, 8, i64::from(self.gid));
        put_octal(&mut block, 124, 12, i64::try_from(self.size).unwrap_or(-1));
        put_octal(&mut block, 136, 12, self.mtime);
        put(&mut block, 156, &[self.kind]);
        put_name(&mut block, 157, &ascii(&self.link_name));
        for (at, name) in [(265, &self.owner), (297, &self.group)] {
            let name = ascii(name);
            put(&mut block, at, name.get(..OWNER).unwrap_or(&name));
        }
        put_octal(&mut block, 329, 8, i64::from(self.dev_major));
        put_octal(&mut block, 337, 8, i64::from(self.dev_minor));
        put(&mut block, 345, prefix.get(..PREFIX).unwrap_or(prefix));
        seal(&mut block);
        block
    }
}

fn without_end_slashes(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|b| *b != b'/').map_or(0, |n| n + 1);
    name.get(..end).unwrap_or_default()
}

fn is_ascii(text: &[u8]) -> bool {
    text.iter().all(|b| (1..0x80).contains(b))
}

fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|b| (1..0x80).contains(b)).collect()
}

fn does_not_fit(text: &[u8]) -> bool {
    text.len() > NAME || !is_ascii(text)
}

fn fits_octal(value: i64, digits: u32) -> bool {
    (0..1 << (3 * digits)).contains(&value)
}

/// A long name as USTAR's prefix and name, where there is a slash at the right place.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME || !is_ascii(name) {
        return None;
    }
    let length = if name.len() > PREFIX + 1 {
        PREFIX + 1
    } else if name.last() == Some(&b'/') {
        name.len() - 1
    } else {
        name.len()
    };
    let at = name.get(..length)?.iter().rposition(|b| *b == b'/')?;
    let (prefix, rest) = (name.get(..at)?, name.get(at + 1..)?);
    let fits = at > 0 && rest.len() <= NAME && !rest.is_empty() && prefix.len() <= PREFIX;
    fits.then_some((prefix, rest))
}

/// `dir/PaxHeaders.0/base`.
fn pax_name(name: &[u8]) -> Vec<u8> {
    let at = name.iter().rposition(|b| *b == b'/').map_or(0, |n| n + 1);
    let (dir, base) = (name.get(..at).unwrap_or_default(), name.get(at..).unwrap_or_default());
    let mut out = [dir, b"PaxHeaders.0", if base.is_empty() { b"" } else { b"/" }].concat();
    out.extend_from_slice(base);
    out
}

/// `<length of the record> <key>=<value>\n`, the length counting its own digits.
fn append_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let digits = |n: usize| n.to_string().len();
    let mut size = rest + digits(rest);
    if rest + digits(size) != size {
        size = rest + digits(size);
    }
    out.extend_from_slice(format!("{size} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (to, from) in block.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// A name cut at its field's end, which must not look like a directory's because of the cut: Go puts a NUL in place of the
/// first of the slashes there.
fn put_name(block: &mut [u8; BLOCK], at: usize, name: &[u8]) {
    put(block, at, name.get(..NAME).unwrap_or(name));
    if name.len() > NAME && name.get(NAME - 1) == Some(&b'/') {
        let kept = without_end_slashes(name.get(..NAME - 1).unwrap_or_default());
        put(block, at + kept.len(), &[0]);
    }
}

/// Octal digits with leading zeros and a NUL; zero where they do not fit.
fn put_octal(block: &mut [u8; BLOCK], at: usize, length: usize, value: i64) {
    let digits = length.saturating_sub(1);
    let value = if fits_octal(value, digits as u32) { value } else { 0 };
    put(block, at, format!("{value:0digits$o}\0").as_bytes());
}

/// Magic, version and checksum.
fn seal(block: &mut [u8; BLOCK]) {
    put(block, 257, b"ustar\x0000");
    put(block, 148, b"        ");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    put(block, 148, format!("{sum:06o}\0 ").as_bytes());
}
