//! Digests and byte counts of streams that go by.

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// A SHA-256 and a length, fed piece by piece.
#[derive(Clone, Default)]
pub(crate) struct Hasher {
    state: Sha256,
    bytes: u64,
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The digest and the number of bytes.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (Digest::from_sha256(self.state.finalize().as_slice()), self.bytes)
    }
}
