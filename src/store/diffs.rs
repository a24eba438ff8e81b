//! A layer's content as a tar, and what it changes.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use super::Store;
use super::layers::{create_private, record_facts};
use super::order::Held;
use super::table::{Snapshot, unknown};
use crate::archive::{self, Change, Compat, Compression, Compressor};
use crate::driver::{ApplyOptions, DiffOptions};
use crate::record::Layer;
use crate::sys::regular;
use crate::sys::tempdir::TempDir;
use crate::{Error, IdMaps, LayerId, Result};

impl Store {
    /// Writes the tar of a layer or container over `reference` (its parent if absent): the very bytes that came in where
    /// `reference` is its parent and its tar-split is there. `compression` absent: as it came. Returns the bytes of the
    /// uncompressed tar.
    ///
    /// # Errors
    /// [`crate::ErrorKind::LayerUnknown`]; [`crate::ErrorKind::NotSupported`] for a compression that cannot be written;
    /// [`crate::ErrorKind::Corrupt`] when the layer's files no longer give the tar that came in.
    pub fn diff(
        &self,
        id: &str,
        reference: Option<&str>,
        compression: Option<Compression>,
        out: &mut (dyn Write + Send),
    ) -> Result<u64> {
        self.diff_as(id, reference, compression, Compat::Current, out)
    }

    /// As [`Store::diff`], in the form of the tars of another version of the Go library. A layer whose own tar is known comes as it
    /// came, whatever the form.
    ///
    /// # Errors
    /// As [`Store::diff`].
    pub fn diff_as(
        &self,
        id: &str,
        reference: Option<&str>,
        compression: Option<Compression>,
        compat: Compat,
        out: &mut (dyn Write + Send),
    ) -> Result<u64> {
        let Ends { layer, reference, options, tar_split, held } = self.diff_ends(id, reference)?;
        let options = DiffOptions { compat, ..options };
        let kind = compression.unwrap_or_else(|| Compression::from_number(layer.compression));
        let mut sink = Metered { out: Compressor::new(kind, out)?, bytes: 0, limit: u64::MAX };
        let valid = LayerId::new(layer.id.as_str())?;
        let exact = reference.as_ref().map_or("", |r| r.as_str()) == layer.parent;
        match tar_split.filter(|_| exact) {
            Some(file) => {
                // Deleting takes the lock for writing: while it is held for reading here, the files stay as they were found.
                let _held = held;
                let files = self.driver.file_source(&valid)?;
                let name = format!("{valid}.tar-split.gz");
                if !layer.diff_digest.is_empty() {
                    sink.limit = u64::try_from(layer.diff_size).unwrap_or(u64::MAX);
                }
                archive::reassemble(&mut BufReader::new(file), &*files, &mut sink)
                    .map_err(|e| e.context(format!("exporting layer {valid} by {name}")))?;
            }
            None => {
                // The driver may have to mount.
                drop(held);
                let exporting = |e: Error| e.context(format!("exporting layer {valid}"));
                let _held = self.lock_for_diff(&layer, reference.as_ref()).map_err(exporting)?;
                let written = self.driver.diff(&valid, reference.as_ref(), &options, &mut sink);
                written.map_err(exporting)?;
            }
        }
        let bytes = sink.bytes;
        sink.out.finish()?;
        Ok(bytes)
    }

    /// What a layer or container changes over `reference` (its parent if absent).
    ///
    /// # Errors
    /// [`crate::ErrorKind::LayerUnknown`]; when content cannot be read.
    pub fn changes(&self, id: &str, reference: Option<&str>) -> Result<Vec<Change>> {
        let Ends { layer, reference, options, held, .. } = self.diff_ends(id, reference)?;
        drop(held);
        let _held = self.lock_for_diff(&layer, reference.as_ref())?;
        self.driver.changes(&LayerId::new(layer.id.as_str())?, reference.as_ref(), &options)
    }

    /// An estimate of the bytes that a layer or container changes over `reference` (its parent if absent).
    ///
    /// # Errors
    /// [`crate::ErrorKind::LayerUnknown`]; when content cannot be read.
    pub fn diff_size(&self, id: &str, reference: Option<&str>) -> Result<u64> {
        let Ends { layer, reference, options, held, .. } = self.diff_ends(id, reference)?;
        drop(held);
        let _held = self.lock_for_diff(&layer, reference.as_ref())?;
        self.driver.diff_size(&LayerId::new(layer.id.as_str())?, reference.as_ref(), &options)
    }

    /// Unpacks a stream over the content of a layer or container and records its digests, sizes and tar-split; returns the bytes
    /// of content.
    ///
    /// # Errors
    /// [`crate::ErrorKind::LayerUnknown`], as in Go also for a layer of an additional store; [`crate::ErrorKind::InvalidArchive`] for a
    /// damaged stream, after which what was unpacked stays: the layer had content that could not be set aside.
    pub fn apply_diff(&self, id: &str, stream: &mut (dyn Read + Send)) -> Result<u64> {
        self.prepare()?;
        let key = self.layer_of(id)?;
        let (_, mut layers) = self.write_layers(&Held::nothing())?;
        let found =
            layers.find(&key).ok_or_else(|| unknown::<Layer>("applying a diff to", &key))?;
        let layer = LayerId::new(found.id.as_str())?;
        let apply = ApplyOptions {
            maps: found.id_maps(),
            mount_label: found.mount_label.clone(),
            ..ApplyOptions::default()
        };
        let (root, options) = self.driver.content(&layer, &apply)?;
        let mut dir = TempDir::create(&self.paths.layer_temp())?;
        let path = dir.addition();
        let mut tar_split = std::io::BufWriter::new(create_private(&path)?);
        let facts = archive::import(stream, root.as_fd(), &options, Some(&mut tar_split))?;
        tar_split.flush().map_err(|e| Error::io("writing the tar-split", &path, e))?;
        self.driver.applied(&layer, root.as_fd())?;
        self.sync_content()?;
        let target = self.paths.tar_split(&layer);
        std::fs::rename(&path, &target)
            .map_err(|e| Error::io("moving the tar-split into place", &target, e))?;
        let record = layers.get_mut(layer.as_str())?;
        record.compressed_digest.clear();
        record_facts(record, &facts);
        layers.save()?;
        // What stays of the temp dir is for the next recovery, and no failure.
        drop(dir);
        Ok(facts.unpacked_size)
    }

    /// Shows `work` a layer's own content and its tar-split file, which stay as they are meanwhile. `None` where there is no tar-split
    /// file, or the content is not as the tar has it: with mapped owners, or in another form.
    ///
    /// # Errors
    /// [`crate::ErrorKind::LayerUnknown`]; when the layer is damaged; those of `work`.
    pub(crate) fn with_unpacked<T>(
        &self,
        id: &str,
        work: impl FnOnce(BorrowedFd<'_>, &File) -> Result<T>,
    ) -> Result<Option<T>> {
        let Ends { layer, tar_split, held, .. } = self.diff_ends(id, None)?;
        let _held = held;
        let Some(tar_split) = tar_split.filter(|_| layer.id_maps().is_empty()) else {
            return Ok(None);
        };
        let root = self.driver.unpacked(&LayerId::new(layer.id.as_str())?)?;
        root.map(|root| work(root.as_fd(), &tar_split)).transpose()
    }

    /// Looks up what a comparison needs.
    fn diff_ends(&self, id: &str, reference: Option<&str>) -> Result<Ends> {
        let key = self.layer_of(id)?;
        let nothing = Held::nothing();
        let (held, layers) = self.layers.read(&nothing)?;
        let find = |key: &str| -> Result<(Layer, Option<PathBuf>)> {
            if let Some(layer) = layers.find(key) {
                return Ok((layer.clone(), None));
            }
            let found = self.find_foreign_layer(&held, key)?;
            found.map(|(l, root)| (l, Some(root))).ok_or_else(|| unknown::<Layer>("comparing", key))
        };
        let (layer, root) = find(&key)?;
        let (reference, parent_maps) = match reference {
            Some(reference) => {
                let found = find(&self.layer_of(reference)?)?.0;
                (Some(found.id.clone()), found.id_maps())
            }
            None if layer.parent.is_empty() => (None, IdMaps::default()),
            None => {
                // What is missing is for the driver to say.
                let maps = find(&layer.parent).map(|(parent, _)| parent.id_maps());
                (Some(layer.parent.clone()), maps.unwrap_or_default())
            }
        };
        let mount_label = layer.mount_label.clone();
        let options = DiffOptions {
            maps: layer.id_maps(),
            parent_maps,
            mount_label,
            ..DiffOptions::default()
        };
        let valid = LayerId::new(layer.id.as_str())?;
        let path = match &root {
            Some(root) => self.paths.foreign_tar_split(root, &valid),
            None => self.paths.tar_split(&valid),
        };
        let tar_split = regular::open("reading the tar-split", &path)?;
        let reference = reference.map(LayerId::new).transpose()?;
        Ok(Ends { layer, reference, options, tar_split, held: layers })
    }

    /// Keeps the layer as it is while it is read; a layer of an additional store needs no lock of ours. What thin layers lie in is mounted
    /// before the lock is taken, and goes after it.
    fn lock_for_diff(
        &self,
        layer: &Layer,
        reference: Option<&LayerId>,
    ) -> Result<Option<impl Sized + use<'_>>> {
        let present = self.layers.read(&Held::nothing())?.1.release();
        if present.by_id(&layer.id).is_none() {
            return Ok(None);
        }
        self.prepare()?;
        let id = LayerId::new(layer.id.as_str())?;
        let thin = self.driver.thin_layers();
        let brought = thin.map(|thin| thin.bring_for_diff(&id, reference)).transpose()?;
        Ok(Some((self.write_layers(&Held::nothing())?, brought)))
    }
}

/// What a comparison needs.
struct Ends {
    layer: Layer,
    /// The layer to compare it with.
    reference: Option<LayerId>,
    /// The maps of both.
    options: DiffOptions,
    /// Its tar-split, where there is one.
    tar_split: Option<File>,
    /// The layers lock, held for reading since the look-up.
    held: Snapshot<Layer>,
}

/// Counts the bytes on their way to the compressor: more than `limit` are a damaged tar-split's, which a few bytes can make endless.
pub(super) struct Metered<W> {
    pub(super) out: W,
    pub(super) bytes: u64,
    pub(super) limit: u64,
}

impl<W: Write> Write for Metered<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        if self.bytes.saturating_add(buf.len() as u64) > self.limit {
            let why = format!("it gives more than the {} bytes on record", self.limit);
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
        }
        let n = self.out.write(buf)?;
        self.bytes = self.bytes.saturating_add(n as u64);
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
