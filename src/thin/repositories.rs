//! The repositories that layers are mounted from, as a driver shows them: `<home>/cvmfs/<repository>`, or the same below its run root
//! (CVM-11, CVM-17, CVM-18).
//!
//! A repository is mounted for as long as a layer of this process is on it. Overlays that other processes have made lose nothing when it
//! is unmounted, since the kernel gives each overlay mounts of its own; and whoever needs it next mounts it again. Between the two, from
//! the mount of the repository to that of the overlay on it, a lock on the repository keeps others from unmounting.
//!
//! Each repository has a lock of its own, and nobody waits for one while he holds another: a server that does not answer keeps nobody
//! from the repositories of others.

mod answers;
mod in_use;
mod locks;
mod turn;

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::answers::Found;
pub(crate) use self::in_use::InUse;
use self::locks::{Access, Lock};
use super::client::Client;
use super::url::{CvmfsUrl, Repository};
use crate::sys::mount::{detach, is_mount_point};
use crate::{Error, ErrorKind, Result};

/// The directory in a driver's home or run root.
const DIRECTORY: &str = "cvmfs";

/// Who mounts the repositories (CVM-4).
#[derive(Debug, Clone)]
pub(crate) enum Method {
    /// This library, by the programs of the client.
    Internal(Client),
    /// Somebody else, below the directory named here or right where they are shown; an answer may take so long.
    External(PathBuf, Duration),
}

impl Method {
    /// How long a program of the client, or an answer of what is mounted, may take.
    fn limit(&self) -> Duration {
        match self {
            Self::Internal(client) => client.limit(),
            Self::External(_, limit) => *limit,
        }
    }
}

/// The repositories of one home.
#[derive(Debug)]
pub(crate) struct Repositories {
    directory: PathBuf,
    method: Method,
    /// Who in this process uses which; a repository that nobody uses is not there.
    users: Mutex<BTreeMap<Repository, BTreeSet<String>>>,
    /// How many guards there have been: each is a user of its own.
    guards: AtomicU64,
}

/// How long is waited for others beyond what their programs may take.
const MARGIN: Duration = Duration::from_secs(30);

/// As long as this is there, none of the repositories that it was got for is unmounted.
#[derive(Debug)]
#[must_use]
pub(crate) struct Held {
    _locks: Vec<Lock>,
}

impl Repositories {
    /// The repositories that are shown in `above`; nothing is touched.
    pub(crate) fn new(above: &Path, method: Method) -> Self {
        Self {
            directory: above.join(DIRECTORY),
            method,
            users: Mutex::default(),
            guards: AtomicU64::default(),
        }
    }

    /// Where a repository is shown.
    pub(crate) fn place(&self, repository: &Repository) -> PathBuf {
        self.directory.join(repository.as_str())
    }

    /// Where a layer lies, with the repository in use.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`] when the repository has no such folder; [`ErrorKind::Corrupt`] when a link is on the way to it: what
    /// is published can point to anything.
    pub(crate) fn folder(&self, url: &CvmfsUrl) -> Result<PathBuf> {
        let mut folder = self.place(url.repository());
        for path in self.way(url) {
            let failed = |kind| {
                Error::new(kind, format!("looking for the layer {url}"))
                    .path(&path)
                    .hint("is the layer published, and has the client seen the news?")
            };
            match path.symlink_metadata() {
                Ok(m) if m.is_dir() => {}
                Ok(_) => {
                    return Err(failed(ErrorKind::Corrupt).detail("it is not a directory"));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(failed(ErrorKind::LayerUnknown));
                }
                Err(e) => return Err(failed(ErrorKind::Io).caused_by(e)),
            }
            folder = path;
        }
        Ok(folder)
    }

    /// Brings repositories into use for `user`, all of them or none; those that are not mounted, or no longer answer, are mounted.
    ///
    /// # Errors
    /// When one cannot be mounted, or nobody has mounted it.
    pub(crate) fn acquire(&self, user: &str, repositories: &BTreeSet<Repository>) -> Result<Held> {
        let mut done = BTreeSet::new();
        let outcome = self.use_all(user, repositories, &mut done);
        if outcome.is_err() {
            self.release(user, &done);
        }
        outcome
    }

    /// As `acquire`; `done` are those that came into use, also if it fails.
    fn use_all(
        &self,
        user: &str,
        repositories: &BTreeSet<Repository>,
        done: &mut BTreeSet<Repository>,
    ) -> Result<Held> {
        let begun = Instant::now();
        let patience = self.patience().saturating_mul(2);
        loop {
            // One after the other, and no lock is kept meanwhile: this is what may take its time.
            for repository in repositories {
                let _lock = match Lock::try_get(&self.directory, repository, Access::Shared)? {
                    Some(lock) if self.is_ready(repository)? => lock,
                    lock => {
                        drop(lock);
                        let lock = self.lock(repository)?;
                        self.make_ready(repository)?;
                        lock
                    }
                };
                if self.users().entry(repository.clone()).or_default().insert(user.to_owned()) {
                    done.insert(repository.clone());
                }
            }
            match self.hold(repositories)? {
                Some(held) => return Ok(held),
                None if begun.elapsed() > patience => {
                    let all: Vec<_> = repositories.iter().map(Repository::as_str).collect();
                    return Err(Error::new(
                        ErrorKind::Busy,
                        format!("using the repositories {}", all.join(", ")),
                    )
                    .path(&self.directory)
                    .detail("others unmount them again and again")
                    .hint("try again when they have ended"));
                }
                None => {}
            }
        }
    }

    /// Keeps all of them from being unmounted, if all are mounted; `None` if one is not, or someone is just changing that. What others
    /// have mounted is theirs.
    fn hold(&self, repositories: &BTreeSet<Repository>) -> Result<Option<Held>> {
        let mut locks = Vec::new();
        if matches!(self.method, Method::External(..)) {
            return Ok(Some(Held { _locks: locks }));
        }
        for repository in repositories {
            let Some(lock) = Lock::try_get(&self.directory, repository, Access::Shared)? else {
                return Ok(None);
            };
            if !is_mount_point(&self.place(repository))? {
                return Ok(None);
            }
            locks.push(lock);
        }
        Ok(Some(Held { _locks: locks }))
    }

    /// Takes repositories out of the use of `user`; those that nobody in this process uses any more are unmounted, also if none did: then
    /// they are those of a process that has ended. Nobody is waited for: who has the lock is about to use the repository, or to unmount it.
    pub(crate) fn release(&self, user: &str, repositories: &BTreeSet<Repository>) {
        for repository in repositories {
            // Before the lock is asked for: of several that leave at once, the last one finds it free.
            if self.leave(user, repository) {
                continue;
            }
            match Lock::try_get(&self.directory, repository, Access::Alone) {
                Ok(Some(_lock)) => self.unmount_unused(repository),
                Ok(None) => {}
                Err(error) => tracing::warn!(%repository, %error, "a repository stays mounted"),
            }
        }
    }

    /// Unmounts all, whoever has mounted them (CVM-17), but those that someone is mounting or is making an overlay of.
    pub(crate) fn release_all(&self) {
        self.users().clear();
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let all = names.filter_map(|name| Repository::new(name).ok()).collect();
        self.release("", &all);
    }

    /// Has the client look for what is new in a repository, if it is mounted, be it by another
    /// process (CVM-22).
    ///
    /// # Errors
    /// When the client's program fails.
    pub(crate) fn refresh(&self, repository: &Repository) -> Result<()> {
        match &self.method {
            Method::Internal(client) if is_mount_point(&self.place(repository))? => {
                client.refresh(repository)
            }
            Method::Internal(_) | Method::External(..) => Ok(()),
        }
    }

    fn users(&self) -> MutexGuard<'_, BTreeMap<Repository, BTreeSet<String>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long is waited for who has a repository to himself: one mount of it, and what belongs to that.
    fn patience(&self) -> Duration {
        self.method.limit().saturating_add(MARGIN)
    }

    fn lock(&self, repository: &Repository) -> Result<Lock> {
        Lock::get(&self.directory, repository, self.patience())
    }

    /// Whether it is mounted and answers, as far as that can be told without its lock.
    fn is_ready(&self, repository: &Repository) -> Result<bool> {
        Ok(matches!(self.method, Method::Internal(_)) && self.look(repository)? == Found::Alive)
    }

    /// Takes `user` from those of a repository; tells whether it has others.
    fn leave(&self, user: &str, repository: &Repository) -> bool {
        match self.users().entry(repository.clone()) {
            Entry::Occupied(mut used) => {
                used.get_mut().remove(user);
                let others = !used.get().is_empty();
                if !others {
                    used.remove();
                }
                others
            }
            Entry::Vacant(_) => false,
        }
    }

    /// With the repository's lock, under which others begin to use it.
    fn unmount_unused(&self, repository: &Repository) {
        if self.users().contains_key(repository) {
            return;
        }
        if let Method::Internal(client) = &self.method {
            let place = self.place(repository);
            // A link is from a time when others mounted the repositories.
            if !is_link(&place)
                && let Err(error) = client.unmount(repository, &place)
            {
                tracing::warn!(%error, "a repository stays mounted");
            }
        }
    }

    fn make_ready(&self, repository: &Repository) -> Result<()> {
        let place = self.place(repository);
        match &self.method {
            Method::Internal(client) => {
                make_mount_point(&place)?;
                loop {
                    match self.look(repository)? {
                        Found::Alive => return Ok(()),
                        Found::Nothing => return client.mount(repository, &place),
                        Found::Dead => {
                            tracing::warn!(%repository, "its client has died, and it is mounted again");
                            detach(&place).map_err(|e| Error::io("unmounting", &place, e))?;
                        }
                    }
                }
            }
            Method::External(root, _) => {
                let mounted = root.join(repository.as_str());
                if lead_to(&place, &mounted)? == Led::There {
                    self.wake(repository, &mounted)?;
                }
                Ok(())
            }
        }
    }

    /// Looks into what somebody else has mounted, which is what makes an automounter mount it.
    fn wake(&self, repository: &Repository, mounted: &Path) -> Result<()> {
        self.ask(repository, mounted, &[])?;
        std::fs::read_dir(mounted).map(drop).map_err(|e| {
            Error::new(ErrorKind::Prerequisites, format!("using the repository {repository}"))
                .path(mounted)
                .detail("nobody has mounted it there")
                .hint("mount it, or let orlop do so: cvmfsMountMethod=internal")
                .caused_by(e)
        })
    }
}

/// Whether a link is there. What is mounted there is not asked: it may not answer.
fn is_link(place: &Path) -> bool {
    std::fs::read_link(place).is_ok()
}

/// Makes the directory that a repository is mounted at, in place of a link that may be there.
fn make_mount_point(place: &Path) -> Result<()> {
    let failed = |e| Error::io("making the mount point", place, e);
    if is_link(place) {
        std::fs::remove_file(place).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o755).create(place) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(failed),
    }
}

/// Where a repository is that somebody else has mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Led {
    /// Where the link leads.
    There,
    /// Right at the place where it is shown.
    Here,
}

/// Shows at `place` a repository that somebody else has mounted at `mounted`, unless it is mounted right there, which may not answer.
fn lead_to(place: &Path, mounted: &Path) -> Result<Led> {
    let failed = |e| Error::io("making the link", place, e);
    match std::fs::read_link(place) {
        Ok(target) if target == mounted => return Ok(Led::There),
        Ok(_) => std::fs::remove_file(place).map_err(failed)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        // Not a link.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => match std::fs::remove_dir(place) {
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(failed(e)),
            // It is mounted over, or has content.
            Err(_) => return Ok(Led::Here),
            Ok(()) => {}
        },
        Err(e) => return Err(failed(e)),
    }
    symlink(mounted, place).map_err(failed)?;
    Ok(Led::There)
}

#[cfg(test)]
mod tests;
