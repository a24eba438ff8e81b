//! Creating images: big data first, then the record.

use std::fs;
use std::path::Path;

use super::data::write_item;
use super::open::{make_directory, remove_directory};
use super::order::Held;
use super::paths::data_file;
use super::{BigDataItem, ImageInfo, NewImage, Store, names};
use crate::record::{Image, Timestamp};
use crate::{Digest, Error, ErrorKind, Result, id};

impl Store {
    /// Creates an image; its big data is in place before its record, so that no crash leaves an image without its manifest.
    ///
    /// # Errors
    /// [`ErrorKind::DuplicateId`], [`ErrorKind::DuplicateName`], [`ErrorKind::LayerUnknown`] for the layer; nothing is left.
    pub fn create_image(&self, new: NewImage) -> Result<ImageInfo> {
        let image_id = new.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(id::random_hex_id);
        id::check_component(&image_id)?;
        check_keys(&new.big_data)?;
        self.prepare()?;
        let nothing = Held::nothing();
        // The layer must not be deleted between the look and the record: its lock is held for reading meanwhile.
        let (held, layers) = self.layers.read(&nothing)?;
        let layer = match new.layer.as_deref().filter(|l| !l.is_empty()) {
            None => String::new(),
            Some(key) => match layers.find(key) {
                Some(layer) => layer.id.clone(),
                None => match self.find_foreign_layer(&held, key)? {
                    Some((layer, _)) => layer.id,
                    None => {
                        return Err(super::table::unknown::<crate::record::Layer>(
                            "looking up the image's",
                            key,
                        ));
                    }
                },
            },
        };
        let (_, mut images) = self.images.write(&held)?;
        let unique = names::unique(&new.names);
        if new.take_names {
            images.check_free(&image_id, &[])?;
        } else {
            images.check_free(&image_id, &unique)?;
        }
        let mut record = Image {
            id: image_id.clone(),
            digest: new.digest.map_or_else(String::new, |d| d.to_string()),
            layer,
            metadata: new.metadata,
            created: new.created.unwrap_or_else(Timestamp::now),
            flags: new.flags,
            ..Image::default()
        };
        if new.take_names {
            images.steal_names(&image_id, &unique);
        }
        record.names = unique;
        record.names_history = new.names_history;
        let dir = self.paths.images().join(&image_id);
        // Of an image whose making was cut short: nobody may take its items for this one's.
        remove_directory(&dir)?;
        let made = self.write_items(&dir, &mut record, &new.big_data).and_then(|()| {
            record.normalize_digest();
            record.digests()?;
            images.push(0, record.clone())?;
            images.save()
        });
        if let Err(error) = made {
            // The directory is of an id that no record has: it is nobody's but ours. Unless only the sync after the record's
            // rename failed: then the image is there, and needs it.
            if images.by_id(&image_id).is_some() && images.is_on_disk(&image_id) {
                return Err(error);
            }
            if let Err(e) = remove_directory(&dir) {
                tracing::warn!("what was written of image {image_id} could not be removed: {e}");
            }
            return Err(error);
        }
        Ok(ImageInfo { record, read_only: false })
    }

    fn write_items(&self, dir: &Path, record: &mut Image, items: &[BigDataItem]) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        make_directory(dir)?;
        for item in items {
            write_item(&data_file(dir, &item.key)?, &item.data)?;
            note_item(record, item);
        }
        if let Some(parent) = dir.parent() {
            fs::File::open(parent)
                .and_then(|d| d.sync_all())
                .map_err(|e| Error::io("syncing the directory", parent, e))?;
        }
        Ok(())
    }
}

/// Enters a big data item in an image's record; tells whether that changed it.
pub(super) fn note_item(record: &mut Image, item: &BigDataItem) -> bool {
    let digest = item.digest.clone().unwrap_or_else(|| Digest::sha256(&item.data)).to_string();
    let size = i64::try_from(item.data.len()).unwrap_or(i64::MAX);
    let mut changed = false;
    if !record.big_data_names.contains(&item.key) {
        record.big_data_names.push(item.key.clone());
        changed = true;
    }
    changed |= record.big_data_sizes.insert(item.key.clone(), size) != Some(size);
    let previous = record.big_data_digests.insert(item.key.clone(), digest.clone());
    changed | (previous.as_deref() != Some(digest.as_str()))
}

/// Refuses keys that could not be file names, before anything is written.
pub(super) fn check_keys(items: &[BigDataItem]) -> Result<()> {
    for item in items {
        crate::record::big_data::file_name(&item.key)?;
        let twice = items.iter().filter(|i| i.key == item.key).count() > 1;
        if twice {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("storing the big data item {:?}", item.key),
            )
            .detail("the key is given twice"));
        }
    }
    Ok(())
}
