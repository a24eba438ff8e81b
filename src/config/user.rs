//! Whose configuration is read: the user behind the process, and whether storage is his own or the system's.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Environment;

/// The uid that a process which re-executed itself inside a user namespace had outside of it.
const ROOTLESS_UID: &str = "_CONTAINERS_ROOTLESS_UID";
/// Set, and not empty, in a process that has been put into a user namespace.
const USERNS_CONFIGURED: &str = "_CONTAINERS_USERNS_CONFIGURED";

/// The user whose configuration is read (`storage-conf.md` 1 and 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The effective user id, which owns what the process creates.
    pub uid: u32,
    /// The user id outside of the user namespace that the process put itself into, if it did; else its real user id.
    pub rootless_uid: u32,
    /// Whether the process lacks the powers of the machine's root.
    pub is_rootless: bool,
    /// The home directory: `$HOME`, else the passwd entry of `rootless_uid`; `None` if there is neither.
    pub home: Option<PathBuf>,
}

impl User {
    /// The user of this process, with what `env` says about him.
    ///
    /// A value of `_CONTAINERS_ROOTLESS_UID` that is no user id counts as 0, as in the Go library.
    pub fn of_process(env: &Environment) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let recorded = env.non_empty(ROOTLESS_UID).map(|value| {
            std::str::from_utf8(value.as_bytes()).ok().and_then(|v| v.parse().ok()).unwrap_or(0)
        });
        let rootless_uid = recorded.unwrap_or_else(|| rustix::process::getuid().as_raw());
        let is_rootless = recorded.unwrap_or(uid) != 0
            || env.non_empty(USERNS_CONFIGURED).is_some()
            || !has_sys_admin()
            || !in_first_user_namespace();
        let home = env.non_empty("HOME").map(PathBuf::from).or_else(|| passwd_home(rootless_uid));
        Self { uid, rootless_uid, is_rootless, home }
    }

    /// Whether storage lives below the user's own directories by default: he is rootless, and not root.
    pub fn per_user_storage(&self) -> bool {
        self.is_rootless && self.rootless_uid != 0
    }
}

fn passwd_home(uid: u32) -> Option<PathBuf> {
    let entry = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok()??;
    Some(entry.dir)
}

/// A failure to tell counts as "yes": the first refused system call says more than a guess here.
fn has_sys_admin() -> bool {
    rustix::thread::capabilities(None)
        .map_or(true, |sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN))
}

/// Only the first user namespace maps the id 4294967295: `user_namespaces(7)` forbids to map (u32)-1.
fn in_first_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").map_or(true, |map| map.contains("4294967295"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vars: &[(&str, &str)]) -> User {
        User::of_process(&vars.iter().copied().collect())
    }

    #[test]
    fn the_recorded_uid_wins_over_the_real_one() {
        let user = of(&[(ROOTLESS_UID, "1234"), ("HOME", "/h")]);
        assert_eq!((user.rootless_uid, user.is_rootless), (1234, true));
        assert_eq!(user.home, Some(PathBuf::from("/h")));
        assert!(user.per_user_storage());
    }

    #[test]
    fn an_empty_or_malformed_record_is_no_user() {
        assert_eq!(of(&[(ROOTLESS_UID, "")]).rootless_uid, rustix::process::getuid().as_raw());
        assert_eq!(of(&[(ROOTLESS_UID, "abc")]).rootless_uid, 0);
    }

    #[test]
    fn root_in_a_configured_namespace_is_rootless_but_keeps_system_storage() {
        let user = of(&[(ROOTLESS_UID, "0"), (USERNS_CONFIGURED, "1")]);
        assert!(user.is_rootless && !user.per_user_storage());
    }

    #[test]
    fn home_comes_from_passwd_when_the_variable_is_unset_or_empty() {
        assert_eq!(of(&[(ROOTLESS_UID, "0")]).home, Some(PathBuf::from("/root")));
        assert_eq!(of(&[(ROOTLESS_UID, "0"), ("HOME", "")]).home, Some(PathBuf::from("/root")));
        assert_eq!(of(&[(ROOTLESS_UID, "3999999")]).home, None);
    }
}
