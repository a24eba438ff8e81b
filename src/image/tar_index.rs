//! Random access inside a tar file: one pass over the headers, then members by name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tar_core::EntryType;
use tar_core::parse::{Limits, ParseEvent, Parser};

use crate::{Error, ErrorKind, Result};

/// The most members an image's archive may have: each layer has two or three, so this is generous, and bounds memory.
const MAX_MEMBERS: usize = 1 << 16;
/// Longer names are not in the index: no image refers to such a file.
const MAX_NAME: usize = 512;
const MAX_PATH: u32 = 4096;
/// How much of the file is looked at first for one header; extension headers make it grow.
const WINDOW: usize = 4096;
const MAX_WINDOW: usize = 4 << 20;
/// How many links are followed from a name to a file.
const MAX_LINKS: usize = 8;

/// A part of a file, read without moving the file's own position.
#[derive(Debug, Clone)]
pub(super) struct Region {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Region {
    pub(super) fn new(file: Arc<File>, offset: u64, len: u64) -> Self {
        Self { file, offset, left: len }
    }

    pub(super) fn len(&self) -> u64 {
        self.left
    }
}

impl Read for Region {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..want).filter(|b| !b.is_empty()) else { return Ok(0) };
        let n = self.file.read_at(buf, self.offset)?;
        if n == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file ends in the middle of a member",
            ));
        }
        let done = u64::try_from(n).unwrap_or(u64::MAX);
        self.offset = self.offset.saturating_add(done);
        self.left = self.left.saturating_sub(done);
        Ok(n)
    }
}

#[derive(Debug, Clone)]
enum Member {
    File {
        offset: u64,
        len: u64,
    },
    /// The cleaned name that it stands for.
    Link(String),
    Other,
}

/// Which of several members of one name is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// The first one, as where an archive is searched (docker archives in Go).
    First,
    /// The last one, as where an archive is unpacked (OCI archives in Go).
    Last,
}

/// The members of a tar file by their cleaned names.
#[derive(Debug)]
pub(super) struct TarIndex {
    file: Arc<File>,
    members: HashMap<String, (Member, Option<Member>)>,
}

impl TarIndex {
    /// Reads the headers of the tar that `file` holds; `what` names it in errors.
    pub(super) fn read(file: Arc<File>, what: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::new(ErrorKind::InvalidArchive, format!("reading {what}")).detail(why)
        };
        let total =
            file.metadata().map_err(|e| Error::io(format!("reading {what}"), what, e))?.len();
        if total == 0 {
            return Err(bad("it is empty".into()));
        }
        let limits = Limits { max_path_len: Some(MAX_PATH), ..Limits::default() };
        let mut parser = Parser::new(limits);
        parser.set_allow_empty_path(true);
        let mut members: HashMap<String, (Member, Option<Member>)> = HashMap::new();
        let mut count = 0;
        let mut at = 0;
        let mut window = WINDOW;
        let mut buf = Vec::new();
        loop {
            fill(&file, at, window, &mut buf)
                .map_err(|e| Error::io(format!("reading {what}"), what, e))?;
            let (consumed, skip) = match parser.parse(&buf).map_err(|e| match at {
                0 => bad("it is no tar archive: it does not begin with a tar header".into()),
                _ => bad(format!("at byte {at}: {e}")),
            })? {
                // Like Go, take an archive without its end marker, or with half of it, as long as no member is cut.
                ParseEvent::NeedData { .. }
                    if buf.len() < window && buf.iter().all(|b| *b == 0) =>
                {
                    break;
                }
                ParseEvent::NeedData { min_bytes } => {
                    if buf.len() < window || window >= MAX_WINDOW {
                        return Err(bad(format!("it is truncated at byte {total}")));
                    }
                    window = window.saturating_mul(2).max(min_bytes).min(MAX_WINDOW);
                    continue;
                }
                ParseEvent::End { .. } => break,
                ParseEvent::GlobalExtensions { consumed, .. } => (consumed, 0),
                ParseEvent::SparseEntry { consumed, entry, .. } => {
                    count += 1;
                    insert(&mut members, &entry.path, Member::Other);
                    (consumed, entry.padded_size())
                }
                ParseEvent::Entry { consumed, entry } => {
                    count += 1;
                    let offset = at.saturating_add(u64::try_from(consumed).unwrap_or(u64::MAX));
                    let has_content =
                        matches!(entry.entry_type, EntryType::Regular | EntryType::Continuous);
                    if has_content && offset.saturating_add(entry.size) > total {
                        return Err(bad(format!(
                            "it is truncated: {:?} should reach to byte {}, the file has {total}",
                            entry.path_lossy(),
                            offset.saturating_add(entry.size),
                        )));
                    }
                    let target = entry.link_target.as_deref().unwrap_or_default();
                    let member = match entry.entry_type {
                        EntryType::Regular | EntryType::Continuous => {
                            Member::File { offset, len: entry.size }
                        }
                        EntryType::Symlink => Member::Link(beside(&entry.path, target)),
                        EntryType::Link => Member::Link(clean(&String::from_utf8_lossy(target))),
                        _ => Member::Other,
                    };
                    insert(&mut members, &entry.path, member);
                    let skip = match entry.entry_type {
                        EntryType::Symlink | EntryType::Link | EntryType::Directory => 0,
                        EntryType::Char | EntryType::Block | EntryType::Fifo => 0,
                        _ => entry.padded_size(),
                    };
                    (consumed, skip)
                }
            };
            if count > MAX_MEMBERS {
                return Err(bad(format!("it has more than {MAX_MEMBERS} members")));
            }
            at =
                at.saturating_add(u64::try_from(consumed).unwrap_or(u64::MAX)).saturating_add(skip);
            window = WINDOW;
        }
        Ok(Self { file, members })
    }

    /// How many names it has.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is a member of that name, of whatever type.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.members.contains_key(&clean(name))
    }

    /// The content of a regular member, links followed; `None` if there is no such member.
    pub(super) fn open(&self, name: &str, pick: Pick) -> Result<Option<Region>> {
        let asked = clean(name);
        let mut name = asked.clone();
        for _ in 0..=MAX_LINKS {
            let Some((first, last)) = self.members.get(&name) else { return Ok(None) };
            let member = match pick {
                Pick::First => first,
                Pick::Last => last.as_ref().unwrap_or(first),
            };
            match member {
                Member::File { offset, len } => {
                    return Ok(Some(Region::new(Arc::clone(&self.file), *offset, *len)));
                }
                Member::Link(target) => name.clone_from(target),
                Member::Other => {
                    return Err(Error::new(
                        ErrorKind::InvalidArchive,
                        format!("opening the member {asked:?}"),
                    )
                    .detail("it is not a regular file"));
                }
            }
        }
        Err(Error::new(ErrorKind::InvalidArchive, format!("opening the member {asked:?}"))
            .detail(format!("it is a link, and after {MAX_LINKS} more there is no file")))
    }
}

fn insert(members: &mut HashMap<String, (Member, Option<Member>)>, name: &[u8], member: Member) {
    let link_too_long = matches!(&member, Member::Link(target) if target.len() > MAX_NAME);
    if name.len() > MAX_NAME || link_too_long {
        return;
    }
    match members.entry(clean(&String::from_utf8_lossy(name))) {
        std::collections::hash_map::Entry::Occupied(mut known) => known.get_mut().1 = Some(member),
        std::collections::hash_map::Entry::Vacant(free) => {
            free.insert((member, None));
        }
    }
}

fn fill(file: &File, at: u64, window: usize, buf: &mut Vec<u8>) -> io::Result<()> {
    buf.resize(window, 0);
    let mut done = 0;
    while let Some(free) = buf.get_mut(done..).filter(|b| !b.is_empty()) {
        match file.read_at(free, at.saturating_add(u64::try_from(done).unwrap_or(u64::MAX))) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buf.truncate(done);
    Ok(())
}

/// The cleaned path of what the symlink `link` points to. It may lead outside the archive, where it finds nothing: names are
/// only ever compared with names in the index.
fn beside(link: &[u8], target: &[u8]) -> String {
    let target = String::from_utf8_lossy(target);
    let link = clean(&String::from_utf8_lossy(link));
    match link.rsplit_once('/') {
        Some((dir, _)) if !target.starts_with('/') => clean(&format!("{dir}/{target}")),
        _ => clean(&target),
    }
}

/// The shortest equivalent of a path, by its text alone.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_string(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        builder.into_inner().unwrap()
    }

    fn add(builder: &mut tar::Builder<Vec<u8>>, name: &str, data: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, data).unwrap();
    }

    fn link(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, target: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }

    fn index(bytes: &[u8]) -> Result<TarIndex> {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        TarIndex::read(Arc::new(file), "the archive")
    }

    fn content(index: &TarIndex, name: &str, pick: Pick) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        index.open(name, pick).unwrap()?.read_to_end(&mut out).unwrap();
        Some(out)
    }

    #[test]
    fn members_are_found_by_cleaned_name() {
        let long = "d/".repeat(120) + "file";
        let bytes = archive(|b| {
            add(b, "./manifest.json", b"one");
            add(b, "a//b/./c", &[7; 1000]);
            add(b, &long, b"long");
            add(b, "manifest.json", b"two");
        });
        let index = index(&bytes).unwrap();
        assert_eq!(content(&index, "manifest.json", Pick::First).unwrap(), b"one");
        assert_eq!(content(&index, "manifest.json", Pick::Last).unwrap(), b"two");
        assert_eq!(content(&index, "a/x/../b/c", Pick::First).unwrap(), [7; 1000]);
        assert_eq!(content(&index, &long, Pick::First).unwrap(), b"long");
        assert_eq!(content(&index, "b/c", Pick::First), None);
    }

    #[test]
    fn links_are_followed_inside_only() {
        let bytes = archive(|b| {
            add(b, "aa.tar", b"layer");
            link(b, tar::EntryType::Symlink, "x/layer.tar", "../aa.tar");
            link(b, tar::EntryType::Link, "y/layer.tar", "aa.tar");
            link(b, tar::EntryType::Symlink, "loop", "loop");
            link(b, tar::EntryType::Symlink, "out", "../../etc/passwd");
            link(b, tar::EntryType::Symlink, "abs", "/etc/passwd");
        });
        let index = index(&bytes).unwrap();
        assert_eq!(content(&index, "x/layer.tar", Pick::First).unwrap(), b"layer");
        assert_eq!(content(&index, "y/layer.tar", Pick::First).unwrap(), b"layer");
        assert!(index.open("loop", Pick::First).is_err());
        assert!(index.open("out", Pick::First).unwrap().is_none());
        assert!(index.open("abs", Pick::First).unwrap().is_none());
    }

    #[test]
    fn truncated_and_foreign_files_are_refused() {
        let bytes = archive(|b| add(b, "a", &[1; 5000]));
        for cut in [100, 512, 600, 5000] {
            assert_eq!(
                index(&bytes[..cut]).unwrap_err().kind(),
                ErrorKind::InvalidArchive,
                "{cut}"
            );
        }
        let e = index(&[b'x'; 2048]).unwrap_err();
        assert!(e.to_string().contains("it is no tar archive"), "{e}");
        let e = index(&[]).unwrap_err();
        assert!(e.to_string().contains("it is empty"), "{e}");
        assert!(!index(&[0; 1024]).unwrap().contains("manifest.json"));
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("", "."),
            ("./", "."),
            ("a/..", "."),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("/..", "/"),
            ("/a/../b", "/b"),
            ("a//b/", "a/b"),
        ] {
            assert_eq!(clean(path), cleaned);
        }
    }
}
