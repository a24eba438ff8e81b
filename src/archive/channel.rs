//! A bounded pipe between two threads whose buffers are used again and again.
//!
//! The writing side ends the stream by [`Sender::finish`]; dropped without it, the reading side gets an error instead of
//! an end, so that a failed stage never looks like a complete one.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Size of a buffer.
pub(super) const BUFFER: usize = 256 * 1024;

/// Buffers in a pipe.
const BUFFERS: usize = 8;

/// The other side has gone; its own error says why.
#[derive(Debug, thiserror::Error)]
#[error("the other end of the pipeline has stopped")]
pub(super) struct Stopped;

/// What goes through a pipe: bytes, the end, or an error in their place.
type Piece = io::Result<Option<Vec<u8>>>;

pub(super) struct Sender {
    full: SyncSender<Piece>,
    empty: Receiver<Vec<u8>>,
}

pub(super) struct Source {
    full: Receiver<Piece>,
    empty: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

/// Both ends of a new pipe.
pub(super) fn pipe() -> (Sender, Source) {
    // Neither side ever waits for room to hand a buffer over: there are no more buffers than room for them.
    let (full, from_sender) = sync_channel(BUFFERS + 1);
    let (empty, to_sender) = sync_channel(BUFFERS + 1);
    for _ in 0..BUFFERS {
        // Grown at first use: a small layer does not pay for all of them.
        let _ = empty.try_send(Vec::new());
    }
    let source = Source { full: from_sender, empty, current: Vec::new(), at: 0, ended: false };
    (Sender { full, empty: to_sender }, source)
}

impl Sender {
    /// An empty buffer of [`BUFFER`] bytes to fill.
    pub(super) fn buffer(&self) -> Result<Vec<u8>, Stopped> {
        let mut buffer = self.empty.recv().map_err(|_| Stopped)?;
        buffer.resize(BUFFER, 0);
        Ok(buffer)
    }

    pub(super) fn send(&self, buffer: Vec<u8>) -> Result<(), Stopped> {
        self.full.send(Ok(Some(buffer))).map_err(|_| Stopped)
    }

    /// The stream is complete.
    pub(super) fn finish(self) -> Result<(), Stopped> {
        self.full.send(Ok(None)).map_err(|_| Stopped)
    }

    /// The stream ends with an error, which the reading side gets after all that was sent.
    pub(super) fn fail(self, error: io::Error) {
        // A reader that has gone has an error of its own.
        let _ = self.full.send(Err(error));
    }
}

/// Writes into a pipe.
pub(super) struct PipeWriter {
    pipe: Sender,
    buffer: Vec<u8>,
    filled: usize,
}

impl PipeWriter {
    pub(super) fn new(pipe: Sender) -> Self {
        Self { pipe, buffer: Vec::new(), filled: 0 }
    }

    /// The stream is complete.
    pub(super) fn finish(mut self) -> Result<(), Stopped> {
        self.send()?;
        self.pipe.finish()
    }

    fn send(&mut self) -> Result<(), Stopped> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.truncate(std::mem::take(&mut self.filled));
        if buffer.is_empty() { Ok(()) } else { self.pipe.send(buffer) }
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            self.send().map_err(io::Error::other)?;
            self.buffer = self.pipe.buffer().map_err(io::Error::other)?;
        }
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let n = room.len().min(bytes.len());
        if let (Some(from), Some(to)) = (bytes.get(..n), room.get_mut(..n)) {
            to.copy_from_slice(from);
        }
        self.filled += n;
        Ok(n)
    }

    /// Buffers go when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source {
    /// The next piece of the stream as it is, in exchange for a buffer that the sender may use again; `None` at the end.
    pub(super) fn exchange(&mut self, used: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        if self.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut piece = std::mem::replace(&mut self.current, used);
        piece.drain(..std::mem::take(&mut self.at));
        self.at = self.current.len();
        Ok(Some(piece))
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at >= self.current.len() && !self.ended {
            let used = std::mem::take(&mut self.current);
            if used.capacity() > 0 {
                // A sender that has gone needs no buffers.
                let _ = self.empty.send(used);
            }
            self.at = 0;
            match self.full.recv() {
                Ok(Ok(Some(buffer))) => self.current = buffer,
                Ok(Ok(None)) => self.ended = true,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::Error::other(Stopped)),
            }
        }
        Ok(self.current.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, n: usize) {
        self.at = self.at.saturating_add(n);
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let n = have.len().min(out.len());
        if let (Some(from), Some(to)) = (have.get(..n), out.get_mut(..n)) {
            to.copy_from_slice(from);
        }
        self.consume(n);
        Ok(n)
    }
}

/// Fills `buffer` from `source` as far as the stream goes and cuts it to what came.
pub(super) fn fill(source: &mut dyn Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|r| !r.is_empty()) {
        match source.read(room) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(filled);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_in_order_and_buffers_return() {
        let (sender, mut source) = pipe();
        let thread = std::thread::spawn(move || {
            for i in 0..50u8 {
                let mut b = sender.buffer().unwrap();
                b.truncate(1000);
                b.fill(i);
                sender.send(b).unwrap();
            }
            sender.finish().unwrap();
        });
        let mut all = Vec::new();
        source.read_to_end(&mut all).unwrap();
        thread.join().unwrap();
        assert_eq!(all.len(), 50_000);
        assert!(all.chunks(1000).enumerate().all(|(i, c)| c.iter().all(|b| usize::from(*b) == i)));
    }

    #[test]
    fn an_error_comes_in_its_place() {
        let (sender, mut source) = pipe();
        let mut writer = PipeWriter::new(sender);
        writer.write_all(&[7; BUFFER + 1]).unwrap();
        writer.send().unwrap();
        writer.pipe.fail(io::ErrorKind::InvalidData.into());
        let mut bytes = Vec::new();
        let error = source.read_to_end(&mut bytes).unwrap_err();
        assert_eq!((error.kind(), bytes.len()), (io::ErrorKind::InvalidData, BUFFER + 1));
    }

    #[test]
    fn whole_buffers_pass_from_pipe_to_pipe() {
        let (first, mut middle) = pipe();
        let (second, mut source) = pipe();
        let thread = std::thread::spawn(move || {
            for i in 0..50u8 {
                let mut b = first.buffer().unwrap();
                b.fill(i);
                first.send(b).unwrap();
            }
            first.finish().unwrap();
        });
        let relay = std::thread::spawn(move || {
            let mut begin = [9; 3];
            middle.read_exact(&mut begin).unwrap();
            assert_eq!(begin, [0; 3]);
            while let Some(piece) = middle.exchange(second.buffer().unwrap()).unwrap() {
                second.send(piece).unwrap();
            }
            second.finish().unwrap();
        });
        let mut all = Vec::new();
        source.read_to_end(&mut all).unwrap();
        thread.join().unwrap();
        relay.join().unwrap();
        assert_eq!(all.len(), 50 * BUFFER - 3);
        assert_eq!((all.first(), all.get(BUFFER - 3), all.last()), (Some(&0), Some(&1), Some(&49)));
    }

    #[test]
    fn a_stage_that_dies_is_no_end_of_file() {
        let (sender, mut source) = pipe();
        let mut b = sender.buffer().unwrap();
        b.truncate(3);
        sender.send(b).unwrap();
        drop(sender);
        assert!(source.read_to_end(&mut Vec::new()).is_err());
        let (sender, source) = pipe();
        drop(source);
        assert!((0..20).any(|_| sender.buffer().and_then(|b| sender.send(b)).is_err()));
    }
}
