//! Creating layers: staged outside of every lock, then committed under the layers lock.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::order::{Before, Held, Layers, OtherLayers};
use super::requests::refuse_id_maps;
use super::table::{Edit, INCOMPLETE, unknown};
use super::{LayerInfo, NewLayer, Store};
use crate::archive::{self, LayerFacts};
use crate::driver::{CreateOptions, Staging};
use crate::record::{Layer, Timestamp};
use crate::sys::tempdir::TempDir;
use crate::{Error, ErrorKind, LayerId, Result, id};

/// A layer's content that has been unpacked but belongs to no layer yet; dropped, it vanishes.
pub struct StagedLayer {
    facts: LayerFacts,
    staging: Box<dyn Staging>,
    tar_split: StagedFile,
    synced: bool,
}

impl StagedLayer {
    /// What was learnt of the stream.
    pub fn facts(&self) -> &LayerFacts {
        &self.facts
    }
}

/// A file in a temp dir of its own, on its way to its place.
struct StagedFile {
    path: PathBuf,
    dir: TempDir,
}

impl StagedFile {
    fn move_to(self, target: &std::path::Path) -> Result<()> {
        fs::rename(&self.path, target)
            .map_err(|e| Error::io("moving the tar-split into place", target, e))?;
        self.dir.cleanup()
    }
}

/// Where a new layer's content comes from.
pub(super) enum Content {
    /// There is none yet.
    Empty,
    /// It was unpacked before.
    Staged(Box<StagedLayer>),
}

impl Store {
    /// Creates a layer without content of its own.
    ///
    /// # Errors
    /// [`ErrorKind::DuplicateId`], [`ErrorKind::DuplicateName`], [`ErrorKind::LayerUnknown`] for the parent; nothing is left.
    pub fn create_layer(&self, layer: NewLayer) -> Result<LayerInfo> {
        self.add_layer(layer, Content::Empty)
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
        self.prepare()?;
        let parent = {
            // Before a long stream is read in vain.
            let (held, layers) = self.write_layers(&Held::nothing())?;
            if let Some(id) = &layer.id {
                LayerId::new(id.as_str())?;
                layers.check_free(id, &layer.names)?;
            } else {
                layers.check_free("", &layer.names)?;
            }
            self.find_parent(&held, &layers, layer.parent.as_deref())?.map(|p| p.id)
        };
        refuse_id_maps("a layer", &layer.uid_map, &layer.gid_map)?;
        let staged = self.stage_layer(parent.as_deref(), stream)?;
        layer.parent = parent;
        self.commit_layer(layer, staged)
    }

    /// Unpacks a stream outside of every lock; `parent` is the id of the layer that it will lie on, if that is known and
    /// there. Several may be staged at once.
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
        let staging = self.driver.stage(parent.as_ref(), &CreateOptions::default())?;
        let mut dir = TempDir::create(&self.paths.layer_temp())?;
        let tar_split = StagedFile { path: dir.addition(), dir };
        let mut file = BufWriter::new(create_private(&tar_split.path)?);
        let facts =
            archive::import(stream, staging.root(), staging.unpack_options(), Some(&mut file))?;
        file.flush().map_err(|e| Error::io("writing the tar-split", &tar_split.path, e))?;
        Ok(StagedLayer { facts, staging, tar_split, synced: false })
    }

    /// Brings staged content to the disk with one call for all, so that committing each is cheap; without it, each commit does
    /// so for itself. Does nothing where `sync = "none"` is configured.
    ///
    /// # Errors
    /// When the file system cannot be synced.
    pub fn sync_staged(&self, staged: &mut [StagedLayer]) -> Result<()> {
        if let Some(first) = staged.first() {
            self.sync_content(&first.tar_split.path)?;
        }
        staged.iter_mut().for_each(|s| s.synced = true);
        Ok(())
    }

    /// Makes staged content a layer.
    ///
    /// # Errors
    /// As [`Store::create_layer`]; [`ErrorKind::DigestMismatch`] if the content differs from the digests asked for. Nothing is left.
    pub fn commit_layer(&self, layer: NewLayer, staged: StagedLayer) -> Result<LayerInfo> {
        check_digests(&layer, &staged.facts)?;
        self.add_layer(layer, Content::Staged(Box::new(staged)))
    }

    fn add_layer(&self, new: NewLayer, content: Content) -> Result<LayerInfo> {
        refuse_id_maps("a layer", &new.uid_map, &new.gid_map)?;
        self.prepare()?;
        let (held, mut layers) = self.write_layers(&Held::nothing())?;
        let parent = self.find_parent(&held, &layers, new.parent.as_deref())?;
        let record = new_record(&new, parent.as_ref());
        let options = CreateOptions {
            mount_label: new.mount_label,
            storage_opt: new.storage_opt,
            ..CreateOptions::default()
        };
        let file = self.paths.layer_file(new.read_only, false);
        let id = record.id.clone();
        let added = self
            .insert_layer(&held, &mut layers, file, record, &options, new.read_only, content)
            .and_then(|()| self.complete_layer(&held, &mut layers, &id));
        added.map(|record| LayerInfo {
            record,
            read_only: false,
            mount_point: None,
            mount_count: 0,
        })
    }

    /// Records a layer as incomplete, creates it in the driver and gives it its content. [`Store::complete_layer`] makes it
    /// count. After an error nothing is left.
    #[expect(clippy::too_many_arguments, reason = "the two callers know all of these")]
    pub(super) fn insert_layer(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        file: usize,
        mut record: Layer,
        options: &CreateOptions,
        read_only: bool,
        content: Content,
    ) -> Result<()> {
        let id = LayerId::new(record.id.as_str())?;
        let parent = if record.parent.is_empty() {
            None
        } else {
            Some(LayerId::new(record.parent.as_str())?)
        };
        layers.check_free(id.as_str(), &record.names)?;
        record.flags.insert(INCOMPLETE.to_owned(), serde_json::Value::Bool(true));
        layers.push(file, record)?;
        let done = layers.save().and_then(|()| {
            let parent = parent.as_ref();
            match content {
                Content::Empty if read_only => self.driver.create(&id, parent, options),
                Content::Empty => self.driver.create_read_write(&id, parent, options),
                Content::Staged(staged) => {
                    if !staged.synced {
                        self.sync_content(&staged.tar_split.path)?;
                    }
                    staged.tar_split.move_to(&self.paths.tar_split(&id))?;
                    self.driver.create_staged(&id, parent, options, staged.staging)?;
                    record_facts(layers.get_mut(id.as_str())?, &staged.facts);
                    Ok(())
                }
            }
        });
        if done.is_err() {
            self.abandon_layer(held, layers, id.as_str());
        }
        done
    }

    /// One `syncfs` before a layer counts, unless `sync = "none"` is configured: data goes to the disk before the record.
    pub(super) fn sync_content(&self, path: &std::path::Path) -> Result<()> {
        if !self.driver.sync_filesystem() {
            return Ok(());
        }
        let failed = |e: std::io::Error| Error::io("syncing the layers to disk", path, e);
        let dir = File::open(path).map_err(failed)?;
        rustix::fs::syncfs(&dir).map_err(|e| failed(e.into()))
    }

    /// Clears the incomplete flag and saves: from here on the layer exists.
    pub(super) fn complete_layer(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        id: &str,
    ) -> Result<Layer> {
        let done = layers.get_mut(id).map(|record| {
            record.flags.remove(INCOMPLETE);
            record.clone()
        });
        let done = done.and_then(|record| layers.save().map(|()| record));
        if done.is_err() {
            self.abandon_layer(held, layers, id);
        }
        done
    }

    /// Takes back a layer whose making failed; the failure itself is what the caller reports.
    pub(super) fn abandon_layer(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        id: &str,
    ) {
        match self.remove_layers(held, layers, &[id.to_owned()]) {
            Ok(removed) => removed.empty(),
            Err(error) => {
                tracing::warn!("layer {id}, whose making failed, is left incomplete: {error}")
            }
        }
    }

    /// The parent in any store; a container's layer cannot be one.
    pub(super) fn find_parent(
        &self,
        held: &Held<Layers>,
        layers: &Edit<'_, Layer, Layers>,
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

fn new_record(new: &NewLayer, parent: Option<&Layer>) -> Layer {
    Layer {
        id: new.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(id::random_hex_id),
        names: new.names.clone(),
        parent: parent.map_or_else(String::new, |p| p.id.clone()),
        metadata: new.metadata.clone(),
        mount_label: new.mount_label.clone(),
        created: Timestamp::now(),
        flags: new.flags.clone(),
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

pub(super) fn create_private(path: &std::path::Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io("creating the file", path, e))
}
