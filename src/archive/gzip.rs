//! Writing gzip on all processors: one member, compressed in blocks that each know what went before them.
//!
//! Every block is deflated by itself with the 32 KiB before it as its dictionary and ends at a byte, so that the blocks one
//! after the other are the stream (RFC 1951, section 3.2.4; RFC 1952). What comes out depends on the input alone, not on the
//! number of threads or on how the input was cut into writes.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::channel::Stopped;
use super::pool::{Pool, processors};

/// Bytes in a block.
const BLOCK: usize = 512 * 1024;

/// How far back a block may refer.
const WINDOW: usize = 32 * 1024;

/// Threads at most: the input has to come from somewhere too.
const THREADS: usize = 8;

/// About as small as what Go writes by default: 0.1 % smaller for many small files of random bytes and text, 4 % larger for
/// a `/usr`. The next lower level takes two thirds of the time, and is 5 % and 22 % larger.
const LEVEL: u32 = 2;

/// So many bytes of so many are a sample.
const SAMPLE: usize = 1024;
const SAMPLE_EVERY: usize = 32 * 1024;

/// No flags, no time, operating system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A compressed block, and the checksum of what it was made of.
type Packed = io::Result<(Vec<u8>, Crc)>;

/// A part of the input.
struct Job {
    block: Vec<u8>,
    dictionary: Vec<u8>,
    last: bool,
}

/// A gzip stream that is written to `out`; without [`GzipWriter::finish`] it has no end.
pub(super) struct GzipWriter<W: Write> {
    out: W,
    /// What is not yet a whole block.
    block: Vec<u8>,
    dictionary: Vec<u8>,
    pool: Option<Pool<Job, Packed>>,
    crc: Crc,
}

impl<W: Write> GzipWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        Ok(Self { out, block: Vec::new(), dictionary: Vec::new(), pool: None, crc: Crc::new() })
    }

    /// Ends the stream and returns what is behind.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.pool.is_some() {
            self.submit(true)?;
            while self.collect()? {}
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
        let threads = processors().min(THREADS);
        let pool = match &mut self.pool {
            Some(pool) => pool,
            None => self.pool.insert(Pool::start("orlop-gzip", threads, |job: Job| {
                deflate(&job.block, &job.dictionary, job.last)
            })?),
        };
        let block = std::mem::take(&mut self.block);
        let tail = block.get(block.len().saturating_sub(WINDOW)..).unwrap_or_default().to_vec();
        let dictionary = std::mem::replace(&mut self.dictionary, tail);
        pool.submit(Job { block, dictionary, last }).map_err(stopped)?;
        if pool.pending() > 2 * threads {
            self.collect()?;
        }
        Ok(())
    }

    /// Writes the oldest block; false where there is none.
    fn collect(&mut self) -> io::Result<bool> {
        let Some(result) = self.pool.as_mut().and_then(Pool::collect) else { return Ok(false) };
        let (bytes, crc) = result.map_err(stopped)??;
        self.crc.combine(&crc);
        self.out.write_all(&bytes).map(|()| true)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() >= BLOCK {
            self.submit(false)?;
        }
        if self.block.capacity() == 0 && self.pool.is_some() {
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

fn stopped(e: Stopped) -> io::Error {
    io::Error::other(e)
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
/// expensive part of writing a layer, and in vain. Most blocks are told by a small part of them.
fn is_random(block: &[u8]) -> bool {
    let sample = block.chunks(SAMPLE_EVERY).flat_map(|part| part.iter().take(SAMPLE));
    entropy(sample) > 7.9 && entropy(block.iter()) > 7.99
}

/// Bits of information in a byte, from how often each value is there. Of few bytes it is never high.
fn entropy<'b>(bytes: impl Iterator<Item = &'b u8>) -> f64 {
    let mut counts = [0u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = f64::from(counts.iter().sum::<u32>());
    let information = |count: &u32| f64::from(*count) / total * (total / f64::from(*count)).log2();
    counts.iter().filter(|count| **count > 0).map(information).sum()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::archive::tests::Full;

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
        let bytes = mixed(40 * BLOCK);
        let mut writer = GzipWriter::new(Full(BLOCK)).unwrap();
        assert!(writer.write_all(&bytes).is_err());
        assert!(GzipWriter::new(Full(5)).is_err());
    }
}
