//! The programs of the CernVM-FS client: one that mounts a repository, one that is told to look for what is new (CVM-18, CVM-22).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::url::Repository;
use crate::config::Environment;
use crate::sys::mount::{detach, is_mount_point};
use crate::sys::program;
use crate::{Error, ErrorKind, Result};

/// Mounts repositories.
const MOUNTER: &str = "cvmfs2";

/// Talks to who has mounted one.
const TALKER: &str = "cvmfs_talk";

/// What the mounting program is told.
const OPTIONS: &str = "rw,fsname=cvmfs2,allow_other,grab_mountpoint,cvmfs_suid";

/// The repositories that the client knows without configuration end so.
const KNOWN: &str = ".cern.ch";

/// Where the client's programs and its configuration are, and how long a program may take.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    etc: PathBuf,
    /// That of the process, where there is none.
    environment: Option<Environment>,
    limit: Duration,
}

impl Client {
    /// The client of this host.
    pub(crate) fn of_host(limit: Duration) -> Self {
        Self { etc: "/etc/cvmfs".into(), environment: None, limit }
    }

    /// A client with its configuration in `etc`, and its programs in the `PATH` of that environment.
    #[cfg(test)]
    pub(super) fn new(etc: &Path, environment: Environment, limit: Duration) -> Self {
        Self { etc: etc.to_path_buf(), environment: Some(environment), limit }
    }

    /// How long one of its programs may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Mounts a repository at an empty directory. If that fails, nothing is mounted there.
    ///
    /// # Errors
    /// [`ErrorKind::Prerequisites`] without its configuration or key, [`ErrorKind::NotSupported`] without the program, [`ErrorKind::Io`]
    /// with what the program says, or when it takes too long.
    pub(super) fn mount(&self, repository: &Repository, target: &Path) -> Result<()> {
        self.check(repository)?;
        let arguments: [&OsStr; 4] =
            ["-o".as_ref(), OPTIONS.as_ref(), repository.as_str().as_ref(), target.as_os_str()];
        if let Err(error) = self.run(MOUNTER, &arguments, &action(repository)) {
            // It may have failed behind the mount, which nobody serves then.
            if let Err(error) = self.unmount(repository, target) {
                tracing::warn!(%error, "what a failed mount has left stays");
            }
            return Err(error);
        }
        if is_mount_point(target)? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Io, action(repository))
            .path(target)
            .detail(format!("{MOUNTER} ended well, and nothing is mounted there")))
    }

    /// Ends a mount. Who has files of it open keeps them, and so do overlays on it: each has a mount of its own.
    pub(super) fn unmount(&self, repository: &Repository, target: &Path) -> Result<()> {
        match detach(target) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => Ok(()),
            done => done.map_err(|e| {
                Error::io(format!("unmounting the repository {repository}"), target, e)
            }),
        }
    }

    /// Has the client look for what has been published since it last did.
    ///
    /// # Errors
    /// When the program is missing or fails.
    pub(super) fn refresh(&self, repository: &Repository) -> Result<()> {
        let arguments: [&OsStr; 4] =
            ["-i".as_ref(), repository.as_str().as_ref(), "remount".as_ref(), "sync".as_ref()];
        self.run(TALKER, &arguments, &format!("looking for news of the repository {repository}"))
    }

    /// What the program would miss later, and say less clearly.
    fn check(&self, repository: &Repository) -> Result<()> {
        if repository.as_str().ends_with(KNOWN) {
            return Ok(());
        }
        let configuration = self.etc.join("config.d").join(format!("{repository}.conf"));
        let key = self.etc.join("keys").join(format!("{repository}.pub"));
        for (what, file) in [("configuration", configuration), ("public key", key)] {
            if !file.is_file() {
                return Err(Error::new(ErrorKind::Prerequisites, action(repository))
                    .path(&file)
                    .detail(format!("the repository's {what} is missing"))
                    .hint("only repositories of cern.ch need none; ask those who publish it"));
            }
        }
        Ok(())
    }

    fn run(&self, name: &str, arguments: &[&OsStr], action: &str) -> Result<()> {
        let of_process;
        let environment = match &self.environment {
            Some(environment) => environment,
            None => {
                of_process = Environment::of_process();
                &of_process
            }
        };
        let program = environment.find_program(name).ok_or_else(|| {
            Error::new(ErrorKind::NotSupported, action)
                .detail(format!("the program {name} is not installed"))
                .hint("install the CernVM-FS client, or have the repositories mounted by others: cvmfsMountMethod=external")
        })?;
        let ended =
            program::run_within(self.limit, &program, arguments, Path::new("/"), &environment.vars)
                .map_err(|e| Error::io(action, &program, e))?;
        let said = if ended.said.is_empty() { "<stderr empty>" } else { &ended.said };
        if ended.overdue {
            let limit = self.limit.as_secs();
            return Err(Error::new(ErrorKind::Io, action)
                .path(&program)
                .detail(format!("it had not ended after {limit} s, and was made to: {said}"))
                .hint("do the servers and proxies of the repository answer (cvmfs_config probe)? the option cvmfsMountTimeout gives it more seconds"));
        }
        if ended.code == 0 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Io, action)
            .path(&program)
            .detail(format!("{said} (exit code {})", ended.code)))
    }
}

fn action(repository: &Repository) -> String {
    format!("mounting the repository {repository}")
}
