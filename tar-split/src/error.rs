//! What can go wrong when a tar stream is taken apart or put together.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Why a tar stream could not be taken apart or put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing one of the streams failed.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The failure.
        source: io::Error,
    },
    /// The tar stream ends inside a member.
    #[error("truncated tar stream: it ends at byte {offset}, inside {inside}")]
    Truncated {
        /// The length of the stream.
        offset: u64,
        /// What the stream ends inside of.
        inside: &'static str,
    },
    /// The bytes are not a tar stream.
    #[error("malformed tar stream, in the header that begins at byte {offset}: {reason}")]
    Malformed {
        /// Where the header begins.
        offset: u64,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },
    /// Two members have the same name once `.`, `..` and needless slashes are gone from them.
    ///
    /// The format has no place for that: Go's implementation refuses such streams, and such files.
    #[error("duplicates of file paths not supported: {}", Quoted(.name))]
    DuplicateName {
        /// The name, as the second member spells it.
        name: Vec<u8>,
    },
    /// A file's content is not what it was when the stream was taken apart.
    #[error("file integrity checksum failed for {}", Quoted(.name))]
    Checksum {
        /// The member's name.
        name: Vec<u8>,
    },
    /// A file has not as many bytes as when the stream was taken apart.
    #[error(
        "file integrity checksum failed for {}: {} than the {expected} bytes recorded",
        Quoted(.name),
        if *.longer { "it is longer" } else { "it is shorter" }
    )]
    Length {
        /// The member's name.
        name: Vec<u8>,
        /// The recorded length in bytes.
        expected: u64,
        /// Whether the file has more bytes than that, or fewer.
        longer: bool,
    },
    /// A file that is needed to put the stream together cannot be opened or read.
    #[error("reading the content of {}: {source}", Quoted(.name))]
    Content {
        /// The member's name.
        name: Vec<u8>,
        /// The failure.
        source: io::Error,
    },
    /// A line of the tar-split file is malformed.
    #[error("malformed tar-split file, line {line}: {reason}")]
    Record {
        /// The line's number, from 1 on.
        line: u64,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },
    /// Something is larger than is accepted.
    #[error("{what} exceeds the limit of {limit}{}{}", if .name.is_empty() { "" } else { ": " }, Name(.name))]
    LimitExceeded {
        /// The name in the header that it belongs to; empty if it belongs to none.
        name: Vec<u8>,
        /// What is too large.
        what: &'static str,
        /// The largest accepted value, in bytes or, where `what` counts something, pieces.
        limit: u64,
    },
    /// The stream was given up because of an earlier error, and cannot be read on.
    #[error("the tar stream was given up after an earlier error")]
    GivenUp,
}

impl Error {
    pub(crate) fn reading(source: io::Error) -> Self {
        Self::Io { action: "reading the tar stream", source }
    }

    pub(crate) fn malformed(offset: u64, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed { offset, reason: reason.into() }
    }
}

/// For [`std::io::Read`], which knows no other errors; the original is inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. } | Error::Content { source, .. } => source.kind(),
            Error::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            Error::GivenUp => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// As [`Quoted`], nothing for no name.
struct Name<'a>(&'a [u8]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { Quoted(self.0).fmt(f) }
    }
}

/// A name in quotes: as text where it is UTF-8, with its odd bytes escaped where it is not.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) => write!(f, "{text:?}"),
            Err(_) => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}
