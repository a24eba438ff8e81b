//! The records of a PAX extended header.

use std::collections::HashMap;

use crate::header::Header;
use crate::number;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What a PAX header says; of records with the same key the last one counts, also when its value is empty.
#[derive(Debug, Default)]
pub(crate) struct Pax {
    path: Vec<u8>,
    linkpath: Vec<u8>,
    size: Vec<u8>,
    uid: Vec<u8>,
    gid: Vec<u8>,
    mtime: Vec<u8>,
    atime: Vec<u8>,
    ctime: Vec<u8>,
    /// `SCHILY.xattr.` records without that prefix, in the order of their first appearance.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The `GNU.sparse.` records.
    pub(crate) sparse: SparseRecords,
}

/// The records that describe a sparse member.
#[derive(Debug, Default)]
pub(crate) struct SparseRecords {
    pub(crate) major: Vec<u8>,
    pub(crate) minor: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) size: Vec<u8>,
    pub(crate) real_size: Vec<u8>,
    pub(crate) blocks: Vec<u8>,
    /// Comma-separated; also holds the records of format 0.0, which has one for each number.
    pub(crate) map: Vec<u8>,
}

impl Pax {
    /// Reads all records of a header's payload.
    pub(crate) fn parse(mut data: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        let (mut numbers, mut map) = (0usize, Vec::new());
        while !data.is_empty() {
            let (key, value, rest) = record(data)?;
            data = rest;
            if let Some(name) = key.strip_prefix(XATTR) {
                let at = *known.entry(name).or_insert(pax.xattrs.len());
                match pax.xattrs.get_mut(at) {
                    Some(slot) => slot.1 = value.to_vec(),
                    None => pax.xattrs.push((name.to_vec(), value.to_vec())),
                }
                continue;
            }
            let slot = match key {
                b"path" => &mut pax.path,
                b"linkpath" => &mut pax.linkpath,
                b"size" => &mut pax.size,
                b"uid" => &mut pax.uid,
                b"gid" => &mut pax.gid,
                b"mtime" => &mut pax.mtime,
                b"atime" => &mut pax.atime,
                b"ctime" => &mut pax.ctime,
                b"GNU.sparse.major" => &mut pax.sparse.major,
                b"GNU.sparse.minor" => &mut pax.sparse.minor,
                b"GNU.sparse.name" => &mut pax.sparse.name,
                b"GNU.sparse.size" => &mut pax.sparse.size,
                b"GNU.sparse.realsize" => &mut pax.sparse.real_size,
                b"GNU.sparse.numblocks" => &mut pax.sparse.blocks,
                b"GNU.sparse.map" => &mut pax.sparse.map,
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    let wanted: &[u8] = match numbers % 2 {
                        0 => b"GNU.sparse.offset",
                        _ => b"GNU.sparse.numbytes",
                    };
                    if key != wanted || value.contains(&b',') {
                        return Err("the records of a sparse map are out of order");
                    }
                    if numbers > 0 {
                        map.push(b',');
                    }
                    map.extend_from_slice(value);
                    numbers += 1;
                    continue;
                }
                _ => continue,
            };
            slot.clear();
            slot.extend_from_slice(value);
        }
        if numbers > 0 {
            pax.sparse.map = map;
        }
        Ok(pax)
    }

    /// Overrides the fields of `header`; a record with an empty value leaves the field alone.
    pub(crate) fn apply(&self, header: &mut Header) -> Result<(), &'static str> {
        fn merge<T>(
            value: &[u8],
            parse: fn(&[u8]) -> Result<T, &'static str>,
            field: &mut T,
        ) -> Result<(), &'static str> {
            if !value.is_empty() {
                *field = parse(value)?;
            }
            Ok(())
        }
        merge(&self.path, |v| Ok(v.to_vec()), &mut header.name)?;
        merge(&self.linkpath, |v| Ok(v.to_vec()), &mut header.link_name)?;
        merge(&self.size, number::decimal, &mut header.size)?;
        merge(&self.uid, number::decimal, &mut header.uid)?;
        merge(&self.gid, number::decimal, &mut header.gid)?;
        merge(&self.mtime, number::time, &mut header.mtime)?;
        merge(&self.atime, |v| number::time(v).map(Some), &mut header.atime)?;
        let mut ctime = Default::default();
        merge(&self.ctime, number::time, &mut ctime)
    }
}

/// Key, value, and what follows the record.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Takes `<length> <key>=<value>\n` off the front.
fn record(data: &[u8]) -> Result<Record<'_>, &'static str> {
    const BAD: &str = "a PAX record is malformed";
    let space = data.iter().position(|&b| b == b' ').ok_or(BAD)?;
    let (length, after) = data.split_at(space);
    let length = usize::try_from(number::decimal(length)?).map_err(|_| BAD)?;
    // The length counts its own digits, the space and the line feed.
    let body = length.checked_sub(space + 1).filter(|_| length >= 5).ok_or(BAD)?;
    let (body, rest) = after.get(1..).and_then(|d| d.split_at_checked(body)).ok_or(BAD)?;
    let body = body.strip_suffix(b"\n").ok_or(BAD)?;
    let equals = body.iter().position(|&b| b == b'=').ok_or(BAD)?;
    let (key, value) = body.split_at(equals);
    let value = value.get(1..).unwrap_or_default();
    let forbids_nul = match key {
        b"path" | b"linkpath" | b"uname" | b"gname" => value,
        _ => key,
    };
    if key.is_empty() || forbids_nul.contains(&0) {
        return Err(BAD);
    }
    Ok((key, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_a_key_counts_and_order_is_kept() {
        let data = b"25 SCHILY.xattr.user.a=1\n25 SCHILY.xattr.user.b=2\n\
            25 SCHILY.xattr.user.a=3\n12 path=x/y\n8 path=\n";
        let pax = Pax::parse(data).unwrap();
        let xattrs: Vec<_> = pax.xattrs.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        assert_eq!(xattrs, [(&b"user.a"[..], &b"3"[..]), (b"user.b", b"2")]);
        assert!(pax.path.is_empty());
    }

    #[test]
    fn values_are_any_bytes_but_names_have_no_nul() {
        assert!(Pax::parse(b"26 SCHILY.xattr.user.a=\0\n\n").is_ok());
        assert!(Pax::parse(b"00006 a=\n").is_err());
        assert!(Pax::parse(b"000011 a=b\n").is_ok());
        for bad in [
            &b"11 path=\0\0\n"[..],
            b"6 a\0=\n",
            b"5 =x\n",
            b"99 a=b\n",
            b"6 a=bc",
            b"4 a\n",
            b"x a=b\n",
            b"-6 a=b\n",
            b"00000005 a=b\n",
        ] {
            assert!(Pax::parse(bad).is_err(), "{:?}", bad.escape_ascii().to_string());
        }
    }

    #[test]
    fn sparse_0_0_becomes_0_1() {
        let data = b"23 GNU.sparse.offset=0\n25 GNU.sparse.numbytes=3\n23 GNU.sparse.offset=9\n25 GNU.sparse.numbytes=1\n";
        assert_eq!(Pax::parse(data).unwrap().sparse.map, b"0,3,9,1");
        assert!(Pax::parse(b"25 GNU.sparse.numbytes=3\n").is_err());
    }
}
