//! What is wrong with a SELinux label: the kernel answers "Invalid argument" to a mount with one, whatever it dislikes.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::sys::mount::{FSCONFIG_STRING_MAX, kernel_before};
use crate::{Error, ErrorKind};

/// Where the kernel's policy is asked and configured.
const SELINUX: &str = "/sys/fs/selinux";

/// The refusal of a label for a mount that takes one of `most` bytes.
pub(super) fn too_long(label: &str, target: &Path, most: usize) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("mounting {target:?}"))
        .path(target)
        .detail(format!(
            "the SELinux label has {} bytes, and this mount takes one of {most}",
            label.len()
        ))
        .hint("ranges of categories (c0.c9) are shorter than lists of them")
}

/// As [`too_long`], if it is the label for which a page of options has no room: without it, `room` bytes are left.
pub(super) fn refuse_longer(label: &str, target: &Path, room: usize) -> Option<Error> {
    // What parameters carry needs no room.
    let most = if kernel_before(6, 7) { room } else { room.max(FSCONFIG_STRING_MAX) };
    (most > 0 && label.len() > most).then(|| too_long(label, target, most))
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

    #[test]
    fn a_label_is_blamed_where_a_shorter_one_could_be_carried() {
        // GET-24
        let refused = |length: usize, room| {
            refuse_longer(&"l".repeat(length), Path::new("/m"), room).map(|e| e.to_string())
        };
        let told = refused(400, 300).unwrap();
        assert!(told.contains("400 bytes") && told.contains("one of 300"), "{told}");
        let with_parameters = refused(256, 0);
        assert_eq!(with_parameters.is_none(), kernel_before(6, 7), "{with_parameters:?}");
        assert_eq!((refused(255, 0), refused(0, 0)), (None, None), "the layers alone are too many");
    }
}
