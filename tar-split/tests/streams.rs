//! What streams of all sorts come apart into, and that they come together again.
// The lints leave tests alone, but not the functions that tests share.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::io::{self, Cursor, Read};

use support::*;
use tar_split_rs::{Disassembler, Error, Extent, MemberKind, Time, assemble};

/// Takes a stream apart, and checks that both ways of doing so give logs from which it can be made again.
fn round_trip(tar: &[u8]) -> Parts {
    let parts = disassemble(tar).unwrap();
    assert_eq!(reassemble(&parts.log, &parts.contents).unwrap(), tar);
    assert_eq!(reassemble(&skim(tar).unwrap(), &parts.contents).unwrap(), tar);
    parts
}

fn refusal(tar: &[u8]) -> Error {
    disassemble(tar).unwrap_err()
}

fn log_lines(parts: &Parts) -> Vec<String> {
    String::from_utf8(parts.log.clone()).unwrap().lines().map(str::to_owned).collect()
}

fn file_lines(parts: &Parts) -> Vec<String> {
    log_lines(parts).into_iter().filter(|line| line.starts_with("{\"type\":1,")).collect()
}

#[test]
fn a_plain_stream() {
    let tar = [file(b"./etc/hello", b"hello\n"), file(b"./etc/empty", b""), END.to_vec()].concat();
    let parts = round_trip(&tar);
    let lines = log_lines(&parts);
    assert_eq!(lines.len(), 5);
    // store-format 8: the entry and the checksum of the example.
    assert_eq!(
        lines[1],
        r#"{"type":1,"name":"./etc/hello","size":6,"payload":"YUw+7uLYEAA=","position":1}"#
    );
    assert_eq!(lines[3], r#"{"type":1,"name":"./etc/empty","payload":null,"position":3}"#);
    let hello = &parts.members[0];
    assert_eq!(
        (hello.kind, hello.mode, hello.uid, hello.gid),
        (MemberKind::File, 0o644, 1000, 1001)
    );
    assert_eq!(hello.mtime, Time { seconds: 0o14_000_000_000, nanos: 0 });
    assert_eq!(parts.payloads[0], b"hello\n");
}

#[test]
fn streams_without_members() {
    assert!(round_trip(b"").log.is_empty());
    assert_eq!(log_lines(&round_trip(&[0; 512])).len(), 1);
    assert_eq!(log_lines(&round_trip(&END)).len(), 1);
    assert_eq!(log_lines(&round_trip(&[0; 10240])).len(), 2);
}

#[test]
fn what_follows_the_end_marker_is_kept_in_pieces() {
    let junk: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let tar = [&file(b"a", b"1")[..], &END, &junk].concat();
    let lines = log_lines(&round_trip(&tar));
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| line.len() < 1_500_000));
}

#[test]
fn the_end_marker_and_the_last_padding_may_be_missing() {
    let tar = file(b"a", b"12345");
    round_trip(&tar);
    round_trip(&tar[..517]);
    // Go drops an incomplete padding; here it is kept.
    round_trip(&tar[..600]);
}

#[test]
fn a_truncated_stream_is_refused() {
    let tar = [pax(b'x', &[(b"path", b"b")]), file(b"a", b"12345"), END.to_vec()].concat();
    for (length, inside) in [
        (100, "a header"),
        (515, "an extension header"),
        (1200, "a header"),
        (1538, "the content of a member"),
        (2060, "a header"),
        (2570, "the end marker"),
    ] {
        let error = refusal(&tar[..length]);
        assert!(matches!(error, Error::Truncated { .. }), "{length}: {error}");
        assert_eq!(
            error.to_string(),
            format!("truncated tar stream: it ends at byte {length}, inside {inside}")
        );
        assert!(matches!(skim(&tar[..length]), Err(Error::Truncated { .. })));
    }
}

#[test]
fn malformed_headers_are_refused_with_their_place() {
    let text = "this is no tar stream ".repeat(50);
    assert_eq!(
        refusal(text.as_bytes()).to_string(),
        "malformed tar stream, in the header that begins at byte 0: the checksum is wrong, this is not a tar header"
    );
    let tar = [file(b"a", b"1"), vec![0; 512], file(b"b", b"2")].concat();
    assert!(matches!(refusal(&tar), Error::Malformed { offset: 1024, .. }));
    let negative = edit(header(b"a", b'0', 0), |b| b[124..136].fill(0xff));
    assert!(matches!(refusal(&negative), Error::Malformed { offset: 0, .. }));
    let tar = [pax(b'x', &[(b"mtime", b"soon")]), file(b"a", b"1")].concat();
    assert!(matches!(refusal(&tar), Error::Malformed { offset: 1024, .. }));
}

#[test]
fn duplicates_are_refused_with_the_name() {
    // ARC-3, store-format.md 16.23
    let tar = [file(b"a/b", b"1"), file(b"./a//b/", b"2"), END.to_vec()].concat();
    let error = refusal(&tar);
    assert!(matches!(&error, Error::DuplicateName { name } if name == b"./a//b/"));
    assert_eq!(error.to_string(), r#"duplicates of file paths not supported: "./a//b/""#);
    let tar = [old_sparse(b"a", &[(0, b"x")], 10), file(b"a", b"2")].concat();
    assert!(matches!(refusal(&tar), Error::DuplicateName { .. }));
}

#[test]
fn after_an_error_the_stream_is_given_up() {
    let tar = [file(b"a", b"1"), file(b"a", b"2"), file(b"c", b"")].concat();
    let mut disassembler = Disassembler::new(&tar[..], io::sink());
    disassembler.next_member().unwrap();
    assert!(matches!(disassembler.next_member(), Err(Error::DuplicateName { .. })));
    assert!(matches!(disassembler.next_member(), Err(Error::GivenUp)));
    assert!(disassembler.read(&mut [0]).is_err());
    assert!(matches!(disassembler.finish(), Err(Error::GivenUp)));
}

#[test]
fn names_come_from_pax_gnu_and_prefix() {
    let long = b"d/".repeat(3000);
    let prefixed = edit(header(b"name", b'0', 0), |b| b[345..351].copy_from_slice(b"prefix"));
    let star = edit(header(b"name", b'0', 0), |b| {
        b[345..349].copy_from_slice(b"star");
        b[476..487].copy_from_slice(b"00000000007");
        b[508..512].copy_from_slice(b"tar\0");
    });
    let tar = [
        prefixed.to_vec(),
        star.to_vec(),
        [gnu_long(b'L', &long), gnu_long(b'K', b"target"), header(b"cut", b'2', 0).to_vec()]
            .concat(),
        [pax(b'x', &[(b"path", b"p/\xff"), (b"linkpath", b"l")]), header(b"cut", b'1', 0).to_vec()]
            .concat(),
        // Where both are there GNU's wins, and of two headers of a kind the last.
        [
            gnu_long(b'L', b"no"),
            gnu_long(b'L', b"yes"),
            pax(b'x', &[(b"path", b"p")]),
            file(b"cut", b""),
        ]
        .concat(),
        [pax(b'x', &[(b"path", b"")]), file(b"kept", b"")].concat(),
        // Extensions are forgotten at a global header, which has a name itself.
        [pax(b'x', &[(b"path", b"lost")]), pax(b'g', &[(b"path", b"global")]), file(b"own", b"")]
            .concat(),
    ]
    .concat();
    let parts = round_trip(&tar);
    let names: Vec<_> = parts.members.iter().map(|m| &m.name[..]).collect();
    assert_eq!(
        names,
        [&b"prefix/name"[..], b"star/name", &long, b"p/\xff", b"yes", b"kept", b"global", b"own"]
    );
    assert_eq!(parts.members[1].atime, Some(Time { seconds: 7, nanos: 0 }));
    assert_eq!(parts.members[2].link_name, b"target");
    assert_eq!(parts.members[3].link_name, b"l");
    assert_eq!(parts.members[6].kind, MemberKind::Global);
    assert!(file_lines(&parts)[3].contains(r#""name_raw":"cC//""#));
}

#[test]
fn kinds() {
    let flags = b"0123456\x007V";
    let mut tar: Vec<u8> = flags
        .iter()
        .enumerate()
        .flat_map(|(i, &flag)| header(format!("name{i}").as_bytes(), flag, 0))
        .collect();
    tar.extend(edit(header(b"old/", 0, 77), |b| b[257..265].fill(0)));
    let kinds: Vec<_> = round_trip(&tar).members.iter().map(|m| m.kind).collect();
    use MemberKind::*;
    assert_eq!(
        kinds,
        [
            File,
            HardLink,
            Symlink,
            CharDevice,
            BlockDevice,
            Directory,
            Fifo,
            File,
            Contiguous,
            Other(b'V'),
            Directory
        ]
    );
}

#[test]
fn numbers_and_times() {
    let tar = [
        pax(
            b'x',
            &[
                (b"uid", b"4294967294"),
                (b"gid", b"3000000"),
                (b"mtime", b"-1.25"),
                (b"atime", b"1.5"),
                (b"size", b"3"),
                (b"SCHILY.xattr.user.a", b"1"),
                (b"SCHILY.xattr.user.empty", b""),
                (b"SCHILY.xattr.user.a", b"\0\xff"),
            ],
        ),
        member(header(b"a", b'0', 0), b"abc"),
        edit(header(b"dev", b'3', 0), |b| {
            b[329..337].copy_from_slice(b"0000010\0");
            b[337..345].copy_from_slice(b"\x80\0\0\0\0\x01\0\0");
        })
        .to_vec(),
    ]
    .concat();
    let parts = round_trip(&tar);
    let a = &parts.members[0];
    assert_eq!((a.uid, a.gid, a.size), (4_294_967_294, 3_000_000, 3));
    assert_eq!(a.mtime, Time { seconds: -2, nanos: 750_000_000 });
    assert_eq!(a.atime, Some(Time { seconds: 1, nanos: 500_000_000 }));
    assert_eq!(
        a.xattrs,
        [(b"user.a".to_vec(), b"\0\xff".to_vec()), (b"user.empty".to_vec(), Vec::new())]
    );
    assert_eq!(parts.payloads[0], b"abc");
    assert_eq!((parts.members[1].dev_major, parts.members[1].dev_minor), (8, 65536));
}

#[test]
fn extension_headers_are_limited() {
    // ARC-5
    let data = record(b"comment", &vec![b'x'; 1 << 20]);
    let tar = [member(header(b"x", b'x', data.len() as u64), &data), file(b"a", b"")].concat();
    let error = refusal(&tar);
    assert_eq!(
        error.to_string(),
        "the size of a PAX or GNU extension header in bytes exceeds the limit of 1048576: \"x\""
    );
    // Just below it, and many of them: memory stays bounded as the log goes out in pieces.
    let data = record(b"comment", &vec![b'x'; 1_000_000]);
    let one = member(header(b"x", b'x', data.len() as u64), &data);
    let tar = [one.repeat(12), file(b"a", b"1")].concat();
    let parts = round_trip(&tar);
    assert!(log_lines(&parts).iter().all(|line| line.len() < 8_000_000));
}

#[test]
fn links_with_a_size_have_no_payload() {
    let tar =
        [header(b"l", b'1', 5).to_vec(), header(b"d/", b'5', 4096).to_vec(), file(b"f", b"12345")]
            .concat();
    let parts = round_trip(&tar);
    assert_eq!(parts.members[0].size, 0);
    assert_eq!(
        file_lines(&parts)[..2],
        [
            r#"{"type":1,"name":"l","payload":null,"position":1}"#,
            r#"{"type":1,"name":"d/","payload":null,"position":3}"#
        ]
    );
    // The same as Go logs it, which Go itself cannot put together again.
    let log = String::from_utf8(parts.log.clone())
        .unwrap()
        .replace(r#""name":"l","payload":null"#, r#""name":"l","size":5,"payload":"AAAAAAAAAAA=""#);
    assert_eq!(reassemble(log.as_bytes(), &parts.contents).unwrap(), tar);
}

/// The expansion of the sparse members below.
fn expanded() -> Vec<u8> {
    let mut data = vec![0; 5000];
    data[512..515].copy_from_slice(b"abc");
    data[4000..4004].copy_from_slice(b"defg");
    data
}

fn check_sparse(tar: &[u8], kind: MemberKind) {
    let parts = round_trip(&[tar, &file(b"after", b"x"), &END].concat());
    let member = &parts.members[0];
    assert_eq!((&member.name[..], member.size, member.kind), (&b"sparse"[..], 5000, kind));
    assert_eq!(
        member.sparse.as_deref().unwrap(),
        [Extent { offset: 512, length: 3 }, Extent { offset: 4000, length: 4 }]
    );
    assert!(parts.payloads[0] == expanded());
    // ARC-4: no file entry, so that nobody looks for the stored bytes in a file.
    assert_eq!(file_lines(&parts).len(), 1);
    assert_eq!(parts.payloads[1], b"x");
}

#[test]
fn sparse_members_in_gnu_s_old_format() {
    check_sparse(
        &old_sparse(b"sparse", &[(512, b"abc"), (4000, b"defg")], 5000),
        MemberKind::Sparse,
    );
    // A map with extension blocks.
    let map: Vec<(u64, &[u8])> = (0..60).map(|i| (i * 10, &b"0123456"[..])).collect();
    let parts = round_trip(&[old_sparse(b"s", &map, 700), file(b"after", b"x")].concat());
    assert_eq!(parts.members[0].sparse.as_ref().unwrap().len(), 60);
    assert_eq!(parts.payloads[0].len(), 700);
    assert!(parts.payloads[0].starts_with(b"0123456\0\0\x000123456"));
}

#[test]
fn sparse_members_in_the_pax_formats() {
    let data = pad(b"abcdefg".to_vec());
    let zero_zero: [(&[u8], &[u8]); 7] = [
        (b"GNU.sparse.size", b"5000"),
        (b"GNU.sparse.numblocks", b"2"),
        (b"GNU.sparse.offset", b"512"),
        (b"GNU.sparse.numbytes", b"3"),
        (b"GNU.sparse.offset", b"4000"),
        (b"GNU.sparse.numbytes", b"4"),
        (b"comment", b""),
    ];
    let head = header(b"sparse", b'0', 7).to_vec();
    check_sparse(&[pax(b'x', &zero_zero), head.clone(), data.clone()].concat(), MemberKind::File);
    let zero_one: [(&[u8], &[u8]); 4] = [
        (b"GNU.sparse.size", b"5000"),
        (b"GNU.sparse.name", b"sparse"),
        (b"GNU.sparse.numblocks", b"2"),
        (b"GNU.sparse.map", b"512,3,4000,4"),
    ];
    let head = header(b"GNUSparseFile.1/x", b'0', 7).to_vec();
    check_sparse(&[pax(b'x', &zero_one), head, data.clone()].concat(), MemberKind::File);
    let one_zero: [(&[u8], &[u8]); 4] = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", b"sparse"),
        (b"GNU.sparse.realsize", b"5000"),
    ];
    let map = pad(b"2\n512\n3\n4000\n4\n".to_vec());
    let head = header(b"GNUSparseFile.1/x", b'0', 512 + 7).to_vec();
    check_sparse(&[pax(b'x', &one_zero), head, map, data].concat(), MemberKind::File);
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    for (map, size) in [
        ("512,3,4000,4", "4003"),
        ("512,3,4000,3", "5000"),
        ("512,3,514,4", "5000"),
        ("-1,3,0,4", "5000"),
        ("1,3,9", "50"),
    ] {
        let records: [(&[u8], &[u8]); 3] = [
            (b"GNU.sparse.size", size.as_bytes()),
            (b"GNU.sparse.numblocks", b"2"),
            (b"GNU.sparse.map", map.as_bytes()),
        ];
        let tar = [pax(b'x', &records), file(b"a", b"abcdefg")].concat();
        assert!(matches!(refusal(&tar), Error::Malformed { .. }), "{map}");
    }
}

#[test]
fn reads_may_be_short_interrupted_or_fail() {
    struct Slow<'a>(&'a [u8], bool);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let length = buffer.len().min(7);
            self.0.read(&mut buffer[..length])
        }
    }
    let tar =
        [file(b"a", &[b'x'; 2000]), old_sparse(b"s", &[(9, b"abcdefghijk")], 100), END.to_vec()]
            .concat();
    let parts = disassemble_from(Slow(&tar, false)).unwrap();
    assert_eq!(parts.log, disassemble(&tar).unwrap().log);

    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let error = disassemble_from((&tar[..700]).chain(Failing)).unwrap_err();
    assert_eq!(error.to_string(), "reading the tar stream: the disk is gone");
}

#[test]
fn changed_content_is_noticed() {
    let tar = [file(b"./a", b"hello\n"), END.to_vec()].concat();
    let log = skim(&tar).unwrap();
    let with = |content: &[u8]| {
        reassemble(&log, &Contents::from([(b"./a".to_vec(), content.to_vec())]))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(with(b"hellO\n"), r#"file integrity checksum failed for "./a""#);
    assert_eq!(
        with(b"hello"),
        r#"file integrity checksum failed for "./a": it is shorter than the 6 bytes recorded"#
    );
    assert_eq!(
        with(b"hello\n\n"),
        r#"file integrity checksum failed for "./a": it is longer than the 6 bytes recorded"#
    );
    let error = reassemble(&log, &Contents::new()).unwrap_err();
    assert!(matches!(&error, Error::Content { name, .. } if name == b"./a"), "{error}");
}

#[test]
fn logs_are_read_as_go_reads_them() {
    // Any boundaries, positions and unknown keys; blank lines; no line feed at the end.
    let log = "{\"type\":2,\"payload\":\"YQ==\",\"position\":7}\n\n{\"type\":2,\"payload\":\"\",\"position\":7}\n\
        {\"type\":1,\"name\":\"n\",\"payload\":null}\n{\"type\":2,\"payload\":\"YmM=\",\"extra\":[{}]}";
    assert_eq!(reassemble(log.as_bytes(), &Contents::new()).unwrap(), b"abc");
    let n = r#"{"type":1,"name":"n","payload":null,"position":0}"#;
    let twice = format!("{n}\n{}", n.replace("\"n\"", "\"./n\""));
    assert!(matches!(
        reassemble(twice.as_bytes(), &Contents::new()),
        Err(Error::DuplicateName { name }) if name == b"./n"
    ));
}

#[test]
fn malformed_logs_are_refused_with_the_line() {
    for bad in [
        "nonsense",
        "{\"type\":2,\"payload\":\"Y\"}",
        "{\"type\":3,\"payload\":\"\"}",
        "{\"payload\":\"\"}",
        "{\"type\":1,\"name\":\"a\",\"size\":-1,\"payload\":null}",
        "{\"type\":1,\"name\":\"a\",\"size\":1,\"payload\":null}",
        "{\"type\":2,\"payload\":\"YQ==",
    ] {
        let log = format!("{{\"type\":2,\"payload\":\"YQ==\"}}\n{bad}\n");
        let error = reassemble(log.as_bytes(), &Contents::new()).unwrap_err();
        assert!(matches!(error, Error::Record { line: 2, .. }), "{bad}: {error}");
        assert!(error.to_string().starts_with("malformed tar-split file, line 2: "), "{error}");
    }
}

#[test]
fn a_line_without_end_is_refused() {
    let log = io::BufReader::new(io::repeat(b' '));
    let error = assemble(log, &|_| Ok(Box::new(Cursor::new([]))), &mut io::sink()).unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { limit: 0x400_0000, .. }), "{error}");
}
