//! The drivers: how layers lie on disk, and how a chain of them becomes one mounted tree.
//!
//! [`open`] takes a driver by name, [`choose`] finds the one that fits, [`of`] does the one or the other as a configuration says.
//! A driver owns `<graph root>/<driver>/` and `<run root>/<driver>/`, nothing else. Its callers hold the store's locks, except where a call says
//! that it needs none.

mod additional;
mod arguments;
mod choose;
mod dedup;
pub mod examine;
mod file_systems;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod naive;
mod options;
mod overlay;
mod owners;
mod partial;
mod staging;
#[cfg(test)]
pub(crate) mod tests;
mod thin;
mod trash;
mod vfs;

pub use additional::{AdditionalLayer, AdditionalLayers};
pub use arguments::{ApplyOptions, CreateOptions, DiffOptions, MountDescription, MountOptions};
pub use choose::{choose, detect_dialect, of, open, open_dialect};
pub use dedup::DedupMethod;
pub(crate) use overlay::legacy;
pub use owners::OwnerCopy;
pub use partial::{Partial, PartialPulls};
pub use thin::{Brought, ThinLayers};

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::archive::{Change, DiskUsage, FileSource, UnpackOptions};
use crate::thin::Repository;
use crate::{Dialect, Error, ErrorKind, IdMaps, LayerId, Result};

/// A layer's content in the making, outside any layer and any lock; dropped without commit, it vanishes.
pub trait Staging: Send + Sync {
    /// The directory to unpack into.
    fn root(&self) -> BorrowedFd<'_>;
    /// How to unpack into it: whiteout format and so on.
    fn unpack_options(&self) -> &UnpackOptions;
    /// Says that the content has an entry for its root, whose owner and mode stay; without, the root gets the parent's at commit.
    fn keep_root(&mut self);
    /// Whether the content is still all there, as far as other programs are concerned.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if another program has deleted it, or a part.
    fn check(&self) -> Result<()> {
        Ok(())
    }
    /// For the driver that made it, at commit.
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any>;
}

/// What a deferred removal leaves to do once the store's lock is released.
#[must_use = "the bytes are only deleted by empty()"]
pub trait Trash: Send {
    /// Deletes what was moved aside.
    ///
    /// # Errors
    /// The first entry that could not be removed; a later opening of the store tries again.
    fn empty(self: Box<Self>) -> Result<()>;
}

/// A way of keeping layers on disk and mounting them.
///
/// Every method but the reading ones is called with the layer store's write lock held, `stage` and what is done with a
/// [`Staging`] excepted, and [`OwnerCopy::make`].
pub trait Driver: Send + Sync {
    /// The name it reports, which is also the name of its directory: `overlay`, `vfs`.
    fn name(&self) -> &'static str;

    /// Looks for what has just been published in that repository, if it is in use (`overlay-driver.md` CVM-22).
    ///
    /// # Errors
    /// When the program that mounts it fails.
    fn layer_published(&self, repository: &Repository) -> Result<()> {
        let _ = repository;
        Ok(())
    }

    /// Whose layout its layers have; `None` for a driver that is not overlay.
    fn dialect(&self) -> Option<Dialect> {
        None
    }

    /// Its directory below the graph root.
    fn home(&self) -> &Path;

    /// Where the temp dirs live whose stale ones the store recovers at load (`store-format.md` 10.3).
    fn temp_dir_roots(&self) -> Vec<PathBuf>;

    /// Whether this host can serve the driver at all; nothing on disk is touched.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotSupported`], [`crate::ErrorKind::Prerequisites`] or [`crate::ErrorKind::IncompatibleFs`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Makes what the driver needs on disk before its first writing operation (home, links, private bind mount).
    ///
    /// # Errors
    /// When the kernel or the file system does not serve.
    fn prepare(&self) -> Result<()>;

    /// Creates an empty layer for image content.
    ///
    /// # Errors
    /// Nothing is left behind.
    fn create(&self, id: &LayerId, parent: Option<&LayerId>, options: &CreateOptions)
    -> Result<()>;

    /// Creates a layer for a container.
    ///
    /// # Errors
    /// Nothing is left behind.
    fn create_read_write(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &CreateOptions,
    ) -> Result<()>;

    /// Creates a layer with the content of `template` (CRE-1).
    ///
    /// # Errors
    /// Nothing is left behind.
    fn create_from_template(
        &self,
        id: &LayerId,
        template: &LayerId,
        options: &CreateOptions,
        read_write: bool,
    ) -> Result<()> {
        if read_write {
            self.create_read_write(id, Some(template), options)
        } else {
            self.create(id, Some(template), options)
        }
    }

    /// Whether the driver has that layer, in its home or an additional store.
    fn exists(&self, id: &LayerId) -> bool;

    /// Mounts the layer and returns where; counted per process.
    ///
    /// # Errors
    /// When the chain is damaged or the kernel refuses.
    fn get(&self, id: &LayerId, options: &MountOptions) -> Result<PathBuf>;

    /// Gives one [`Driver::get`] back; the last one unmounts.
    ///
    /// # Errors
    /// When the kernel refuses to unmount.
    fn put(&self, id: &LayerId) -> Result<()>;

    /// What [`Driver::get`] would mount. The layer is neither mounted nor counted; as before any other mount, the driver's home is made
    /// ready, of which overlay makes a mount of its own. What a crash has taken from the layer (its empty content directory, short links)
    /// is made again and its work directory made ready, unless it is mounted: then nothing of it is changed. A layer must not be mounted
    /// for writing in two ways at once.
    ///
    /// # Errors
    /// As for [`Driver::get`].
    fn describe_mount(&self, id: &LayerId, options: &MountOptions) -> Result<MountDescription>;

    /// Mounts the layer without a place in the tree, as fsmount(2) does; the caller attaches the descriptor with move_mount(2), in
    /// whatever mount namespace, or opens files below it. The mount ends with its last user and is not counted: until then the
    /// caller mounts the layer in no other way, unless both are read-only.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] by a driver without mounts and before Linux 6.7; [`ErrorKind::Busy`] for a mounted layer that is asked
    /// for writing; as for [`Driver::get`].
    fn mount_detached(&self, id: &LayerId, options: &MountOptions) -> Result<OwnedFd> {
        let _ = options;
        Err(Error::new(ErrorKind::NotSupported, format!("mounting layer {id} without a place"))
            .id(id.as_str())
            .detail(format!("the driver {} does not mount", self.name()))
            .hint("use the layer's directory as it is"))
    }

    /// Whether the kernel has a mount of this driver's kind at `path`, from whatever process.
    fn is_mounted(&self, path: &Path) -> bool;

    /// Removes the layer at once.
    ///
    /// # Errors
    /// A missing layer is none.
    fn remove(&self, id: &LayerId) -> Result<()>;

    /// Moves the layer aside, to be deleted when the lock is released.
    ///
    /// # Errors
    /// A missing layer is none.
    fn deferred_remove(&self, id: &LayerId) -> Result<Box<dyn Trash>>;

    /// Whether a layer's own content is all that is staged: the parent then plays no part until commit, and the layers of a
    /// chain can be staged in any order, or at the same time. Where content begins as a copy of the parent's, they cannot.
    fn stages_apart(&self) -> bool;

    /// Begins a layer's content outside of the lock (APL-3).
    ///
    /// # Errors
    /// [`crate::ErrorKind::LayerUnknown`] if a parent that is needed has vanished; the caller may retry.
    fn stage(&self, parent: Option<&LayerId>, options: &ApplyOptions) -> Result<Box<dyn Staging>>;

    /// Begins the content of a layer that will lie on another one which is staged itself, complete and not committed yet.
    ///
    /// # Errors
    /// When a system call fails.
    fn stage_upon(
        &self,
        _parent: &dyn Staging,
        options: &ApplyOptions,
    ) -> Result<Box<dyn Staging>> {
        self.stage(None, options)
    }

    /// Makes staged content the content of the freshly created layer `id` (APL-4), whose root's owner and mode it takes unless
    /// it has its own.
    ///
    /// # Errors
    /// When the layer already has content.
    fn commit_staged(&self, id: &LayerId, staging: Box<dyn Staging>) -> Result<()>;

    /// Creates the layer `id` with staged content in one step; as [`Driver::create`] and then [`Driver::commit_staged`], and
    /// cheaper where a layer begins as a copy of its parent.
    ///
    /// # Errors
    /// No layer is left behind.
    fn create_staged(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &CreateOptions,
        staging: Box<dyn Staging>,
    ) -> Result<()> {
        self.create(id, parent, options)?;
        self.commit_staged(id, staging).inspect_err(|_| {
            if let Err(e) = self.remove(id) {
                tracing::warn!(layer = %id, error = %e, "removing a layer without its content");
            }
        })
    }

    /// The driver as one of layers whose content the caller writes itself; `None` for one that is not.
    fn partial_pulls(&self) -> Option<&dyn PartialPulls> {
        None
    }

    /// The driver as one of layers that an additional layer store serves; `None` for one that is not.
    fn additional_layers(&self) -> Option<&dyn AdditionalLayers> {
        None
    }

    /// The driver as one of layers that lie in repositories; `None` for one that is not.
    fn thin_layers(&self) -> Option<&dyn ThinLayers> {
        None
    }

    /// Has equal files of these layers share their space on the disk, where the file system can (REM-16); layers of additional stores
    /// and such as are not there are passed over. Returns the bytes that are shared now, also those that were before.
    ///
    /// # Errors
    /// When content cannot be read.
    fn dedup(&self, layers: &[LayerId], method: DedupMethod) -> Result<u64>;

    /// The directory of the layer's own content and how to unpack into it, for a stream applied over what is there.
    ///
    /// # Errors
    /// When the layer is missing or cannot be written.
    fn content(&self, id: &LayerId, options: &ApplyOptions) -> Result<(OwnedFd, UnpackOptions)>;

    /// Unpacks an uncompressed tar over the layer's present content; returns the bytes of file content.
    ///
    /// # Errors
    /// As [`crate::archive::unpack`].
    fn apply_diff(
        &self,
        id: &LayerId,
        options: &ApplyOptions,
        tar: &mut (dyn Read + Send),
    ) -> Result<u64> {
        let (root, options) = self.content(id, options)?;
        let size = crate::archive::unpack(tar, root.as_fd(), &options)?;
        self.applied(id, root.as_fd()).map(|()| size)
    }

    /// Sees to what follows from content that was written in place.
    ///
    /// # Errors
    /// When a system call fails.
    fn applied(&self, id: &LayerId, root: BorrowedFd<'_>) -> Result<()> {
        let _ = (id, root);
        Ok(())
    }

    /// Writes the layer's changes over `parent` as an uncompressed tar.
    ///
    /// # Errors
    /// When content cannot be read or `out` fails.
    fn diff(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
        out: &mut dyn Write,
    ) -> Result<()>;

    /// Lists the layer's changes over `parent`.
    ///
    /// # Errors
    /// When content cannot be read.
    fn changes(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
    ) -> Result<Vec<Change>>;

    /// An estimate of the bytes of the layer's changes over `parent`.
    ///
    /// # Errors
    /// When content cannot be read.
    fn diff_size(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
    ) -> Result<u64>;

    /// Changes the owners of all files of a layer that is not mounted from one pair of id maps to another (MAP-1 to MAP-6).
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] for a mounted layer (ADD-4); [`ErrorKind::NotSupported`] by a driver that cannot; an owner that is not mapped.
    fn update_id_maps(
        &self,
        id: &LayerId,
        to_container: &IdMaps,
        to_host: &IdMaps,
        mount_label: &str,
    ) -> Result<()> {
        let _ = (to_container, to_host, mount_label);
        Err(Error::new(ErrorKind::NotSupported, format!("changing the id maps of layer {id}"))
            .id(id.as_str())
            .detail(format!("the driver {} cannot change owners", self.name())))
    }

    /// Begins a layer of image content as [`Driver::create_from_template`] and then [`Driver::update_id_maps`] from `from` to the maps of
    /// `options` make it, but with the copies made without a lock (MAP-1). `None` where it is only made under the lock.
    ///
    /// # Errors
    /// When the template is missing or damaged.
    fn begin_owner_copy<'d>(
        &'d self,
        template: &LayerId,
        options: &CreateOptions,
        from: &IdMaps,
    ) -> Result<Option<Box<dyn OwnerCopy + 'd>>> {
        let _ = (template, options, from);
        Ok(None)
    }

    /// Whether a mount can map ids by itself, so that layers need not be copied with other owners (MAP-7).
    ///
    /// # Errors
    /// When the kernel could not be tried out.
    fn supports_shifting(&self, maps: &IdMaps) -> Result<bool> {
        let _ = maps;
        Ok(false)
    }

    /// The layer's files for putting its tar together again (REM-15).
    ///
    /// # Errors
    /// When the layer is damaged.
    fn file_source(&self, id: &LayerId) -> Result<Box<dyn FileSource>>;

    /// The directory that holds the layer's own content as it was unpacked, one file for each member; `None` where it lies in another
    /// form.
    ///
    /// # Errors
    /// When the layer is missing or damaged.
    fn unpacked(&self, id: &LayerId) -> Result<Option<OwnedFd>> {
        let _ = id;
        Ok(None)
    }

    /// Free keys and values (`UpperDir`, `LowerDir` …; REM-9). `Unclean` is there, and `true`, where the last mount for writing was
    /// volatile and the machine was started anew since, by the wall clock: what was written may be missing (DEF-27). The next such mount
    /// forgets it, with a warning in the log.
    ///
    /// # Errors
    /// When the layer is missing or damaged.
    fn metadata(&self, id: &LayerId) -> Result<BTreeMap<String, String>>;

    /// Rows for `status` (REM-11).
    fn status(&self) -> Vec<(String, String)>;

    /// Ids of the layers in the home, additional stores excepted (REM-8), where layers lie on one another children before parents, else
    /// by name.
    ///
    /// # Errors
    /// When the home cannot be read.
    fn list_layers(&self) -> Result<Vec<String>>;

    /// Size of the layer's own content (REM-12).
    ///
    /// # Errors
    /// When the layer is missing.
    fn disk_usage(&self, id: &LayerId) -> Result<DiskUsage>;

    /// Releases what the driver holds (its private bind mount); called at shutdown.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn cleanup(&self) -> Result<()>;

    /// Roots of the additional image stores of its options.
    fn additional_image_stores(&self) -> &[PathBuf];

    /// Whether a layer must be synced to disk before it counts as complete (`sync` option).
    fn sync_filesystem(&self) -> bool;
}

/// Whether anything, a link included, stands in the place of the layer `id`. What cannot be looked at is an error: taken for absent, the
/// layer would be struck off the list and stay on the disk.
fn is_there(path: &Path, id: &LayerId) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(false)
        }
        Err(e) => Err(Error::io("looking for a layer", path, e).id(id.as_str())),
    }
}

/// Whether this process's user namespace is not the first one, which maps all ids to themselves.
fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
        map.split_ascii_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
    })
}
