//! Members are told from a log alone, if the log leaves what they hold to their files.
// The lints leave tests alone, but not the functions that tests share.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::*;
use tar_split_rs::{Error, Headers};

fn segment(bytes: &[u8]) -> String {
    format!(r#"{{"type":2,"payload":"{}"}}"#, STANDARD.encode(bytes))
}

/// The checksum, where there is a size, is of nothing in particular: no file is read here.
fn entry(name: &str, size: u64) -> String {
    let checksum = if size == 0 { "null" } else { r#""fnjlebYAAAA=""# };
    format!(r#"{{"type":1,"name":"{name}","size":{size},"payload":{checksum}}}"#)
}

fn log(lines: &[String]) -> Vec<u8> {
    lines.join("\n").into_bytes()
}

/// Goes through a log; its length at the end.
fn read(log: &[u8]) -> Result<u64, Error> {
    let mut headers = Headers::new(log);
    while headers.next_member()?.is_some() {}
    headers.finish()
}

/// What is wrong with a log, whether it is gone through or only counted.
fn refusal(log: &[u8]) -> String {
    let said = read(log).unwrap_err().to_string();
    assert_eq!(Headers::new(log).finish().unwrap_err().to_string(), said);
    said
}

/// Three members and the end, in lines that make up the stream.
struct Stream {
    file: [u8; 512],
    padded: Vec<u8>,
    link: [u8; 512],
}

impl Stream {
    fn new() -> Self {
        let padded = pad(b"12345".to_vec());
        Self { file: header(b"file", b'0', 5), padded, link: header(b"link", b'1', 0) }
    }

    fn tar(&self) -> Vec<u8> {
        [&self.file[..], &self.padded, &self.link, &END].concat()
    }

    /// The log makes the very stream without a look at any file, and is refused.
    fn escapes(&self, lines: &[String]) {
        let log = log(lines);
        assert!(reassemble(&log, &Contents::new()).unwrap() == self.tar());
        let said = refusal(&log);
        let why = "the header of \"file\" is not followed by the entry of its content";
        assert!(said.contains(why), "{said}");
    }
}

fn refused(lines: &[String], why: &str) {
    let said = refusal(&log(lines));
    assert!(said.contains(why), "{said}");
}

#[test]
fn content_must_be_left_to_the_file() {
    let s = Stream::new();
    let rest = |bytes: &[u8]| segment(&[&bytes[5..], &s.link].concat());
    let (link, end) = (entry("link", 0), segment(&END));
    let whole = [segment(&s.file), entry("file", 5), rest(&s.padded), link.clone(), end.clone()];
    assert_eq!(read(&log(&whole)).unwrap(), s.tar().len() as u64);
    // In the segment of the header, in one of its own, in several, and with all the others.
    let all = [&s.file[..], &s.padded, &s.link].concat();
    s.escapes(&[segment(&all), link.clone(), end.clone()]);
    let own = [segment(&s.file), segment(&s.padded), segment(&s.link)];
    s.escapes(&[&own[..], &[link.clone(), end.clone()]].concat());
    s.escapes(&all.chunks(100).map(segment).chain([link, end.clone()]).collect::<Vec<_>>());
    s.escapes(&[segment(&s.tar())]);
    let missing = "the header of \"file\" is not followed by the entry of its content";
    refused(&[segment(&s.file)], missing);
    // Behind an entry of nothing.
    let nothing = entry("file", 0);
    let lines = [segment(&s.file), nothing, segment(&s.padded), segment(&s.link), end.clone()];
    refused(&lines, "the entry of \"file\" has 0 bytes, its header 5");
    // In part.
    let lines = [segment(&s.file), segment(b"1"), entry("file", 4), rest(&s.padded), end.clone()];
    refused(&lines, missing);
    let lines = [segment(&s.file), entry("file", 4), segment(b"5"), rest(&s.padded), end.clone()];
    refused(&lines, "the entry of \"file\" has 4 bytes, its header 5");
    // In another file.
    let lines = [segment(&s.file), entry("other", 5), rest(&s.padded), end];
    refused(&lines, "it is an entry of \"other\", and follows the header of \"file\"");
}

#[test]
fn nothing_else_has_an_entry() {
    let s = Stream::new();
    let (file, link, end) = (entry("file", 5), entry("link", 0), segment(&END));
    let rest = segment(&[&s.padded[5..], &s.link].concat());
    let head = [segment(&s.file), file.clone()];
    let with = |lines: &[String]| [&head[..], lines].concat();
    refused(&with(&[entry("more", 0), rest.clone()]), "the entry of \"more\" does not follow");
    refused(&with(&[segment(&s.padded[5..]), entry("more", 0)]), "\"more\" does not follow");
    refused(&with(&[rest.clone(), entry("more", 0)]), "it is an entry of \"more\"");
    let after = with(&[rest.clone(), link.clone(), entry("more", 0), end.clone()]);
    refused(&after, "\"more\" does not follow its header");
    let after = with(&[rest.clone(), link.clone(), end.clone(), entry("more", 0)]);
    refused(&after, "\"more\" does not follow its header");
    // A link has no content, and so no entry of any.
    let sized = with(&[rest.clone(), entry("link", 5), end.clone()]);
    refused(&sized, "the entry of \"link\" has 5 bytes, its header 0");
    let early = [entry("file", 5), segment(&s.file)];
    refused(&early, "the entry of \"file\" does not follow its header");
    let within = [segment(&s.file[..100]), entry("file", 5), segment(&s.file[100..])];
    refused(&within, "the entry of \"file\" does not follow its header");
    let long = [pax(b'x', &[(b"path", b"file")]), s.file.to_vec()].concat();
    let within = [segment(&long[..512]), file, segment(&long[512..])];
    refused(&within, "the entry of \"file\" does not follow its header");
}

#[test]
fn after_an_error_nothing_more_is_told() {
    let s = Stream::new();
    let log = log(&[segment(&s.tar())]);
    let mut headers = Headers::new(&log[..]);
    assert!(matches!(headers.next_member(), Err(Error::Record { line: 1, .. })));
    assert!(matches!(headers.next_member(), Err(Error::GivenUp)));
    assert!(matches!(headers.finish(), Err(Error::GivenUp)));
}

#[test]
fn how_segments_are_cut_does_not_matter() {
    let s = Stream::new();
    let mut lines: Vec<_> = s.file.chunks(7).map(segment).collect();
    lines.extend([segment(b""), entry("file", 5), segment(b"")]);
    // What has no content needs no entry.
    lines.extend([&s.padded[5..], &s.link, &END].concat().chunks(1).map(segment));
    let log = log(&lines);
    let mut headers = Headers::new(&log[..]);
    for (name, size) in [(&b"file"[..], 5), (b"link", 0)] {
        let member = headers.next_member().unwrap().unwrap();
        assert_eq!((&member.name[..], member.size), (name, size));
        assert!(!headers.holds_content());
        assert_eq!((headers.read(&mut [0]).unwrap(), headers.skip_hole()), (0, 0));
    }
    assert_eq!(headers.finish().unwrap(), s.tar().len() as u64);
}

#[test]
fn sizes_of_pax_records_count() {
    let tar = [pax(b'x', &[(b"size", b"5")]), header(b"file", b'0', 0).to_vec()].concat();
    let head = segment(&tar);
    let rest = segment(&[&[0; 507][..], &END].concat());
    let length = tar.len() as u64 + 512 + 1024;
    assert_eq!(read(&log(&[head.clone(), entry("file", 5), rest.clone()])).unwrap(), length);
    assert!(refusal(&log(&[head, entry("file", 0), rest])).contains("has 0 bytes, its header 5"));
}

#[test]
fn a_sparse_members_content_is_read_from_the_log() {
    let data: [(u64, &[u8]); 3] = [(100, b"abc"), (700, &[7; 600]), (1300, b"x")];
    let mut expanded = vec![0; 5000];
    for (at, bytes) in data {
        expanded[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    let sparse = old_sparse(b"sparse", &data, 5000);
    let tar = [&file(b"before", b"1")[..], &sparse, &file(b"after", b"2"), &END].concat();
    for log in [disassemble(&tar).unwrap().log, skim(&tar).unwrap()] {
        for through_holes in [true, false] {
            let mut headers = Headers::new(&log[..]);
            assert!(headers.next_member().unwrap().is_some() && !headers.holds_content());
            let member = headers.next_member().unwrap().unwrap();
            assert_eq!((&member.name[..], member.size), (&b"sparse"[..], 5000));
            assert!(headers.holds_content());
            let mut content = Vec::new();
            let skipped = if through_holes { 0 } else { headers.skip_hole() };
            assert_eq!(skipped, if through_holes { 0 } else { 100 });
            content.resize(skipped as usize, 0);
            headers.read_to_end(&mut content).unwrap();
            assert!(content == expanded);
            assert!(headers.next_member().unwrap().is_some() && !headers.holds_content());
            assert_eq!(headers.finish().unwrap(), tar.len() as u64);
        }
        assert_eq!(read(&log).unwrap(), tar.len() as u64);
    }
}
