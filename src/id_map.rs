//! Ids of a container and the host ids that they stand for (`overlay-driver.md` 13, user_namespaces(7)).

use crate::{Error, ErrorKind, Result};

/// A range of ids of a container and the host ids it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdMap {
    /// The first id inside.
    pub container_id: u32,
    /// The first id outside.
    pub host_id: u32,
    /// How many ids.
    pub size: u32,
}

impl IdMap {
    fn to_host(self, id: u32) -> Option<u32> {
        within(id, self.container_id, self.size).and_then(|n| self.host_id.checked_add(n))
    }

    fn to_container(self, id: u32) -> Option<u32> {
        within(id, self.host_id, self.size).and_then(|n| self.container_id.checked_add(n))
    }
}

fn within(id: u32, first: u32, size: u32) -> Option<u32> {
    id.checked_sub(first).filter(|n| *n < size)
}

/// The maps of users and of groups. An empty list stands for every id itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct IdMaps {
    /// User ids.
    pub uids: Vec<IdMap>,
    /// Group ids.
    pub gids: Vec<IdMap>,
}

impl IdMaps {
    /// The maps of these lists.
    pub fn new(uids: &[IdMap], gids: &[IdMap]) -> Self {
        Self { uids: uids.to_vec(), gids: gids.to_vec() }
    }

    /// Whether every id stands for itself.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// The id inside of a user on the host, if it is mapped.
    pub fn uid_to_container(&self, uid: u32) -> Option<u32> {
        map(&self.uids, uid, IdMap::to_container)
    }

    /// The host ids of an owner inside; `None` if one of them is not mapped.
    pub fn to_host(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((map(&self.uids, uid, IdMap::to_host)?, map(&self.gids, gid, IdMap::to_host)?))
    }

    /// As [`IdMaps::to_host`], with 65534, the overflow id, for an id that is not mapped (MAP-4).
    pub fn to_host_or_overflow(&self, uid: u32, gid: u32) -> (u32, u32) {
        const OVERFLOW: u32 = 65_534;
        // To the kernel the highest number means "no change".
        let host = |maps: &[IdMap], id| {
            map(maps, id, IdMap::to_host).filter(|id| *id != u32::MAX).unwrap_or(OVERFLOW)
        };
        (host(&self.uids, uid), host(&self.gids, gid))
    }

    /// The ids inside of an owner on the host; `None` if one of them is not mapped.
    pub fn to_container(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((self.uid_to_container(uid)?, map(&self.gids, gid, IdMap::to_container)?))
    }

    /// Whether the ranges of each map join without gaps, on either side (MAP-7).
    pub fn is_contiguous(&self) -> bool {
        contiguous(&self.uids) && contiguous(&self.gids)
    }

    /// The host ids of root inside (CRE-4): a single map of one id is root's whatever id it names.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if root is not mapped.
    pub fn root(&self) -> Result<(u32, u32)> {
        Ok((root(&self.uids, "user")?, root(&self.gids, "group")?))
    }
}

fn map(maps: &[IdMap], id: u32, by: fn(IdMap, u32) -> Option<u32>) -> Option<u32> {
    if maps.is_empty() { Some(id) } else { maps.iter().find_map(|m| by(*m, id)) }
}

fn contiguous(maps: &[IdMap]) -> bool {
    let joined = |first: fn(&IdMap) -> u32| {
        let mut ranges: Vec<_> = maps.iter().map(|m| (first(m), m.size)).collect();
        ranges.sort_unstable();
        ranges.windows(2).all(|pair| match pair {
            [(first, size), (next, _)] => first.checked_add(*size) == Some(*next),
            _ => true,
        })
    };
    joined(|m| m.host_id) && joined(|m| m.container_id)
}

fn root(maps: &[IdMap], of: &str) -> Result<u32> {
    let host = match maps {
        [only] if only.size == 1 => Some(only.host_id),
        _ => map(maps, 0, IdMap::to_host),
    };
    // The highest number is nobody's: to the kernel it means "no change".
    host.filter(|id| *id != u32::MAX).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, "mapping root's ids")
            .detail(format!("the {of} id map {maps:?} has no host id for 0"))
            .hint("map container id 0 as well")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn range(container_id: u32, host_id: u32, size: u32) -> IdMap {
        IdMap { container_id, host_id, size }
    }

    #[test]
    fn ids_are_mapped_both_ways() {
        // MAP-4
        let maps = IdMaps::new(&[range(0, 1000, 10), range(10, 5000, 5)], &[]);
        assert_eq!(maps.to_host(0, 7), Some((1000, 7)));
        assert_eq!(maps.to_host(14, 0), Some((5004, 0)));
        assert_eq!(maps.to_host(15, 0), None);
        assert_eq!(maps.to_container(5004, 9), Some((14, 9)));
        assert_eq!(maps.to_container(1010, 9), None);
        assert_eq!(IdMaps::default().to_host(u32::MAX, 1), Some((u32::MAX, 1)));
        assert_eq!(maps.to_host_or_overflow(14, 3), (5004, 3));
        assert_eq!(maps.to_host_or_overflow(15, 3), (65_534, 3));
    }

    #[test]
    fn ranges_that_join_are_contiguous() {
        // MAP-7
        let all = |uids: &[IdMap]| IdMaps::new(uids, &[range(0, 0, 1)]).is_contiguous();
        assert!(IdMaps::default().is_contiguous() && all(&[range(0, 7, 3)]));
        assert!(all(&[range(10, 1010, 5), range(0, 1000, 10)]), "in any order");
        assert!(!all(&[range(0, 1000, 10), range(10, 1011, 5)]), "a gap outside");
        assert!(!all(&[range(0, 1000, 10), range(11, 1010, 5)]), "a gap inside");
    }

    #[test]
    fn ranges_beyond_the_last_id_map_nothing() {
        let maps = IdMaps::new(&[range(0, u32::MAX, 10)], &[]);
        assert_eq!(maps.to_host(0, 0), Some((u32::MAX, 0)));
        assert_eq!(maps.to_host(1, 0), None);
    }

    #[test]
    fn root_is_found() {
        // CRE-4
        assert_eq!(IdMaps::default().root().unwrap(), (0, 0));
        let one = IdMaps::new(&[range(5, 1005, 1)], &[range(0, 7, 100)]);
        assert_eq!(one.root().unwrap(), (1005, 7));
        let none = IdMaps::new(&[range(5, 1005, 2)], &[]);
        let nobody = IdMaps::new(&[range(0, u32::MAX, 1)], &[]);
        assert_eq!(nobody.root().unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(none.root().unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
