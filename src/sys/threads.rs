//! Threads that no signal handler of the host ever runs on.
//!
//! A signal that is sent to the process goes to any thread that does not block it. The host's handlers may need a stack, an
//! alternate stack or thread-local state that only its own threads have, as those of the Go runtime do.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow};

#[cfg(test)]
use super::refused::{self, Call};

/// What to do where the system gives no more threads.
pub(crate) const ADVICE: &str =
    "raise the limit of processes (`ulimit -u`, or `pids.max` of the control group), or end some";

/// Starts a thread of that name, which begins with `orlop-` and has at most 15 bytes (the kernel cuts it there), with all signals
/// blocked.
///
/// # Errors
/// When the system gives no more threads.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    #[cfg(test)]
    refused::check(Call::Clone)?;
    with_signals_blocked(|| Builder::new().name(name.to_owned()).spawn(work))
}

/// As [`spawn`], for a thread that ends with `scope`.
///
/// # Errors
/// When the system gives no more threads.
pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    #[cfg(test)]
    refused::check(Call::Clone)?;
    with_signals_blocked(|| Builder::new().name(name.to_owned()).spawn_scoped(scope, work))
}

/// Runs `start` with all signals blocked: a new thread or process has the mask of the thread that starts it, from its first instruction
/// on (pthread_create(3), fork(2)).
///
/// # Errors
/// That of `start`.
pub(crate) fn with_signals_blocked<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = start();
    // Fails only for a malformed request.
    let restored = before.thread_set_mask();
    let started = started?;
    restored?;
    Ok(started)
}

#[cfg(test)]
pub(crate) mod testing {
    //! What signals threads block, as the kernel says.

    /// Of all 64, those that a program can block: not SIGKILL, SIGSTOP and the two that the C library keeps for itself.
    pub(crate) const ALL: u64 = !(1 << 8 | 1 << 18 | 1 << 31 | 1 << 32);

    /// Name and mask of a thread, by its `status` in /proc (proc_pid_status(5)).
    pub(crate) fn mask(status: &str) -> Option<(String, u64)> {
        let status = std::fs::read_to_string(status).ok()?;
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some((field("Name:")?.to_owned(), u64::from_str_radix(field("SigBlk:")?, 16).ok()?))
    }

    /// The names of the library's threads; a test's own may begin like them.
    pub(crate) const NAMES: [&str; 13] = [
        "orlop-read",
        "orlop-decode",
        "orlop-digest",
        "orlop-write",
        "orlop-tar-split",
        "orlop-assemble",
        "orlop-gzip",
        "orlop-layer",
        "orlop-remove",
        "orlop-compare",
        "orlop-mount",
        "orlop-owner",
        "orlop-copy",
    ];

    /// Of all threads of this process that have such names.
    pub(crate) fn masks() -> Vec<(String, u64)> {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let masks = threads.filter_map(|thread| mask(thread.path().join("status").to_str()?));
        masks.filter(|(name, _)| NAMES.contains(&name.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::testing::{ALL, mask};
    use super::*;

    fn own() -> (String, u64) {
        mask("/proc/thread-self/status").unwrap()
    }

    #[test]
    fn all_signals_are_blocked_in_them_and_none_in_their_starter() {
        let mut one = SigSet::empty();
        one.add(Signal::SIGUSR2);
        one.thread_set_mask().unwrap();
        let before = own();
        assert_eq!(before.1, 1 << (libc::SIGUSR2 - 1));
        assert_eq!(spawn("orlop-test", own).unwrap().join().unwrap(), ("orlop-test".into(), ALL));
        let scoped = std::thread::scope(|s| spawn_scoped(s, "orlop-test", own).unwrap().join());
        assert_eq!(scoped.unwrap(), ("orlop-test".into(), ALL));
        assert_eq!(own(), before);
        // A panic is the thread's own affair.
        let panics = std::thread::scope(|s| {
            spawn_scoped(s, "orlop-test", || panic!("as a test")).unwrap().join()
        });
        assert!(panics.is_err());
        assert_eq!(own(), before);
    }

    /// Threads that others start anywhere in the library would have the mask of their starter.
    #[test]
    fn every_thread_is_started_here() {
        let mut waiting =
            vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut seen = 0;
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting
                    .extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let name = path.to_str().unwrap();
            if !name.ends_with(".rs") || name.contains("tests") || name.ends_with("sys/threads.rs")
            {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for wrong in ["thread::spawn(", "Builder::new().name(", ".spawn(", ".spawn_scoped("] {
                assert!(!code.contains(wrong), "{name} has {wrong:?}");
            }
            seen += 1;
        }
        assert!(seen > 100);
    }
}
