//! For tests: a file system in user space whose process does not answer, or has died.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Mounted until it is dropped.
pub(crate) struct Silent {
    path: PathBuf,
    device: Option<File>,
}

impl Silent {
    /// At that directory, with a process that reads nothing; `None`, having said why, where it cannot be.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let mounted = device.and_then(|device| {
            let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
            let data = CString::new(data)?;
            mount("fuse", path, "fuse", MountFlags::empty(), data.as_c_str())?;
            Ok(device)
        });
        match mounted {
            Ok(device) => Some(Self { path: path.to_path_buf(), device: Some(device) }),
            Err(e) => {
                println!("skipped: a file system that does not answer: {e}");
                None
            }
        }
    }

    /// Answers the greeting, without which nothing is asked (fuse(4)), and reads one question: no signal takes that back any more.
    pub(crate) fn greet_and_read(&self) {
        let mut device = self.device.as_ref().unwrap();
        let mut asked = vec![0u8; 1 << 17];
        assert!(device.read(&mut asked).unwrap() >= 16);
        let unique: [u8; 8] = asked[8..16].try_into().unwrap();
        // A header of length, error and the question's number, then the version, 7.31, and zeros for what the kernel may use.
        let mut answer = [0u8; 16 + 64];
        answer[..4].copy_from_slice(&80u32.to_ne_bytes());
        answer[8..16].copy_from_slice(&unique);
        answer[16..20].copy_from_slice(&7u32.to_ne_bytes());
        answer[20..24].copy_from_slice(&31u32.to_ne_bytes());
        device.write_all(&answer).unwrap();
        assert!(device.read(&mut asked).unwrap() >= 16);
    }

    /// As [`Silent::greet_and_read`], and reads all further questions until it is told to stop.
    pub(crate) fn greet_and_read_on(&self, stop: &AtomicBool) {
        self.greet_and_read();
        let mut device = self.device.as_ref().unwrap();
        rustix::io::ioctl_fionbio(device, true).unwrap();
        let mut asked = vec![0u8; 1 << 17];
        while !stop.load(Ordering::Relaxed) {
            if device.read(&mut asked).is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Its process ends, and whoever waits is told so.
    pub(crate) fn die(&mut self) {
        self.device = None;
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.die();
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}
