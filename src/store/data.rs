//! Big data items: the file first, atomically, then the record if that changes (`store-format.md` 7).

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::kind::Record;
use super::open::make_directory;
use super::order::Held;
use super::paths::{ITEM, data_file};
use super::table::{Edit, unknown};
use super::{BigDataItem, Store, containers, images};
use crate::record::{Container, Image, Layer};
use crate::sys::{atomic, regular};
use crate::{Error, ErrorKind, LayerId, Result, id};

impl Store {
    /// An item of an image.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`], [`ErrorKind::DataUnknown`], [`ErrorKind::InvalidDataName`] for a key that no file can have.
    pub fn image_big_data(&self, id: &str, key: &str) -> Result<Vec<u8>> {
        let (image, dir) = self.image_and_dir(id)?;
        id::check_component(&image.id)?;
        read_item(&dir.join(&image.id), key, "image", &image.id)
    }

    /// Stores an item of an image of the primary store, and its size and digest in the record.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`], [`ErrorKind::ReadOnly`], [`ErrorKind::InvalidDataName`] for a key that no file can have.
    pub fn set_image_big_data(&self, id: &str, item: BigDataItem) -> Result<()> {
        images::check_keys(std::slice::from_ref(&item))?;
        self.prepare()?;
        let (_, mut edit) = self.images.write(&Held::nothing())?;
        let image =
            edit.find(id).ok_or_else(|| unknown::<Image>("storing data of", id))?.id.clone();
        id::check_component(&image)?;
        let dir = self.paths.images().join(&image);
        make_directory(&dir)?;
        let mut record = edit.by_id(&image).cloned().unwrap_or_default();
        let changed = images::note_item(&mut record, &item);
        replace_item(&data_file(&dir, &item.key)?, &item.data, || {
            if changed {
                record.normalize_digest();
                *edit.get_mut(&image)? = record;
            }
            Ok(save(&mut edit, &image))
        })
    }

    /// An item of a container.
    ///
    /// # Errors
    /// [`ErrorKind::ContainerUnknown`], [`ErrorKind::DataUnknown`], [`ErrorKind::InvalidDataName`] for a key that no file can have.
    pub fn container_big_data(&self, id: &str, key: &str) -> Result<Vec<u8>> {
        let id = self.container_id(id)?;
        id::check_component(&id)?;
        read_item(&self.paths.containers().join(&id), key, "container", &id)
    }

    /// Stores an item of a container, and its size and digest in the record.
    ///
    /// # Errors
    /// [`ErrorKind::ContainerUnknown`], [`ErrorKind::InvalidDataName`] for a key that no file can have.
    pub fn set_container_big_data(&self, id: &str, key: &str, data: &[u8]) -> Result<()> {
        crate::record::big_data::file_name(key)?;
        self.prepare()?;
        let (_, mut edit) = self.containers.write(&Held::nothing())?;
        let id = super::lookup::find_container(&edit, id)?.id.clone();
        id::check_component(&id)?;
        let dir = self.paths.containers().join(&id);
        make_directory(&dir)?;
        let mut record: Container = edit.by_id(&id).cloned().unwrap_or_default();
        let changed = containers::note_item(&mut record, key, data);
        replace_item(&data_file(&dir, key)?, data, || {
            if changed {
                *edit.get_mut(&id)? = record;
            }
            Ok(save(&mut edit, &id))
        })
    }

    /// An item of a layer, to be read.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`], [`ErrorKind::DataUnknown`], [`ErrorKind::InvalidDataName`] for a key that no file can have.
    pub fn layer_big_data(&self, id: &str, key: &str) -> Result<Box<dyn Read + Send>> {
        let nothing = Held::nothing();
        let (held, layers) = self.layers.read(&nothing)?;
        let (layer, dir) = match layers.find(id) {
            Some(layer) => {
                let dir = self.paths.layer_data(&LayerId::new(layer.id.as_str())?);
                (layer.clone(), dir)
            }
            None => {
                let found = self.find_foreign_layer(&held, id)?;
                let (layer, root) = found.ok_or_else(|| unknown::<Layer>("reading data of", id))?;
                let dir =
                    self.paths.foreign(&root, "layers").join(LayerId::new(layer.id.as_str())?);
                (layer, dir)
            }
        };
        let path = data_file(&dir, key)?;
        let file = open_item(&path, key, "layer", &layer.id)?;
        Ok(Box::new(file))
    }

    /// Stores an item of a layer of the primary store: all that `data` gives, which is kept in memory first.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`], [`ErrorKind::InvalidDataName`] for a key that no file can have; then nothing has been read.
    pub fn set_layer_big_data(&self, id: &str, key: &str, data: &mut dyn Read) -> Result<()> {
        crate::record::big_data::file_name(key)?;
        self.prepare()?;
        let missing = || unknown::<Layer>("storing data of", id);
        // Looked for once more below: nobody else is to wait for the lock while the data come.
        self.layers.read(&Held::nothing())?.1.find(id).ok_or_else(missing)?;
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).map_err(|e| {
            Error::new(ErrorKind::Io, format!("reading the big data item {key:?}")).caused_by(e)
        })?;
        let (_, mut edit) = self.write_layers(&Held::nothing())?;
        let found = edit.find(id).ok_or_else(missing)?;
        let id = LayerId::new(found.id.as_str())?;
        let known = found.big_data_names.iter().any(|k| k == key);
        let dir = self.paths.layer_data(&id);
        make_directory(&dir)?;
        replace_item(&data_file(&dir, key)?, &bytes, || {
            if !known {
                edit.get_mut(id.as_str())?.big_data_names.push(key.to_owned());
            }
            Ok(save(&mut edit, id.as_str()))
        })
    }

    /// An image and the images directory that holds its data.
    pub(super) fn image_and_dir(&self, key: &str) -> Result<(Image, PathBuf)> {
        let mut dirs = vec![self.paths.images()];
        dirs.extend(self.paths.split_images());
        dirs.extend(self.others.iter().map(|o| self.paths.foreign(&o.root, "images")));
        let stores = self.images_everywhere()?;
        stores
            .iter()
            .zip(dirs)
            .find_map(|((lists, _), dir)| lists.find(key).map(|image| (image.clone(), dir)))
            .ok_or_else(|| unknown::<Image>("looking up", key))
    }
}

/// What became of saving the record of an item.
enum Saved {
    Yes,
    /// The record is in place all the same: only the sync after its rename failed.
    Late(Error),
    No(Error),
}

fn save<T: Record, Rank>(edit: &mut Edit<'_, T, Rank>, id: &str) -> Saved {
    match edit.save() {
        Ok(()) => Saved::Yes,
        Err(error) if edit.is_on_disk(id) => Saved::Late(error),
        Err(error) => Saved::No(error),
    }
}

/// Replaces the file of an item and saves its record, or leaves the file as it was.
fn replace_item(path: &Path, data: &[u8], save: impl FnOnce() -> Result<Saved>) -> Result<()> {
    let before = regular::read("reading what is to be replaced,", path)?;
    let done = write_item(path, data).and_then(|()| save());
    let error = match done {
        Ok(Saved::Yes) => return Ok(()),
        Ok(Saved::Late(error)) => return Err(error),
        Ok(Saved::No(error)) | Err(error) => error,
    };
    // Only if it was made for this item is its directory empty.
    let tidy = |()| drop(path.parent().map(fs::remove_dir));
    let undone = match before {
        Some(bytes) => write_item(path, &bytes),
        None => match fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("removing", path, e))
            }
            _ => Ok(()),
        }
        .map(tidy),
    };
    if let Err(e) = undone {
        tracing::warn!("an item that its record does not know of stays: {e}");
    }
    Err(error)
}

/// Writes the file of an item.
pub(super) fn write_item(path: &Path, data: &[u8]) -> Result<()> {
    let records = path.parent().and_then(Path::parent).unwrap_or(path);
    atomic::replace_by_way_of(&records.join(ITEM), path, data, 0o600, true).map(drop)
}

fn read_item(dir: &Path, key: &str, kind: &str, id: &str) -> Result<Vec<u8>> {
    let path = data_file(dir, key)?;
    let mut bytes = Vec::new();
    open_item(&path, key, kind, id)?.read_to_end(&mut bytes).map_err(|e| {
        Error::io(format!("reading the data item {key:?} of {kind} {id}"), &path, e)
    })?;
    Ok(bytes)
}

fn open_item(path: &Path, key: &str, kind: &str, id: &str) -> Result<File> {
    let action = format!("reading the data item {key:?} of {kind} {id}");
    regular::open(&action, path)?.ok_or_else(|| {
        Error::new(ErrorKind::DataUnknown, action)
            .id(id)
            .hint(format!("`orlop list-{kind}-data {id}` lists its items"))
    })
}
