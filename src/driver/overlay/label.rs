//! What is wrong with a SELinux label: the kernel answers "Invalid argument" to a mount with one, whatever it dislikes.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::sys::mount::FSCONFIG_STRING_MAX;
use crate::{Error, ErrorKind, Result};

/// Where the kernel's policy is asked and configured.
const SELINUX: &str = "/sys/fs/selinux";

/// Refuses a label that a mount by parts cannot be given: the kernel would not say what is wrong with it.
pub(super) fn check_length(label: &str, target: &Path) -> Result<()> {
    if label.len() <= FSCONFIG_STRING_MAX {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, format!("mounting {target:?}"))
        .path(target)
        .detail(format!(
            "the SELinux label has {} bytes, and the kernel takes {FSCONFIG_STRING_MAX} where a mount has more than a page of options, or no place in the tree",
            label.len()
        ))
        .hint("ranges of categories (c0.c9) are shorter than lists of them"))
}

/// What to do about a mount with this label that failed so; `None` if the label is not to blame.
pub(super) fn advice(label: &str, cause: &io::Error) -> Option<String> {
    match cause.raw_os_error()? {
        libc::EACCES => Some(format!(
            "the SELinux policy may not let this process give the label {label:?} to a mount (filesystem relabelto); the audit log tells"
        )),
        libc::EINVAL if !Path::new(SELINUX).join("enforce").exists() => {
            Some(format!("SELinux is not enabled here: leave the label {label:?} out"))
        }
        libc::EINVAL => is_unknown(label).then(|| {
            format!("the loaded SELinux policy does not know the label {label:?}: see user, role, type and levels")
        }),
        _ => None,
    }
}

/// Whether the loaded policy says that it does not know the label.
fn is_unknown(label: &str) -> bool {
    let ask = || {
        let mut asked = OpenOptions::new().write(true).open(Path::new(SELINUX).join("context"))?;
        asked.write_all(label.as_bytes())
    };
    ask().is_err_and(|e: io::Error| e.raw_os_error() == Some(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: i32) -> Option<String> {
        advice("a:b:c:s0", &io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn only_what_a_label_may_cause_is_blamed_on_it() {
        // GET-21; with a policy: `tests::selinux`
        assert!(of(libc::EACCES).unwrap().contains("a:b:c:s0"));
        let told = of(libc::EINVAL).unwrap();
        assert!(told.contains("SELinux") && told.contains("a:b:c:s0"), "{told}");
        assert_eq!((of(libc::ENOENT), of(libc::E2BIG)), (None, None));
    }
}
