//! The codecs of layers: told apart by their first bytes, read in every form that exists, written in two.
//!
//! Limits of ARC-5: windows up to 128 MiB. Bytes after the last gzip member or zstd frame that begin neither another one
//! nor the end are an error, as in the Go library; an empty stream is an empty, uncompressed layer.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};

use flate2::bufread::MultiGzDecoder;

use super::Compression;
use super::ahead::Ahead;
use super::gzip::GzipWriter;
use crate::{Error, ErrorKind, Result};

/// Enough of a stream's beginning to know its codec.
const MAGIC: usize = 6;

/// log2 of the longest zstd window read.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The longest header of a zstd frame. The decoder gets each in one piece: of one in two, libzstd 1.5.7 may take the second for
/// the beginning of a frame.
const ZSTD_HEADER: usize = 18;

/// What an xz decoder may allocate: a dictionary of 128 MiB and its own state.
const XZ_MEMORY: u64 = (128 << 20) + (4 << 20);

fn detect(magic: &[u8]) -> Compression {
    match magic {
        [b'B', b'Z', b'h', ..] => Compression::Bzip2,
        [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        // A frame, or a skippable one in front of the first (as pzstd writes).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// The codec of `source`, and the bytes that were read to learn it.
pub(super) fn sniff(mut source: impl Read) -> io::Result<(Compression, Vec<u8>)> {
    let mut magic = Vec::with_capacity(MAGIC);
    source.by_ref().take(MAGIC as u64).read_to_end(&mut magic)?;
    Ok((detect(&magic), magic))
}

/// The bytes behind that codec.
pub(super) fn decode<'a, R: BufRead + Send + 'a>(
    compression: Compression,
    source: R,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(MultiGzDecoder::new(source)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        Compression::Xz => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags)
                .map_err(io::Error::other)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        Compression::Zstd => {
            let source = Ahead::new(source, ZSTD_HEADER);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Finds out how `source` is compressed and gives its uncompressed bytes.
///
/// The beginning of `source` is read at once. Errors of the codec, a truncated stream among them, come from the reader.
///
/// # Errors
/// When `source` cannot be read.
pub fn decompressor<'a>(
    source: Box<dyn Read + Send + 'a>,
) -> Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut source = BufReader::with_capacity(super::channel::BUFFER, source);
    sniff(&mut source)
        .and_then(|(compression, magic)| {
            let whole = Cursor::new(magic).chain(source);
            Ok((compression, decode(compression, whole)?))
        })
        .map_err(|e| {
            Error::new(ErrorKind::Io, "reading the beginning of a compressed stream").caused_by(e)
        })
}

/// Compresses what is written to it; [`Compressor::finish`] ends the stream.
pub struct Compressor<W: Write>(Codec<W>);

enum Codec<W: Write> {
    Plain(W),
    Gzip(Box<GzipWriter<W>>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// A compressor of that kind in front of `out`. The same input always gives the same bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] for bzip2 and xz, which nobody writes; when `out` cannot be written.
    pub fn new(kind: Compression, out: W) -> Result<Self> {
        Ok(Self(match kind {
            Compression::None => Codec::Plain(out),
            Compression::Gzip => Codec::Gzip(Box::new(GzipWriter::new(out).map_err(|e| {
                Error::new(ErrorKind::Io, "starting the gzip compressor").caused_by(e)
            })?)),
            Compression::Zstd => Codec::Zstd(
                zstd::stream::write::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(
                    |e| Error::new(ErrorKind::Io, "starting the zstd compressor").caused_by(e),
                )?,
            ),
            Compression::Bzip2 | Compression::Xz => {
                let name = if kind == Compression::Xz { "xz" } else { "bzip2" };
                return Err(Error::new(ErrorKind::NotSupported, "compressing a layer")
                    .detail(format!("unsupported compression format {name}"))
                    .hint("layers are written plain, as gzip or as zstd"));
            }
        }))
    }

    /// Writes the end of the compressed stream and returns what is behind.
    ///
    /// # Errors
    /// When the writer behind fails.
    pub fn finish(self) -> Result<W> {
        let out = match self.0 {
            Codec::Plain(out) => Ok(out),
            Codec::Gzip(encoder) => encoder.finish(),
            Codec::Zstd(encoder) => encoder.finish(),
        };
        out.map_err(|e| {
            Error::new(ErrorKind::Io, "writing the end of a compressed stream").caused_by(e)
        })
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Codec::Plain(out) => out.write(buf),
            Codec::Gzip(encoder) => encoder.write(buf),
            Codec::Zstd(encoder) => encoder.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Codec::Plain(out) => out.flush(),
            Codec::Gzip(encoder) => encoder.flush(),
            Codec::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: Vec<u8>) -> io::Result<(Compression, Vec<u8>)> {
        let (kind, mut reader) = decompressor(Box::new(Cursor::new(bytes))).unwrap();
        let mut out = Vec::new();
        reader.read_to_end(&mut out)?;
        Ok((kind, out))
    }

    fn compressed(kind: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match kind {
            Compression::Bzip2 => {
                let mut e = bzip2::write::BzEncoder::new(&mut out, bzip2::Compression::fast());
                e.write_all(bytes).unwrap();
                e.finish().unwrap();
            }
            Compression::Xz => {
                let mut e = liblzma::write::XzEncoder::new(&mut out, 1);
                e.write_all(bytes).unwrap();
                e.finish().unwrap();
            }
            _ => {
                let mut c = Compressor::new(kind, &mut out).unwrap();
                c.write_all(bytes).unwrap();
                c.finish().unwrap();
            }
        }
        out
    }

    const CODECS: [Compression; 4] =
        [Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Bzip2];

    #[test]
    fn members_and_frames_are_joined() {
        let (a, b) = (vec![1u8; 100_000], vec![2u8; 70_000]);
        for kind in CODECS {
            let mut bytes = compressed(kind, &a);
            bytes.extend(compressed(kind, &b));
            assert_eq!(plain(bytes).unwrap(), (kind, [a.clone(), b.clone()].concat()), "{kind:?}");
        }
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let data: Vec<u8> =
            (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for kind in CODECS {
            let bytes = compressed(kind, &data);
            for cut in [bytes.len() / 2, bytes.len() - 3] {
                assert!(plain(bytes[..cut].to_vec()).is_err(), "{kind:?} {cut}");
            }
        }
    }

    #[test]
    fn skippable_frames_are_skipped_wherever_they_are() {
        let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"hello"].concat();
        let frame = compressed(Compression::Zstd, b"abc");
        let bytes = [&skippable[..], &frame, &skippable, &frame, &skippable].concat();
        assert_eq!(plain(bytes).unwrap(), (Compression::Zstd, b"abcabc".to_vec()));
    }

    #[test]
    fn junk_after_the_end_is_an_error() {
        for kind in CODECS {
            let mut bytes = compressed(kind, b"abc");
            bytes.extend(b"this is no member and no frame");
            // The decoders of bzip2 in Go and here say so as well.
            assert!(plain(bytes).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn empty_and_short_streams_are_plain() {
        for bytes in [&b""[..], b"B", b"\x1f\x8b", b"plain text"] {
            assert_eq!(plain(bytes.to_vec()).unwrap(), (Compression::None, bytes.to_vec()));
        }
    }

    // ARC-5
    #[test]
    fn windows_beyond_the_limit_are_refused() {
        let mut out = Vec::new();
        let mut e = zstd::stream::write::Encoder::new(&mut out, 1).unwrap();
        e.window_log(28).unwrap();
        e.include_contentsize(false).unwrap();
        e.write_all(&vec![0; 1 << 20]).unwrap();
        e.finish().unwrap();
        assert!(plain(out).is_err());
        let mut out = Vec::new();
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(256 << 20);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let check = liblzma::stream::Check::Crc32;
        let stream = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
        let mut e = liblzma::write::XzEncoder::new_stream(&mut out, stream);
        e.write_all(b"abc").unwrap();
        e.finish().unwrap();
        assert!(plain(out).is_err());
    }

    #[test]
    fn formats_before_zstd_1_are_refused() {
        // The header of a frame of version 0.6, behind a skippable frame.
        let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"hello"].concat();
        let old = [0x26, 0xb5, 0x2f, 0xfd, 0x04, 0xff, 0x68, 0x18];
        assert!(plain([&skippable[..], &old].concat()).is_err());
    }

    /// Gives a few bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let most = buf.len().min(self.1);
            self.0.read(buf.get_mut(..most).unwrap())
        }
    }

    #[test]
    fn what_begins_within_a_header_is_no_frame() {
        // The header asks for a dictionary, which nobody has. From that dictionary's number on it looks like another frame.
        let within = [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x29, 0, 0][..], b"hello"].concat();
        assert_eq!(plain(within.clone()).unwrap().1, b"hello");
        let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x43, 0][..], &within].concat();
        let good = compressed(Compression::Zstd, b"abc");
        for bytes in [frame.clone(), [&good[..], &frame].concat()] {
            for piece in (1..=40).chain([1 << 20]) {
                let source = Box::new(Pieces(&bytes, piece));
                let (kind, mut reader) = decompressor(source).unwrap();
                // Room for all of it: a frame that is smaller is decoded at once.
                let mut room = vec![0; 1 << 16];
                let result = (0..3).try_for_each(|_| reader.read(&mut room).map(|_| ()));
                assert!(kind == Compression::Zstd && result.is_err(), "{piece}");
            }
        }
    }

    #[test]
    fn nobody_writes_bzip2_or_xz() {
        for kind in [Compression::Bzip2, Compression::Xz] {
            let e = Compressor::new(kind, Vec::new()).err().unwrap();
            assert_eq!(e.kind(), ErrorKind::NotSupported);
        }
    }
}
