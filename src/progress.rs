//! How a long operation tells how far it is, without knowing who watches.

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

/// Tells `item` of the bytes that pass through `inner`, in either direction.
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

impl<T: std::io::Read> std::io::Read for Counted<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.item.advance(n as u64);
        Ok(n)
    }
}

impl<T: std::io::Write> std::io::Write for Counted<'_, T> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.item.advance(n as u64);
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
