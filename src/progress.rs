//! How a long operation tells how far it is, without knowing who watches, and asks whether to go on.

use std::io::{self, Read, Write};

use crate::{Error, ErrorKind, Result};

/// Receives the progress of one operation; a terminal's bars, a log, or nothing ([`Silent`]).
pub trait Progress: Send + Sync {
    /// Begins an item (a layer, a file) of `total` bytes, where the total is known.
    fn start(&self, what: &str, total: Option<u64>) -> Box<dyn ProgressItem>;
}

/// One item of an operation in progress; it ends when it is dropped.
pub trait ProgressItem: Send + Sync {
    /// `bytes` more have been done.
    fn advance(&self, bytes: u64);
    /// The item is done; `note` says how (`done`, `already exists`).
    fn finish(&self, note: &str);
    /// Whether the operation is to stop: it then fails with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) and leaves nothing.
    /// It is asked before each buffer of bytes (some KiB to 256 KiB) that the item is about, and while another process is waited for,
    /// from any thread of the operation. What has begun to take its place in the store or at the output path goes through.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Fails if the item's operation is to stop.
pub(crate) fn check(item: &dyn ProgressItem) -> Result<()> {
    if item.is_cancelled() { Err(cancelled()) } else { Ok(()) }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "going on")
}

/// A [`Progress`] that tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _total: Option<u64>) -> Box<dyn ProgressItem> {
        Box::new(Self)
    }
}

impl ProgressItem for Silent {
    fn advance(&self, _bytes: u64) {}
    fn finish(&self, _note: &str) {}
}

/// Tells `item` of the bytes that pass through `inner`, in either direction, and lets none pass once that is cancelled.
pub struct Counted<'a, T> {
    inner: T,
    item: &'a dyn ProgressItem,
}

impl<'a, T> Counted<'a, T> {
    /// Counts what passes through `inner` for `item`.
    pub fn new(inner: T, item: &'a dyn ProgressItem) -> Self {
        Self { inner, item }
    }
}

impl<T> Counted<'_, T> {
    /// What was wrapped.
    pub(crate) fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: Read> Read for Counted<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        check(self.item).map_err(io::Error::other)?;
        let n = self.inner.read(buf)?;
        self.item.advance(n as u64);
        Ok(n)
    }
}

impl<T: Write> Write for Counted<'_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        check(self.item).map_err(io::Error::other)?;
        let n = self.inner.write(buf)?;
        self.item.advance(n as u64);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads `inner` until `item` is cancelled; its bytes have been counted before.
pub(crate) struct Watched<'a, T> {
    inner: T,
    item: &'a dyn ProgressItem,
}

impl<'a, T> Watched<'a, T> {
    pub(crate) fn new(inner: T, item: &'a dyn ProgressItem) -> Self {
        Self { inner, item }
    }
}

impl<T: Read> Read for Watched<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        check(self.item).map_err(io::Error::other)?;
        self.inner.read(buf)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Cancelled after so many bytes.
    struct Until(AtomicU64, u64);

    impl ProgressItem for Until {
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::SeqCst);
        }
        fn finish(&self, _note: &str) {}
        fn is_cancelled(&self) -> bool {
            self.0.load(Ordering::SeqCst) >= self.1
        }
    }

    fn kind(e: &io::Error) -> ErrorKind {
        e.get_ref().and_then(|e| e.downcast_ref::<Error>()).map(Error::kind).unwrap()
    }

    #[test]
    fn nothing_passes_once_it_is_cancelled() {
        let item = Until(AtomicU64::new(0), 6);
        let (mut from, mut buf) = (&[1u8; 100][..], [0; 4]);
        let mut reader = Counted::new(&mut from, &item);
        assert_eq!((reader.read(&mut buf).unwrap(), reader.read(&mut buf).unwrap()), (4, 4));
        assert_eq!(kind(&reader.read(&mut buf).unwrap_err()), ErrorKind::Cancelled);
        assert_eq!(from.len(), 92);
        let mut to = Vec::new();
        let e = Counted::new(&mut to, &item).write(&buf).unwrap_err();
        assert_eq!((kind(&e), to.len()), (ErrorKind::Cancelled, 0));
        let e = Watched::new(&mut from, &item).read(&mut buf).unwrap_err();
        assert_eq!((kind(&e), from.len()), (ErrorKind::Cancelled, 92));
    }
}
