//! What a layer's tar tells of itself by its headers.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;
use tar_split_rs::{Headers, Member, MemberKind};

use crate::archive::names::{clean, last_part, split};
use crate::archive::unpack::WHITEOUT_PREFIX;
use crate::{Error, ErrorKind, Result};

/// What unpacking the tar would have learnt of it.
#[derive(Debug, Default)]
pub(crate) struct HeaderFacts {
    /// Bytes of the tar.
    pub(crate) length: u64,
    /// Owners, whiteouts excepted.
    pub(crate) uids: BTreeSet<u32>,
    pub(crate) gids: BTreeSet<u32>,
    /// Bytes of file content.
    pub(crate) size: u64,
    /// There is an entry for the root itself.
    pub(crate) root: bool,
}

/// The headers of a gzip-compressed tar-split file.
pub(crate) type GzipHeaders<R> = Headers<BufReader<MultiGzDecoder<BufReader<R>>>>;

/// Reads the headers from a gzip-compressed tar-split file, and shows each to `work`, together with what its content may be read from.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for a tar-split that is malformed, or holds content that must come from a file; those of `work`.
pub(crate) fn read_headers<R: Read>(
    tar_split_gz: R,
    work: &mut dyn FnMut(&Member, &mut GzipHeaders<R>) -> Result<()>,
) -> Result<HeaderFacts> {
    let log = MultiGzDecoder::new(BufReader::new(tar_split_gz));
    let mut headers = Headers::new(BufReader::with_capacity(1 << 17, log));
    let mut facts = HeaderFacts::default();
    while let Some(member) = headers.next_member().map_err(malformed)? {
        facts.note(&member);
        work(&member, &mut headers)?;
    }
    facts.length = headers.finish().map_err(malformed)?;
    match i64::try_from(facts.length) {
        Ok(_) => Ok(facts),
        Err(_) => Err(Error::new(ErrorKind::Corrupt, ACTION)
            .detail(format!("the layer's tar would have {} bytes", facts.length))),
    }
}

const ACTION: &str = "reading tar-split.json.gz";

fn malformed(e: tar_split_rs::Error) -> Error {
    Error::new(ErrorKind::Corrupt, ACTION).caused_by(e)
}

/// Of content that the tar-split holds.
pub(super) fn unreadable(e: io::Error) -> Error {
    Error::new(ErrorKind::Corrupt, ACTION).caused_by(e)
}

impl HeaderFacts {
    fn note(&mut self, member: &Member) {
        if !last_part(&member.name).starts_with(WHITEOUT_PREFIX) {
            // A number that is no owner has been unpacked nowhere.
            self.uids.extend(u32::try_from(member.uid));
            self.gids.extend(u32::try_from(member.gid));
        }
        let name = clean(&member.name);
        match member.kind {
            MemberKind::Directory => self.root |= name.is_empty(),
            MemberKind::File | MemberKind::Contiguous | MemberKind::Sparse
                if !split(&name).1.starts_with(WHITEOUT_PREFIX) =>
            {
                self.size = self.size.saturating_add(member.size);
            }
            _ => {}
        }
    }
}
