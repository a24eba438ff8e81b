//! Project quotas: which project a file counts for (`FS_IOC_FSSETXATTR`, Linux 4.5, on xfs and ext4), and what a project may and
//! does hold (`quotactl_fd(2)`, Linux 5.14; before that `quotactl(2)`, which wants the file system's device as a node).

#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::ioctl::{Getter, Setter, ioctl, opcode};

#[cfg(test)]
use super::refused::{self, Call};

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FsXattr {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    pad: [u8; 8],
}

const GET_FS_XATTR: rustix::ioctl::Opcode = opcode::read::<FsXattr>(b'X', 31);
const SET_FS_XATTR: rustix::ioctl::Opcode = opcode::write::<FsXattr>(b'X', 32);
/// New files in the directory get its project (`FS_XFLAG_PROJINHERIT`).
const INHERIT: u32 = 0x200;

/// The project of a file or directory; 0 is none.
///
/// # Errors
/// `ENOTTY` or `EOPNOTSUPP` where files have no project.
pub(crate) fn project_of(file: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(attributes(file)?.project)
}

/// Makes a regular file or directory count for a project, a directory with all that will be made in it.
///
/// # Errors
/// The system call's.
pub(crate) fn join_project(file: BorrowedFd<'_>, project: u32, directory: bool) -> io::Result<()> {
    let mut wanted = attributes(file)?;
    wanted.project = project;
    if directory {
        wanted.flags |= INHERIT;
    }
    set_attributes(file, wanted)
}

/// Whether what will be made in a directory gets its project.
///
/// # Errors
/// As [`project_of`].
pub(crate) fn inherits_project(dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(attributes(dir)?.flags & INHERIT != 0)
}

/// Lets what will be made in a directory have no project.
///
/// # Errors
/// The system call's.
pub(crate) fn stop_inheriting(dir: BorrowedFd<'_>) -> io::Result<()> {
    let mut wanted = attributes(dir)?;
    wanted.flags &= !INHERIT;
    set_attributes(dir, wanted)
}

fn attributes(file: BorrowedFd<'_>) -> io::Result<FsXattr> {
    // SAFETY: the opcode is that of FS_IOC_FSGETXATTR, which writes one struct fsxattr; FsXattr is laid out like it, and any
    // bytes are a valid one.
    Ok(unsafe { ioctl(file, Getter::<GET_FS_XATTR, FsXattr>::new()) }?)
}

fn set_attributes(file: BorrowedFd<'_>, attributes: FsXattr) -> io::Result<()> {
    // SAFETY: the opcode is that of FS_IOC_FSSETXATTR, which reads one struct fsxattr; FsXattr is laid out like it.
    Ok(unsafe { ioctl(file, Setter::<SET_FS_XATTR, FsXattr>::new(attributes)) }?)
}

/// `struct fs_disk_quota` of linux/dqblk_xfs.h; blocks are of 512 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct DiskQuota {
    version: i8,
    flags: i8,
    fields: u16,
    id: u32,
    blocks_hard: u64,
    blocks_soft: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    blocks: u64,
    inodes: u64,
    timers: [i32; 2],
    warnings: [u16; 2],
    timers_high: [i8; 4],
    realtime_hard: u64,
    realtime_soft: u64,
    realtime: u64,
    realtime_timer: i32,
    realtime_warnings: u16,
    pad: [u8; 10],
}

/// `struct fs_quota_stat` of linux/dqblk_xfs.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct QuotaState {
    version: i8,
    flags: u16,
    pad: i8,
    files: [[u64; 3]; 2],
    tail: [u32; 6],
}

const VERSION: i8 = 1;
const BLOCK: u64 = 512;
/// `FS_PROJ_QUOTA`
const OF_PROJECT: i8 = 2;
/// `FS_DQ_ISOFT | FS_DQ_IHARD | FS_DQ_BSOFT | FS_DQ_BHARD`
const ALL_LIMITS: u16 = 0xf;
/// `FS_QUOTA_PDQ_ACCT`
const ACCOUNTED: u16 = 1 << 4;
/// `FS_QUOTA_PDQ_ENFD`
const ENFORCED: u16 = 1 << 5;

/// A command of the family `XQM_CMD`, for projects (`PRJQUOTA`).
const fn command(number: u8) -> c_int {
    ((b'X' as c_int) << 16) | ((number as c_int) << 8) | 2
}
const GET_USE: c_int = command(3);
const SET_LIMITS: c_int = command(4);
const GET_STATE: c_int = command(5);

/// What the file system does about projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Projects {
    /// Nothing.
    Off,
    /// It counts what they hold and lets them have more than their limits.
    Counted,
    /// It counts, and keeps them to their limits.
    Limited,
}

/// What a project may or does hold. As a limit, 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amount {
    /// Bytes on the disk, in steps of 512.
    pub(crate) bytes: u64,
    /// Files, directories included.
    pub(crate) inodes: u64,
}

/// A file system, to ask about its quotas.
pub(crate) struct FileSystem<'a> {
    /// Any file of it.
    pub(crate) file: BorrowedFd<'a>,
    /// Where kernels before 5.14 find its device: a node, which is made when it is needed. Without, they answer `ENODEV`.
    pub(crate) node: Option<&'a Path>,
}

impl FileSystem<'_> {
    /// What it does about projects.
    ///
    /// # Errors
    /// The system call's, such as `EACCES` for a node on a file system without devices.
    pub(crate) fn projects(&self) -> io::Result<Projects> {
        let mut state = QuotaState { version: VERSION, ..QuotaState::default() };
        match self.call(GET_STATE, 0, &mut state) {
            Err(Errno::NOSYS | Errno::SRCH | Errno::INVAL | Errno::NOTSUP) => Ok(Projects::Off),
            Err(e) => Err(e.into()),
            Ok(()) if state.flags & ACCOUNTED == 0 => Ok(Projects::Off),
            Ok(()) if state.flags & ENFORCED == 0 => Ok(Projects::Counted),
            Ok(()) => Ok(Projects::Limited),
        }
    }

    /// Sets all limits of a project, those that are 0 included: its number may have had others before.
    ///
    /// # Errors
    /// The system call's.
    pub(crate) fn set_limits(&self, project: u32, limits: Amount) -> io::Result<()> {
        let blocks = limits.bytes.div_ceil(BLOCK);
        let mut quota = DiskQuota {
            version: VERSION,
            flags: OF_PROJECT,
            fields: ALL_LIMITS,
            id: project,
            blocks_hard: blocks,
            blocks_soft: blocks,
            inodes_hard: limits.inodes,
            inodes_soft: limits.inodes,
            ..DiskQuota::default()
        };
        Ok(self.call(SET_LIMITS, project, &mut quota)?)
    }

    /// What a project holds; nothing if the file system has never heard of it.
    ///
    /// # Errors
    /// The system call's.
    pub(crate) fn usage(&self, project: u32) -> io::Result<Amount> {
        let quota = self.quota(project)?;
        Ok(Amount { bytes: quota.blocks.saturating_mul(BLOCK), inodes: quota.inodes })
    }

    /// What a project may hold.
    #[cfg(test)]
    pub(crate) fn limits(&self, project: u32) -> io::Result<Amount> {
        let quota = self.quota(project)?;
        Ok(Amount { bytes: quota.blocks_hard * BLOCK, inodes: quota.inodes_hard })
    }

    fn quota(&self, project: u32) -> io::Result<DiskQuota> {
        let mut quota = DiskQuota::default();
        match self.call(GET_USE, project, &mut quota) {
            Err(Errno::NOENT) => Ok(DiskQuota::default()),
            done => Ok(done.map(|()| quota)?),
        }
    }

    fn call<T: Quota>(&self, command: c_int, project: u32, data: &mut T) -> Result<(), Errno> {
        let data = std::ptr::from_mut(data).cast();
        // File systems without quotas say ENOSYS, too; a call with no file tells them from a kernel without the call.
        match by_descriptor(self.file.as_raw_fd(), command, project, data) {
            Err(Errno::NOSYS) => match by_descriptor(-1, command, project, data) {
                Err(Errno::NOSYS) => {}
                _ => return Err(Errno::NOSYS),
            },
            done => return done,
        }
        let node = self.node.ok_or(Errno::NODEV)?;
        make_node(node, self.file)?;
        by_node(node, command, project, data)
    }
}

/// What the quota calls read and write.
///
/// # Safety
/// Laid out as the kernel's structure of the commands that it goes with, and valid with any bytes.
unsafe trait Quota {}

// SAFETY: struct fs_disk_quota, all integers.
unsafe impl Quota for DiskQuota {}
// SAFETY: struct fs_quota_stat, all integers.
unsafe impl Quota for QuotaState {}

fn by_descriptor(
    file: c_int,
    command: c_int,
    project: u32,
    data: *mut c_void,
) -> Result<(), Errno> {
    #[cfg(test)]
    refused::check(Call::QuotactlFd)?;
    // SAFETY: quotactl_fd takes a descriptor, of which any number may be given, and for these commands a structure that
    // `data` points to: `call` passes one that lives through this call.
    let done = unsafe { libc::syscall(libc::SYS_quotactl_fd, file, command, project, data) };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

fn by_node(node: &Path, command: c_int, project: u32, data: *mut c_void) -> Result<(), Errno> {
    let node = CString::new(node.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    // SAFETY: quotactl takes a path, which ends in NUL, and as above a structure that lives through this call.
    let done = unsafe { libc::syscall(libc::SYS_quotactl, command, node.as_ptr(), project, data) };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Makes the node of the device that `file` lies on, unless it is there: a home can be copied to another device.
fn make_node(node: &Path, file: BorrowedFd<'_>) -> Result<(), Errno> {
    let device = rustix::fs::fstat(file)?.st_dev;
    if node.symlink_metadata().is_ok_and(|m| m.file_type().is_block_device() && m.rdev() == device)
    {
        return Ok(());
    }
    let mut fresh = node.as_os_str().to_owned();
    fresh.push(".tmp");
    let fresh = PathBuf::from(fresh);
    let make = || {
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, &fresh, FileType::BlockDevice, mode, device)
    };
    match make() {
        Err(Errno::EXIST) => {
            rustix::fs::unlink(&fresh)?;
            make()?;
        }
        done => done?,
    }
    rustix::fs::rename(&fresh, node)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        // linux/fs.h, linux/dqblk_xfs.h
        assert_eq!(size_of::<FsXattr>(), 28);
        assert_eq!(size_of::<DiskQuota>(), 112);
        assert_eq!(size_of::<QuotaState>(), 80);
        assert_eq!(std::mem::offset_of!(QuotaState, flags), 2);
        assert_eq!(std::mem::offset_of!(DiskQuota, blocks), 40);
        assert_eq!(std::mem::offset_of!(DiskQuota, realtime_hard), 72);
        assert_eq!((GET_USE, SET_LIMITS, GET_STATE), (0x0058_0302, 0x0058_0402, 0x0058_0502));
        assert_eq!((GET_FS_XATTR, SET_FS_XATTR), (0x801c_581f, 0x401c_5820));
    }

    #[test]
    fn a_file_system_without_quotas_says_so_and_gets_no_node() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = std::fs::File::open(dir.path()).unwrap();
        let node = dir.path().join("node");
        let fs = FileSystem { file: file.as_fd(), node: Some(&node) };
        assert_eq!(fs.projects().unwrap(), Projects::Off);
        assert!(!node.exists());
        assert!(fs.set_limits(5, Amount::default()).is_err());
    }

    #[test]
    fn a_node_is_of_the_device_at_hand() {
        // QUO-3
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let file = std::fs::File::open(dir.path()).unwrap();
        let node = dir.path().join("node");
        let fs = FileSystem { file: file.as_fd(), node: Some(&node) };
        std::fs::write(&node, "no node").unwrap();
        std::fs::write(dir.path().join("node.tmp"), "left by a crash").unwrap();
        refused::with(&[(Call::QuotactlFd, Errno::NOSYS)], || drop(fs.projects()));
        let made = node.symlink_metadata().unwrap();
        assert!(made.file_type().is_block_device());
        assert_eq!((made.rdev(), made.mode() & 0o7777), (file.metadata().unwrap().dev(), 0o600));
        assert!(!dir.path().join("node.tmp").exists());
    }
}
