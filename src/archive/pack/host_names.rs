//! The names of users and groups, as the host knows them (TAR-5).

use std::collections::HashMap;

use nix::unistd::{Gid, Group, Uid, User};

/// Names looked up, each once; empty where the host has none.
#[derive(Default)]
pub(super) struct HostNames {
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
}

impl HostNames {
    pub(super) fn user(&mut self, id: u32) -> Vec<u8> {
        let look = || User::from_uid(Uid::from_raw(id)).ok().flatten().map(|user| user.name);
        let name = self.users.entry(id).or_insert_with(|| look().unwrap_or_default().into_bytes());
        name.clone()
    }

    pub(super) fn group(&mut self, id: u32) -> Vec<u8> {
        let look = || Group::from_gid(Gid::from_raw(id)).ok().flatten().map(|group| group.name);
        let name = self.groups.entry(id).or_insert_with(|| look().unwrap_or_default().into_bytes());
        name.clone()
    }
}
