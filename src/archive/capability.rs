//! File capabilities whose root is that of a user namespace (version 3 of `security.capability`, capabilities(7), TAR-9).

use crate::IdMaps;

/// The attribute.
pub(super) const KEY: &[u8] = b"security.capability";

/// The version is the highest byte of the first number, which has the flags beside it.
const REVISION: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;

/// The value inside the maps: the root id of version 3 is a user id on the host, and version 2 goes without, for root. `None` if
/// the root id is not mapped; any other value stays as it is.
pub(super) fn inside(value: &[u8], maps: &IdMaps) -> Option<Vec<u8>> {
    if maps.is_empty() {
        return Some(value.to_vec());
    }
    // Magic, two pairs of sets, root id; all little-endian.
    let Ok(whole) = <[u8; 24]>::try_from(value) else { return Some(value.to_vec()) };
    let [m0, m1, m2, m3, sets @ .., r0, r1, r2, r3] = whole;
    let magic = u32::from_le_bytes([m0, m1, m2, m3]);
    if magic & REVISION != REVISION_3 {
        return Some(value.to_vec());
    }
    let host = u32::from_le_bytes([r0, r1, r2, r3]);
    let root = maps.uid_to_container(host)?;
    let revision = if root == 0 { REVISION_2 } else { REVISION_3 };
    let mut out = (magic & !REVISION | revision).to_le_bytes().to_vec();
    out.extend_from_slice(&sets);
    if root != 0 {
        out.extend_from_slice(&root.to_le_bytes());
    }
    Some(out)
}

/// The value of version 3 whose root id is root's, in version 2; `None` for any other.
pub(super) fn without_root(value: &[u8]) -> Option<Vec<u8>> {
    let (magic, rest) = value.split_first_chunk::<4>()?;
    let (sets, root) = rest.split_last_chunk::<4>()?;
    let magic = u32::from_le_bytes(*magic);
    if magic & REVISION != REVISION_3 || sets.len() != 16 || *root != [0; 4] {
        return None;
    }
    let magic = (magic & !REVISION | REVISION_2).to_le_bytes();
    Some([magic.as_slice(), sets].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdMap;

    // TAR-9
    #[test]
    fn root_ids_are_those_inside() {
        let maps = IdMaps::new(
            &[IdMap { container_id: 0, host_id: 1000, size: 10 }],
            &[IdMap { container_id: 0, host_id: 1, size: 1 }],
        );
        let value = |revision: u32, root: Option<u32>| {
            let mut bytes = (revision << 24 | 1).to_le_bytes().to_vec();
            bytes.extend(5..21);
            bytes.extend(root.iter().flat_map(|id| id.to_le_bytes()));
            bytes
        };
        assert_eq!(inside(&value(3, Some(1000)), &maps), Some(value(2, None)));
        assert_eq!(inside(&value(3, Some(1007)), &maps), Some(value(3, Some(7))));
        assert_eq!(inside(&value(3, Some(7)), &maps), None);
        for other in [value(2, None), value(2, Some(1000)), value(3, None), Vec::new()] {
            assert_eq!(inside(&other, &maps), Some(other));
        }
        assert_eq!(without_root(&value(3, Some(0))), Some(value(2, None)));
        assert_eq!(without_root(&value(2, Some(0))), None);
        let value = value(3, Some(1000));
        assert_eq!(without_root(&value), None);
        assert_eq!(inside(&value, &IdMaps::default()), Some(value));
    }
}
