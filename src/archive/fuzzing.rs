//! What must hold of any archive, tar-split file and compressed stream.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test for any input")]

use std::collections::HashMap;
use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tar_split_rs::{Disassembler, assemble};

use super::compression::sniff;
use super::{
    Compat, Compression, Compressor, TreeFiles, UnpackOptions, Whiteouts, decompressor, disk_usage,
    import, pack_tree, reassemble, unpack,
};
use crate::{ErrorKind, Result};

/// More than this is neither packed nor decompressed: a hole of terabytes is no fault, but takes its time.
const ENOUGH: u64 = 16 << 20;

/// A folder to unpack into, and around it what must not change.
struct Sandbox {
    dir: PathBuf,
}

impl Sandbox {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("orlop-fuzz-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        for name in ["target", "again", "canaries"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        fs::write(dir.join("canaries/file"), "untouched").unwrap();
        fs::write(dir.join("evil"), "untouched").unwrap();
        Self { dir }
    }

    fn open(&self, name: &str) -> OwnedFd {
        fs::File::open(self.dir.join(name)).unwrap().into()
    }

    /// "Nothing escapes" (`design.md`).
    fn check(&self) {
        let canaries = self.dir.join("canaries");
        assert_eq!(fs::read_dir(&canaries).unwrap().count(), 1, "a canary was joined");
        for file in [canaries.join("file"), self.dir.join("evil")] {
            assert_eq!(fs::read_to_string(&file).unwrap(), "untouched");
            assert_eq!(fs::metadata(&file).unwrap().nlink(), 1, "a canary was linked to");
        }
        let mut names: Vec<_> =
            fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["again", "canaries", "evil", "target"]);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        crate::sys::remove::remove_tree(&self.dir).unwrap();
    }
}

/// Nothing outside changes; the tar-split gives the same bytes or an error, never others; what was unpacked can be packed,
/// and that again, to the same bytes. The last byte chooses what happens to whiteouts.
pub(crate) fn tar_unpack(data: &[u8]) {
    if sniff(data).unwrap().0 != Compression::None {
        return;
    }
    let whiteouts = match data.last() {
        Some(1) => Whiteouts::Execute,
        Some(2) => Whiteouts::Keep,
        _ => Whiteouts::Overlay("trusted.overlay."),
    };
    let root = rustix::process::geteuid().is_root();
    let options = UnpackOptions {
        whiteouts,
        in_user_namespace: !root,
        ignore_chown_errors: !root,
        ..UnpackOptions::default()
    };
    let sandbox = Sandbox::new();
    let target = sandbox.open("target");
    let mut split = Vec::new();
    let outcome = import(&mut Cursor::new(data), target.as_fd(), &options, Some(&mut split));
    sandbox.check();
    let usage = disk_usage(target.as_fd()).unwrap();
    let facts = match outcome {
        Ok(facts) => facts,
        Err(e) => {
            assert_ne!(e.kind(), ErrorKind::Internal, "{e}");
            return;
        }
    };
    assert_eq!(facts.diff_digest, crate::Digest::sha256(data));
    if usage.size > ENOUGH {
        return;
    }
    let mut out = Vec::new();
    if reassemble(&mut &split[..], &TreeFiles::new(vec![sandbox.open("target")]), &mut out).is_ok()
    {
        assert!(out == data, "the tar-split gives another stream");
    }
    let first = packed(&target).unwrap();
    let again = sandbox.open("again");
    let keep = UnpackOptions { whiteouts: Whiteouts::Keep, ..options };
    unpack(&mut &first[..], again.as_fd(), &keep).unwrap();
    assert!(packed(&again).unwrap() == first, "a tree that was packed and unpacked is another");
    sandbox.check();
}

fn packed(root: &OwnedFd) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    pack_tree(root.as_fd(), Compat::Current, &mut out)?;
    Ok(out)
}

/// A stream that can be taken apart comes together again, whether the payloads were read or passed over, and its log is no
/// longer than its bytes account for.
pub(crate) fn tar_split(data: &[u8]) {
    let skimmed = Disassembler::new(data, Vec::new()).finish();
    let mut contents = HashMap::new();
    let mut parts = Disassembler::new(data, Vec::new());
    let read = loop {
        match parts.next_member() {
            Err(e) => break Err(e),
            Ok(None) => break parts.finish(),
            Ok(Some(member)) => {
                let limit = if member.sparse.is_some() { ENOUGH } else { u64::MAX };
                let mut content = Vec::new();
                // What is wrong here comes again from the next member.
                if parts.by_ref().take(limit).read_to_end(&mut content).is_ok() {
                    assert_eq!(content.len() as u64, member.size.min(limit));
                }
                if member.sparse.is_none() {
                    contents.insert(member.name, content);
                }
            }
        }
    };
    let logs = match (skimmed, read) {
        (Ok((_, skimmed)), Ok((_, read))) => [skimmed, read],
        (Err(_), Err(_)) => return,
        (one, other) => panic!("passed over it is {one:?}, read it is {other:?}"),
    };
    let open = |name: &[u8]| match contents.get(name) {
        Some(content) => Ok(Box::new(&content[..]) as Box<dyn Read>),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    for log in logs {
        assert!(log.len() <= 3 * data.len() + 1024, "a log of {} bytes", log.len());
        let mut out = Vec::new();
        assert_eq!(assemble(&log[..], &open, &mut out).unwrap(), data.len() as u64);
        assert!(out == data, "the stream that comes together is another");
    }
}

/// What a log asks for is what it gets, to the byte; taken apart, the result has no more in it than the log and its files.
pub(crate) fn tar_split_log(data: &[u8]) {
    const CONTENT: &[u8] = b"hello\n";
    let asked = std::cell::Cell::new(0);
    let open = |name: &[u8]| {
        asked.set(asked.get() + 1);
        if name.ends_with(b"!") {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(CONTENT) as Box<dyn Read>)
    };
    let mut out = Vec::new();
    let Ok(length) = assemble(data, &open, &mut out) else { return };
    assert_eq!(length, out.len() as u64);
    assert!(out.len() <= data.len() + CONTENT.len() * asked.get());
    let mut same = Vec::new();
    assemble(data, &open, &mut same).unwrap();
    assert!(out == same);
    tar_split(&out);
}

pub(crate) fn gzip(data: &[u8]) {
    compressed(Compression::Gzip, data);
}

pub(crate) fn zstd(data: &[u8]) {
    compressed(Compression::Zstd, data);
}

pub(crate) fn xz(data: &[u8]) {
    compressed(Compression::Xz, data);
}

pub(crate) fn bzip2(data: &[u8]) {
    compressed(Compression::Bzip2, data);
}

/// The result does not depend on the sizes of reads on either side, and a stream that was whole is refused when it is cut.
///
/// Of zstd one reading may refuse what the other accepts: libzstd looks at the limit of the window only where it does not get
/// a frame as a whole.
fn compressed(kind: Compression, data: &[u8]) {
    if sniff(data).unwrap().0 != kind {
        return;
    }
    let whole = plain(data, data.len(), 1 << 16);
    let pieces = plain(data, 7, 61);
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert!(whole == pieces, "depends on how it is read"),
        (Err(_), Err(_)) => {}
        _ if kind == Compression::Zstd => {}
        (whole, pieces) => panic!("{:?} or {:?}", whole.as_ref().err(), pieces.as_ref().err()),
    }
    let Ok(whole) = whole else { return };
    if whole.len() as u64 == ENOUGH {
        return;
    }
    if let Compression::Gzip | Compression::Zstd = kind {
        let mut compressor = Compressor::new(kind, Vec::new()).unwrap();
        compressor.write_all(&whole).unwrap();
        let again = compressor.finish().unwrap();
        assert!(plain(&again, again.len(), 1 << 16).unwrap() == whole);
        assert!(plain(&again[..again.len() - 1], again.len(), 1 << 16).is_err(), "a cut stream");
    }
}

/// What is behind the codec, at most [`ENOUGH`].
fn plain(data: &[u8], source_piece: usize, piece: usize) -> io::Result<Vec<u8>> {
    /// Gives a few bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let most = buf.len().min(self.1);
            self.0.read(&mut buf[..most])
        }
    }

    let (_, mut plain) = decompressor(Box::new(Pieces(data, source_piece.max(1)))).unwrap();
    let mut buf = vec![0; piece];
    let mut out = Vec::new();
    loop {
        match plain.read(&mut buf)? {
            0 => return Ok(out),
            n => out.extend_from_slice(&buf[..n]),
        }
        if out.len() as u64 >= ENOUGH {
            out.truncate(usize::try_from(ENOUGH).unwrap());
            return Ok(out);
        }
    }
}
