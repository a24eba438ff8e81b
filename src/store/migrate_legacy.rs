//! A store in the layout of 2016's overlay driver becomes one of today's (`overlay-driver.md` 19).
//!
//! Ids stay, and so do all records, big data and tar-split files; only the driver's home changes.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};

use serde::Serialize;

use super::Store;
use super::diffs::Metered;
use super::kind::Record;
use super::order::Held;
use super::paths::Paths;
use super::table::Lists;
use crate::archive::{self, Hasher};
use crate::driver::Driver;
use crate::driver::legacy::{Migration, Planned};
use crate::record::Layer;
use crate::sys::lock::{LockAccess, LockFile};
use crate::sys::regular;
use crate::{Error, ErrorKind, LayerId, Result};

const DAMAGED: &str =
    "nothing was changed; if the layer is known to be damaged, migrate without verification";

/// How a legacy store is migrated.
#[derive(Debug, Clone, Copy, Default)]
pub struct LegacyMigration {
    /// Only find out what there is to do; nothing is changed.
    pub dry_run: bool,
    /// Do not put the layers' tars together to compare their digests.
    pub unverified: bool,
    /// Remove the old home, also one that an earlier migration has kept.
    pub remove: bool,
}

/// What a migration has done, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct MigratedLegacy {
    /// Layers of images.
    #[serde(rename = "image-layers")]
    pub images: usize,
    /// Layers of containers.
    #[serde(rename = "container-layers")]
    pub containers: usize,
    /// Layers whose tar was put together from the new directories, and is the one on record.
    pub verified: usize,
    /// Files that images' layers change, each a further name of the old home's.
    #[serde(rename = "linked-files")]
    pub files: u64,
    /// Deletions, which the old layout did not need to note.
    pub whiteouts: u64,
    /// Whether an old home was removed.
    pub removed: bool,
}

impl Store {
    /// Turns a store in the layout of 2016's overlay driver (a whole tree for each layer) into today's (what each layer changes) without
    /// a copy of any file, and gives the old home the name `<home>.legacy`, or removes it. A store of today's layout stays as it is.
    /// Afterwards the store is to be opened anew.
    ///
    /// A process that is killed on the way leaves the store as it was, or migrated; the next call does what is left to do.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a layer is mounted or another process works on the store; [`ErrorKind::NotSupported`] for other drivers,
    /// a separate image store, a store with id maps or with layers of both layouts, and for anybody but root; [`ErrorKind::Corrupt`] for a
    /// damaged layer; [`ErrorKind::DigestMismatch`] for one whose files are not those of its tar. The store is then as it was.
    pub fn migrate_legacy(&self, wanted: LegacyMigration) -> Result<MigratedLegacy> {
        if self.driver.name() != "overlay" || self.options.image_store.is_some() {
            return Err(Error::new(ErrorKind::NotSupported, "migrating a legacy store")
                .path(self.graph_root())
                .detail(
                    "only a store of the driver overlay without a separate image store can be one",
                )
                .hint("name the root of a store of that driver, and no separate image store"));
        }
        let migration = Migration::new(self.driver.home());
        let nothing = Held::nothing();
        let mut done = MigratedLegacy::default();
        if wanted.dry_run {
            let (_, layers) = self.layers.read(&nothing)?;
            if let Some(planned) = plan(&migration, &layers)? {
                (done.images, done.containers) = planned.counts();
            }
            return Ok(done);
        }
        if !self.graph_root().is_dir() {
            return Ok(done);
        }
        let lock = LockFile::open(&self.paths.graph_lock(), LockAccess::ReadWrite)?;
        let graph = lock.try_write()?.ok_or_else(|| busy("storage.lock"))?;
        let (held, layers) = self.layers.try_write(&nothing)?.ok_or_else(|| busy("layers.lock"))?;
        let (held, _images) = self.images.try_write(&held)?.ok_or_else(|| busy("images.lock"))?;
        let _containers =
            self.containers.try_write(&held)?.ok_or_else(|| busy("containers.lock"))?;

        migration.settle()?;
        if let Some(planned) = plan(&migration, &layers)? {
            (done.images, done.containers) = planned.counts();
            self.refuse_mounted(&layers)?;
            // Others must make the driver ready again, in whatever state this ends.
            graph.touch()?;
            self.driver.cleanup()?;
            let made = migration.build(&planned)?;
            (done.files, done.whiteouts) = (made.files, made.whiteouts);
            if !wanted.unverified {
                let driver = migration.driver(self.run_root())?;
                done.verified = verify(&*driver, &self.paths, &layers, &planned)
                    .inspect_err(|_| migration.discard())?;
            }
            migration.switch()?;
            migration.settle()?;
        }
        if wanted.remove {
            done.removed = migration.remove_kept()?;
        }
        Ok(done)
    }

    fn refuse_mounted(&self, layers: &Lists<Layer>) -> Result<()> {
        let mounted = self.mounts.read()?;
        match mounted.iter().find(|p| p.count > 0 && layers.by_id(&p.id).is_some()) {
            None => Ok(()),
            Some(point) => Err(Error::new(ErrorKind::Busy, "migrating a legacy store")
                .id(&point.id)
                .path(self.paths.mount_points().1)
                .detail(format!("layer {} is mounted at {}", point.id, point.path))
                .hint("unmount it; after a restart of the machine, remove the file")),
        }
    }
}

fn busy(lock: &str) -> Error {
    Error::new(ErrorKind::Busy, "migrating a legacy store")
        .detail(format!("another process holds {lock}"))
        .hint("stop what uses the store, and run the migration again")
}

fn plan(migration: &Migration, layers: &Lists<Layer>) -> Result<Option<Planned>> {
    let mut parents = BTreeMap::new();
    let mut needed = Vec::new();
    for layer in layers.iter_all() {
        let id = LayerId::new(layer.id.as_str())?;
        if !layer.parent.is_empty() {
            parents.insert(id.clone(), LayerId::new(layer.parent.as_str())?);
        }
        if !layer.is_incomplete() {
            needed.push(id);
        }
    }
    migration.plan(&parents, &needed)
}

/// Puts the tars of the layers that have a tar-split together from their new directories; returns of how many.
fn verify(
    driver: &dyn Driver,
    paths: &Paths,
    layers: &Lists<Layer>,
    planned: &Planned,
) -> Result<usize> {
    let mut verified = 0;
    for id in planned.layers() {
        let Some(layer) = layers.by_id(id.as_str()).filter(|l| !l.is_incomplete()) else {
            continue;
        };
        let path = paths.tar_split(id);
        let Some(file) = regular::open("reading the tar-split", &path)? else { continue };
        let known = !layer.diff_digest.is_empty();
        let size = u64::try_from(layer.diff_size).unwrap_or(u64::MAX);
        let limit = if known { size } else { u64::MAX };
        let mut sink = Metered { out: Sink(Hasher::default()), bytes: 0, limit };
        archive::reassemble(&mut BufReader::new(file), &*driver.file_source(id)?, &mut sink)
            .and_then(|_| match sink.out.0.finish().0 {
                found if !known || found.as_str() == layer.diff_digest => Ok(()),
                found => {
                    Err(Error::new(ErrorKind::DigestMismatch, "comparing the digest of its tar")
                        .detail(format!("it is {found}, not {}", layer.diff_digest)))
                }
            })
            .map_err(|e| {
                let e = e.context(format!("verifying layer {id}")).id(id.as_str());
                // What has advice of its own is not the layer's fault.
                match e.advice() {
                    Some(_) => e,
                    None => e.hint(DAMAGED),
                }
            })?;
        verified += 1;
    }
    Ok(verified)
}

struct Sink(Hasher);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
