//! A reader that shows some bytes together, wherever the reader behind it stops.

use std::io::{self, BufRead, Read};

/// Shows at least so many bytes at once, unless the stream ends.
pub(super) struct Ahead<R> {
    inner: R,
    least: usize,
    /// Where the reader behind shows too few, those and some that follow.
    joint: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Ahead<R> {
    pub(super) fn new(inner: R, least: usize) -> Self {
        Self { inner, least, joint: Vec::new(), at: 0 }
    }
}

impl<R: BufRead> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.joint.len() - self.at < self.least {
            self.joint.drain(..std::mem::take(&mut self.at));
            let next = self.inner.fill_buf()?;
            if next.is_empty() || self.joint.is_empty() && next.len() >= self.least {
                break;
            }
            let few = next.get(..self.least).unwrap_or(next);
            self.joint.extend_from_slice(few);
            let taken = few.len();
            self.inner.consume(taken);
        }
        if self.joint.is_empty() {
            return self.inner.fill_buf();
        }
        Ok(self.joint.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, n: usize) {
        if self.joint.is_empty() {
            self.inner.consume(n);
        } else {
            self.at = self.at.saturating_add(n).min(self.joint.len());
        }
    }
}

impl<R: BufRead> Read for Ahead<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_shown_and_nothing_is_lost() {
        let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for buffer in [1, 2, 17, 18, 19, 40, 10_000] {
            for step in [1, 5, 18, 30, 10_000] {
                let inner = io::BufReader::with_capacity(buffer, &bytes[..]);
                let (mut ahead, mut out) = (Ahead::new(inner, 18), Vec::new());
                loop {
                    let shown = ahead.fill_buf().unwrap();
                    let left = bytes.len() - out.len();
                    assert!(shown.len() >= left.min(18), "{buffer} {step}");
                    if shown.is_empty() {
                        break;
                    }
                    let n = shown.len().min(step);
                    out.extend_from_slice(&shown[..n]);
                    ahead.consume(n);
                }
                assert!(out == bytes, "{buffer} {step}");
            }
        }
    }
}
