//! What a caller's reader or writer fails with is what the operation fails with; and on which threads it is called.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;

use super::*;
use crate::archive::{Compression, Compressor};
use crate::driver::{ApplyOptions, DiffOptions};
use crate::sys::threads::testing::{ALL, NAMES, mask, masks};
use crate::{Error, ErrorKind, LayerId};

/// Passes so many bytes, then fails with an error of ours.
struct Failing<T> {
    inner: T,
    left: usize,
    kind: ErrorKind,
}

impl<T> Failing<T> {
    fn new(inner: T, left: usize, kind: ErrorKind) -> Self {
        Self { inner, left, kind }
    }

    fn pass(&mut self, wanted: usize) -> io::Result<usize> {
        if self.left == 0 && wanted > 0 {
            return Err(io::Error::other(Error::new(self.kind, "as a test")));
        }
        let most = self.left.min(wanted);
        self.left -= most;
        Ok(most)
    }
}

impl<T: Read> Read for Failing<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = self.pass(buf.len())?;
        self.inner.read(&mut buf[..most])
    }
}

impl<T: Write> Write for Failing<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let most = self.pass(buf.len())?;
        self.inner.write(&buf[..most])
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const KINDS: [ErrorKind; 2] = [ErrorKind::Cancelled, ErrorKind::PolicyRejected];

/// A few files, in every place where a stream can end: headers, small files, one that is written while it is read.
fn tar() -> Vec<u8> {
    let large = "0123456789abcdef".repeat(40_000);
    tar_of(&[("d/", ""), ("d/a", "text"), ("large", &large), ("z", "end")])
}

fn packed(kind: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(kind, Vec::new()).unwrap();
    compressor.write_all(bytes).unwrap();
    compressor.finish().unwrap()
}

#[test]
fn a_failing_reader_is_what_an_import_fails_with() {
    let f = Fixture::new();
    let store = f.store();
    import(&store, "base", None, &[("a", "b")]);
    let before = f.records("layers");
    let layers = f.listing("graph");
    for codec in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let bytes = packed(codec, &tar());
        for at in [0, 3, 6, 100, 512, 600, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
            for wanted in KINDS {
                let mut stream = Failing::new(&bytes[..], at.min(bytes.len()), wanted);
                let found = kind(store.import_layer(named("x"), &mut stream));
                assert_eq!(found, wanted, "{codec:?} {at}");
            }
        }
    }
    assert_eq!(f.records("layers"), before);
    assert_eq!(f.listing("graph"), layers);
    assert!(store.import_layer(named("x"), &mut &tar()[..]).is_ok());
}

#[test]
fn a_failing_reader_is_what_applying_a_diff_fails_with() {
    for driver in [Fixture::new().driver, "vfs"] {
        let f = Fixture::with_driver(driver);
        let store = f.store();
        let id = store.create_layer(named("x")).unwrap().id.clone();
        let valid = LayerId::new(id.as_str()).unwrap();
        for at in [0, 100, 512, 600, 1024, 3000, 400_000] {
            for wanted in KINDS {
                let tar = tar();
                let found = kind(store.apply_diff(&id, &mut Failing::new(&tar[..], at, wanted)));
                assert_eq!(found, wanted, "{driver} {at}");
                let mut stream = Failing::new(&tar[..], at, wanted);
                let found =
                    kind(store.driver.apply_diff(&valid, &ApplyOptions::default(), &mut stream));
                assert_eq!(found, wanted, "{driver} {at}, by the driver");
                let dir = f.path("unpacked");
                std::fs::create_dir_all(&dir).unwrap();
                let root = std::fs::File::open(&dir).unwrap();
                let options = store.driver.content(&valid, &ApplyOptions::default()).unwrap().1;
                let mut stream = Failing::new(&tar[..], at, wanted);
                let found = kind(crate::archive::unpack(&mut stream, root.as_fd(), &options));
                assert_eq!(found, wanted, "{driver} {at}, unpacking");
            }
        }
    }
}

#[test]
fn a_failing_writer_is_what_an_export_fails_with() {
    // DEF-29, TAR-10
    for driver in [Fixture::new().driver, "vfs"] {
        let f = Fixture::with_driver(driver);
        let store = f.store();
        let by_split = store.import_layer(named("split"), &mut &tar()[..]).unwrap().id.clone();
        let plain = store.create_layer(named("plain")).unwrap().id.clone();
        let valid = LayerId::new(plain.as_str()).unwrap();
        store.driver.apply_diff(&valid, &ApplyOptions::default(), &mut &tar()[..]).unwrap();
        for id in [&by_split, &plain] {
            for codec in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let mut whole = Vec::new();
                store.diff(id, None, Some(codec), &mut whole).unwrap();
                for at in [0, 5, whole.len() / 2, whole.len() - 1] {
                    for wanted in KINDS {
                        let mut out = Failing::new(io::sink(), at, wanted);
                        let found = kind(store.diff(id, None, Some(codec), &mut out));
                        assert_eq!(found, wanted, "{driver} {id} {codec:?} {at}");
                    }
                }
            }
            for at in [0, 600, 300_000] {
                let mut out = Failing::new(io::sink(), at, ErrorKind::Cancelled);
                let id = LayerId::new(id.as_str()).unwrap();
                let found = kind(store.driver.diff(&id, None, &DiffOptions::default(), &mut out));
                assert_eq!(found, ErrorKind::Cancelled, "{driver} {at}");
            }
        }
    }
}

/// What the kernel says of threads while a stream is read or written.
struct Watching<T> {
    inner: T,
    wanted: &'static [&'static str],
    seen: Mutex<Vec<(String, u64)>>,
}

impl<T> Watching<T> {
    fn new(inner: T, wanted: &'static [&'static str]) -> Self {
        Self { inner, wanted, seen: Mutex::default() }
    }

    fn look(&self) {
        let mut seen = self.seen.lock().unwrap();
        let own = mask("/proc/thread-self/status").unwrap();
        let is_ours = NAMES.contains(&own.0.as_str());
        // A thread has its name as soon as it runs; those that wait for what is read here cannot end before.
        for _ in 0..2000 {
            seen.extend(masks());
            let all = self.wanted.iter().all(|name| seen.iter().any(|(found, _)| found == name));
            if all || !is_ours {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        seen.extend(Some(own).filter(|_| is_ours));
    }

    fn check(&self) {
        let seen = self.seen.lock().unwrap();
        for (name, mask) in seen.iter() {
            // The C library blocks two signals of its own besides, while a thread begins or ends.
            assert_eq!(mask & ALL, ALL, "{name} blocks {mask:x} only");
        }
        for name in self.wanted {
            assert!(seen.iter().any(|(found, _)| found == name), "{name} was not seen");
        }
    }
}

impl<T: Read> Read for Watching<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.look();
        self.inner.read(buf)
    }
}

impl<T: Write> Write for Watching<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.look();
        self.inner.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_signal_handler_runs_on_threads_of_ours() {
    let f = Fixture::new();
    let store = f.store();
    let before = mask("/proc/thread-self/status").unwrap();
    assert_ne!(before.1, ALL);
    // More than the pipes hold: what fills them is still there when the first block is written.
    let large = "0123456789abcdef".repeat(24 << 16);
    let gz = packed(Compression::Gzip, &tar_of(&[("large", &large)]));
    let stages = &["orlop-read", "orlop-decode", "orlop-digest", "orlop-tar-split"];
    let mut stream = Watching::new(&gz[..], stages);
    let layer = store.import_layer(named("x"), &mut stream).unwrap();
    stream.check();
    let mut out = Watching::new(io::sink(), &["orlop-assemble", "orlop-gzip"]);
    store.diff(&layer.id, None, Some(Compression::Gzip), &mut out).unwrap();
    out.check();
    assert_eq!(mask("/proc/thread-self/status").unwrap(), before);
}
