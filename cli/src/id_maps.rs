//! The flags for user and group id maps.

use std::path::Path;

use clap::Args;
use orlop::IdMap;
use orlop::{Error, ErrorKind, Result};

/// The id map flags (MAPS in `cli.md`).
#[derive(Args)]
pub(crate) struct IdMapFlags {
    /// Force host UID map
    #[arg(long)]
    pub(crate) hostuidmap: bool,
    /// Force host GID map
    #[arg(long)]
    pub(crate) hostgidmap: bool,
    /// UID map
    #[arg(long, value_name = "CONTAINER:HOST:SIZE")]
    uidmap: Option<String>,
    /// GID map
    #[arg(long, value_name = "CONTAINER:HOST:SIZE")]
    gidmap: Option<String>,
    /// Map the ranges that /etc/subuid gives the user
    #[arg(long, value_name = "USER")]
    subuidmap: Option<String>,
    /// Map the ranges that /etc/subgid gives the group
    #[arg(long, value_name = "GROUP")]
    subgidmap: Option<String>,
}

impl IdMapFlags {
    /// The maps of user and of group ids; empty for the host's.
    ///
    /// # Errors
    /// Contradicting flags, malformed maps, a user or group without ranges.
    pub(crate) fn resolve(&self) -> Result<(Vec<IdMap>, Vec<IdMap>)> {
        let given = |text: &Option<String>| text.as_deref().is_some_and(|t| !t.is_empty());
        if self.hostuidmap && (given(&self.uidmap) || given(&self.subuidmap)) {
            return Err(contradiction("host uid map specified along with UID mapping"));
        }
        if self.hostgidmap && (given(&self.gidmap) || given(&self.subgidmap)) {
            return Err(contradiction("host gid map specified along with GID mapping"));
        }
        let user = self.subuidmap.as_deref().filter(|name| !name.is_empty());
        let group = self.subgidmap.as_deref().filter(|name| !name.is_empty());
        let (mut uids, mut gids) = match (user.or(group), group.or(user)) {
            (Some(user), Some(group)) => (
                subordinate(Path::new("/etc/subuid"), user)?,
                subordinate(Path::new("/etc/subgid"), group)?,
            ),
            _ => Default::default(),
        };
        uids.extend(parse(self.uidmap.as_deref().unwrap_or_default(), "uid")?);
        gids.extend(parse(self.gidmap.as_deref().unwrap_or_default(), "gid")?);
        Ok((uids, gids))
    }
}

fn contradiction(text: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "reading the id map flags").detail(text)
}

/// Any number of `container:host:size`, between colons or commas.
fn parse(text: &str, what: &str) -> Result<Vec<IdMap>> {
    let malformed = || {
        Error::new(ErrorKind::InvalidArgument, format!("reading the {what} map {text:?}"))
            .detail(format!("{what} setting is malformed"))
            .hint("a map reads CONTAINER:HOST:SIZE, three numbers")
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<u32> = text
        .split([':', ','])
        .map(|number| number.parse().map_err(|_| malformed()))
        .collect::<Result<_>>()?;
    numbers
        .chunks(3)
        .map(|chunk| match *chunk {
            [container_id, host_id, size] => Ok(IdMap { container_id, host_id, size }),
            _ => Err(malformed()),
        })
        .collect()
}

/// The ranges of `name` in a file of `name:first:count` lines, put one after the other from 0 on.
fn subordinate(file: &Path, name: &str) -> Result<Vec<IdMap>> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io("reading", file, e))?;
    let maps = ranges(&text, name);
    if maps.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "reading the id map flags")
            .path(file)
            .detail(format!("no ranges for {name:?}")));
    }
    Ok(maps)
}

fn ranges(text: &str, name: &str) -> Vec<IdMap> {
    let mut container_id = 0_u32;
    let mut maps = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [owner, first, count] = *fields.as_slice() else { continue };
        let (Ok(host_id), Ok(size)) = (first.parse(), count.parse::<u32>()) else { continue };
        if owner == name && size > 0 {
            maps.push(IdMap { container_id, host_id, size });
            container_id = container_id.saturating_add(size);
        }
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_triples() {
        let map = IdMap { container_id: 0, host_id: 1000, size: 5 };
        assert_eq!(parse("0:1000:5", "uid").unwrap(), [map]);
        assert_eq!(parse("0:1000:5,5:1:1", "uid").unwrap().len(), 2);
        for bad in ["0:1000", "a:b:c", "0:1000:-1", "0:1:2:3"] {
            assert_eq!(parse(bad, "uid").unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn subordinate_ranges_follow_each_other() {
        let maps = ranges("a:100:10\n# no\nb:5:5\na:500:20\n", "a");
        let expected = [
            IdMap { container_id: 0, host_id: 100, size: 10 },
            IdMap { container_id: 10, host_id: 500, size: 20 },
        ];
        assert_eq!(maps, expected);
    }
}
