//! User namespaces as descriptors, for mounts that map ids (user_namespaces(7), `overlay-driver.md` MNT-7).
//!
//! A namespace begins with a process in it: one small child, which does nothing but wait and which the host never hears of. It sends
//! no signal when it ends, `wait(-1)` passes it over, and it runs none of the host's code.

#![allow(unsafe_code)]

use std::ffi::c_uint;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::pipe::PipeFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::threads::with_signals_blocked;
use crate::{Error, ErrorKind, IdMap, IdMaps, Result};

/// A user namespace with these maps, which lives as long as the descriptor or a mount that was made with it.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for maps that the kernel refuses: none, overlapping ones, more than 340 of one kind (Linux 4.15);
/// else the system call's, such as `ENOSPC` when `user.max_user_namespaces` is reached.
pub(crate) fn user_namespace(maps: &IdMaps) -> Result<OwnedFd> {
    let child = Child::start().map_err(|e| {
        Error::new(ErrorKind::Io, "creating a user namespace")
            .caused_by(e)
            .hint("allow user namespaces: see the sysctl user.max_user_namespaces")
    })?;
    child.write_map("uid_map", &maps.uids)?;
    child.write_map("gid_map", &maps.gids)?;
    let path = child.file("ns/user");
    let namespace = File::open(&path).map_err(|e| Error::io("opening", path, e))?;
    Ok(namespace.into())
}

/// `struct clone_args` in its first version (clone(2)).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// A process in a user namespace of its own, which waits until it is killed, or until this process ends. It is gone when this is
/// dropped.
struct Child {
    id: u64,
    handle: OwnedFd,
    /// What it waits for: the end of a pipe.
    _alive: OwnedFd,
}

impl Child {
    fn start() -> io::Result<Self> {
        #[cfg(test)]
        super::refused::check(super::refused::Call::Clone)?;
        let (waits, alive) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let mut handle: RawFd = -1;
        let args = CloneArgs {
            flags: (libc::CLONE_NEWUSER | libc::CLONE_PIDFD) as u64,
            pidfd: (&raw mut handle) as u64,
            ..CloneArgs::default()
        };
        // The child begins with the mask of this thread: no handler of the host's ever runs in it.
        let id = with_signals_blocked(|| {
            // SAFETY: as fork(2), with a copy of the memory; the arguments are those of the structure's first version, and the
            // kernel writes one descriptor to `handle`, which outlives the call.
            let id =
                unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
            match id {
                0 => wait_in_child(waits.as_raw_fd()),
                _ => u64::try_from(id).map_err(|_| io::Error::last_os_error()),
            }
        })?;
        // SAFETY: the kernel has made the descriptor for this process, and nobody else knows of it.
        let handle = unsafe { OwnedFd::from_raw_fd(handle) };
        Ok(Self { id, handle, _alive: alive })
    }

    /// A file of the child's in /proc. Until it is waited for, its number is nobody else's.
    fn file(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.id.to_string()).join(name)
    }

    /// The kernel wants all lines in one write.
    fn write_map(&self, name: &str, maps: &[IdMap]) -> Result<()> {
        let line = |m: &IdMap| format!("{} {} {}\n", m.container_id, m.host_id, m.size);
        let text: String = maps.iter().map(line).collect();
        let path = self.file(name);
        let written = OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| uninterrupted(|| file.write(text.as_bytes())));
        match written {
            Ok(n) if n == text.len() && n > 0 => Ok(()),
            Ok(_) => Err(refused(name, maps)),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                Err(refused(name, maps).caused_by(e))
            }
            Err(e) => Err(Error::io("writing the id map", path, e)),
        }
    }
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn refused(name: &str, maps: &[IdMap]) -> Error {
    Error::new(ErrorKind::InvalidArgument, "creating a user namespace")
        .detail(format!("the kernel refuses the {name} {maps:?}"))
        .hint("give at least one range and at most 340, which do not overlap on either side")
}

impl Drop for Child {
    fn drop(&mut self) {
        // Fails only for a process that is gone.
        let _ = rustix::process::pidfd_send_signal(&self.handle, Signal::KILL);
        // A child without an exit signal is only seen by those who ask for all kinds (wait(2)).
        let all = WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
        let options = WaitIdOptions::EXITED | all;
        while let Err(e) = rustix::process::waitid(WaitId::PidFd(self.handle.as_fd()), options) {
            if e != rustix::io::Errno::INTR {
                tracing::debug!(error = %e, "somebody else has waited for a child of ours");
                break;
            }
        }
    }
}

/// All that the child does: it lets go what it holds of the host's files, waits for the pipe to end, and ends.
///
/// It has one thread of a program that may have many, and whatever locks the others held stay locked here: nothing but system calls.
fn wait_in_child(pipe: RawFd) -> ! {
    let mut byte = 0u8;
    // SAFETY: these calls touch this process's own table of files, one byte of this stack, and nothing else; the last does not
    // return.
    unsafe {
        // Without its copy of the other end the pipe ends with the parent, also with other children at the same time.
        libc::syscall(libc::SYS_dup3, pipe, 0 as c_uint, 0 as c_uint);
        libc::syscall(libc::SYS_close_range, 1 as c_uint, c_uint::MAX, 0 as c_uint);
        libc::syscall(libc::SYS_read, 0 as c_uint, &raw mut byte, 1usize);
        libc::_exit(0)
    }
}

#[cfg(test)]
mod tests;
