//! Checking content against its digest, whatever the digest's algorithm.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::{Digest, Error, ErrorKind, Result};

/// A hash under way.
#[derive(Debug, Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// The algorithm that `digest` is of.
    pub(super) fn like(digest: &Digest) -> Self {
        match digest.algorithm() {
            "sha384" => Self::Sha384(Sha384::new()),
            "sha512" => Self::Sha512(Sha512::new()),
            _ => Self::sha256(),
        }
    }

    pub(super) fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(h) => h.update(bytes),
            Self::Sha384(h) => h.update(bytes),
            Self::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest as text, `algorithm:hex`.
    pub(super) fn text(self) -> String {
        let (name, raw) = match self {
            Self::Sha256(h) => ("sha256:", h.finalize().to_vec()),
            Self::Sha384(h) => ("sha384:", h.finalize().to_vec()),
            Self::Sha512(h) => ("sha512:", h.finalize().to_vec()),
        };
        raw.iter().fold(name.to_string(), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Refuses bytes that do not have the digest.
pub(super) fn check_bytes(bytes: &[u8], digest: &Digest) -> Result<()> {
    let mut hasher = Hasher::like(digest);
    hasher.update(bytes);
    check(hasher, digest)
}

/// Refuses a hash that is not the digest.
pub(super) fn check(hasher: Hasher, digest: &Digest) -> Result<()> {
    let found = hasher.text();
    if found == digest.as_str() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::DigestMismatch, format!("checking {digest}"))
        .detail(format!("the content has the digest {found}"))
        .hint("the image file is damaged"))
}

/// Hashes and counts what is read or written through it.
pub(super) struct Hashed<T> {
    pub(super) inner: T,
    pub(super) hasher: Hasher,
    pub(super) bytes: u64,
}

impl<T> Hashed<T> {
    pub(super) fn new(inner: T, hasher: Hasher) -> Self {
        Self { inner, hasher, bytes: 0 }
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if let Some(seen) = buf.get(..n) {
            self.saw(seen);
        }
        Ok(n)
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        if let Some(seen) = buf.get(..n) {
            self.saw(seen);
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_checked() {
        // The published digests of the empty string.
        for empty in [
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha384:38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
            "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ] {
            let digest = Digest::parse(empty).unwrap();
            assert!(check_bytes(b"", &digest).is_ok());
            assert_eq!(check_bytes(b"x", &digest).unwrap_err().kind(), ErrorKind::DigestMismatch);
        }
    }
}
