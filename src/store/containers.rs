//! Creating containers: a read-write layer on an image's, and the record that makes both count.

use super::data::write_item;
use super::images::check_keys;
use super::kind::{AWAITS_CONTAINER, INCOMPLETE};
use super::layers::plan;
use super::lookup::find_container;
use super::open::{make_directory, remove_directory};
use super::order::{Before, Held, OtherImages, SplitImages};
use super::paths::data_file;
use super::table::unknown;
use super::{NewContainer, Store, names};
use crate::driver::{CreateOptions, refuse_id_maps};
use crate::record::{Container, Flags, Image, Layer, Timestamp};
use crate::{Digest, Error, ErrorKind, IdMaps, LayerId, Result, id};

impl Store {
    /// Creates a container and its read-write layer. The layer stays flagged until the container is recorded, so that a crash
    /// leaves both or neither.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`], [`ErrorKind::DuplicateId`], [`ErrorKind::DuplicateName`], [`ErrorKind::InvalidArgument`] for one
    /// label without the other; nothing is left.
    pub fn create_container(&self, new: NewContainer) -> Result<Container> {
        refuse_id_maps(&IdMaps::new(&new.uid_map, &new.gid_map), "a new container")?;
        let container_id =
            new.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(id::random_hex_id);
        id::check_component(&container_id)?;
        check_keys(&new.big_data)?;
        if new.process_label.is_empty() != new.mount_label.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("creating container {container_id:?}"),
            )
            .detail("the process label and the mount label must be given both or neither"));
        }
        self.prepare()?;
        let (held, mut layers) = self.write_layers(&Held::nothing())?;
        let (image_held, _images) = self.images.read(&held)?;
        let image = match new.image.as_deref().filter(|i| !i.is_empty()) {
            None => None,
            Some(key) => Some(match _images.find(key) {
                Some(image) => image.clone(),
                None => self
                    .find_foreign_image(&image_held, key)?
                    .ok_or_else(|| unknown::<Image>("creating a container from", key))?,
            }),
        };
        let parent = image.as_ref().map_or("", |i| i.layer.as_str());
        if !parent.is_empty()
            && layers.by_id(parent).is_none()
            && self.find_foreign_layer(&held, parent)?.is_none()
        {
            return Err(unknown::<Layer>("creating a container on", parent));
        }
        let (_, mut containers) = self.containers.write(&image_held)?;
        let unique = names::unique(&new.names);
        containers.check_free(&container_id, &unique)?;
        let volatile = new.volatile || self.options.transient_store;
        let layer_id = LayerId::random();
        let layer = Layer {
            id: layer_id.to_string(),
            parent: parent.to_owned(),
            mount_label: new.mount_label.clone(),
            created: Timestamp::now(),
            ..Layer::default()
        };
        let options = CreateOptions {
            mount_label: new.mount_label.clone(),
            storage_opt: new.storage_opt.clone(),
            ..CreateOptions::default()
        };
        let file = self.paths.layer_file(false, volatile);
        let planned = plan(&mut layers, file, layer, options, false)?;
        self.make_layers(&held, &mut layers, &mut [planned])?;
        let mut record = Container {
            id: container_id.clone(),
            names: unique,
            image: image.map_or_else(String::new, |i| i.id),
            layer: layer_id.to_string(),
            metadata: new.metadata.clone(),
            created: Timestamp::now(),
            flags: reserved_flags(&new, volatile),
            ..Container::default()
        };
        let data = self.paths.containers().join(&container_id);
        let made = (|| {
            self.write_container_items(&data, &mut record, &new)?;
            if !volatile {
                // The layer's directory is part of what the record promises.
                self.sync_content()?;
            }
            // From here on the Go library may have the layer, if this process dies; we wait for the container.
            let flags = &mut layers.get_mut(layer_id.as_str())?.flags;
            flags.insert(AWAITS_CONTAINER.to_owned(), true.into());
            flags.remove(INCOMPLETE);
            layers.save()?;
            containers.push(usize::from(volatile), record.clone())?;
            containers.save()
        })();
        if let Err(error) = made {
            // If only the sync after the record's rename failed, others see the container already.
            if containers.remove(&container_id).is_some()
                && let Err(e) = containers.save()
                && !containers.is_on_disk(&container_id)
            {
                tracing::warn!("container {container_id} is left on record, and whole: {e}");
                return Err(error);
            }
            if let Err(e) = remove_directory(&data) {
                tracing::warn!(
                    "what was written of container {container_id} could not be removed: {e}"
                );
            }
            drop(containers);
            self.abandon_layers(&held, &mut layers, std::slice::from_ref(&layer_id));
            return Err(error);
        }
        // From here on the container exists; if clearing the flag fails, the next operation that writes makes up for it.
        layers.get_mut(layer_id.as_str())?.flags.remove(AWAITS_CONTAINER);
        if let Err(e) = layers.save() {
            tracing::warn!("the next operation that writes finishes container {container_id}: {e}");
        }
        Ok(record)
    }

    fn write_container_items(
        &self,
        dir: &std::path::Path,
        record: &mut Container,
        new: &NewContainer,
    ) -> Result<()> {
        if new.big_data.is_empty() {
            return Ok(());
        }
        make_directory(dir)?;
        for item in &new.big_data {
            write_item(&data_file(dir, &item.key)?, &item.data)?;
            note_item(record, &item.key, &item.data);
        }
        Ok(())
    }

    fn find_foreign_image<Outer>(&self, outer: &Held<Outer>, key: &str) -> Result<Option<Image>>
    where
        Outer: Before<OtherImages> + Before<SplitImages>,
    {
        for other in &self.others {
            let (_, images) = other.images.read(outer)?;
            if let Some(image) = images.find(key) {
                return Ok(Some(image.clone()));
            }
        }
        if let Some(split) = &self.split_images {
            return Ok(split.read(outer)?.1.find(key).cloned());
        }
        Ok(None)
    }

    /// The id of the container that `key` names.
    pub(super) fn container_id(&self, key: &str) -> Result<String> {
        Ok(find_container(&*self.containers_now()?, key)?.id.clone())
    }
}

fn reserved_flags(new: &NewContainer, volatile: bool) -> Flags {
    let mut flags = new.flags.clone();
    flags.insert("ProcessLabel".to_owned(), new.process_label.clone().into());
    flags.insert("MountLabel".to_owned(), new.mount_label.clone().into());
    if !new.mount_options.is_empty() {
        flags.insert("MountOpts".to_owned(), new.mount_options.clone().into());
    }
    if volatile {
        flags.insert("Volatile".to_owned(), true.into());
    }
    flags
}

/// Enters a big data item in a container's record; tells whether that changed it.
pub(super) fn note_item(record: &mut Container, key: &str, data: &[u8]) -> bool {
    let digest = Digest::sha256(data).to_string();
    let size = i64::try_from(data.len()).unwrap_or(i64::MAX);
    let mut changed = false;
    if !record.big_data_names.iter().any(|k| k == key) {
        record.big_data_names.push(key.to_owned());
        changed = true;
    }
    changed |= record.big_data_sizes.insert(key.to_owned(), size) != Some(size);
    let previous = record.big_data_digests.insert(key.to_owned(), digest.clone());
    changed | (previous.as_deref() != Some(digest.as_str()))
}
