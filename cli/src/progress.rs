//! Progress bars on standard error, where that is a terminal; nothing otherwise.

use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use orlop::progress::{Progress, ProgressItem, Silent};

const MEASURED: &str =
    "{prefix:22!} [{wide_bar}] {bytes:>10} / {total_bytes:10} {binary_bytes_per_sec:>12}";
const OPEN_ENDED: &str = "{prefix:22!} {spinner} {bytes:>10} {binary_bytes_per_sec:>12}";
const DONE: &str = "{prefix:22!} {msg} ({bytes}, {elapsed})";

/// Bars if standard error is a terminal and nobody asked for quiet.
pub(crate) fn on_terminal(quiet: bool) -> Box<dyn Progress> {
    if quiet || !io::stderr().is_terminal() {
        Box::new(Silent)
    } else {
        Box::new(Bars(MultiProgress::new()))
    }
}

/// One bar for each item in progress, below each other.
struct Bars(MultiProgress);

impl Progress for Bars {
    fn start(&self, what: &str, total: Option<u64>) -> Box<dyn ProgressItem> {
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), MEASURED),
            None => (ProgressBar::new_spinner(), OPEN_ENDED),
        };
        let bar = self.0.add(bar.with_style(style(template)).with_prefix(what.to_owned()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Box::new(Bar(bar))
    }
}

/// A bar vanishes when it is dropped before its item was finished.
struct Bar(ProgressBar);

impl ProgressItem for Bar {
    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn finish(&self, note: &str) {
        self.0.set_style(style(DONE));
        self.0.finish_with_message(note.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if !self.0.is_finished() {
            self.0.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// A stream whose bytes move a bar of its own.
pub(crate) struct Watched<R> {
    inner: R,
    item: Box<dyn ProgressItem>,
}

impl<R> Watched<R> {
    /// Shows `what` being read from `inner`, `total` bytes if that is known.
    pub(crate) fn new(inner: R, what: &str, total: Option<u64>) -> Self {
        Self { inner, item: on_terminal(false).start(what, total) }
    }

    /// Leaves the bar standing as a line that says so.
    pub(crate) fn done(self) {
        self.item.finish("done");
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.item.advance(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [MEASURED, OPEN_ENDED, DONE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
