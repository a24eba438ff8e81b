//! Memory does not grow with the bytes of a stream, and little with its members. In a program of its own, as it looks
//! at what the whole process has used.

// The lints leave tests alone, but not the functions that tests share.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::io::{self, BufReader, Cursor, Read};

use support::{header, old_sparse};
use tar_split_rs::{Disassembler, assemble};

const MIB: u64 = 1 << 20;

/// The most memory that the process has had so far, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// One stream of many members, made while it is read.
struct Members(std::ops::Range<u32>, Cursor<Vec<u8>>);

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.1.read(buffer)? {
            0 => match self.0.next() {
                Some(i) => {
                    let name = format!("usr/share/a/directory/with/a/longer/name/{i}");
                    self.1 = Cursor::new(header(name.as_bytes(), b'0', 0).to_vec());
                    self.read(buffer)
                }
                None => Ok(0),
            },
            read => Ok(read),
        }
    }
}

#[test]
fn memory_is_bounded() {
    // ARC-5: a large member, a large sparse member, and large padding behind the end marker.
    let before = peak();
    let size = 64 * MIB;
    let sparse = old_sparse(b"sparse", &[(0, b"x")], 4 << 30)[..512].to_vec();
    let large = header(b"large", b'0', size);
    let tar = (&large[..])
        .chain(io::repeat(7).take(size))
        .chain(&sparse[..])
        .chain(io::repeat(b'x').take(512))
        .chain(io::repeat(0).take(64 * MIB));
    let mut disassembler = Disassembler::new(tar, io::sink());
    let mut buffer = vec![0; 1 << 16];
    while let Some(member) = disassembler.next_member().unwrap() {
        let mut read = 0;
        while read < member.size.min(size) {
            read += disassembler.read(&mut buffer).unwrap() as u64;
        }
    }
    disassembler.finish().unwrap();
    let grown = peak() - before;
    assert!(grown < 16 * MIB, "{grown} bytes for content");

    // Just past a size at which the table of names grows, when it is there twice.
    let before = peak();
    let count = 58_000;
    let tar = Members(0..count, Cursor::new(Vec::new()));
    Disassembler::new(tar, io::sink()).finish().unwrap();
    let each = (peak() - before) / u64::from(count);
    assert!(each < 100, "{each} bytes a member");

    // The other way.
    let before = peak();
    let entry = r#"{"type":1,"name":"large","size":67108864,"payload":"AAAAAAAAAAE="}"#;
    let open = |_: &[u8]| Ok(Box::new(io::repeat(7).take(64 * MIB)) as Box<dyn Read>);
    let error = assemble(BufReader::new(entry.as_bytes()), &open, &mut io::sink()).unwrap_err();
    assert!(error.to_string().contains("integrity checksum failed"), "{error}");
    let grown = peak() - before;
    assert!(grown < 2 * MIB, "{grown} bytes for assembling");
}
