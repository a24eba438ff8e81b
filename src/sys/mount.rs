//! The kernel's mount calls and its mount table, made safe.

#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags,
};
use rustix::thread::UnshareFlags;

#[cfg(test)]
use super::refused::{self, Call};
use super::threads::{self, spawn_scoped};
use crate::{Error, ErrorKind, Result};

/// The `f_type` of an overlay mount.
pub(crate) const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// The `f_type` of a file system in user space.
pub(crate) const FUSE_MAGIC: u64 = 0x6573_5546;

/// The longest string that `fsconfig` takes, without its final NUL (fsconfig(2)).
pub(crate) const FSCONFIG_STRING_MAX: usize = 255;

/// One line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountEntry {
    /// The directory of the mounted file system that is seen at `target`.
    pub(crate) root: PathBuf,
    /// Where it is mounted.
    pub(crate) target: PathBuf,
    /// The mount's own options.
    pub(crate) options: String,
    /// The file system's type.
    pub(crate) fs_type: String,
    /// The options of the file system, escapes kept.
    pub(crate) super_options: Vec<u8>,
}

/// The mount table of this process's mount namespace, in the order of mounting.
///
/// # Errors
/// When `/proc/self/mountinfo` cannot be read.
pub(crate) fn mount_table() -> Result<Vec<MountEntry>> {
    let path = Path::new("/proc/thread-self/mountinfo");
    let text = std::fs::read(path).map_err(|e| Error::io("reading the mount table", path, e))?;
    Ok(parse_mount_table(&text))
}

fn parse_mount_table(text: &[u8]) -> Vec<MountEntry> {
    text.split(|&b| b == b'\n').filter_map(parse_mount_line).collect()
}

/// `id parent major:minor root target options [tags…] - type source super-options`
fn parse_mount_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&b| b == b' ');
    let root = fields.nth(3)?;
    let target = fields.next()?;
    let options = fields.next()?;
    let mut rest = fields.skip_while(|f| *f != b"-").skip(1);
    let fs_type = rest.next()?;
    let super_options = rest.nth(1)?;
    Some(MountEntry {
        root: unescape(root),
        target: unescape(target),
        options: String::from_utf8_lossy(options).into_owned(),
        fs_type: String::from_utf8_lossy(fs_type).into_owned(),
        super_options: super_options.to_vec(),
    })
}

/// Undoes the kernel's octal escapes (`\040` for a blank and so on).
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'\\'
            && let Some(digits) = tail.first_chunk::<3>()
            && digits.iter().all(|d| (b'0'..=b'7').contains(d))
        {
            let value = digits.iter().fold(0u32, |v, d| v * 8 + u32::from(d - b'0'));
            out.push(u8::try_from(value & 0xff).unwrap_or(b'?'));
            rest = tail.get(3..).unwrap_or_default();
        } else {
            out.push(first);
            rest = tail;
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// The mount points at or below `path`, deepest first, compared by path component (DEF-23); one entry for each mount, so a
/// directory that is mounted over twice is named twice. The last component of `path` is not followed; what is above it is,
/// and the mount points are named as the kernel does, without symbolic links.
///
/// # Errors
/// When the mount table cannot be read.
pub(crate) fn mounts_below(path: &Path) -> Result<Vec<PathBuf>> {
    let Some(root) = real_path(path)? else { return Ok(Vec::new()) };
    Ok(below(mount_table()?, &root))
}

/// The path without symbolic links above its last component; `None` if there is no such directory.
pub(crate) fn real_path(path: &Path) -> Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Some(path.to_path_buf()));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match parent.canonicalize() {
        Ok(parent) => Ok(Some(parent.join(name))),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(e) => Err(Error::io("examining", parent, e)),
    }
}

fn below(table: Vec<MountEntry>, root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        table.into_iter().map(|m| m.target).filter(|t| t.starts_with(root)).collect();
    found.reverse();
    found.sort_by_key(|t| std::cmp::Reverse(t.components().count()));
    found
}

/// Whether something is mounted exactly at `path`; a missing path is no mount point. What is mounted there is not asked: it may be a file
/// system that never answers.
///
/// # Errors
/// When the path cannot be examined.
pub(crate) fn is_mount_point(path: &Path) -> Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(CWD, path, flags, StatxFlags::TYPE);
    #[cfg(test)]
    let stat = refused::check(Call::Statx).and(stat);
    match stat {
        Ok(s) if s.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
            Ok(s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(false),
        // A file system in user space is mounted there whose process has died.
        Err(rustix::io::Errno::NOTCONN) => Ok(true),
        // Kernels before 5.8 do not tell; neither does a seccomp profile that hides the call.
        Ok(_) | Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
            let real = match path.canonicalize() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(Error::io("examining", path, e)),
                Ok(real) => real,
            };
            Ok(mount_table()?.iter().any(|m| m.target == real))
        }
        Err(e) => Err(Error::io("examining", path, e)),
    }
}

/// The number of the file system that is seen at `path`, or is mounted where a link there leads, which is its own as long as somebody
/// uses it; 0 if that is not known. Neither that file system is asked nor those on the way of the link.
pub(crate) fn device_at(path: &Path) -> u64 {
    if let Ok(target) = std::fs::read_link(path) {
        let table = std::fs::read("/proc/thread-self/mountinfo").unwrap_or_default();
        return device_in(&table, &target).unwrap_or(0);
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(CWD, path, flags, StatxFlags::TYPE);
    stat.map_or(0, |s| rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor))
}

/// That of what was mounted last at `target`.
fn device_in(table: &[u8], target: &Path) -> Option<u64> {
    let of = |line: &[u8]| {
        let mut fields = line.split(|&b| b == b' ').skip(2);
        let device = std::str::from_utf8(fields.next()?).ok()?;
        let (major, minor) = device.split_once(':')?;
        let is_there = unescape(fields.nth(1)?) == target;
        is_there.then_some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
    };
    table.split(|&b| b == b'\n').rev().find_map(of)
}

/// The magic number of the file system that `path` lies on.
///
/// # Errors
/// The system call's.
pub(crate) fn fs_magic(path: &Path) -> io::Result<u64> {
    let s = rustix::fs::statfs(path)?;
    // The kernel's magic numbers are 32 bits wide; some C libraries sign-extend them.
    #[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)]
    Ok(u64::from(s.f_type as u32))
}

/// Whether an overlay is mounted exactly at `path`, by the kernel or by a program.
pub(crate) fn is_overlay_mount(path: &Path) -> bool {
    matches!(fs_magic(path), Ok(OVERLAY_MAGIC | FUSE_MAGIC))
        && matches!(is_mount_point(path), Ok(true))
}

/// What a file system in user space leaves at `path` when its process dies: a mount point that answers nothing.
pub(crate) fn is_dead_mount(path: &Path) -> bool {
    matches!(fs_magic(path), Err(e) if e.raw_os_error() == Some(libc::ENOTCONN))
}

/// Whether a file system in user space is mounted exactly at `path`, be its process alive or dead.
pub(crate) fn is_fuse_mount(path: &Path) -> bool {
    match fs_magic(path) {
        Ok(magic) => magic == FUSE_MAGIC && matches!(is_mount_point(path), Ok(true)),
        Err(e) => e.raw_os_error() == Some(libc::ENOTCONN),
    }
}

/// Brings to the disk what the file system at `path` has not written yet.
///
/// # Errors
/// The system call's.
pub(crate) fn sync_mount(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::syncfs(rustix::fs::open(path, flags, Mode::empty())?)?)
}

/// Detaches the mount at `path` from the tree; it ends when its last user is gone (`MNT_DETACH`). Links are not followed.
///
/// # Errors
/// The system call's: `EINVAL` when nothing is mounted there.
pub(crate) fn detach(path: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// Makes the directory `path` a mount of itself, if it is no mount yet, and that mount private.
///
/// # Errors
/// The system call's.
pub(crate) fn bind_private(path: &Path) -> Result<()> {
    if !is_mount_point(path)? {
        rustix::mount::mount_bind(path, path)
            .map_err(|e| Error::io("bind-mounting on itself", path, e))?;
    }
    rustix::mount::mount_change(path, MountPropagationFlags::PRIVATE)
        .map_err(|e| Error::io("making the mount private", path, e))
}

/// `mount(2)` of an overlay with `data` as its option string.
///
/// # Errors
/// The system call's, and `EINVAL` for a NUL byte within `data`.
pub(crate) fn mount_overlay(target: &Path, flags: MountFlags, data: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    if data.split(|b| *b == b',').any(|word| word == b"volatile") {
        refused::check(Call::Volatile)?;
    }
    let data = CString::new(data).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(rustix::mount::mount("overlay", target, "overlay", flags, data.as_c_str())?)
}

/// The size of a memory page, which is also that of the option string of `mount(2)`.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Whether the running kernel is older than `major.minor`; unknown counts as not.
pub(crate) fn kernel_before(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(a), Some(b)) => (a, b) < (major, minor),
        _ => false,
    }
}

/// A file system in the making: `fsopen`, then its parameters, then a mount (fsopen(2), Linux 5.2).
pub(crate) struct NewOverlay(OwnedFd);

impl NewOverlay {
    /// Begins an overlay.
    ///
    /// # Errors
    /// `ENOSYS` without the new mount API, `EPERM` without privileges, `ENODEV` without overlay.
    pub(crate) fn begin() -> io::Result<Self> {
        #[cfg(test)]
        refused::check(Call::Fsopen)?;
        Ok(Self(rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?))
    }

    /// Sets a parameter that has a value.
    ///
    /// # Errors
    /// `EINVAL` if the kernel does not know the key or refuses the value.
    pub(crate) fn string(&self, key: &str, value: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if key == "lowerdir+" {
            refused::check(Call::LowerdirPlus)?;
        }
        Ok(rustix::mount::fsconfig_set_string(&self.0, key, OsStr::from_bytes(value))?)
    }

    /// Sets a parameter that stands alone.
    ///
    /// # Errors
    /// `EINVAL` if the kernel does not know the key.
    pub(crate) fn flag(&self, key: &str) -> io::Result<()> {
        #[cfg(test)]
        if key == "volatile" {
            refused::check(Call::Volatile)?;
        }
        Ok(rustix::mount::fsconfig_set_flag(&self.0, key)?)
    }

    /// Sets a parameter to an open directory (Linux 6.13 for overlay's layers).
    ///
    /// # Errors
    /// `EINVAL` on older kernels.
    pub(crate) fn descriptor(&self, key: &str, value: &OwnedFd) -> io::Result<()> {
        #[cfg(test)]
        refused::check(Call::LayerDescriptor)?;
        Ok(rustix::mount::fsconfig_set_fd(&self.0, key, value)?)
    }

    /// Creates the file system and a mount of it that stands nowhere in the tree.
    ///
    /// # Errors
    /// The system call's.
    pub(crate) fn create(&self, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
        rustix::mount::fsconfig_create(&self.0)?;
        Ok(rustix::mount::fsmount(&self.0, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
    }

    /// What the kernel has to say about the last refusal, if anything.
    pub(crate) fn message(&self) -> Option<String> {
        let mut buffer = [0u8; 1024];
        let length = rustix::io::read(&self.0, &mut buffer).ok()?;
        let text = String::from_utf8_lossy(buffer.get(..length)?).into_owned();
        // A letter for the kind of the message and a blank come first.
        let said = ["e ", "w ", "i "].iter().find_map(|kind| text.strip_prefix(kind));
        Some(said.unwrap_or(&text).trim().to_owned())
    }
}

/// Puts a detached mount in the tree, at `target`.
///
/// # Errors
/// The system call's.
pub(crate) fn attach(mount: &OwnedFd, target: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", CWD, target, flags)?)
}

/// Runs `work` on a thread of its own whose working directory is `directory`; the caller's stays as it is.
///
/// # Errors
/// When the thread cannot be started or the directory not be entered.
pub(crate) fn in_directory<T: Send>(
    directory: &Path,
    work: impl FnOnce() -> T + Send,
) -> Result<T> {
    #[cfg(test)]
    let work = {
        let calls = refused::all();
        move || refused::with(&calls, work)
    };
    std::thread::scope(|scope| {
        let worker = spawn_scoped(scope, "orlop-mount", || {
            // SAFETY: CLONE_FS gives this fresh thread its own root, working directory and umask; it separates
            // nothing that other threads rely on, and the thread ends with this closure.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
                .and_then(|()| rustix::process::chdir(directory))
                .map_err(|e| Error::io("entering the directory", directory, e))?;
            Ok(work())
        });
        let worker = worker
            .map_err(|e| Error::io("starting a thread in", directory, e).hint(threads::ADVICE))?;
        worker.join().unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Internal, "running a thread with its own directory"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_lines_are_decoded() {
        let line = b"42 27 254:0 /a\\040b /x\\134y\\011z rw,nodev shared:1 master:2 - ext4 /dev/vda rw,a=b";
        let entry = parse_mount_line(line).unwrap();
        assert_eq!(entry.root, Path::new("/a b"));
        assert_eq!(entry.target, Path::new("/x\\y\tz"));
        assert_eq!(entry.options, "rw,nodev");
        assert_eq!(entry.fs_type, "ext4");
        assert_eq!(entry.super_options, b"rw,a=b");
        assert_eq!(parse_mount_line(b""), None);
        assert_eq!(parse_mount_line(b"1 2 3:4 / /t rw"), None);
        assert_eq!(unescape(b"\\04"), Path::new("\\04"));
        assert_eq!(unescape(b"\\999"), Path::new("\\999"));
    }

    #[test]
    fn mounts_are_compared_by_component() {
        // DEF-23
        let table = b"36 35 98:0 / /g/overlay/c\\040d rw,noatime master:1 - ext4 /dev/root rw\n\
            37 35 98:0 / /g/overlay/c\\040d/x\\134y rw - tmpfs t rw\n\
            38 35 98:0 / /g/overlay/c\\040d2 rw - tmpfs t rw\n\
            39 35 98:0 / /g/overlay/c rw - tmpfs t rw\nbroken\n";
        let found = below(parse_mount_table(table), Path::new("/g/overlay/c d"));
        assert_eq!(found, [Path::new("/g/overlay/c d/x\\y"), Path::new("/g/overlay/c d")]);
    }

    #[test]
    fn file_systems_have_numbers_where_they_are_mounted() {
        use std::os::unix::fs::MetadataExt;
        let table = b"36 35 98:1 / /a\\040b rw - ext4 /dev/root rw\n\
            37 35 0:7 /x /a\\040b rw - tmpfs t rw\n38 35 0:8 / /a rw - tmpfs t rw\nbroken\n";
        assert_eq!(device_in(table, Path::new("/a b")), Some(rustix::fs::makedev(0, 7)));
        assert_eq!(device_in(table, Path::new("/b")), None);
        let dir = tempfile::tempdir().unwrap();
        let link = |to: &str| {
            let link = dir.path().join(to.replace('/', "-"));
            std::os::unix::fs::symlink(to, &link).unwrap();
            device_at(&link)
        };
        let proc = std::fs::metadata("/proc").unwrap().dev();
        assert_eq!(
            (device_at(Path::new("/proc")), link("/proc"), link("/no/such")),
            (proc, proc, 0)
        );
    }

    #[test]
    fn the_table_has_proc() {
        assert!(mount_table().unwrap().iter().any(|m| m.target == Path::new("/proc")));
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!is_mount_point(Path::new("/proc/self")).unwrap());
        assert!(!is_mount_point(Path::new("/no/such/path")).unwrap());
    }

    #[test]
    fn a_thread_has_its_own_directory() {
        let before = std::env::current_dir().unwrap();
        let inside = in_directory(Path::new("/proc"), || std::env::current_dir().unwrap()).unwrap();
        assert_eq!(inside, Path::new("/proc"));
        assert_eq!(std::env::current_dir().unwrap(), before);
        assert!(in_directory(Path::new("/no/such"), || ()).is_err());
        let calls = [(Call::Clone, rustix::io::Errno::AGAIN)];
        let e = refused::with(&calls, || in_directory(Path::new("/proc"), || ())).unwrap_err();
        assert_eq!((e.raw_os_error(), e.file()), (Some(libc::EAGAIN), Some(Path::new("/proc"))));
        assert!(e.to_string().contains("ulimit -u"), "{e}");
    }
}
