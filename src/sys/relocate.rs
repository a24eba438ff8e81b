//! Moving a directory to another parent. That changes its `..`, for which the kernel wants the right to write to the directory itself:
//! a layer's root, which often has mode 0555, can only be moved by a user without CAP_DAC_OVERRIDE after its mode has been changed.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// As renameat2(2), also for directories without permission to write that the caller owns. They keep their modes; a process that is
/// killed in between leaves such a one writable for its owner.
///
/// # Errors
/// The system call's.
pub(crate) fn relocate(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    let rename = || rustix::fs::renameat_with(CWD, from, CWD, to, flags);
    match rename() {
        Err(Errno::ACCESS) => {}
        done => return Ok(done?),
    }
    let other = flags.contains(RenameFlags::EXCHANGE).then_some(to);
    let opened: Vec<_> = [Some(from), other].into_iter().flatten().filter_map(open_up).collect();
    let outcome = if opened.is_empty() { Err(Errno::ACCESS) } else { rename() };
    for (dir, mode) in opened {
        // Best effort: whether the directory was moved matters more.
        let _ = chmod(&dir, mode);
    }
    Ok(outcome?)
}

/// Gives the owner the right to write to the directory; returns it with the mode that it had, `None` if nothing was changed.
fn open_up(path: &Path) -> Option<(OwnedFd, Mode)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&dir).ok()?.st_mode & 0o7777);
    if mode.contains(Mode::WUSR) {
        return None;
    }
    chmod(&dir, mode | Mode::WUSR).ok()?;
    Some((dir, mode))
}

/// fchmod(2) refuses a descriptor that was opened for its path alone.
fn chmod(dir: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", dir.as_raw_fd()), mode)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    use super::*;

    /// Runs `work` as a user who owns `dir` and what is in it, and has no right to pass over modes.
    fn as_owner<T: Send>(dir: &Path, work: impl FnOnce() -> T + Send) -> T {
        let user = 54321;
        if rustix::process::geteuid().is_root() {
            chown(dir, Some(user), Some(user)).unwrap();
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                chown(entry.path(), Some(user), Some(user)).unwrap();
            }
        }
        std::thread::scope(|scope| {
            let work = || {
                if rustix::process::geteuid().is_root() {
                    // Of this thread alone; the kernel drops the capabilities that pass over modes with it.
                    nix::unistd::setfsuid(nix::unistd::Uid::from_raw(user));
                }
                work()
            };
            scope.spawn(work).join().unwrap()
        })
    }

    #[test]
    fn a_directory_without_write_permission_moves_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, mode) in [("home", 0o700), ("temp", 0o700), ("shut", 0o0), ("layer", 0o555)] {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        let mode = |name: &str| at(name).metadata().unwrap().mode() & 0o7777;
        as_owner(dir.path(), || {
            assert!(std::fs::rename(at("layer"), at("temp/0")).is_err(), "else there is no need");
            relocate(&at("layer"), &at("temp/0"), RenameFlags::empty()).unwrap();
            relocate(&at("shut"), &at("home/layer"), RenameFlags::empty()).unwrap();
            relocate(&at("temp/0"), &at("home/layer"), RenameFlags::EXCHANGE).unwrap();
        });
        assert_eq!((mode("home/layer"), mode("temp/0")), (0o555, 0));
        // What cannot be moved keeps its mode, too.
        let full = as_owner(dir.path(), || {
            std::fs::create_dir_all(at("home/full/of")).unwrap();
            relocate(&at("temp/0"), &at("home/full"), RenameFlags::empty())
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
        assert_eq!(mode("temp/0"), 0);
    }

    #[test]
    fn links_are_moved_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("kept")).unwrap();
        std::fs::set_permissions(at("kept"), PermissionsExt::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink("kept", at("link")).unwrap();
        relocate(&at("link"), &at("moved"), RenameFlags::empty()).unwrap();
        assert!(at("moved").is_symlink());
        assert_eq!(at("kept").metadata().unwrap().mode() & 0o7777, 0o555);
    }
}
