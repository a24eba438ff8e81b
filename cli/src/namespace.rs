//! A user namespace for a user without privileges, as podman and buildah make one for themselves (user_namespaces(7)).
//!
//! In it he is root of his own ids: his is 0, those that /etc/subuid and /etc/subgid give him follow. The library never changes its
//! caller's namespaces; this command changes its own, before it has a second thread.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};
use orlop::config::{Environment, User};
use orlop::{Error, ErrorKind};

/// Waits for a line, then maps the groups and the users of the process $1, and says how each went. It stays outside of the namespace, where
/// the programs have their rights.
const MAP: &str = "read -r go || exit 1; newgidmap $1 $2 2>&1; echo \"= $?\"; newuidmap $1 $3 2>&1; echo \"= $?\"";

/// Ids in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    count: u32,
}

/// Whether this process is without the rights of root, and has none of a namespace either.
pub(crate) fn is_needed() -> bool {
    !Uid::effective().is_root()
}

/// What tells the user namespace of this process from others.
pub(crate) fn id() -> Option<std::path::PathBuf> {
    fs::read_link("/proc/self/ns/user").ok()
}

/// Puts this process into a user namespace and a mount namespace of its own; returns the user that it then is.
///
/// # Errors
/// When the kernel or its administrator allows none, and when ids cannot be mapped; [`id`] tells whether the process is somebody else then,
/// who must not go on.
pub(crate) fn enter() -> orlop::Result<User> {
    let outside = User::of_process(&Environment::of_process());
    let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
    let name = nix::unistd::User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    let ranges = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let found = subordinate(&text, name.as_deref(), uid);
        if found.is_empty() {
            let user = name.clone().unwrap_or_else(|| uid.to_string());
            tracing::warn!(
                "found no ranges of ids for user {user} in {path}: images with files of several owners need them"
            );
        }
        found
    };
    let (uids, gids) = (ranges("/etc/subuid"), ranges("/etc/subgid"));
    let failed = |action: &str, e: io::Error| {
        Error::new(ErrorKind::NotSupported, action.to_owned())
            .caused_by(e)
            .hint("allow user namespaces: see the sysctl user.max_user_namespaces, and those of the distribution")
    };
    let mapper = if uids.is_empty() || gids.is_empty() {
        None
    } else {
        Mapper::start(&triples(gid, &gids), &triples(uid, &uids))
            .map_err(|e| failed("starting what maps ids", e))
            .map(Some)?
    };
    // At once: what is refused is refused before anything has changed.
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(|e| failed("making a user namespace", e.into()))?;
    let mapped = mapper.map_or(Ok((false, false)), Mapper::map);
    let (groups, users) = mapped.map_err(|e| failed("mapping ids", e))?;
    if !groups {
        // The kernel's condition for a group map of an unprivileged user.
        write_map("setgroups", "deny").map_err(|e| failed("giving up groups", e))?;
        write_map("gid_map", &format!("0 {gid} 1")).map_err(|e| failed("mapping the group", e))?;
    }
    if !users {
        write_map("uid_map", &format!("0 {uid} 1")).map_err(|e| failed("mapping the user", e))?;
    }
    tracing::debug!("working in a user namespace");
    Ok(User { uid: 0, is_rootless: true, ..outside })
}

fn write_map(name: &str, text: &str) -> io::Result<()> {
    fs::write(Path::new("/proc/self").join(name), text)
}

/// The ranges that a file in the format of subuid(5) gives to a user, by name or number.
fn subordinate(text: &str, name: Option<&str>, id: u32) -> Vec<Range> {
    let number = id.to_string();
    let own = |user: &str| Some(user) == name || user == number;
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let user = fields.next().filter(|user| own(user))?;
            let range =
                Range { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
            (!user.is_empty() && range.count > 0 && fields.next().is_none()).then_some(range)
        })
        .collect()
}

/// What newuidmap(1) is told: the user's own id as 0, and the ranges behind it.
fn triples(own: u32, ranges: &[Range]) -> String {
    let mut text = format!("0 {own} 1");
    let mut inside = 1u32;
    for Range { first, count } in ranges {
        let Some(next) = inside.checked_add(*count) else { break };
        text.push_str(&format!(" {inside} {first} {count}"));
        inside = next;
    }
    text
}

/// The process that maps ids for this one.
struct Mapper {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Mapper {
    fn start(gids: &str, uids: &str) -> io::Result<Self> {
        let own = std::process::id().to_string();
        // Only numbers and blanks, which the shell divides.
        let mut process = Command::new("sh")
            .args(["-c", MAP, "sh", &own, gids, uids])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, says: BufReader::new(says) })
    }

    /// Maps groups and users; tells of each whether it worked.
    fn map(mut self) -> io::Result<(bool, bool)> {
        if let Some(mut stdin) = self.process.stdin.take() {
            stdin.write_all(b"go\n")?;
        }
        let outcome = (self.step("newgidmap")?, self.step("newuidmap")?);
        self.process.wait()?;
        Ok(outcome)
    }

    fn step(&mut self, program: &str) -> io::Result<bool> {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if self.says.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim().strip_prefix("= ") {
                Some("0") => return Ok(true),
                Some(code) => {
                    let said = said.trim();
                    tracing::warn!(
                        "{program} failed with code {code}: {said}; only the user's own id is mapped"
                    );
                    return Ok(false);
                }
                None => said.push_str(&line),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_the_users_by_name_and_number() {
        let text = "ann:100000:65536\nbob:1:2\n1000:200000:10\n\nann:x:1\nann:5:0\nann:5\nann:7:1:8\n:9:9\n";
        let range = |first, count| Range { first, count };
        let all = [range(100_000, 65_536), range(200_000, 10)];
        assert_eq!(subordinate(text, Some("ann"), 1000), all);
        assert_eq!(subordinate(text, None, 1000), all[1..]);
        assert_eq!(subordinate(text, Some(""), 7), []);
        assert_eq!(triples(1000, &all), "0 1000 1 1 100000 65536 65537 200000 10");
        assert_eq!(triples(0, &[range(1, u32::MAX)]), "0 0 1", "no more ids than there are");
    }
}
