//! Whether repositories answer. Who has mounted one may be dead, which the kernel tells, or stopped, or wait for a server for ever: then
//! the system call that asks does not come back, and it is not this process that makes it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Repositories;
use super::turn::Turn;
use crate::sys::mount::{fs_magic, is_mount_point};
use crate::sys::program::{Reply, ask_within};
use crate::thin::{CvmfsUrl, Repository, ThinImage};
use crate::{Error, ErrorKind, Result};

/// What to do about one that does not answer.
const HINT: &str = "is its cvmfs2 stopped, or does it wait for a server (cvmfs_config probe)? after umount -l of that path it is \
    mounted anew; the option cvmfsMountTimeout gives it more seconds";

/// What to do where nobody can ask.
const SHORT: &str = "that takes memory, processes, open files and /dev/null: try again when the machine, and the limits on this process, \
    have them to give";

/// What a question that had to wait for another one has in any case.
const LEAST: Duration = Duration::from_secs(1);

/// What is at the place of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing is mounted there.
    Nothing,
    /// A file system that answers, if only with an error.
    Alive,
    /// One whose process has died.
    Dead,
}

impl Repositories {
    /// # Errors
    /// When what is mounted there does not answer.
    pub(super) fn look(&self, repository: &Repository) -> Result<Found> {
        let place = self.place(repository);
        if !is_mount_point(&place)? {
            return Ok(Found::Nothing);
        }
        match self.ask(repository, &place, &[])? {
            Some(e) if e.raw_os_error() == Some(libc::ENOTCONN) => Ok(Found::Dead),
            _ => Ok(Found::Alive),
        }
    }

    /// Waits until the repositories of an image that are in use have answered for its layers. Whether those are there is for
    /// [`Repositories::folder`] to say, which is not kept waiting then.
    ///
    /// # Errors
    /// When one does not answer.
    pub(crate) fn await_answers(&self, image: &ThinImage) -> Result<()> {
        let mut ways: BTreeMap<&Repository, Vec<Vec<PathBuf>>> = BTreeMap::new();
        for url in image.layers.iter().filter_map(|layer| layer.url.as_ref()) {
            ways.entry(url.repository()).or_default().push(self.way(url));
        }
        ways.into_iter().try_for_each(|(repository, ways)| {
            self.ask(repository, &self.place(repository), &ways).map(drop)
        })
    }

    /// The directories from a repository's root, itself excepted, to a layer.
    pub(super) fn way(&self, url: &CvmfsUrl) -> Vec<PathBuf> {
        let mut path = self.place(url.repository());
        let below = |part| {
            path.push(part);
            path.clone()
        };
        url.folder().split('/').map(below).collect()
    }

    /// The error with which a repository that is seen at `root` answers. As long as somebody on this machine still waits for its answer,
    /// nobody else asks.
    ///
    /// # Errors
    /// When it does not answer, or nobody can be made to ask.
    pub(super) fn ask(
        &self,
        repository: &Repository,
        root: &Path,
        ways: &[Vec<PathBuf>],
    ) -> Result<Option<io::Error>> {
        let (begun, limit) = (Instant::now(), self.method.limit());
        let failed =
            || Error::new(ErrorKind::Io, format!("using the repository {repository}")).path(root);
        let silent = || {
            let detail =
                format!("it is mounted there, and has not answered for {} s", limit.as_secs());
            failed().detail(detail).hint(HINT)
        };
        let turn = Turn::get(&self.directory, repository, limit).ok_or_else(silent)?;
        let rest = limit.saturating_sub(begun.elapsed()).max(LEAST);
        let reply = match ask_within(rest, root, ways, turn.sign()) {
            Ok(Reply::Answers) => None,
            Ok(Reply::Fails(error)) => Some(error),
            Ok(Reply::Silent) => return Err(silent()),
            Ok(Reply::Killed) => {
                let detail = "it is mounted there, and who asked was killed before it answered";
                return Err(failed().detail(detail).hint(HINT));
            }
            // No process of this host makes a child that could be waited for.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                tracing::debug!(%repository, %error, "nobody can ask in this process's place");
                fs_magic(root).err()
            }
            Err(error) => {
                let detail = "no process can be started that asks whether it answers";
                return Err(failed().detail(detail).hint(SHORT).caused_by(error));
            }
        };
        turn.end();
        Ok(reply)
    }
}
