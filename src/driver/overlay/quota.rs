//! Limits on what a container's layer may hold: project quotas of xfs and ext4 (`overlay-driver.md` 14).
//!
//! A layer's directory and all that is made in it count for a project of their own. Which one is read from the directory
//! whenever it matters, and a free one is looked for under the store's lock: nothing is remembered that another process, or a
//! removal, could make untrue.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::Overlay;
use super::chain::{LayerDir, Place};
use super::get::lock;
use super::layout::{self, open_dir};
use super::prepare::may_mount;
use crate::archive::{DiskUsage, each_file};
use crate::driver::CreateOptions;
use crate::driver::options::ram_in_bytes;
use crate::sys::quota::{
    Amount, FileSystem, Projects, inherits_project, join_project, project_of, stop_inheriting,
};
use crate::{Error, ErrorKind, LayerId, Result};

const EXT_MAGIC: u64 = 0xef53;
const XFS_MAGIC: u64 = 0x5846_5342;

/// How many numbers Go keeps free above that of each home.
const NUMBERS_OF_A_HOME: u64 = 10_000;

/// What the driver has found out about quotas.
#[derive(Default)]
pub(super) struct Quotas {
    support: OnceLock<Support>,
    /// The project of the next layer, if nobody has it; `None` before the first.
    next: Mutex<Option<u32>>,
}

/// Whether layers can have projects.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Support {
    /// And the file system keeps them to their limits.
    Limited,
    /// It only counts what they hold.
    Counted,
    /// They cannot: why.
    None(String),
}

/// What is asked for a layer.
pub(super) struct Wanted {
    limits: Amount,
    /// The option that asks, for messages.
    by: Option<String>,
}

/// Opens a directory of the administrator's, who may have put a link in its place.
fn open_real(dir: &Path) -> Result<OwnedFd> {
    open_dir(&dir.canonicalize().map_err(|e| Error::io("examining", dir, e))?)
}

impl Overlay {
    fn open_home(&self) -> Result<OwnedFd> {
        open_real(&self.home)
    }

    /// What a new layer is limited to: as its own options say, else as the driver's do (CRE-2, CRE-3, CRE-18). `None` for image
    /// content, which has no limits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown option, a malformed one, and any of image content.
    pub(super) fn wanted_limits(
        &self,
        options: &CreateOptions,
        read_write: bool,
        id: &LayerId,
    ) -> Result<Option<Wanted>> {
        if let Some(key) = options.storage_opt.keys().next()
            && !self.rules.shape().storage_options
        {
            let dialect = self.rules.dialect();
            return Err(Error::new(ErrorKind::NotSupported, format!("creating layer {id}"))
                .id(id.as_str())
                .detail(format!(
                    "--storage-opt is not supported for {}: {key}",
                    dialect.driver_name()
                ))
                .hint(format!(
                    "a home of the dialect {dialect} has no options for single layers"
                )));
        }
        let limited = read_write || self.rules.shape().image_quotas;
        let mut limits = Amount { bytes: self.options.size, inodes: self.options.inodes };
        for (key, value) in &options.storage_opt {
            let wrong = |why: fmt::Arguments<'_>| {
                let action = format!("creating layer {id} with the storage option {key:?}");
                Error::new(ErrorKind::InvalidArgument, action).detail(why.to_string())
            };
            let value = value.trim();
            let known = key.to_ascii_lowercase();
            if matches!(known.as_str(), "size" | "inodes") && !limited {
                let why = "is only supported for ReadWrite Layers";
                return Err(wrong(format_args!("--storage-opt {known} {why}")));
            }
            match known.as_str() {
                "size" => {
                    limits.bytes = ram_in_bytes(value).ok_or_else(|| {
                        wrong(format_args!("{value:?} is not a size such as 20m or 10g"))
                    })?;
                }
                "inodes" => {
                    limits.inodes = value
                        .parse()
                        .map_err(|_| wrong(format_args!("{value:?} is not a decimal number")))?;
                }
                _ => return Err(wrong(format_args!("unknown option {key}"))),
            }
        }
        let by = options.storage_opt.keys().next().cloned();
        Ok(limited.then_some(Wanted { limits, by }))
    }

    /// Refuses limits of a layer where there can be none, before anything is made (CRE-2).
    pub(super) fn check_layer_limits(&self, wanted: Option<&Wanted>, id: &LayerId) -> Result<()> {
        let Some(Wanted { limits, by: Some(key) }) = wanted else { return Ok(()) };
        let why = match self.quota_support()? {
            Support::Limited => return Ok(()),
            Support::Counted if *limits == Amount::default() => return Ok(()),
            Support::Counted => NOT_ENFORCED,
            Support::None(why) => why,
        };
        let action = format!("creating layer {id} with the storage option {key:?}");
        Err(Error::new(ErrorKind::NotSupported, action).id(id.as_str()).detail(format!(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option (or ext4 with 'prjquota'): {why}"
        )))
    }

    /// Refuses the driver's own limits where there can be none (QUO-1).
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`], named after the option.
    pub(super) fn check_default_limits(&self) -> Result<()> {
        let key = match (self.options.size, self.options.inodes) {
            (0, 0) => return Ok(()),
            (0, _) => "inodes",
            _ => "size",
        };
        let why = match self.quota_support()? {
            Support::Limited => return Ok(()),
            Support::Counted => NOT_ENFORCED,
            Support::None(why) => why,
        };
        let key = format!("{}{key}", self.rules.shape().option_prefix);
        Err(Error::new(ErrorKind::NotSupported, format!("applying the overlay option {key:?}"))
            .path(&self.home)
            .detail(why)
            .hint(format!("mount that file system with pquota, or remove {key} from storage.conf, STORAGE_OPTS and --storage-opt")))
    }

    /// Gives the empty directory of a new layer a project with these limits, where the file system has projects (CRE-7, QUO-6).
    pub(super) fn give_project(
        &self,
        dir: BorrowedFd<'_>,
        path: &Path,
        wanted: &Wanted,
    ) -> Result<()> {
        if let Support::None(_) = self.quota_support()? {
            return Ok(());
        }
        let node = self.node();
        let fs = FileSystem { file: dir, node: node.as_deref() };
        let project = self.free_project(&fs)?;
        // The limits first: a layer without its project has none.
        fs.set_limits(project, wanted.limits).map_err(|e| {
            Error::io(format!("setting the limits of project {project} of"), path, e)
        })?;
        join_project(dir, project, true)
            .map_err(|e| Error::io(format!("giving the project {project} to"), path, e))
    }

    /// What a layer with a project holds, as the file system counts it (REM-12); `None` if it has none of its own.
    pub(super) fn project_usage(&self, layer: &LayerDir) -> Result<Option<DiskUsage>> {
        if layer.place != Place::Home || !self.may_have_projects() {
            return Ok(None);
        }
        let Some(project) = own_project(&layer.path(), &self.home)? else { return Ok(None) };
        if let Support::None(_) = self.quota_support()? {
            return Ok(None);
        }
        let dir = open_dir(&layer.path())?;
        let node = self.node();
        let fs = FileSystem { file: dir.as_fd(), node: node.as_deref() };
        let Amount { bytes, inodes } = fs.usage(project).map_err(|e| {
            Error::io(format!("asking what project {project} holds of"), layer.path(), e)
        })?;
        Ok(Some(DiskUsage { size: bytes, inodes }))
    }

    /// Makes content that was staged elsewhere count for the layer's project: the kernel moves nothing of another one into its
    /// directory. As with `xfs_quota`'s `project -s`, files that are neither regular nor directories stay outside.
    pub(super) fn adopt_content(&self, root: BorrowedFd<'_>, layer: &LayerDir) -> Result<()> {
        if !self.may_have_projects() {
            return Ok(());
        }
        let Some(project) = own_project(&layer.path(), &self.home)? else { return Ok(()) };
        let failed = |e| Error::io(format!("giving the project {project} to"), layer.diff(), e);
        join_project(root, project, true).map_err(failed)?;
        each_file(root, |file, directory| join_project(file, project, directory)).map_err(failed)
    }

    /// Lets layers keep their projects apart from the home's: where the administrator has given it one that is inherited, files
    /// could not be moved out of the layers (QUO-4).
    pub(super) fn stop_inheriting_projects(&self) -> Result<()> {
        if !self.may_have_projects() {
            return Ok(());
        }
        let inherited = match inherits_project(self.open_home()?.as_fd()) {
            Err(e) if is_unknown(&e) => false,
            done => done.map_err(|e| Error::io("asking for the project of", &self.home, e))?,
        };
        if !inherited || matches!(self.quota_support()?, Support::None(_)) {
            return Ok(());
        }
        // What was made in it meanwhile, first: should this be cut short, the home still tells that it is to be done.
        let made = [layout::LINKS, layout::TEMP_DIRS, layout::STAGING].map(|n| self.home.join(n));
        for dir in made.iter().filter(|d| d.is_dir()).chain([&self.home]) {
            stop_inheriting(open_real(dir)?.as_fd())
                .map_err(|e| Error::io("clearing the inherited project of", dir, e))?;
        }
        Ok(())
    }

    /// A project that nothing counts for: above those of all layers, and not that of something that is still to be deleted or that
    /// another process has made meanwhile.
    fn free_project(&self, fs: &FileSystem<'_>) -> Result<u32> {
        let failed = |e| Error::io("looking for a free project for a layer of", &self.home, e);
        let mut next = lock(&self.quotas.next);
        let first = match *next {
            Some(number) => number,
            None => self.first_project()?,
        };
        for project in (first..u32::MAX).take(1 << 20) {
            if fs.usage(project).map_err(failed)? == Amount::default() {
                *next = Some(project + 1);
                return Ok(project);
            }
        }
        Err(Error::new(ErrorKind::NotSupported, "looking for a free project for a layer")
            .path(&self.home)
            .detail(format!("the numbers from {first} on are taken")))
    }

    /// One more than the highest project of a layer, or of the home (QUO-2, QUO-5).
    fn first_project(&self) -> Result<u32> {
        let home = self.open_home()?;
        let own = project_of(home.as_fd()).unwrap_or(0);
        let inode =
            rustix::fs::fstat(&home).map_err(|e| Error::io("examining", &self.home, e))?.st_ino;
        let mut highest = if own == 0 { base_project(inode) } else { own };
        let entries = std::fs::read_dir(&self.home);
        for entry in entries.map_err(|e| Error::io("listing", &self.home, e))? {
            let path = entry.map_err(|e| Error::io("listing", &self.home, e))?.path();
            // What is no directory has no project, and what vanishes has none any more.
            let Ok(dir) = open_dir(&path) else { continue };
            highest = highest.max(project_of(dir.as_fd()).unwrap_or(0));
        }
        Ok(highest.saturating_add(1))
    }

    /// Whether the file system is one of those that have projects at all.
    fn may_have_projects(&self) -> bool {
        matches!(self.backing_magic(), Some(XFS_MAGIC | EXT_MAGIC))
    }

    /// Where kernels before 5.14 find the device: only on xfs, where other versions have it, too.
    fn node(&self) -> Option<PathBuf> {
        (self.backing_magic() == Some(XFS_MAGIC)).then(|| self.home.join(layout::BACKING_DEVICE))
    }

    fn quota_support(&self) -> Result<&Support> {
        if let Some(known) = self.quotas.support.get() {
            return Ok(known);
        }
        let found = self.find_quota_support()?;
        tracing::debug!(?found, "looked for project quotas");
        Ok(self.quotas.support.get_or_init(|| found))
    }

    fn find_quota_support(&self) -> Result<Support> {
        if self.rootless || !may_mount() {
            return Ok(Support::None(
                "project quotas are set with the rights of the machine's root (CAP_SYS_ADMIN)"
                    .to_owned(),
            ));
        }
        if !self.may_have_projects() {
            return Ok(Support::None(format!(
                "project quotas are those of xfs and ext4; found {}",
                self.backing_name()
            )));
        }
        // A home that is still to be made lies where the directory above it does; only an old kernel needs a place for a node.
        let place = self.home.ancestors().find(|dir| dir.is_dir()).unwrap_or(&self.home);
        let dir = open_real(place)?;
        let there = place == self.home;
        let node = self.node().filter(|_| there);
        let fs = FileSystem { file: dir.as_fd(), node: node.as_deref() };
        Ok(match fs.projects() {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) && !there && self.node().is_some() => {
                self.ready()?;
                return self.find_quota_support();
            }
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Support::None(format!(
                "on {}, project quotas need quotactl_fd, which this kernel lacks or forbids (Linux 5.14)",
                self.backing_name()
            )),
            Ok(Projects::Limited) => Support::Limited,
            Ok(Projects::Counted) => Support::Counted,
            Ok(Projects::Off) => Support::None(format!(
                "the {} of {:?} is mounted without project quotas",
                self.backing_name(),
                self.home
            )),
            Err(e) => Support::None(format!("asking for project quotas failed: {e}")),
        })
    }
}

const NOT_ENFORCED: &str =
    "project quotas are counted and not enforced there (mount option pqnoenforce)";

/// The project of a layer's directory; `None` without one, and if it only inherited the home's.
fn own_project(layer: &Path, home: &Path) -> Result<Option<u32>> {
    let project = |path: &Path, dir: OwnedFd| match project_of(dir.as_fd()) {
        Err(e) if is_unknown(&e) => Ok(0),
        done => done.map_err(|e| Error::io("asking for the project of", path, e)),
    };
    let found = project(layer, open_dir(layer)?)?;
    let inherited = |found| Ok(found == project(home, open_real(home)?)?);
    Ok(if found == 0 || inherited(found)? { None } else { Some(found) })
}

fn is_unknown(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL))
}

/// Where the projects of a home without one begin: apart from those of others with that file system (QUO-2).
fn base_project(inode: u64) -> u32 {
    let room = u64::from(u32::MAX) - NUMBERS_OF_A_HOME;
    let number = NUMBERS_OF_A_HOME + inode.wrapping_mul(NUMBERS_OF_A_HOME) % room;
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_begin_where_go_begins_them() {
        // QUO-2
        assert_eq!(base_project(0), 10_000);
        assert_eq!(base_project(128), 1_290_000);
        assert_eq!(base_project(1 << 40), 4_127_783_525);
    }
}
