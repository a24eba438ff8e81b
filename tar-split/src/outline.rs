//! What a tar-split file tells of its stream without the members' content.

use std::io::BufRead;

use crate::error::Error;
use crate::parts::{Part, Parts};

/// Calls `member` with the name, as it stands in the stream, and the bytes of content of each member that has an entry in the log;
/// returns the length of the whole stream in bytes. No file is opened.
///
/// ```
/// let log = br#"{"type":2,"payload":"AAAA","position":0}
/// {"type":1,"name":"./etc/hello","size":6,"payload":"YUw+7uLYEAA=","position":1}
/// "#;
/// let mut members = Vec::new();
/// let length = tar_split_rs::outline(&log[..], &mut |name, size| members.push((name.to_vec(), size)))?;
/// assert_eq!((length, members), (9, vec![(b"./etc/hello".to_vec(), 6)]));
/// # Ok::<_, tar_split_rs::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::DuplicateName`], [`Error::Record`] and [`Error::LimitExceeded`] for a malformed log, [`Error::Io`] for one that cannot be
/// read.
pub fn outline(log: impl BufRead, member: &mut dyn FnMut(&[u8], u64)) -> Result<u64, Error> {
    let mut parts = Parts::new(log);
    let mut total = 0u64;
    while let Some(part) = parts.next()? {
        let bytes = match part {
            Part::Segment(bytes) => bytes.len().try_into().unwrap_or(u64::MAX),
            Part::File { name, size, .. } => {
                member(&name, size);
                size
            }
        };
        total = total.saturating_add(bytes);
    }
    Ok(total)
}
