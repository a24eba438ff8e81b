//! For tests: system calls that the kernel is made to refuse, as kernels and seccomp profiles do that no machine here has.

use std::cell::RefCell;

use rustix::io::Errno;

/// A call that can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// `fsopen`: missing before Linux 5.2.
    Fsopen,
    /// The parameter `lowerdir+` of overlay: missing before Linux 6.7.
    LowerdirPlus,
    /// A layer's descriptor as a parameter: missing before Linux 6.13.
    LayerDescriptor,
    /// `statx` for a mount point's attribute, and for a mount's id: missing before Linux 5.8.
    Statx,
    /// `openat2`: missing before Linux 5.6.
    Openat2,
    /// The parameter `volatile` of overlay: missing before Linux 5.10.
    Volatile,
    /// `quotactl_fd`: missing before Linux 5.14.
    QuotactlFd,
    /// `mount_setattr`: missing before Linux 5.12, and refused by file systems that map no ids.
    MountSetattr,
    /// `getxattrat` and `listxattrat`: missing before Linux 6.13.
    Xattrat,
    /// A new thread or process: `EAGAIN` where there are as many as there may be; of processes `ENOSYS` before Linux 5.3.
    Clone,
}

thread_local! {
    static REFUSED: RefCell<Vec<(Call, Errno)>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` with these calls refused, on this thread and on those that `sys` starts for it.
pub(crate) fn with<T>(calls: &[(Call, Errno)], work: impl FnOnce() -> T) -> T {
    /// Also after a panic, as the test harness may use the thread again.
    struct Before(Vec<(Call, Errno)>);
    impl Drop for Before {
        fn drop(&mut self) {
            REFUSED.with(|r| r.replace(std::mem::take(&mut self.0)));
        }
    }
    let _before = Before(REFUSED.with(|r| r.replace(calls.to_vec())));
    work()
}

/// What is refused on this thread, for [`with`] on another.
pub(crate) fn all() -> Vec<(Call, Errno)> {
    REFUSED.with(|r| r.borrow().clone())
}

/// The refusal of a call, if it is refused.
pub(crate) fn check(call: Call) -> Result<(), Errno> {
    let found = REFUSED.with(|r| r.borrow().iter().find(|(c, _)| *c == call).map(|(_, e)| *e));
    found.map_or(Ok(()), Err)
}
