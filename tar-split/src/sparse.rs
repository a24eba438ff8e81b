//! Sparse members: their maps, in the four formats that exist, and the expansion of their data.

use crate::error::Error;
use crate::header::Block;
use crate::member::Extent;
use crate::number::{decimal, field};
use crate::pax::SparseRecords;

/// The largest map, or other extension header, that is read.
pub(crate) const EXTENSION_LIMIT: u64 = 1 << 20;

const BAD: &str = "the sparse map is malformed";

/// Which of the PAX formats a member uses, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaxFormat {
    /// 0.0 and 0.1: the map is in the records.
    InRecords,
    /// 1.0: the map is in front of the data.
    InData,
}

pub(crate) fn pax_format(records: &SparseRecords) -> Option<PaxFormat> {
    match (&records.major[..], &records.minor[..]) {
        (b"0", b"0" | b"1") => Some(PaxFormat::InRecords),
        (b"1", b"0") => Some(PaxFormat::InData),
        // Formats 0.0 and 0.1 need not name themselves.
        (b"", b"") if !records.map.is_empty() => Some(PaxFormat::InRecords),
        _ => None,
    }
}

/// The map of formats 0.0 and 0.1.
pub(crate) fn map_in_records(records: &SparseRecords) -> Result<Vec<Extent>, &'static str> {
    let pairs = usize::try_from(decimal(&records.blocks)?).map_err(|_| BAD)?;
    let numbers: Vec<i64> = match records.map.is_empty() {
        true => Vec::new(),
        false => records.map.split(|&b| b == b',').map(decimal).collect::<Result<_, _>>()?,
    };
    if pairs.checked_mul(2) != Some(numbers.len()) {
        return Err(BAD);
    }
    extents(&numbers)
}

/// The map of format 1.0: how many pairs there are, then the numbers, each ended by a line feed.
#[derive(Debug, Default)]
pub(crate) struct MapInData {
    line: Vec<u8>,
    pairs: Option<usize>,
    numbers: Vec<i64>,
}

impl MapInData {
    /// Takes one more block of the map; true once it was the last.
    pub(crate) fn push(&mut self, block: &[u8]) -> Result<bool, &'static str> {
        for &byte in block {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let number = decimal(&self.line)?;
            self.line.clear();
            match self.pairs {
                None => self.pairs = Some(usize::try_from(number).map_err(|_| BAD)?),
                Some(_) => self.numbers.push(number),
            }
            if self.is_complete()? {
                return Ok(true); // what follows in this block is padding
            }
        }
        Ok(false)
    }

    fn is_complete(&self) -> Result<bool, &'static str> {
        let Some(pairs) = self.pairs else { return Ok(false) };
        Ok(self.numbers.len() == pairs.checked_mul(2).ok_or(BAD)?)
    }

    pub(crate) fn finish(self) -> Result<Vec<Extent>, &'static str> {
        extents(&self.numbers)
    }
}

/// The entries of a map in GNU's old format: those of the header or of an extension block, and
/// whether one more extension block follows.
pub(crate) fn old_gnu(
    block: &Block,
    is_header: bool,
    map: &mut Vec<Extent>,
) -> Result<bool, &'static str> {
    // Four descriptors at byte 386 of the header, twenty-one at the front of an extension block; then the flag.
    let (start, count) = if is_header { (386, 4) } else { (0, 21) };
    let (descriptors, rest) =
        block.get(start..).and_then(|b| b.split_at_checked(24 * count)).ok_or(BAD)?;
    for descriptor in descriptors.chunks_exact(24) {
        let (offset, length) = descriptor.split_at(12);
        if offset.first() == Some(&0) {
            break;
        }
        map.push(extent(field(offset)?, field(length)?)?);
    }
    Ok(rest.first().is_some_and(|&more| more != 0))
}

fn extents(numbers: &[i64]) -> Result<Vec<Extent>, &'static str> {
    numbers.as_chunks::<2>().0.iter().map(|&[offset, length]| extent(offset, length)).collect()
}

fn extent(offset: i64, length: i64) -> Result<Extent, &'static str> {
    match (u64::try_from(offset), u64::try_from(length)) {
        (Ok(offset), Ok(length)) => Ok(Extent { offset, length }),
        _ => Err("a sparse map has a negative number"),
    }
}

/// Checks that a map is in order, lies within `size` and describes `stored` bytes; drops its empty extents.
pub(crate) fn validate(map: &mut Vec<Extent>, size: u64, stored: u64) -> Result<(), &'static str> {
    let (mut end, mut data) = (0u64, 0u64);
    for extent in map.iter() {
        if extent.offset < end {
            return Err("the extents of a sparse map overlap or are out of order");
        }
        end = extent.offset.checked_add(extent.length).ok_or(BAD)?;
        if end > size {
            return Err("a sparse map goes beyond the end of the file");
        }
        data += extent.length; // cannot overflow: the extents are disjoint and below `size`
    }
    if data > stored {
        return Err("a sparse map references more data than there is");
    }
    // Of a file without any content Go never reads the data, and so does not notice.
    if data < stored && size != 0 {
        return Err("a sparse member has data that its map does not reference");
    }
    map.retain(|extent| extent.length != 0);
    Ok(())
}

/// How far the expansion of a sparse member has come.
#[derive(Debug)]
pub(crate) struct Expansion {
    map: std::vec::IntoIter<Extent>,
    current: Option<Extent>,
    position: u64,
    size: u64,
    /// Stored bytes that have not been read yet.
    pub(crate) stored: u64,
}

/// What comes next in an expanded file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// So many zeros.
    Hole(u64),
    /// So many bytes of the stored data.
    Data(u64),
    /// The end.
    End,
}

impl Expansion {
    pub(crate) fn new(map: Vec<Extent>, size: u64, stored: u64) -> Self {
        let mut map = map.into_iter();
        let current = map.next();
        Self { map, current, position: 0, size, stored }
    }

    pub(crate) fn piece(&self) -> Piece {
        match self.current {
            Some(e) if self.position >= e.offset => {
                Piece::Data(e.offset.saturating_add(e.length).saturating_sub(self.position))
            }
            Some(e) => Piece::Hole(e.offset - self.position),
            None if self.position < self.size => Piece::Hole(self.size - self.position),
            None => Piece::End,
        }
    }

    /// Moves on by `count` bytes, at most to the end of the present piece.
    pub(crate) fn advance(&mut self, count: u64) {
        if let Piece::Data(_) = self.piece() {
            self.stored = self.stored.saturating_sub(count);
        }
        self.position = self.position.saturating_add(count);
        if self.current.is_some_and(|e| self.position >= e.offset.saturating_add(e.length)) {
            self.current = self.map.next();
        }
    }
}

/// Checks the limit on a map's size, before one more block of it is read.
pub(crate) fn check_map_size(bytes: u64, name: &[u8]) -> Result<(), Error> {
    if bytes > EXTENSION_LIMIT {
        return Err(Error::LimitExceeded {
            name: name.to_vec(),
            what: "the size of a sparse map in bytes",
            limit: EXTENSION_LIMIT,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    #[test]
    fn maps_are_validated() {
        let mut map = vec![e(0, 0), e(2, 5), e(7, 0), e(18, 3), e(25, 0)];
        assert_eq!(validate(&mut map, 25, 8), Ok(()));
        assert_eq!(map, [e(2, 5), e(18, 3)]);
        assert!(validate(&mut vec![e(2, 5)], 25, 4).is_err());
        assert!(validate(&mut vec![e(2, 5)], 25, 6).is_err());
        assert!(validate(&mut vec![e(2, 5)], 6, 5).is_err());
        assert!(validate(&mut vec![e(2, 5), e(6, 1)], 25, 6).is_err());
        assert!(validate(&mut vec![e(u64::MAX, 5)], u64::MAX, 5).is_err());
    }

    #[test]
    fn expansion_alternates() {
        let mut x = Expansion::new(vec![e(2, 5), e(7, 1), e(18, 3)], 25, 9);
        let mut pieces = Vec::new();
        loop {
            match x.piece() {
                Piece::End => break,
                Piece::Hole(n) => {
                    pieces.push(-(n as i64));
                    x.advance(n);
                }
                Piece::Data(n) => {
                    pieces.push(n as i64);
                    x.advance(n);
                }
            }
        }
        assert_eq!(pieces, [-2, 5, 1, -10, 3, -4]);
        assert_eq!(x.stored, 0);
    }

    #[test]
    fn a_map_in_front_of_the_data_may_span_blocks() {
        let mut map = MapInData::default();
        assert_eq!(map.push(b"2\n0\n5"), Ok(false));
        assert_eq!(map.push(b"12\n1024\n"), Ok(false));
        assert_eq!(map.push(b"7\n\0\0\0"), Ok(true));
        assert_eq!(map.finish().unwrap(), [e(0, 512), e(1024, 7)]);
        assert_eq!(MapInData::default().push(b"0\n\0\0"), Ok(true));
        assert!(MapInData::default().push(b"x\n").is_err());
        assert!(MapInData::default().push(b"-1\n").is_err());
    }
}
