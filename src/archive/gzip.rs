//! Writing gzip on all processors: one member, compressed in blocks that each know what went before them.
//!
//! Every block is deflated by itself with the 32 KiB before it as its dictionary and ends at a byte, so that the blocks one
//! after the other are the stream (RFC 1951, section 3.2.4; RFC 1952). What comes out depends on the input alone, not on the
//! number of threads or on how the input was cut into writes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Bytes in a block.
const BLOCK: usize = 512 * 1024;

/// How far back a block may refer.
const WINDOW: usize = 32 * 1024;

/// Threads at most: the input has to come from somewhere too.
const THREADS: usize = 8;

/// Smaller than what Go's default level makes of most layers, in about the same processor time.
const LEVEL: u32 = 2;

/// No flags, no time, operating system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A compressed block, and the checksum of what it was made of.
type Packed = io::Result<(Vec<u8>, Crc)>;

/// A part of the input, and where its compressed form goes.
struct Job {
    block: Vec<u8>,
    dictionary: Vec<u8>,
    last: bool,
    done: SyncSender<Packed>,
}

/// A gzip stream that is written to `out`; without [`GzipWriter::finish`] it has no end.
pub(super) struct GzipWriter<W: Write> {
    out: W,
    /// What is not yet a whole block.
    block: Vec<u8>,
    dictionary: Vec<u8>,
    workers: Option<Workers>,
    /// The blocks on their way, in order.
    pending: VecDeque<Receiver<Packed>>,
    most_pending: usize,
    crc: Crc,
}

impl<W: Write> GzipWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        Ok(Self {
            out,
            block: Vec::new(),
            dictionary: Vec::new(),
            workers: None,
            pending: VecDeque::new(),
            most_pending: 0,
            crc: Crc::new(),
        })
    }

    /// Ends the stream and returns what is behind.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.workers.is_some() {
            self.submit(true)?;
            while !self.pending.is_empty() {
                self.collect()?;
            }
        } else {
            // No more than a block: not worth a thread.
            let (bytes, crc) = deflate(&self.block, &[], true)?;
            self.crc = crc;
            self.out.write_all(&bytes)?;
        }
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.out)
    }

    /// Hands the block over, and waits for the oldest one where too many are on their way.
    fn submit(&mut self, last: bool) -> io::Result<()> {
        let workers = match self.workers.take() {
            Some(workers) => workers,
            None => self.start()?,
        };
        let block = std::mem::take(&mut self.block);
        let tail = block.get(block.len().saturating_sub(WINDOW)..).unwrap_or_default().to_vec();
        let dictionary = std::mem::replace(&mut self.dictionary, tail);
        let (done, result) = sync_channel(1);
        let sent = workers.jobs.as_ref().map(|j| j.send(Job { block, dictionary, last, done }));
        self.workers = Some(workers);
        sent.and_then(Result::ok).ok_or_else(stopped)?;
        self.pending.push_back(result);
        if self.pending.len() > self.most_pending {
            self.collect()?;
        }
        Ok(())
    }

    fn collect(&mut self) -> io::Result<()> {
        let Some(result) = self.pending.pop_front() else { return Ok(()) };
        let (bytes, crc) = result.recv().map_err(|_| stopped())??;
        self.crc.combine(&crc);
        self.out.write_all(&bytes)
    }

    fn start(&mut self) -> io::Result<Workers> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        self.most_pending = 2 * threads;
        let (jobs, queue) = sync_channel(self.most_pending + 1);
        let queue = Arc::new(Mutex::new(queue));
        let mut workers = Workers { jobs: Some(jobs), threads: Vec::with_capacity(threads) };
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let thread =
                Builder::new().name("orlop-gzip".to_owned()).spawn(move || work(&queue))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }
}

/// The threads that compress; none outlives this.
struct Workers {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        // No more jobs: that is what ends them.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() >= BLOCK {
            self.submit(false)?;
        }
        if self.block.capacity() == 0 && self.workers.is_some() {
            self.block.reserve_exact(BLOCK);
        }
        let room = BLOCK.saturating_sub(self.block.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.block.extend_from_slice(taken);
        Ok(taken.len())
    }

    /// What is in a block stays there: where blocks end does not depend on the caller.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn stopped() -> io::Error {
    io::Error::other("a thread that compresses has stopped")
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Nobody waits for the result any more if the writer failed.
        let _ = job.done.send(deflate(&job.block, &job.dictionary, job.last));
    }
}

/// A new compressor for every block: one that is used again may choose other matches than a fresh one, and the output would
/// depend on which thread had which block.
fn deflate(block: &[u8], dictionary: &[u8], last: bool) -> Packed {
    let mut crc = Crc::new();
    crc.update(block);
    let stored = is_random(block);
    let mut codec = Compress::new(Compression::new(if stored { 0 } else { LEVEL }), false);
    if !stored && !dictionary.is_empty() {
        codec.set_dictionary(dictionary)?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut bytes = Vec::with_capacity(block.len() + block.len() / 512 + 128);
    loop {
        let at = usize::try_from(codec.total_in()).unwrap_or(usize::MAX);
        let status = codec.compress_vec(block.get(at..).unwrap_or_default(), &mut bytes, flush)?;
        // Room that is left means that all is out.
        if status == Status::StreamEnd || !last && bytes.len() < bytes.capacity() {
            return Ok((bytes, crc));
        }
        bytes.reserve(BLOCK / 8);
    }
}

/// Whether the bytes are spread as evenly as in what is compressed already: to look for matches in it would be the most
/// expensive part of writing a layer, and in vain.
fn is_random(block: &[u8]) -> bool {
    let mut counts = [0u32; 256];
    for byte in block {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = f64::from(u32::try_from(block.len()).unwrap_or(u32::MAX));
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) * (total / f64::from(*count)).log2())
        .sum();
    // Too few bytes never look even.
    bits > 7.99 * total
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Numbers without a pattern, text, and zeros.
    fn mixed(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        let mut bytes = Vec::new();
        while bytes.len() < length {
            bytes.extend((0..100_000).flat_map(|_| random()));
            bytes.extend((0..50_000).flat_map(|n| format!("line {}\n", n % 977).into_bytes()));
            bytes.resize(bytes.len() + 300_000, 0);
        }
        bytes.truncate(length);
        bytes
    }

    fn packed(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new()).unwrap();
        for piece in bytes.chunks(piece) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn any_length_comes_back_from_one_member() {
        for length in [0, 1, WINDOW, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 20 * BLOCK + 7] {
            let bytes = mixed(length);
            let gz = packed(&bytes, 100_000);
            let mut back = Vec::new();
            // This decoder stops at the end of the first member.
            flate2::read::GzDecoder::new(&gz[..]).read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{length}");
            assert!(gz == packed(&bytes, 4097), "the same whatever the writes: {length}");
        }
    }

    #[test]
    fn blocks_refer_to_what_is_before_them() {
        // Hardly anything repeats within 16 KiB, everything after that.
        let line: Vec<u8> =
            mixed(WINDOW / 2).iter().map(|b| b"0123456789abcdef"[usize::from(b % 16)]).collect();
        let bytes = line.repeat(20 * BLOCK / line.len());
        let without: usize =
            bytes.chunks(BLOCK).map(|b| deflate(b, &[], false).unwrap().0.len()).sum();
        assert!(packed(&bytes, BLOCK).len() < without / 2, "{without}");
    }

    #[test]
    fn only_what_is_random_is_stored() {
        let random = mixed(800_000);
        assert!(is_random(&random[..BLOCK]));
        assert!(!is_random(&random[..100]));
        assert!(!is_random(&mixed(2 << 20)[800_000..800_000 + BLOCK]));
        assert!(!is_random(b""));
        assert!(packed(&random, BLOCK).len() < random.len() + 300);
    }

    #[test]
    fn a_failing_output_is_an_error() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes = mixed(40 * BLOCK);
        let mut writer = GzipWriter::new(Full(BLOCK)).unwrap();
        assert!(writer.write_all(&bytes).is_err());
        assert!(GzipWriter::new(Full(5)).is_err());
    }
}
