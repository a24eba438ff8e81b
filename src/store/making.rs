//! Making planned layers: a flagged record first, then the driver's part and the content, and the flag cleared last.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Store;
use super::kind::INCOMPLETE;
use super::layers::{StagedLayer, create_private, record_facts};
use super::order::{Held, Layers};
use super::table::Edit;
use crate::driver::{CreateOptions, OwnerCopy};
use crate::record::Layer;
use crate::sys::regular;
use crate::{Error, IdMaps, LayerId, Result};

#[cfg(test)]
thread_local! {
    /// How often this thread has synced a file system: a test's evidence that many layers need one call.
    pub(crate) static SYNCS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Where a new layer's content comes from.
pub(super) enum Source<'c> {
    /// There is none yet.
    Empty,
    /// It was unpacked before.
    Staged(Box<StagedLayer>),
    /// It is that of another layer.
    Template(LayerId),
    /// It is that of another layer, with other owners, and was copied before.
    Copied(LayerId, &'c mut (dyn OwnerCopy + 'c)),
}

/// A layer that has a record, not saved yet and flagged incomplete, and nothing else.
pub(super) struct Planned<'c> {
    pub(super) id: LayerId,
    parent: Option<LayerId>,
    options: CreateOptions,
    read_only: bool,
    /// The maps of what the layer lies on or is made of, if there is such a thing: other ones than its own cost every file a change.
    begins: Option<IdMaps>,
    /// Of its record, for its children.
    pub(super) maps: IdMaps,
    /// Empty at first.
    pub(super) source: Source<'c>,
}

/// Enters a record, flagged incomplete, in file number `file`; nothing is written yet.
pub(super) fn plan<'c>(
    layers: &mut Edit<'_, Layer, Layers>,
    file: usize,
    mut record: Layer,
    options: CreateOptions,
    read_only: bool,
    begins: Option<IdMaps>,
) -> Result<Planned<'c>> {
    let id = LayerId::new(record.id.as_str())?;
    let parent = Some(record.parent.as_str()).filter(|p| !p.is_empty()).map(LayerId::new);
    let parent = parent.transpose()?;
    layers.check_free(id.as_str(), &record.names)?;
    record.flags.insert(INCOMPLETE.to_owned(), serde_json::Value::Bool(true));
    let maps = record.id_maps();
    layers.push(file, record)?;
    Ok(Planned { id, parent, options, read_only, begins, maps, source: Source::Empty })
}

/// Clears the incomplete flags and saves: from here on the layers exist.
fn complete(layers: &mut Edit<'_, Layer, Layers>, ids: &[LayerId]) -> Result<Vec<Layer>> {
    let mut records = Vec::with_capacity(ids.len());
    for id in ids {
        let record = layers.get_mut(id.as_str())?;
        record.flags.remove(INCOMPLETE);
        records.push(record.clone());
    }
    layers.save()?;
    Ok(records)
}

impl Store {
    /// Brings layers that have been made to the disk, and the records by which they exist after them.
    pub(super) fn complete_layers(
        &self,
        layers: &mut Edit<'_, Layer, Layers>,
        ids: &[LayerId],
    ) -> Result<Vec<Layer>> {
        // After the last of their files, the short ones that make them layers included: an empty `link` would cost the layer.
        self.sync_content().and_then(|()| complete(layers, ids))
    }

    /// Saves the planned layers' records, which are flagged, creates them in the driver and gives them their content. After an error
    /// nothing is left but the contents of those that were not begun, for the caller to let go.
    pub(super) fn make_layers(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        planned: &mut [Planned<'_>],
    ) -> Result<()> {
        let ids: Vec<LayerId> = planned.iter().map(|p| p.id.clone()).collect();
        let done = layers
            .save()
            .and_then(|()| planned.iter_mut().try_for_each(|layer| self.make_layer(layers, layer)));
        done.inspect_err(|_| self.abandon_layers(held, layers, &ids))
    }

    fn make_layer(
        &self,
        layers: &mut Edit<'_, Layer, Layers>,
        planned: &mut Planned<'_>,
    ) -> Result<()> {
        let Planned { id, parent, options, read_only, begins, source, .. } = planned;
        let parent = parent.as_ref();
        let maps = options.maps();
        let other = begins.as_ref().filter(|from| **from != maps);
        let change = |id: &LayerId| match other {
            Some(from) => self.driver.update_id_maps(id, from, &maps, &options.mount_label),
            None => Ok(()),
        };
        match std::mem::replace(source, Source::Empty) {
            Source::Empty if *read_only => {
                self.driver.create(id, parent, options).and_then(|()| change(id))
            }
            Source::Empty => {
                self.driver.create_read_write(id, parent, options).and_then(|()| change(id))
            }
            Source::Template(template) => {
                self.driver.create_from_template(id, &template, options, !*read_only)?;
                change(id)?;
                copy_private(&self.paths.tar_split(&template), &self.paths.tar_split(id))
            }
            Source::Copied(template, copy) => {
                copy.commit(id)?;
                copy_private(&self.paths.tar_split(&template), &self.paths.tar_split(id))
            }
            Source::Staged(staged) => {
                staged.tar_split.move_to(&self.paths.tar_split(id))?;
                // What was staged upon a copy of the parent has had its owners changed there.
                if other.is_some() && self.driver.stages_apart() {
                    self.driver.create(id, parent, options)?;
                    change(id)?;
                    self.driver.commit_staged(id, staged.staging)?;
                } else {
                    self.driver.create_staged(id, parent, options, staged.staging)?;
                }
                record_facts(layers.get_mut(id.as_str())?, &staged.facts);
                Ok(())
            }
        }
    }

    /// Brings what was written of layers to the disk, with one `syncfs` for each file system, unless `sync = "none"` is configured:
    /// data goes before the record by which it counts.
    pub(super) fn sync_content(&self) -> Result<()> {
        if !self.driver.sync_filesystem() {
            return Ok(());
        }
        #[cfg(test)]
        SYNCS.with(|count| count.set(count.get() + 1));
        let mut synced = HashSet::new();
        for path in self.paths.layer_dirs().iter().map(PathBuf::as_path).chain([self.driver.home()])
        {
            let failed = |e: std::io::Error| Error::io("syncing the layers to disk", path, e);
            let dir = match File::open(path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            if synced.insert(dir.metadata().map_err(failed)?.dev()) {
                rustix::fs::syncfs(&dir).map_err(|e| failed(e.into()))?;
            }
        }
        Ok(())
    }

    /// Takes back layers whose making failed, children first; the failure itself is what the caller reports.
    pub(super) fn abandon_layers(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        ids: &[LayerId],
    ) {
        let ids: Vec<String> = ids.iter().rev().map(LayerId::to_string).collect();
        if let Err(error) = self.remove_layers(held, layers, &ids) {
            tracing::warn!("what failed to become the layers {ids:?} is left incomplete: {error}");
        }
    }
}

/// Copies a file that need not be there.
fn copy_private(from: &Path, to: &Path) -> Result<()> {
    let Some(mut source) = regular::open("reading the tar-split", from)? else {
        return Ok(());
    };
    let mut target = create_private(to)?;
    std::io::copy(&mut source, &mut target)
        .map(drop)
        .map_err(|e| Error::io("copying the tar-split to", to, e))
}
