//! The overlay driver, on the kernel's overlay or a program that mounts in its place (`overlay-driver.md`).

mod additional;
mod apart;
mod chain;
mod composefs;
mod content;
mod create;
mod dialect;
mod diff;
mod dump;
mod dump_tar;
mod escape;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod get;
mod ids;
mod image;
mod known;
mod label;
mod layout;
pub(crate) mod legacy;
mod mount;
mod near;
mod partial;
mod places;
mod plain;
mod plan;
mod prepare;
mod probe;
mod program;
mod quota;
mod remove;
mod shift;
mod thin;
mod traces;
mod volatile;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use self::chain::{Heal, Place};
use self::dialect::Rules;
pub(super) use self::dialect::detect;
use self::get::Counts;
pub(in crate::driver) use self::known::{Feature, Known};
pub(super) use self::layout::{DirLook, ensure_dir, make_dir, open_dir};
use self::plain::Plain;
use self::quota::Quotas;
use super::options::OverlayOptions;
use super::staging::TempStaging;
use super::{
    AdditionalLayers, ApplyOptions, CreateOptions, DedupMethod, DiffOptions, Driver,
    MountDescription, MountOptions, OwnerCopy, PartialPulls, Staging, ThinLayers, Trash, dedup,
    in_user_namespace,
};
use crate::archive::{self, Change, DiskUsage, FileSource, UnpackOptions, Whiteouts};
use crate::sys::mount::is_overlay_mount;
use crate::thin::Repository;
use crate::{Dialect, IdMaps, LayerId, Result};

/// The name that the driver reports, and that of its directory in additional stores (IDN-2).
const NAME: &str = "overlay";

/// The prefix of the kernel's marks on mounts with `userxattr`.
const USER_XATTRS: &str = "user.overlay.";

/// The driver of one store.
pub(super) struct Overlay {
    /// `<graph root>/<name it was opened with>` (IDN-1).
    home: PathBuf,
    /// `<run root>/<name it was opened with>` (IDN-4).
    run: PathBuf,
    /// `<image store>/overlay`.
    image_home: Option<PathBuf>,
    /// `<additional store>/overlay`, in order.
    store_homes: Vec<PathBuf>,
    options: OverlayOptions,
    /// What the relatives of today's driver do in another way.
    rules: Box<dyn Rules>,
    /// Without the rights of the first user namespace's root: the kernel keeps overlay's marks in user xattrs then.
    rootless: bool,
    /// The prefix of the xattrs in which the kernel keeps overlay's marks.
    xattr_prefix: &'static str,
    prepared: Mutex<bool>,
    /// The program that mounts in place of the kernel, if one does; found out when the home is made ready.
    mounter: OnceLock<Option<PathBuf>>,
    counts: Counts,
    plain: Plain,
    quotas: Quotas,
}

impl Overlay {
    /// Reads the options, touches nothing on disk.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] for options.
    pub(super) fn open(
        name: &str,
        graph_root: &Path,
        run_root: &Path,
        image_store: Option<&Path>,
        options: &[String],
        dialect: Option<Dialect>,
    ) -> Result<Self> {
        let home = graph_root.join(name);
        let dialect = match dialect {
            Some(dialect) => dialect,
            None => detect(&home)?.unwrap_or_default(),
        };
        let rules = dialect::rules(dialect, &home);
        let options = rules.parse(options)?;
        // Programs have words of their own.
        let for_program = || {
            options.mount_program.is_some()
                || matches!(layout::read_mount_program_flag(&home), Ok(Some(true)))
        };
        if !options.mountopt.is_empty() && !for_program() {
            words::check_mountopt(&options.mountopt)?;
        }
        let rootless = is_rootless();
        Ok(Self {
            home,
            run: run_root.join(name),
            image_home: image_store.map(|s| s.join(NAME)),
            store_homes: options.image_stores.iter().map(|s| s.join(NAME)).collect(),
            options,
            rules,
            rootless,
            xattr_prefix: if rootless { USER_XATTRS } else { "trusted.overlay." },
            prepared: Mutex::new(false),
            mounter: OnceLock::new(),
            counts: Counts::default(),
            plain: Plain::default(),
            quotas: Quotas::default(),
        })
    }

    fn unpack_options(&self, options: &ApplyOptions) -> Result<UnpackOptions> {
        self.ready()?;
        Ok(UnpackOptions {
            whiteouts: match self.program() {
                _ if self.rules.shape().whole_trees => Whiteouts::Execute,
                Some(_) => Whiteouts::Keep,
                None => Whiteouts::Overlay(self.xattr_prefix),
            },
            force_mask: options.force_mask.or_else(|| self.force_mask()),
            in_user_namespace: self.rootless,
            ignore_chown_errors: options.ignore_chown_errors || self.options.ignore_chown_errors,
            maps: options.maps.clone(),
            shares_files: self.rules.shape().whole_trees,
        })
    }

    /// Where layers of image content are made.
    fn image_layer_home(&self) -> &Path {
        self.image_home.as_deref().unwrap_or(&self.home)
    }
}

/// Whether this process lacks the rights of the first user namespace's root.
fn is_rootless() -> bool {
    !rustix::process::geteuid().is_root() || in_user_namespace()
}

impl Driver for Overlay {
    fn name(&self) -> &'static str {
        self.rules.dialect().driver_name()
    }

    fn layer_published(&self, repository: &Repository) -> Result<()> {
        self.rules.refresh(self, repository)
    }

    fn dialect(&self) -> Option<Dialect> {
        Some(self.rules.dialect())
    }

    fn home(&self) -> &Path {
        &self.home
    }

    fn temp_dir_roots(&self) -> Vec<PathBuf> {
        std::iter::once(&self.home)
            .chain(&self.image_home)
            .map(|home| home.join(layout::TEMP_DIRS))
            .collect()
    }

    fn check(&self) -> Result<()> {
        self.check_host()
    }

    fn prepare(&self) -> Result<()> {
        self.ready_again()
    }

    fn create(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &CreateOptions,
    ) -> Result<()> {
        self.create_layer(id, parent, options, false)
    }

    fn create_read_write(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &CreateOptions,
    ) -> Result<()> {
        self.create_layer(id, parent, options, true)
    }

    fn exists(&self, id: &LayerId) -> bool {
        self.find(id).is_some()
    }

    fn get(&self, id: &LayerId, options: &MountOptions) -> Result<PathBuf> {
        self.mount_layer(id, options)
    }

    fn put(&self, id: &LayerId) -> Result<()> {
        self.unmount_layer(id)
    }

    fn describe_mount(&self, id: &LayerId, options: &MountOptions) -> Result<MountDescription> {
        self.describe(id, options)
    }

    fn mount_detached(&self, id: &LayerId, options: &MountOptions) -> Result<OwnedFd> {
        self.mount_apart(id, options)
    }

    fn is_mounted(&self, path: &Path) -> bool {
        is_overlay_mount(path)
    }

    fn remove(&self, id: &LayerId) -> Result<()> {
        self.remove_by_id(id)
    }

    fn deferred_remove(&self, id: &LayerId) -> Result<Box<dyn Trash>> {
        self.remove_later(id)
    }

    fn stages_apart(&self) -> bool {
        !self.rules.shape().whole_trees
    }

    fn stage(&self, parent: Option<&LayerId>, options: &ApplyOptions) -> Result<Box<dyn Staging>> {
        let unpack = self.unpack_options(options)?;
        let look = self.root_look(parent, &options.maps)?;
        if self.rules.shape().whole_trees {
            return Ok(Box::new(self.stage_tree(parent, look, unpack)?));
        }
        let temp_root = self.image_layer_home().join(layout::TEMP_DIRS);
        let staging = TempStaging::new(&self.home, &temp_root, look, unpack)?;
        Ok(Box::new(staging))
    }

    fn stage_upon(&self, parent: &dyn Staging, options: &ApplyOptions) -> Result<Box<dyn Staging>> {
        if self.rules.shape().whole_trees {
            return Ok(Box::new(
                self.stage_tree_upon(parent.root(), self.unpack_options(options)?)?,
            ));
        }
        self.stage(None, options)
    }

    fn commit_staged(&self, id: &LayerId, staging: Box<dyn Staging>) -> Result<()> {
        let staging = TempStaging::of(staging, &self.home, id)?;
        if self.rules.shape().whole_trees {
            return self.commit_tree(id, staging);
        }
        let layer = self.locate_own(id)?;
        self.check_writable(&layer)?;
        let diff = layer.diff();
        staging.adopt_root(&diff)?;
        self.adopt_content(staging.root(), &layer)?;
        self.rules.applying(self, &layer, staging.root())?;
        staging.commit(&diff, id)?;
        self.tidy_temp_dirs();
        Ok(())
    }

    fn partial_pulls(&self) -> Option<&dyn PartialPulls> {
        self.rules.shape().partial_pulls.then_some(self as &dyn PartialPulls)
    }

    fn additional_layers(&self) -> Option<&dyn AdditionalLayers> {
        Some(self)
    }

    fn thin_layers(&self) -> Option<&dyn ThinLayers> {
        self.has_nested().then_some(self as &dyn ThinLayers)
    }

    fn dedup(&self, layers: &[LayerId], method: DedupMethod) -> Result<u64> {
        let own = layers.iter().filter_map(|id| self.find(id));
        let own = own.filter(|l| l.place != Place::Additional && !l.diff().is_symlink());
        dedup::share(own.map(|l| l.diff()), method)
    }

    fn content(&self, id: &LayerId, options: &ApplyOptions) -> Result<(OwnedFd, UnpackOptions)> {
        let layer = self.locate_own(id)?;
        self.check_content(&layer)?;
        self.check_writable(&layer)?;
        let unpack = self.unpack_options(options)?;
        if self.rules.shape().whole_trees {
            return Ok((self.tree_to_change(id, options)?, unpack));
        }
        Ok((open_dir(&layer.diff())?, unpack))
    }

    fn applied(&self, id: &LayerId, root: BorrowedFd<'_>) -> Result<()> {
        self.rules.applying(self, &self.locate_own(id)?, root)
    }

    fn diff(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
        out: &mut dyn Write,
    ) -> Result<()> {
        self.write_diff(id, parent, options, out)
    }

    fn changes(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
    ) -> Result<Vec<Change>> {
        self.list_changes(id, parent, options)
    }

    fn diff_size(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
    ) -> Result<u64> {
        self.size_of_diff(id, parent, options)
    }

    fn update_id_maps(
        &self,
        id: &LayerId,
        to_container: &IdMaps,
        to_host: &IdMaps,
        mount_label: &str,
    ) -> Result<()> {
        self.change_id_maps(id, to_container, to_host, mount_label)
    }

    fn begin_owner_copy<'d>(
        &'d self,
        template: &LayerId,
        options: &CreateOptions,
        from: &IdMaps,
    ) -> Result<Option<Box<dyn OwnerCopy + 'd>>> {
        let begun = self.begin_apart(template, options, from)?;
        Ok(begun.map(|copy| Box::new(copy) as Box<dyn OwnerCopy + 'd>))
    }

    fn supports_shifting(&self, maps: &IdMaps) -> Result<bool> {
        self.shifts(maps)
    }

    fn file_source(&self, id: &LayerId) -> Result<Box<dyn FileSource>> {
        Ok(Box::new(self.files(id)?))
    }

    fn unpacked(&self, id: &LayerId) -> Result<Option<OwnedFd>> {
        let layer = self.locate(id)?;
        let older = self.check_content(&layer)?;
        if layer.has_image() || !older.is_empty() || self.rules.shape().whole_trees {
            return Ok(None);
        }
        open_dir(&self.content_of(&layer)?).map(Some)
    }

    fn metadata(&self, id: &LayerId) -> Result<BTreeMap<String, String>> {
        let layer = self.locate(id)?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut rows = BTreeMap::from([
            ("MergedDir".to_owned(), text(self.merged(&layer))),
            ("UpperDir".to_owned(), text(layer.diff())),
            ("WorkDir".to_owned(), text(layer.path().join("work"))),
        ]);
        let lowers: Vec<String> = self
            .lowers(&layer, Heal::No)?
            .iter()
            .map(|l| self.content_of(l).map(text))
            .collect::<Result<_>>()?;
        if !lowers.is_empty() {
            rows.insert("LowerDir".to_owned(), lowers.join(":"));
        }
        if layer.is_unclean() {
            rows.insert(volatile::UNCLEAN.to_owned(), "true".to_owned());
        }
        Ok(self.rules.metadata(&layer, rows))
    }

    fn status(&self) -> Vec<(String, String)> {
        self.status_rows()
    }

    fn list_layers(&self) -> Result<Vec<String>> {
        chain::list_children_first(&self.home)
    }

    fn disk_usage(&self, id: &LayerId) -> Result<DiskUsage> {
        let layer = self.locate(id)?;
        self.check_content(&layer)?;
        match self.project_usage(&layer)? {
            Some(usage) => Ok(usage),
            None => archive::disk_usage(open_dir(&self.content_of(&layer)?)?.as_fd()),
        }
    }

    fn cleanup(&self) -> Result<()> {
        self.rules.release_all(self);
        self.release_home()
    }

    fn additional_image_stores(&self) -> &[PathBuf] {
        &self.options.image_stores
    }

    fn sync_filesystem(&self) -> bool {
        !self.options.unsynced
    }
}
