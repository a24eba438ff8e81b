//! Standard output: plain lines, bytes, and JSON as Go's encoder writes it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;

use orlop::Error;
use orlop::record::json::to_go_string;
use serde::Serialize;

/// Standard output, buffered whole; [`Output::flush`] at the end.
pub(crate) struct Output(BufWriter<File>);

impl Output {
    /// # Errors
    /// Standard output cannot be had.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(BufWriter::with_capacity(1 << 16, stdout_file()?)))
    }

    /// Prints one line.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(self.0, "{text}")
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> anyhow::Result<()> {
        writeln!(self.0, "{}", to_go_string(value)?)?;
        Ok(())
    }

    /// Prints a list as one line of JSON; an empty one is a nil slice in Go, and there prints as `null`.
    pub(crate) fn json_or_null<T: Serialize>(&mut self, list: &[T]) -> anyhow::Result<()> {
        if list.is_empty() { self.json(&()) } else { self.json(list) }
    }

    /// Hands over what is still in the buffer.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Standard output without a buffer in front of it, for streams.
///
/// # Errors
/// The descriptor cannot be duplicated.
pub(crate) fn stdout_file() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Names the file that has no room, where the error comes from a stream that does not know its name.
pub(crate) fn naming(error: Error, file: &Path) -> Error {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.os_error() {
        Some(StorageFull | QuotaExceeded | FileTooLarge) if error.file().is_none() => {
            error.context(format!("writing {file:?}"))
        }
        _ => error,
    }
}

/// One line on standard error. If even that fails, there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(io::stderr().lock(), "{}", line.trim_end());
}
