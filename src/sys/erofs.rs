//! Mounts of EROFS images, straight from a file (Linux 6.12) or through a loop device (loop(4)).

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
/// Linux 5.8.
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LO_FLAGS_READ_ONLY: u32 = 1;
/// The device lets its file go with its last user.
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// How often a free device may be another's before it is ours.
const ATTEMPTS: usize = 100;

/// A fact about the kernel, found once: it mounts no image but from a block device.
static WANTS_DEVICE: AtomicBool = AtomicBool::new(false);

/// `struct loop_config`, with its `struct loop_info64` laid out in it.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    /// `lo_file_name`, `lo_crypt_name`, `lo_encrypt_key` and `lo_init`.
    names: [u64; 22],
    reserved: [u64; 8],
}

/// Mounts the image that `image` is, read-only and nowhere in the tree: it ends with its last user.
///
/// # Errors
/// The system call's, with the kernel's words where it has some: `ENODEV` without EROFS, `EPERM` without privileges, `EINVAL` for what
/// is no image.
pub(crate) fn mount_image(image: &File, with_acls: bool) -> io::Result<OwnedFd> {
    if !WANTS_DEVICE.load(Ordering::Relaxed) {
        match mount_source(&magic_path(image), with_acls) {
            Err(e) if e.raw_os_error() == Some(libc::ENOTBLK) => {
                WANTS_DEVICE.store(true, Ordering::Relaxed);
            }
            done => return done,
        }
    }
    mount_by_device(image, with_acls)
}

fn mount_by_device(image: &File, with_acls: bool) -> io::Result<OwnedFd> {
    let device = loop_device(image)?;
    mount_source(&magic_path(&device), with_acls)
}

/// The name of an open file: short enough for fsconfig(2), whatever the path is.
fn magic_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn mount_source(source: &str, with_acls: bool) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let make = || -> rustix::io::Result<OwnedFd> {
        rustix::mount::fsconfig_set_string(&context, "source", source)?;
        rustix::mount::fsconfig_set_flag(&context, "ro")?;
        if !with_acls {
            rustix::mount::fsconfig_set_flag(&context, "noacl")?;
        }
        rustix::mount::fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
        rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    Ok(make()?)
}

/// A free loop device that reads the file, and forgets it when nobody has the device any more.
fn loop_device(image: &File) -> io::Result<File> {
    let open = |path: &str| OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC).open(path);
    let control = open("/dev/loop-control")?;
    let mut last = io::Error::from(io::ErrorKind::ResourceBusy);
    for _ in 0..ATTEMPTS {
        // SAFETY: the call takes no argument, and gives a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let device = open(&format!("/dev/loop{number}"))?;
        let config = LoopConfig {
            fd: u32::try_from(image.as_raw_fd()).unwrap_or(u32::MAX),
            block_size: 0,
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            names: [0; 22],
            reserved: [0; 8],
        };
        // SAFETY: the kernel reads one `struct loop_config`, which is what `config` is, for the time of the call.
        let configured =
            unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
        if configured == 0 {
            return Ok(device);
        }
        last = io::Error::last_os_error();
        // Another process was faster.
        if last.raw_os_error() != Some(libc::EBUSY) {
            break;
        }
    }
    Err(last)
}

/// `lo_file_name` and `lo_crypt_name` have 64 bytes each, `lo_encrypt_key` 32, `lo_init` two words.
const _: () = assert!(size_of::<LoopConfig>() == 8 + (5 * 8 + 4 * 4 + 64 + 64 + 32 + 16) + 64);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn images_are_mounted_from_files_and_from_devices() {
        // GET-38
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let (tree, path) = (dir.path().join("tree"), dir.path().join("image"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("f"), "in the image").unwrap();
        let made = std::process::Command::new("mkfs.erofs").args([&path, &tree]).output();
        if made.is_err() {
            println!("skipped: EROFS images: there is no mkfs.erofs (erofs-utils)");
            return;
        }
        let image = File::open(&path).unwrap();
        let mounts = [mount_image(&image, false), mount_by_device(&image, true)];
        for mount in mounts {
            let mount = match mount {
                Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {
                    println!("skipped: EROFS images: the kernel has no erofs");
                    return;
                }
                mount => mount.unwrap(),
            };
            let file = format!("/proc/self/fd/{}/f", mount.as_raw_fd());
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "in the image");
            let e = std::fs::write(&file, "x").unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
    }

    #[test]
    fn a_loop_device_lets_its_file_go() {
        if !Path::new("/dev/loop-control").exists() {
            println!("skipped: loop devices: there is no /dev/loop-control");
            return;
        }
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let device = loop_device(&file).unwrap();
        let path = std::fs::read_link(magic_path(&device)).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(std::fs::read_to_string(format!("/sys/block/{name}/ro")).unwrap().trim(), "1");
        // No image: the kernel says so, and not that it could not read the device.
        let e = mount_by_device(&file, false).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::EINVAL), "{e}");
        drop(device);
        let backing = format!("/sys/block/{name}/loop/backing_file");
        for _ in 0..100 {
            if !Path::new(&backing).exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{name} still has a file");
    }
}
