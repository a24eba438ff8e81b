//! Tar stream to directory tree and back: compression, digests, whiteouts, unpack, pack, changes.
//!
//! Knows nothing of stores or drivers: it works on streams and directory descriptors.

mod types;

pub use types::{
    Change, ChangeKind, Compression, DiskUsage, FileSource, LayerFacts, UnpackOptions, Whiteouts,
};

use crate::{Error, ErrorKind, Result};
use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

fn no<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Internal, "stand-in"))
}
/// x
pub fn unpack(_: &mut (dyn Read + Send), _: BorrowedFd<'_>, _: &UnpackOptions) -> Result<u64> {
    no()
}
/// x
pub struct TreeFiles(#[allow(dead_code)] Vec<OwnedFd>);
impl TreeFiles {
    /// x
    pub fn new(r: Vec<OwnedFd>) -> Self {
        Self(r)
    }
}
impl FileSource for TreeFiles {
    fn open(&self, _: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}
/// x
pub fn pack_upper(
    _: BorrowedFd<'_>,
    _: &[BorrowedFd<'_>],
    _: &str,
    _: &mut dyn Write,
) -> Result<()> {
    no()
}
/// x
pub fn pack_tree(_: BorrowedFd<'_>, _: &mut dyn Write) -> Result<()> {
    no()
}
/// x
pub fn pack_changes(_: BorrowedFd<'_>, _: &[Change], _: &mut dyn Write) -> Result<()> {
    no()
}
/// x
pub fn changes_in_upper(_: BorrowedFd<'_>, _: &[BorrowedFd<'_>], _: &str) -> Result<Vec<Change>> {
    no()
}
/// x
pub fn changes_between(_: BorrowedFd<'_>, _: Option<BorrowedFd<'_>>) -> Result<Vec<Change>> {
    no()
}
/// x
pub fn disk_usage(_: BorrowedFd<'_>) -> Result<DiskUsage> {
    no()
}
/// x
pub fn copy_tree(_: BorrowedFd<'_>, _: BorrowedFd<'_>) -> Result<()> {
    no()
}

/// x
pub fn import(_: &mut (dyn Read + Send), _: BorrowedFd<'_>, _: &UnpackOptions, _: Option<&mut (dyn Write + Send)>) -> Result<LayerFacts> { no() }
/// x
pub fn reassemble(_: &mut dyn Read, _: &dyn FileSource, _: &mut dyn Write) -> Result<u64> { no() }
/// x
pub struct Compressor<W>(W);
impl<W: Write> Compressor<W> { /// x
 pub fn new(_: Compression, _: W) -> Result<Self> { no() } /// x
 pub fn finish(self) -> Result<W> { no() } }
impl<W: Write> Write for Compressor<W> { fn write(&mut self, b: &[u8]) -> std::io::Result<usize> { self.0.write(b) } fn flush(&mut self) -> std::io::Result<()> { Ok(()) } }
