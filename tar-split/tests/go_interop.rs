//! Go's implementation reads our logs, we read Go's, and both make the same log of the same stream.
// The lints leave tests alone, but not the functions that tests share.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use support::generate::{damaged, stream};
use support::tools::{Go, corpus, have};
use support::*;
use tar_split_rs::{Error, Headers, Member};

/// The lines up to the last one with a file, and the bytes in the segments after that: how those are cut into
/// segments depends on the sizes of single reads.
fn split(log: &[u8]) -> (Vec<String>, Vec<u8>) {
    let mut lines: Vec<_> = String::from_utf8_lossy(log).lines().map(str::to_owned).collect();
    let last = lines.iter().rposition(|line| line.starts_with(r#"{"type":1,"#));
    let rest = lines.split_off(last.map_or(0, |last| last + 1)).join("\n");
    (lines, reassemble(rest.as_bytes(), &Contents::new()).unwrap())
}

/// Whether a header that has no payload has a size. Go logs such members with it and the checksum of nothing.
fn has_empty_checksum(log: &[u8]) -> bool {
    String::from_utf8_lossy(log).contains(r#""payload":"AAAAAAAAAAA=""#)
        || String::from_utf8_lossy(log).contains(r#""size":-"#)
}

/// The members that a log alone tells of, and the length of its stream.
fn headers(log: &[u8]) -> Result<(Vec<Member>, usize), Error> {
    let mut headers = Headers::new(log);
    let mut members = Vec::new();
    while let Some(member) = headers.next_member()? {
        members.push(member);
    }
    Ok((members, usize::try_from(headers.finish()?).unwrap()))
}

/// What became of a stream on both sides.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Outcome {
    /// The same log, and each side made the stream of the other's.
    Same,
    /// Both refuse the stream.
    Refused,
    /// Sparse members, which Go can read but cannot log: its log gives another stream.
    Sparse,
    /// A link, directory or device with a size, which Go logs but cannot put together again.
    SizedLink,
    /// A last padding that is not complete, which Go does not log.
    Padding,
}

fn compare(go: &mut Go, name: &str, tar: &[u8]) -> Outcome {
    let theirs = go.disassemble(tar);
    let parts = match disassemble(tar) {
        Ok(parts) => parts,
        Err(error) => {
            assert!(theirs.is_err(), "{name}: only we refuse it: {error}");
            return Outcome::Refused;
        }
    };
    assert!(reassemble(&parts.log, &parts.contents).unwrap() == tar, "{name}: our own way");
    let made = go.assemble(&parts.log, &parts.contents);
    assert!(made.as_deref() == Ok(tar), "{name}: Go does not read our log: {:?}", made.err());
    assert_eq!(headers(&parts.log).unwrap(), (parts.members.clone(), tar.len()), "{name}: ours");
    if parts.members.iter().any(|member| member.sparse.is_some()) {
        return Outcome::Sparse;
    }
    let theirs = theirs.unwrap_or_else(|e| panic!("{name}: only Go refuses it: {e}"));
    if !String::from_utf8_lossy(&theirs).contains(r#""size":-"#) {
        let (members, length) = headers(&theirs).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(members, parts.members, "{name}: the members of Go's log");
        assert!(length == tar.len() || tar.len() - length < 512, "{name}: {length}");
    }
    let made = reassemble(&theirs, &parts.contents);
    let (our_lines, our_rest) = split(&parts.log);
    let (their_lines, their_rest) = split(&theirs);
    if our_rest.len() > their_rest.len() {
        let dropped = our_rest.len() - their_rest.len();
        assert!(our_rest.starts_with(&their_rest) && dropped < 512, "{name}: the end");
        return Outcome::Padding;
    }
    assert!(our_rest == their_rest, "{name}: the end");
    if has_empty_checksum(&theirs) {
        if !String::from_utf8_lossy(&theirs).contains(r#""size":-"#) {
            assert!(made.unwrap() == tar, "{name}: our way from Go's log");
        }
        return Outcome::SizedLink;
    }
    assert_eq!(our_lines, their_lines, "{name}");
    assert!(made.unwrap() == tar, "{name}: our way from Go's log");
    Outcome::Same
}

#[test]
fn streams_of_other_writers() {
    if !(have("go", "version") && have("python3", "--version") && have("tar", "--version")) {
        return;
    }
    let mut go = Go::start();
    let mut corpus = corpus();
    let mut add = |name: &str, parts: &[&[u8]]| corpus.push((name.to_owned(), parts.concat()));
    let (a, b) = (file(b"a", b"12345"), file(b"b", b""));
    add("empty", &[]);
    add("only the end marker", &[&END]);
    add("half an end marker", &[&[0; 512]]);
    add("no end marker", &[&a, &b]);
    add("half an end marker after members", &[&a, &b, &[0; 512]]);
    add("padded to 10 KiB", &[&a, &b, &[0; 8192]]);
    add("two streams", &[&a, &END, &b, &END]);
    add("junk", &[&a, &END, &b"junk\xff<>".repeat(400_000)]);
    add("no last padding", &[&b, &a[..517]]);
    add("incomplete last padding", &[&b, &a[..600]]);
    add("truncated", &[&b, &a[..515]]);
    add("two of a name", &[&a, &a]);
    add("sized link", &[&header(b"l", b'1', 9), &a]);
    add("sized directory", &[&header(b"d/", b'5', 4096), &a]);
    add(
        "pax before a global header",
        &[&pax(b'x', &[(b"path", b"x")]), &pax(b'g', &[(b"path", b"g")]), &a],
    );
    add("long name and pax", &[&gnu_long(b'L', b"long"), &pax(b'x', &[(b"path", b"x")]), &a]);
    add("long extension", &[&pax(b'x', &[(b"path", &[b'n'; 1_000_000])]), &a]);
    for (name, tar) in corpus {
        let outcome = compare(&mut go, &name, &tar);
        let expected = match name.as_str() {
            "truncated" | "two of a name" => Outcome::Refused,
            "incomplete last padding" => Outcome::Padding,
            "sized link" | "sized directory" => Outcome::SizedLink,
            name if name.starts_with("gnu-sparse-") => Outcome::Sparse,
            _ => Outcome::Same,
        };
        assert_eq!(outcome, expected, "{name}");
        if expected == Outcome::Sparse {
            check_expansion(&tar);
            // Of the newest format Go leaves the map out.
            let told = headers(&go.disassemble(&tar).unwrap());
            if name.contains("1.0") {
                assert!(told.is_err(), "{name}");
            } else {
                let (members, length) = told.unwrap();
                assert_eq!(members, disassemble(&tar).unwrap().members, "{name}");
                assert_eq!(length, tar.len(), "{name}");
            }
        }
    }
}

/// The files are those that the corpus was made of: four bytes in each 64 KiB.
fn check_expansion(tar: &[u8]) {
    let parts = disassemble(tar).unwrap();
    for (name, pieces) in [("few", 2), ("many", 60), ("none", 0)] {
        let name = format!("sparse/{name}").into_bytes();
        let at = parts.members.iter().position(|member| member.name == name).unwrap();
        let mut expected = vec![0; pieces * 65536 + 300_000];
        for i in 0..pieces {
            expected[i * 65536 + 4096..][..4].copy_from_slice(b"data");
        }
        assert!(parts.members[at].sparse.is_some());
        // The helper reads the first MiB only.
        expected.truncate(1 << 20);
        assert!(parts.payloads[at] == expected);
    }
}

#[test]
fn random_streams() {
    if !have("go", "version") {
        return;
    }
    let mut go = Go::start();
    let mut runner = TestRunner::deterministic();
    let mut same = 0;
    for i in 0..1200 {
        let tree = if i % 3 == 0 { damaged().boxed() } else { stream().boxed() };
        let tar = tree.new_tree(&mut runner).unwrap().current();
        same += u32::from(compare(&mut go, &format!("stream {i}"), &tar) == Outcome::Same);
    }
    assert!(same > 200, "only {same} streams were logged alike");
}
