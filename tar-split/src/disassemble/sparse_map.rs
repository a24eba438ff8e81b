//! Where the map of a sparse member is found in the stream.

use std::io::{Read, Write};

use super::Disassembler;
use crate::error::Error;
use crate::header::{BLOCK, Block};
use crate::member::{Extent, Member};
use crate::number;
use crate::pax::SparseRecords;
use crate::sparse::{self, MapInData, PaxFormat};

/// The extents, the expanded size and the stored size.
type SparseMap = (Vec<Extent>, u64, u64);

impl<R: Read, W: Write> Disassembler<R, W> {
    /// The map, expanded size and stored size of a member in GNU's old sparse format; reads the blocks that extend the map.
    pub(super) fn old_sparse(
        &mut self,
        is_gnu: bool,
        block: &Block,
        stored: u64,
        name: &[u8],
    ) -> Result<SparseMap, Error> {
        if !is_gnu {
            return Err(self.malformed("a sparse member without GNU's magic"));
        }
        let size = number::field(&tar_core::Header::from_bytes(block).as_gnu().realsize)
            .and_then(|size| u64::try_from(size).map_err(|_| "the size is negative"))
            .map_err(|reason| self.malformed(reason))?;
        let mut map = Vec::new();
        let mut read = 0;
        let mut more = sparse::old_gnu(block, true, &mut map);
        while more.map_err(|reason| self.malformed(reason))? {
            read += BLOCK as u64;
            sparse::check_map_size(read, name)?;
            let Some(extension) = self.block("a sparse map")? else {
                return Err(self.truncated("a sparse map"));
            };
            more = sparse::old_gnu(&extension, false, &mut map);
        }
        sparse::validate(&mut map, size, stored).map_err(|reason| self.malformed(reason))?;
        Ok((map, size, stored))
    }

    /// The same for a member in one of the PAX sparse formats, `None` for other members.
    pub(super) fn pax_sparse(
        &mut self,
        records: &SparseRecords,
        member: &mut Member,
        mut stored: u64,
    ) -> Result<Option<SparseMap>, Error> {
        let Some(format) = sparse::pax_format(records) else { return Ok(None) };
        if member.kind.is_header_only() {
            return Err(self.malformed("a sparse member that is no file"));
        }
        if !records.name.is_empty() {
            member.name.clone_from(&records.name);
        }
        let size = match (&records.size[..], &records.real_size[..]) {
            (b"", b"") => Ok(stored),
            (b"", size) | (size, _) => number::decimal(size)
                .and_then(|size| u64::try_from(size).map_err(|_| "the size is negative")),
        }
        .map_err(|reason| self.malformed(reason))?;
        let map = match format {
            PaxFormat::InRecords => sparse::map_in_records(records),
            PaxFormat::InData => {
                let mut map = MapInData::default();
                let mut read = 0;
                loop {
                    read += BLOCK as u64;
                    sparse::check_map_size(read, &member.name)?;
                    stored = stored.checked_sub(BLOCK as u64).ok_or_else(|| {
                        self.malformed("the sparse map is longer than the member")
                    })?;
                    let Some(block) = self.block("a sparse map")? else {
                        return Err(self.truncated("a sparse map"));
                    };
                    if map.push(&block).map_err(|reason| self.malformed(reason))? {
                        break map.finish();
                    }
                }
            }
        };
        let mut map = map.map_err(|reason| self.malformed(reason))?;
        sparse::validate(&mut map, size, stored).map_err(|reason| self.malformed(reason))?;
        Ok(Some((map, size, stored)))
    }
}
