//! Creating layers: staged outside of every lock, then committed under the layers lock.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::id_maps::Wish;
use super::making::{Planned, Source, plan};
use super::order::{Before, Held, Layers, OtherLayers};
use super::table::{Lists, unknown};
use super::{LayerInfo, NewLayer, Store, names};
use crate::archive::{self, LayerFacts};
use crate::driver::{ApplyOptions, CreateOptions, Staging};
use crate::record::{Layer, Timestamp};
use crate::sys::tempdir::TempDir;
use crate::{Error, ErrorKind, IdMaps, LayerId, Result, id};

/// A layer's content that has been unpacked but belongs to no layer yet; dropped, it vanishes.
pub struct StagedLayer {
    pub(super) facts: LayerFacts,
    pub(super) staging: Box<dyn Staging>,
    pub(super) tar_split: StagedFile,
    /// By which the files got their owners.
    maps: IdMaps,
}

impl StagedLayer {
    pub(super) fn new(
        facts: LayerFacts,
        staging: Box<dyn Staging>,
        tar_split: StagedFile,
        maps: IdMaps,
    ) -> Self {
        Self { facts, staging, tar_split, maps }
    }

    /// What was learnt of the stream.
    pub fn facts(&self) -> &LayerFacts {
        &self.facts
    }

    /// Whether the content is what `layer` expects of it, as committing it checks too.
    ///
    /// # Errors
    /// [`ErrorKind::DigestMismatch`].
    pub(crate) fn check(&self, layer: &NewLayer) -> Result<()> {
        check_digests(layer, &self.facts)
    }
}

/// A file in a temp dir of its own, on its way to its place.
pub(super) struct StagedFile {
    path: PathBuf,
    dir: TempDir,
}

impl StagedFile {
    /// An empty one in `dir`, and open; private, and readable by who made it.
    pub(super) fn create(mut dir: TempDir) -> Result<(Self, File)> {
        let path = dir.addition();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io("creating the file", &path, e))?;
        Ok((Self { path, dir }, file))
    }

    pub(super) fn move_to(self, target: &std::path::Path) -> Result<()> {
        fs::rename(&self.path, target)
            .map_err(|e| Error::io("moving the tar-split into place", target, e))?;
        // What stays of the temp dir is for the next recovery, and no failure.
        drop(self.dir);
        Ok(())
    }
}

/// Bytes of content that are worth a sync of their own, before the lock is taken.
const LARGE: u64 = 16 << 20;

impl Store {
    /// Creates a layer without content of its own.
    ///
    /// # Errors
    /// [`ErrorKind::DuplicateId`], [`ErrorKind::DuplicateName`], [`ErrorKind::LayerUnknown`] for the parent; nothing is left.
    pub fn create_layer(&self, layer: NewLayer) -> Result<LayerInfo> {
        self.add_layer(layer, Source::Empty)
    }

    /// Creates a layer from a tar stream, compressed or not.
    ///
    /// # Errors
    /// As [`Store::create_layer`]; [`ErrorKind::InvalidArchive`] and [`ErrorKind::DigestMismatch`] for the stream. Nothing is left.
    pub fn import_layer(
        &self,
        mut layer: NewLayer,
        stream: &mut (dyn Read + Send),
    ) -> Result<LayerInfo> {
        let id = layer.id.take().filter(|id| !id.is_empty()).unwrap_or_else(id::random_hex_id);
        LayerId::new(id.as_str())?;
        self.prepare()?;
        let (parent, apply) = {
            // Before a long stream is read in vain; looked at again when the layer is added. Only read-locked, since the stream
            // may come from a reader of this store.
            let (held, layers) = self.layers.read(&Held::nothing())?;
            layers.check_freeable(&id, &layer.names)?;
            let parent = self.find_parent(&held, &layers, layer.parent.as_deref())?;
            let parent_maps = parent.as_ref().map(Layer::id_maps);
            let maps = self.maps_of_new(&Wish::of_layer(&layer), parent_maps.as_ref())?;
            let parent_maps = parent_maps.unwrap_or_default();
            (parent.map(|p| p.id), ApplyOptions { maps, parent_maps, ..ApplyOptions::default() })
        };
        layer.id = Some(id);
        let on = parent.as_deref().map(LayerId::new).transpose()?;
        let staging = self.driver.stage(on.as_ref(), &apply)?;
        let staged = self.unpack_staged(staging, stream, apply.maps)?;
        layer.parent = parent;
        self.commit_layer(layer, staged)
    }

    /// Whether layers can be staged without their parents, in any order ([`crate::driver::Driver::stages_apart`]).
    pub(crate) fn stages_apart(&self) -> bool {
        self.driver.stages_apart()
    }

    /// Unpacks a stream outside of every lock; `parent` is the id of the layer that it will lie on, if that is known and
    /// there, whose id maps count for it. Several may be staged at once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArchive`] for a damaged stream; nothing is left.
    pub fn stage_layer(
        &self,
        parent: Option<&str>,
        stream: &mut (dyn Read + Send),
    ) -> Result<StagedLayer> {
        self.prepare()?;
        let parent = parent.map(LayerId::new).transpose()?;
        let below = match &parent {
            Some(id) => Some(self.maps_of_present(&Held::nothing(), id.as_str())?),
            None => None,
        };
        let maps = self.maps_of_new(&Wish::none(), below.as_ref())?;
        let parent_maps = below.unwrap_or_default();
        let apply = ApplyOptions { maps, parent_maps, ..ApplyOptions::default() };
        let staging = self.driver.stage(parent.as_ref(), &apply)?;
        self.unpack_staged(staging, stream, apply.maps)
    }

    /// As [`Store::stage_layer`], for a layer that will lie on one that is staged and not committed yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArchive`] for a damaged stream; nothing is left.
    pub fn stage_layer_upon(
        &self,
        parent: &StagedLayer,
        stream: &mut (dyn Read + Send),
    ) -> Result<StagedLayer> {
        self.prepare()?;
        let maps = self.maps_of_new(&Wish::none(), Some(&parent.maps))?;
        let parent_maps = parent.maps.clone();
        let apply = ApplyOptions { maps, parent_maps, ..ApplyOptions::default() };
        let staging = self.driver.stage_upon(&*parent.staging, &apply)?;
        self.unpack_staged(staging, stream, apply.maps)
    }

    fn unpack_staged(
        &self,
        mut staging: Box<dyn Staging>,
        stream: &mut (dyn Read + Send),
        maps: IdMaps,
    ) -> Result<StagedLayer> {
        let mut dir = TempDir::create(&self.paths.layer_temp())?;
        let tar_split = StagedFile { path: dir.addition(), dir };
        let mut file = BufWriter::new(create_private(&tar_split.path)?);
        let facts =
            archive::import(stream, staging.root(), staging.unpack_options(), Some(&mut file))
                .map_err(|e| self.cause_of(e, &*staging))?;
        file.flush().map_err(|e| Error::io("writing the tar-split", &tar_split.path, e))?;
        if facts.root_entry {
            staging.keep_root();
        }
        Ok(StagedLayer { facts, staging, tar_split, maps })
    }

    /// Of a failure to unpack, and that another program was deleting what was unpacked, the latter.
    fn cause_of(&self, failure: Error, staging: &dyn Staging) -> Error {
        if failure.os_error() == Some(std::io::ErrorKind::NotFound) {
            // Whoever deletes holds the lock of the layers, and is through when it can be had.
            drop(self.layers.read(&Held::nothing()));
        }
        staging.check().err().unwrap_or(failure)
    }

    /// Makes staged content a layer.
    ///
    /// # Errors
    /// As [`Store::create_layer`]; [`ErrorKind::DigestMismatch`] if the content differs from the digests asked for. Nothing is left.
    pub fn commit_layer(&self, layer: NewLayer, staged: StagedLayer) -> Result<LayerInfo> {
        staged.check(&layer)?;
        self.sync_large(staged.facts.unpacked_size)?;
        self.add_layer(layer, Source::Staged(Box::new(staged)))
    }

    /// Makes layers of staged contents, parents before children, all of them or none: with one sync of the file system and two
    /// saves, however many they are. Those whose id is taken already are passed over, for the callers whose ids are made of the
    /// content; the result holds the others.
    ///
    /// # Errors
    /// As [`Store::commit_layer`].
    pub fn commit_layers(&self, staged: Vec<(NewLayer, StagedLayer)>) -> Result<Vec<LayerInfo>> {
        for (layer, staged) in &staged {
            staged.check(layer)?;
        }
        let sizes = staged.iter().map(|(_, staged)| staged.facts.unpacked_size);
        self.sync_large(sizes.fold(0, u64::saturating_add))?;
        let contents =
            staged.into_iter().map(|(new, staged)| (new, Source::Staged(Box::new(staged))));
        self.add_layers(contents.collect(), true)
    }

    /// The sync that counts comes under the lock, and nobody should wait there for so much.
    fn sync_large(&self, bytes: u64) -> Result<()> {
        if bytes > LARGE { self.sync_content() } else { Ok(()) }
    }

    fn add_layer(&self, new: NewLayer, content: Source<'_>) -> Result<LayerInfo> {
        let mut added = self.add_layers(vec![(new, content)], false)?;
        added.pop().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "creating a layer").detail("it was passed over")
        })
    }

    fn add_layers(
        &self,
        new: Vec<(NewLayer, Source<'_>)>,
        pass_over_present: bool,
    ) -> Result<Vec<LayerInfo>> {
        self.prepare()?;
        // Declared before the lock is taken: contents that nobody wants, or that cannot become layers, are deleted after it is
        // released.
        let (new, mut contents): (Vec<NewLayer>, Vec<Source<'_>>) = new.into_iter().unzip();
        let mut planned: Vec<Planned<'_>> = Vec::with_capacity(new.len());
        let (held, mut layers) = self.write_layers(&Held::nothing())?;
        for (new, content) in new.into_iter().zip(&mut contents) {
            if pass_over_present && new.id.as_deref().is_some_and(|id| layers.by_id(id).is_some()) {
                continue;
            }
            let wanted = new.parent.as_deref();
            let parent = match planned.iter().find(|p| Some(p.id.as_str()) == wanted) {
                Some(sibling) => Some((sibling.id.to_string(), sibling.maps.clone())),
                None => self
                    .find_parent(&held, &layers, wanted)?
                    .map(|found| (found.id.clone(), found.id_maps())),
            };
            let (parent, begins) = parent.unzip();
            let maps = self.maps_of_new(&Wish::of_layer(&new), begins.as_ref())?;
            check_maps(content, &maps)?;
            let record = new_record(&new, parent.unwrap_or_default(), &maps);
            let options = CreateOptions {
                mount_label: new.mount_label,
                storage_opt: new.storage_opt,
                uid_map: maps.uids,
                gid_map: maps.gids,
            };
            let file = self.paths.layer_file(new.read_only, false);
            let mut layer = plan(&mut layers, file, record, options, new.read_only, begins)?;
            layer.source = std::mem::replace(content, Source::Empty);
            planned.push(layer);
        }
        let ids: Vec<LayerId> = planned.iter().map(|p| p.id.clone()).collect();
        let records = self.make_layers(&held, &mut layers, &mut planned).and_then(|()| {
            let done = self.complete_layers(&mut layers, &ids);
            done.inspect_err(|_| self.abandon_layers(&held, &mut layers, &ids))
        })?;
        let info =
            |record| LayerInfo { record, read_only: false, mount_point: None, mount_count: 0 };
        Ok(records.into_iter().map(info).collect())
    }

    /// The parent in any store; a container's layer cannot be one.
    pub(super) fn find_parent(
        &self,
        held: &Held<Layers>,
        layers: &Lists<Layer>,
        parent: Option<&str>,
    ) -> Result<Option<Layer>> {
        let Some(key) = parent.filter(|p| !p.is_empty()) else { return Ok(None) };
        let found = match layers.find(key) {
            Some(layer) => Some(layer.clone()),
            None => self.find_foreign_layer(held, key)?.map(|(layer, _)| layer),
        };
        let found = found.ok_or_else(|| unknown::<Layer>("looking up the parent", key))?;
        let (_, containers) = self.containers.read(held)?;
        match containers.iter().find(|c| c.layer == found.id) {
            None => Ok(Some(found)),
            Some(container) => Err(Error::new(
                ErrorKind::ParentIsContainer,
                format!("using layer {:?} as a parent", found.id),
            )
            .id(&container.id)
            .hint("commit the container and use the new image's layer")),
        }
    }

    /// A layer of an additional store, and the store's root.
    pub(super) fn find_foreign_layer<Outer>(
        &self,
        outer: &Held<Outer>,
        key: &str,
    ) -> Result<Option<(Layer, PathBuf)>>
    where
        Outer: Before<OtherLayers>,
    {
        for other in &self.others {
            let (_, layers) = other.layers.read(outer)?;
            if let Some(layer) = layers.find(key) {
                return Ok(Some((layer.clone(), other.root.clone())));
            }
        }
        Ok(None)
    }
}

fn new_record(new: &NewLayer, parent: String, maps: &IdMaps) -> Layer {
    Layer {
        id: new.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(id::random_hex_id),
        names: names::unique(&new.names),
        parent,
        metadata: new.metadata.clone(),
        mount_label: new.mount_label.clone(),
        created: Timestamp::now(),
        flags: new.flags.clone(),
        uid_map: maps.uids.clone(),
        gid_map: maps.gids.clone(),
        ..Layer::default()
    }
    .with_blob(new)
}

impl Layer {
    fn with_blob(mut self, new: &NewLayer) -> Self {
        if let Some((digest, size)) = &new.original_blob {
            self.compressed_digest = digest.to_string();
            self.compressed_size = i64::try_from(*size).unwrap_or(i64::MAX);
        }
        self
    }
}

/// Enters what was learnt of the stream; a blob digest that the caller declared stays.
pub(super) fn record_facts(record: &mut Layer, facts: &LayerFacts) {
    if record.compressed_digest.is_empty() {
        record.compressed_digest = facts.compressed_digest.to_string();
        record.compressed_size = i64::try_from(facts.compressed_size).unwrap_or(i64::MAX);
    }
    record.diff_digest = facts.diff_digest.to_string();
    record.diff_size = i64::try_from(facts.diff_size).unwrap_or(i64::MAX);
    record.compression = facts.compression.number();
    record.uid_set = facts.uids.iter().copied().collect();
    record.gid_set = facts.gids.iter().copied().collect();
}

fn check_digests(new: &NewLayer, facts: &LayerFacts) -> Result<()> {
    let pairs = [
        ("the blob", &new.expected_compressed_digest, &facts.compressed_digest),
        ("the uncompressed layer", &new.expected_diff_digest, &facts.diff_digest),
    ];
    for (what, expected, found) in pairs {
        if let Some(expected) = expected.as_ref().filter(|e| *e != found) {
            return Err(Error::new(ErrorKind::DigestMismatch, format!("checking {what}"))
                .detail(format!("expected {expected}, found {found}"))
                .hint("the file is damaged or is not the one meant; get it again"));
        }
    }
    Ok(())
}

/// Files that were unpacked with other maps than their layer is to have would belong to others than their record says.
fn check_maps(source: &Source<'_>, maps: &IdMaps) -> Result<()> {
    match source {
        Source::Staged(staged) if staged.maps != *maps => Err(Error::new(
            ErrorKind::InvalidArgument,
            "making staged content a layer",
        )
        .detail("it was unpacked with other id maps than the layer gets; its parent may be another one now")
        .hint("stage the content once more, with the parent's id")),
        _ => Ok(()),
    }
}

pub(super) fn create_private(path: &std::path::Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io("creating the file", path, e))
}

#[cfg(test)]
mod tests;
