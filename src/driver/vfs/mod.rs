//! The vfs driver: each layer is a whole tree, copied from its parent's (`store-format.md` 13). No mounts, so no privileges.

mod label;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::options::{VfsOptions, parse_vfs};
use super::overlay::{DirLook, ensure_dir, make_dir, open_dir};
use super::staging::TempStaging;
use super::trash::TempTrash;
use super::{
    ApplyOptions, CreateOptions, DedupMethod, DiffOptions, Driver, MountDescription, MountOptions,
    Staging, Trash, dedup, is_there, naive,
};
use crate::archive::{self, Change, DiskUsage, FileSource, TreeFiles, UnpackOptions, Whiteouts};
use crate::sys::remove::remove_tree;
use crate::sys::tempdir::TempDir;
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

const NAME: &str = "vfs";
const LAYERS: &str = "dir";
const TEMP_DIRS: &str = "tempdirs";

/// The driver of one store.
pub(super) struct Vfs {
    home: PathBuf,
    image_home: Option<PathBuf>,
    store_homes: Vec<PathBuf>,
    options: VfsOptions,
}

impl Vfs {
    /// Reads the options, touches nothing on disk.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an option.
    pub(super) fn open(
        graph_root: &Path,
        image_store: Option<&Path>,
        options: &[String],
    ) -> Result<Self> {
        let options = parse_vfs(options)?;
        Ok(Self {
            home: graph_root.join(NAME),
            image_home: image_store.map(|s| s.join(NAME)),
            store_homes: options.image_stores.iter().map(|s| s.join(NAME)).collect(),
            options,
        })
    }

    /// The homes in the order in which an id is looked up; the last of them, additional stores, are read-only.
    fn find(&self, id: &LayerId) -> Option<(PathBuf, bool)> {
        let own = std::iter::once((&self.home, true));
        let added = self.store_homes.iter().map(|h| (h, false));
        let image = self.image_home.iter().map(|h| (h, true));
        own.chain(added).chain(image).find_map(|(home, writable)| {
            let dir = home.join(LAYERS).join(id);
            dir.symlink_metadata().is_ok_and(|m| m.is_dir()).then(|| (home.clone(), writable))
        })
    }

    fn locate(&self, id: &LayerId) -> Result<PathBuf> {
        self.find(id).map(|(home, _)| home.join(LAYERS).join(id)).ok_or_else(|| {
            Error::new(ErrorKind::LayerUnknown, format!("looking for layer {id}"))
                .id(id.as_str())
                .path(self.home.join(LAYERS).join(id))
        })
    }

    /// The home of a layer that may be changed, a file or link in the place of one included; `None` if there is no such layer.
    fn own_home(&self, id: &LayerId) -> Result<Option<PathBuf>> {
        if is_there(&self.home.join(LAYERS).join(id), id)? {
            return Ok(Some(self.home.clone()));
        }
        match self.find(id) {
            None => Ok(None),
            Some((home, true)) => Ok(Some(home)),
            Some((home, false)) => {
                Err(Error::new(ErrorKind::ReadOnly, format!("changing layer {id}"))
                    .id(id.as_str())
                    .path(home)
                    .detail("the layer belongs to an additional image store"))
            }
        }
    }

    fn locate_own(&self, id: &LayerId) -> Result<PathBuf> {
        self.own_home(id)?;
        self.locate(id)
    }

    fn home_for(&self, read_write: bool) -> &Path {
        match &self.image_home {
            Some(home) if !read_write => home,
            _ => &self.home,
        }
    }

    /// Owner and mode of a new layer's root: the parent's, whatever the maps, which are those of a layer without one.
    fn root_look(&self, parent: Option<&LayerId>, maps: &IdMaps) -> Result<DirLook> {
        let (uid, gid) = maps.root()?;
        let Some(parent) = parent else { return Ok(DirLook { uid, gid, mode: 0o555 }) };
        let dir = self.locate(parent)?;
        DirLook::of(&dir).map_err(|e| Error::io("examining", &dir, e))
    }

    fn unpack_options(&self, options: &ApplyOptions) -> UnpackOptions {
        UnpackOptions {
            shares_files: false,
            whiteouts: Whiteouts::Execute,
            in_user_namespace: in_user_namespace(),
            ignore_chown_errors: options.ignore_chown_errors || self.options.ignore_chown_errors,
            maps: options.maps.clone(),
            force_mask: options.force_mask,
        }
    }

    fn create_layer(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &CreateOptions,
        read_write: bool,
    ) -> Result<()> {
        self.check_create(id, options)?;
        let look = self.root_look(parent, &options.maps())?;
        let home = self.home_for(read_write);
        let layers = home.join(LAYERS);
        ensure_dir(&layers, DirLook::root(0o700), 0o700)?;
        let dir = layers.join(id);
        if dir.symlink_metadata().is_ok() {
            tracing::warn!(path = ?dir, "the directory of a new layer exists; removing it first");
            remove_tree(&dir)?;
        }
        let filled = make_dir(&dir, look).and_then(|root| {
            label::give(root.as_fd(), &dir);
            match parent {
                None => Ok(()),
                Some(parent) => {
                    archive::copy_tree(open_dir(&self.locate(parent)?)?.as_fd(), root.as_fd())
                }
            }
        });
        filled.inspect_err(|_| {
            if let Err(e) = remove_tree(&dir) {
                tracing::warn!(error = %e, "removing a layer that could not be made");
            }
        })
    }

    fn check_create(&self, id: &LayerId, options: &CreateOptions) -> Result<()> {
        match options.storage_opt.keys().next() {
            None => Ok(()),
            Some(key) => Err(Error::new(ErrorKind::NotSupported, format!("creating layer {id}"))
                .id(id.as_str())
                .detail(format!("--storage-opt is not supported for vfs ({key})"))),
        }
    }
}

impl Driver for Vfs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn home(&self) -> &Path {
        &self.home
    }

    fn temp_dir_roots(&self) -> Vec<PathBuf> {
        std::iter::once(&self.home).chain(&self.image_home).map(|h| h.join(TEMP_DIRS)).collect()
    }

    fn prepare(&self) -> Result<()> {
        ensure_dir(&self.home.join(LAYERS), DirLook::root(0o700), 0o700).map(drop)
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
        // The files have the owners that the maps give them, as the caller has seen to.
        if let Some(word) = options.options.iter().find(|o| *o != "ro") {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("mounting layer {id}"))
                .id(id.as_str())
                .detail(format!("vfs driver does not support mount options ({word:?})")));
        }
        self.locate(id)
    }

    fn put(&self, _id: &LayerId) -> Result<()> {
        Ok(())
    }

    fn describe_mount(&self, id: &LayerId, options: &MountOptions) -> Result<MountDescription> {
        self.get(id, options).map(MountDescription::Directory)
    }

    fn is_mounted(&self, path: &Path) -> bool {
        // Nothing is ever mounted; as in Go, a layer counts as mounted as long as its tree is there.
        path.is_dir()
    }

    fn remove(&self, id: &LayerId) -> Result<()> {
        match self.own_home(id)? {
            None => Ok(()),
            Some(home) => remove_tree(&home.join(LAYERS).join(id)),
        }
    }

    fn deferred_remove(&self, id: &LayerId) -> Result<Box<dyn Trash>> {
        let Some(home) = self.own_home(id)? else { return Ok(TempTrash::empty()) };
        let mut temp = TempDir::create(&home.join(TEMP_DIRS))?;
        temp.take(&home.join(LAYERS).join(id))?;
        Ok(TempTrash::of(temp))
    }

    fn stages_apart(&self) -> bool {
        false
    }

    fn stage(&self, parent: Option<&LayerId>, options: &ApplyOptions) -> Result<Box<dyn Staging>> {
        let look = self.root_look(parent, &options.maps)?;
        let source = parent.map(|p| open_dir(&self.locate(p)?)).transpose()?;
        self.begin(source.as_ref().map(AsFd::as_fd), look, options)
    }

    fn stage_upon(&self, parent: &dyn Staging, options: &ApplyOptions) -> Result<Box<dyn Staging>> {
        let look = DirLook::of_open(parent.root())
            .map_err(|e| Error::io("examining a staged layer", "its root", e))?;
        self.begin(Some(parent.root()), look, options)
    }

    fn commit_staged(&self, id: &LayerId, staging: Box<dyn Staging>) -> Result<()> {
        let staging = TempStaging::of(staging, &self.home, id)?;
        // The staged tree has the parent's content already: it replaces what `create` copied.
        staging.exchange(&self.locate_own(id)?, id)
    }

    fn create_staged(
        &self,
        id: &LayerId,
        _parent: Option<&LayerId>,
        options: &CreateOptions,
        staging: Box<dyn Staging>,
    ) -> Result<()> {
        self.check_create(id, options)?;
        let staging = TempStaging::of(staging, &self.home, id)?;
        let layers = self.home_for(false).join(LAYERS);
        ensure_dir(&layers, DirLook::root(0o700), 0o700)?;
        let dir = layers.join(id);
        remove_tree(&dir)?;
        staging.commit(&dir, id)
    }

    fn content(&self, id: &LayerId, options: &ApplyOptions) -> Result<(OwnedFd, UnpackOptions)> {
        Ok((open_dir(&self.locate_own(id)?)?, self.unpack_options(options)))
    }

    fn diff(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
        out: &mut dyn Write,
    ) -> Result<()> {
        let (new, old) = self.trees(id, parent)?;
        naive::write_diff(new.as_fd(), old.as_ref().map(AsFd::as_fd), None, options, false, out)
    }

    fn changes(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
    ) -> Result<Vec<Change>> {
        let (new, old) = self.trees(id, parent)?;
        let old = old.as_ref().map(AsFd::as_fd);
        archive::changes_between(new.as_fd(), old, options.comparison(false))
    }

    fn diff_size(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
    ) -> Result<u64> {
        let (new, old) = self.trees(id, parent)?;
        naive::diff_size(new.as_fd(), old.as_ref().map(AsFd::as_fd), None, options, false)
    }

    fn update_id_maps(
        &self,
        id: &LayerId,
        to_container: &IdMaps,
        to_host: &IdMaps,
        _mount_label: &str,
    ) -> Result<()> {
        let dir = self.locate_own(id)?;
        give_to(open_dir(&dir)?.as_fd(), &dir, to_container, to_host)
            .map_err(|e| e.context(format!("changing the id maps of layer {id}")).id(id.as_str()))
    }

    fn dedup(&self, layers: &[LayerId], method: DedupMethod) -> Result<u64> {
        let own = layers.iter().filter_map(|id| Some((self.find(id)?, id)));
        let own = own.filter(|((_, writable), _)| *writable);
        dedup::share(own.map(|((home, _), id)| home.join(LAYERS).join(id)), method)
    }

    fn file_source(&self, id: &LayerId) -> Result<Box<dyn FileSource>> {
        Ok(Box::new(TreeFiles::new(vec![open_dir(&self.locate(id)?)?])))
    }

    fn metadata(&self, id: &LayerId) -> Result<BTreeMap<String, String>> {
        self.locate(id).map(|_| BTreeMap::new())
    }

    fn status(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn list_layers(&self) -> Result<Vec<String>> {
        let dir = self.home.join(LAYERS);
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("listing", &dir, e)),
            Ok(entries) => entries,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("listing", &dir, e))?;
            if let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string())
                && kind.is_dir()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn disk_usage(&self, id: &LayerId) -> Result<DiskUsage> {
        archive::disk_usage(open_dir(&self.locate(id)?)?.as_fd())
    }

    fn cleanup(&self) -> Result<()> {
        Ok(())
    }

    fn additional_image_stores(&self) -> &[PathBuf] {
        &self.options.image_stores
    }

    fn sync_filesystem(&self) -> bool {
        !self.options.unsynced
    }
}

impl Vfs {
    /// Content that begins as a copy of `source`, with the owners that its files have by the new maps.
    fn begin(
        &self,
        source: Option<BorrowedFd<'_>>,
        look: DirLook,
        options: &ApplyOptions,
    ) -> Result<Box<dyn Staging>> {
        let temp_root = self.home_for(false).join(TEMP_DIRS);
        let unpack = self.unpack_options(options);
        let staging = TempStaging::new(&self.home, &temp_root, look, unpack)?;
        label::give(staging.root(), &temp_root);
        if let Some(source) = source {
            archive::copy_tree(source, staging.root())?;
            if options.parent_maps != options.maps {
                let (from, to) = (&options.parent_maps, &options.maps);
                give_to(staging.root(), &temp_root, from, to)?;
            }
        }
        Ok(Box::new(staging))
    }

    fn trees(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<(OwnedFd, Option<OwnedFd>)> {
        let new = open_dir(&self.locate(id)?)?;
        let old = parent.map(|p| open_dir(&self.locate(p)?)).transpose()?;
        Ok((new, old))
    }
}

/// Changes the owners of a whole tree, whose root, as in Go, becomes root's.
fn give_to(
    root: BorrowedFd<'_>,
    path: &Path,
    to_container: &IdMaps,
    to_host: &IdMaps,
) -> Result<()> {
    let (uid, gid) = to_host.root()?;
    archive::change_owners(root, to_container, to_host)?;
    let look = DirLook::of_open(root).map_err(|e| Error::io("examining", path, e))?;
    DirLook { uid, gid, ..look }.apply(root, path)
}

/// Whether device nodes cannot be made: this process's user namespace is not the first one, or it is not root.
fn in_user_namespace() -> bool {
    !rustix::process::geteuid().is_root() || super::in_user_namespace()
}
