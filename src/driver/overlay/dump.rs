//! What a composefs layer's files are, as lines of text that mkcomposefs reads (composefs-dump(5)): checked before anything is made of them
//! (`overlay-driver.md` APL-6a).

use std::io::{self, BufRead, Read, Write};
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags};

use crate::sys::beneath::Beneath;
use crate::{Error, ErrorKind, Result};

/// The prefix of the names by which tars delete (UNP-9).
const WHITEOUT: &[u8] = b".wh.";

/// The longest line that is read: a path and 64 KiB of xattrs, all escaped, are far below it.
const LINE_MAX: u64 = 8 << 20;

/// How many words a line has at least: path, size, mode, links, owner, group, device, time, payload, content, digest.
const WORDS: usize = 11;

/// Copies `dump` to `list`, and says whether some of it deletes. Content must lie in `content` with the size that the dump says; the root
/// gets the mode `root_mode`, if there is one.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a malformed line and for content that is missing; those of `dump` and of `list`.
pub(super) fn check(
    dump: &mut dyn Read,
    content: BorrowedFd<'_>,
    root_mode: Option<u32>,
    list: &mut dyn Write,
) -> Result<bool> {
    let mut lines = Lines::of(dump);
    let mut deletes = false;
    while let Some(line) = lines.next()? {
        let number = lines.number;
        let file = Line::parse(&line).map_err(|why| bad(number, why))?;
        match file.deletes() {
            true => deletes = true,
            false => drop(file.open_content(content).map_err(|why| bad(number, why))?),
        }
        file.write(root_mode.filter(|_| file.path == b"/"), list).map_err(|e| failed(number, e))?;
    }
    if lines.number == 0 {
        return Err(bad(1, "there is none: not even the root directory is listed"));
    }
    Ok(deletes)
}

/// The lines of a dump, without their ends.
pub(super) struct Lines<R> {
    from: io::BufReader<R>,
    /// That of the line before.
    number: usize,
}

impl<R: Read> Lines<R> {
    pub(super) fn of(from: R) -> Self {
        Self { from: io::BufReader::new(from), number: 0 }
    }

    /// The next line.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for one that is too long or cut short.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
        if read.map_err(|e| failed(self.number + 1, e))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            _ => Err(bad(self.number, "it has no end")),
        }
    }
}

fn failed(number: usize, e: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("reading line {number} of a composefs layer's list"))
        .caused_by(e)
}

fn bad(number: usize, why: impl Into<String>) -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        format!("reading line {number} of a composefs layer's list"),
    )
    .detail(why)
}

/// One file.
pub(super) struct Line<'a> {
    /// Absolute, without escapes.
    pub(super) path: Vec<u8>,
    words: Vec<&'a [u8]>,
    /// With the bits of the file's type.
    pub(super) mode: u32,
    /// Another name of a file that was listed before.
    pub(super) is_link: bool,
}

/// Where a regular file's content is.
pub(super) enum Content {
    Line(Vec<u8>),
    File(std::fs::File),
}

type Parsed<T> = std::result::Result<T, String>;

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Parsed<Self> {
        let words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
        let [path, _, mode, ..] = words.as_slice() else {
            return Err("it is no line of a dump".to_owned());
        };
        if words.len() < WORDS {
            return Err(format!("it has {} words, where a file has {WORDS}", words.len()));
        }
        let path = unescape(path)?;
        let sound = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        let parts = path.strip_prefix(b"/").ok_or("its path is not absolute")?;
        if !parts.is_empty() && !parts.split(|&b| b == b'/').all(sound) {
            return Err(format!("{} is no path of a layer", path.escape_ascii()));
        }
        let (is_link, digits) = match mode.strip_prefix(b"@") {
            Some(digits) => (true, digits),
            None => (false, *mode),
        };
        let mode = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u32::from_str_radix(digits, 8).ok())
            .ok_or_else(|| format!("{} is no mode", digits.escape_ascii()))?;
        Ok(Self { path, words, mode, is_link })
    }

    fn word(&self, n: usize) -> &'a [u8] {
        self.words.get(n).copied().unwrap_or_default()
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    fn number<T: std::str::FromStr>(&self, n: usize) -> Parsed<T> {
        let word = self.word(n);
        let number = std::str::from_utf8(word).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| format!("{} is no number that fits", word.escape_ascii()))
    }

    pub(super) fn owner(&self) -> Parsed<(u32, u32)> {
        Ok((self.number(4)?, self.number(5)?))
    }

    pub(super) fn device(&self) -> Parsed<u64> {
        self.number(6)
    }

    /// Whole seconds.
    pub(super) fn mtime(&self) -> Parsed<i64> {
        let word = self.word(7);
        let whole = word.split(|&b| b == b'.').next().unwrap_or_default();
        let text = std::str::from_utf8(whole).ok().and_then(|text| text.parse().ok());
        text.ok_or_else(|| format!("{} is no time", word.escape_ascii()))
    }

    /// What a link leads to.
    pub(super) fn target(&self) -> Parsed<Vec<u8>> {
        unescape(self.word(8))
    }

    pub(super) fn xattrs(&self) -> Parsed<Vec<(Vec<u8>, Vec<u8>)>> {
        let split = |word: &&[u8]| {
            let equals = word.iter().position(|&b| b == b'=').ok_or("an xattr has no value")?;
            let (name, value) = word.split_at(equals);
            Ok((unescape(name)?, unescape(value.get(1..).unwrap_or_default())?))
        };
        self.words.iter().skip(WORDS).map(split).collect()
    }

    /// Whether this deletes what is below: by its name, as tars do, or as the kernel does.
    pub(super) fn deletes(&self) -> bool {
        self.name().starts_with(WHITEOUT) || self.is_mark()
    }

    fn is_mark(&self) -> bool {
        self.kind() == FileType::CharacterDevice && self.word(6) == b"0"
    }

    fn name(&self) -> &[u8] {
        let slash = self.path.iter().rposition(|&b| b == b'/').unwrap_or(0);
        self.path.get(slash + 1..).unwrap_or_default()
    }

    /// The path in a tar, where names delete.
    pub(super) fn tar_name(&self) -> Vec<u8> {
        let path = self.path.strip_prefix(b"/").unwrap_or(&self.path);
        if self.is_mark() {
            let dir = path.get(..path.len() - self.name().len()).unwrap_or_default();
            return [dir, WHITEOUT, self.name()].concat();
        }
        match self.kind() {
            FileType::Directory if path.is_empty() => b"./".to_vec(),
            FileType::Directory => [path, b"/"].concat(),
            _ => path.to_vec(),
        }
    }

    /// The content of a regular file, with its size; `None` for what has none.
    pub(super) fn open_content(&self, content: BorrowedFd<'_>) -> Parsed<Option<(Content, u64)>> {
        if self.kind() != FileType::RegularFile || self.is_link {
            return Ok(None);
        }
        let said: u64 = self.number(1)?;
        let (payload, inline) = (self.word(8), self.word(9));
        if payload == b"-" {
            let bytes = if inline == b"-" { Vec::new() } else { unescape(inline)? };
            return match bytes.len() as u64 == said {
                true => Ok(Some((Content::Line(bytes), said))),
                false => Err(format!("it has no content of {said} bytes")),
            };
        }
        let payload = unescape(payload)?;
        let shown = payload.escape_ascii();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = Beneath::new(content).open(&payload, flags);
        let file = opened.map_err(|e| format!("its content, {shown}, cannot be opened: {e}"))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| format!("its content, {shown}: {e}"))?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || u64::try_from(stat.st_size) != Ok(said) {
            return Err(format!("its content, {shown}, is no file of {said} bytes"));
        }
        Ok(Some((Content::File(file.into()), said)))
    }

    /// Writes the line, with another mode if one is given.
    fn write(&self, mode: Option<u32>, out: &mut dyn Write) -> io::Result<()> {
        let mode = mode.map(|mode| format!("{:o}", self.mode & !0o7777 | mode & 0o7777));
        for (n, word) in self.words.iter().enumerate() {
            if n > 0 {
                out.write_all(b" ")?;
            }
            match &mode {
                Some(mode) if n == 2 => out.write_all(mode.as_bytes())?,
                _ => out.write_all(word)?,
            }
        }
        out.write_all(b"\n")
    }
}

/// A word without its escapes.
fn unescape(word: &[u8]) -> Parsed<Vec<u8>> {
    unescaped(word).ok_or_else(|| format!("{} is escaped wrongly", word.escape_ascii()))
}

fn unescaped(word: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn checked(dump: &str, root_mode: Option<u32>) -> Result<(String, bool)> {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        std::fs::create_dir(dir.path().join("ab")).unwrap();
        std::fs::write(dir.path().join("ab/cd"), "12345").unwrap();
        std::os::unix::fs::symlink("cd", dir.path().join("ab/link")).unwrap();
        let content = std::fs::File::open(dir.path()).unwrap();
        let mut list = Vec::new();
        let deletes = check(&mut dump.as_bytes(), content.as_fd(), root_mode, &mut list)?;
        Ok((String::from_utf8(list).unwrap(), deletes))
    }

    const ROOT: &str = "/ 0 40755 2 0 0 0 0.0 - - -\n";

    #[test]
    fn what_deletes_is_seen() {
        // APL-6
        let files = "/d 0 40755 2 0 0 0 0.0 - - - trusted.a=b\n/d/f\\x20g 5 100644 1 0 0 0 0.0 ab/cd - 123\n\
            /d/h 5 @100644 2 0 0 0 0.0 /d/f\\x20g - -\n/null 0 20666 1 0 0 259 0.0 - - -\n\
            /d/inline 3 100644 1 0 0 0 0.0 - a\\nb -\n";
        let all = format!("{ROOT}{files}");
        assert_eq!(checked(&all, None).unwrap(), (all.clone(), false));
        for (mark, name) in [
            ("/d/.wh.gone 0 100644 1 0 0 0 0.0 - - -\n", "d/.wh.gone"),
            ("/d/.wh..wh..opq 0 100644 1 0 0 0 0.0 - - -\n", "d/.wh..wh..opq"),
            ("/too 0 20000 1 0 0 0 0.0 - - -\n", ".wh.too"),
            ("/d/too 0 20000 1 0 0 0 0.0 - - -\n", "d/.wh.too"),
        ] {
            let marked = format!("{all}{mark}");
            assert_eq!(checked(&marked, None).unwrap(), (marked.clone(), true));
            let line = Line::parse(mark.trim_end().as_bytes()).unwrap();
            assert_eq!(line.tar_name(), name.as_bytes());
        }
        let (list, _) = checked(ROOT, Some(0o1551)).unwrap();
        assert_eq!(list, "/ 0 41551 2 0 0 0 0.0 - - -\n");
    }

    #[test]
    fn bad_lines_are_named() {
        // APL-6
        for (line, why) in [
            ("", "not even the root"),
            ("/f\n", "no line"),
            ("/f 5 100644 1 0 0 0 0.0 ab/cd -\n", "10 words"),
            ("/f 5 100644 1 0 0 0 0.0 ab/cd - -", "no end"),
            ("f 5 100644 1 0 0 0 0.0 ab/cd - -\n", "not absolute"),
            ("/../f 5 100644 1 0 0 0 0.0 ab/cd - -\n", "no path of a layer"),
            ("/a//f 5 100644 1 0 0 0 0.0 ab/cd - -\n", "no path of a layer"),
            ("/\\x2e. 5 100644 1 0 0 0 0.0 ab/cd - -\n", "no path of a layer"),
            ("/f\\ 5 100644 1 0 0 0 0.0 ab/cd - -\n", "escaped wrongly"),
            ("/f\\q 5 100644 1 0 0 0 0.0 ab/cd - -\n", "escaped wrongly"),
            ("/f 5 10x 1 0 0 0 0.0 ab/cd - -\n", "no mode"),
            ("/f 5 100644 1 0 0 0 0.0 ab/ce - -\n", "cannot be opened"),
            ("/f 5 100644 1 0 0 0 0.0 ../etc/passwd - -\n", "content"),
            ("/f 4 100644 1 0 0 0 0.0 ab/cd - -\n", "no file of 4 bytes"),
            ("/f 4 100644 1 0 0 0 0.0 - - -\n", "no content of 4 bytes"),
            ("/f x 100644 1 0 0 0 0.0 ab/cd - -\n", "no number"),
            ("/f 4096 100644 1 0 0 0 0.0 ab - -\n", "no file of"),
            ("/f 2 100644 1 0 0 0 0.0 ab/link - -\n", "cannot be opened"),
        ] {
            let e = checked(line, None).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{line}: {e}");
            assert!(e.to_string().contains(why), "{line}: {e}");
        }
    }
}
