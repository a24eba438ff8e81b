//! The environment variables, as a value: the one place of the library that reads those of the process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::{Error, ErrorKind, Result};

/// A set of environment variables (`storage-conf.md` 8).
///
/// ```
/// use orlop::config::Environment;
/// let env: Environment = [("HOME", "/home/ann"), ("TMPDIR", "")].into_iter().collect();
/// assert_eq!(env.get("TMPDIR").unwrap(), "");
/// assert_eq!(env.non_empty("TMPDIR"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// Names and values; both may be any bytes that the kernel takes.
    pub vars: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The variables of the process at this moment.
    pub fn of_process() -> Self {
        Self { vars: std::env::vars_os().collect() }
    }

    /// The value of a variable that is set, be it empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The value of a variable that is set and not empty.
    pub fn non_empty(&self, name: &str) -> Option<&OsStr> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The first program of that name in the directories of `PATH`; relative ones do not count, since the working directory is no place
    /// to take programs from.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        let runs = |path: &PathBuf| {
            path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(self.non_empty("PATH")?)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(name))
            .find(runs)
    }

    /// As [`Environment::get`], for a value that must be text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>> {
        let not_text = || {
            Error::new(ErrorKind::Config, format!("reading environment variable {name}"))
                .detail("its value is not UTF-8")
        };
        self.get(name).map(|value| value.to_str().ok_or_else(not_text)).transpose()
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(vars: I) -> Self {
        Self { vars: vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn programs_are_found_in_absolute_directories() {
        let found = |path: &str, name: &str| {
            let env: Environment = [("PATH", path)].into_iter().collect();
            env.find_program(name)
        };
        let shell = Some(PathBuf::from("/bin/sh"));
        assert_eq!(found("/no/such:/etc:/bin", "sh"), shell);
        assert_eq!(found("::bin:.:/bin", "sh"), shell);
        assert_eq!(found("/etc", "passwd"), None, "no program");
        assert_eq!(found("/", "bin"), None, "a directory");
        assert_eq!(Environment::default().find_program("sh"), None);
        assert!(Path::new("/bin/sh").exists());
    }
}
