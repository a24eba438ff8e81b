//! The user: rights, user namespaces, subordinate ids, and the programs that stand in where the kernel does not serve.

use std::path::{Path, PathBuf};

use rustix::thread::{CapabilitySet, capabilities};

use super::{Answer, Area, Finding};
use crate::config::StoreOptions;

/// Whose ranges serve the automatic namespaces of root if the configuration names no one (storage.conf(5), `root-auto-userns-user`).
const DEFAULT_RANGES: &str = "containers";

/// The findings on the user.
pub(super) fn findings(options: &StoreOptions) -> Vec<Finding> {
    let root = rustix::process::geteuid().is_root();
    let name = match (root, options.auto_user_ns.root_user.as_str()) {
        (true, "") => DEFAULT_RANGES.to_owned(),
        (true, user) => user.to_owned(),
        (false, _) => own_name(),
    };
    vec![
        may_mount(root),
        namespaces(root),
        subordinate(&name, Path::new("/etc/subuid"), "subordinate-uids"),
        subordinate(&name, Path::new("/etc/subgid"), "subordinate-gids"),
        fuse_device(),
        fuse_overlayfs(),
    ]
}

fn may_mount(root: bool) -> Finding {
    let finding = |answer, why: &str| Finding::new(Area::User, "may-mount", answer, why);
    let held = capabilities(None).is_ok_and(|c| c.effective.contains(CapabilitySet::SYS_ADMIN));
    match (held, super::super::in_user_namespace()) {
        (true, false) => finding(Answer::Yes, "this process has CAP_SYS_ADMIN"),
        (true, true) => {
            finding(Answer::Yes, "this process has CAP_SYS_ADMIN in its user namespace")
        }
        (false, _) if root => finding(Answer::No, "this process is root without CAP_SYS_ADMIN")
            .change("add the capability to the container or the service"),
        (false, _) => finding(Answer::No, "this process is not root")
            .change("run as root, or within `podman unshare`"),
    }
}

/// Whether users may make namespaces: the kernel's limit, Debian's switch and that of AppArmor.
fn namespaces(root: bool) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::User, "user-namespaces", answer, why);
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let switches = [
        ("/proc/sys/user/max_user_namespaces", "0", true),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", !root),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", !root),
    ];
    let shut = switches
        .iter()
        .find(|(path, shut, concerns)| *concerns && read(path).as_deref() == Some(*shut));
    match shut {
        Some((path, value, _)) => finding(Answer::No, format!("{path} is {value}"))
            .change("only containers with ids of their own need them: set it by sysctl(8)"),
        None if Path::new("/proc/self/ns/user").exists() => {
            finding(Answer::Yes, "the kernel has them, and no limit forbids them".to_owned())
        }
        None => finding(Answer::No, "the kernel has none (CONFIG_USER_NS)".to_owned()),
    }
}

/// Ranges of ids for the user's namespaces, as newuidmap(1) reads them: `name-or-id:first:count`.
fn subordinate(user: &str, file: &Path, name: &'static str) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::User, name, answer, why);
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return finding(Answer::Unknown, format!("{}: {e}", file.display())),
    };
    match count_of(&text, user) {
        0 => finding(Answer::No, format!("{} has no range for {user}", file.display())).change(format!(
            "only containers with ids of their own need them: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
        )),
        count => finding(Answer::Yes, format!("{} gives {user} {count} ids", file.display())),
    }
}

fn count_of(text: &str, user: &str) -> u64 {
    let counts = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _, count) = (fields.next()?, fields.next()?, fields.next()?);
        (name == user).then(|| count.parse::<u64>().ok()).flatten()
    });
    counts.fold(0, u64::saturating_add)
}

/// The name of this process's user in /etc/passwd, else the number.
fn own_name() -> String {
    let id = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}

fn fuse_device() -> Finding {
    let finding = |answer, why: &str| Finding::new(Area::User, "fuse-device", answer, why);
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    match device {
        Ok(_) => finding(Answer::Yes, "/dev/fuse can be opened"),
        Err(e) => finding(Answer::No, &format!("/dev/fuse: {e}")).change(
            "only a mount_program needs it: modprobe fuse; in a container, --device /dev/fuse",
        ),
    }
}

fn fuse_overlayfs() -> Finding {
    let finding = |answer, why: String| Finding::new(Area::User, "fuse-overlayfs", answer, why);
    match on_path("fuse-overlayfs", std::env::var_os("PATH").unwrap_or_default().as_ref()) {
        Some(program) => finding(Answer::Yes, program.display().to_string()),
        None => finding(Answer::No, "it is not on PATH".to_owned())
            .change("only hosts whose kernel or file system has no overlay for the user need it: install fuse-overlayfs"),
    }
}

fn on_path(program: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(program)).find(|file| {
        rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_added_up_for_the_user_alone() {
        let text =
            "containers:100000:65536\nother:1:2\n containers:500000:10\nbroken\ncontainers:x\n";
        assert_eq!(count_of(text, "containers"), 65_546);
        assert_eq!(count_of(text, "con"), 0);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subuid");
        assert_eq!(subordinate("u", &file, "x").answer, Answer::No);
        std::fs::write(&file, "u:1:7\n").unwrap();
        let finding = subordinate("u", &file, "x");
        assert_eq!((finding.answer, finding.change), (Answer::Yes, None));
        assert!(finding.why.ends_with("gives u 7 ids"), "{}", finding.why);
    }

    #[test]
    fn only_programs_are_found_on_the_path() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tool"), "").unwrap();
        assert_eq!(on_path("tool", dir.path().as_os_str()), None, "no one may execute it");
        assert!(on_path("sh", "/nowhere:/bin:/usr/bin".as_ref()).is_some());
    }
}
