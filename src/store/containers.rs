//! Creating containers: a read-write layer on an image's, and the record that makes both count.

use super::copies::Copies;
use super::data::write_item;
use super::id_maps::{TopLayer, Wish};
use super::images::check_keys;
use super::kind::{AWAITS_OWNER, INCOMPLETE};
use super::lookup::find_container;
use super::making::plan;
use super::open::{make_directory, remove_directory};
use super::order::{Before, Held, Layers, OtherImages, SplitImages};
use super::paths::data_file;
use super::table::{Edit, Locked, unknown};
use super::{NewContainer, Store, names};
use crate::driver::CreateOptions;
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
        let wish = Wish::of_container(&new);
        // Before the locks, and so deleted after them, if it is not used.
        let mut copies = Copies::default();
        let nothing = Held::nothing();
        // Also while a copy is made: whoever wants the same maps waits, and finds it. (Where the container has none and the image has,
        // two may make it at the same time, and one is thrown away.)
        let userns = match wish.given().is_empty() {
            true => None,
            false => Some(self.lock_user_namespaces(&nothing)?),
        };
        loop {
            let locked = match &userns {
                None => self.write_layers(&nothing)?,
                Some((userns, _)) => self.write_layers(userns)?,
            };
            match self.make_container(locked, &container_id, &new, &wish, &mut copies)? {
                Some(container) => return Ok(container),
                None => copies.make(),
            }
        }
    }

    /// Makes the container; `None` if a copy of the image's top layer is to be made before, when the locks are released.
    fn make_container<'s>(
        &'s self,
        (held, mut layers): Locked<'_, Layer, Layers>,
        container_id: &str,
        new: &NewContainer,
        wish: &Wish<'_>,
        copies: &mut Copies<'s>,
    ) -> Result<Option<Container>> {
        let found = self.container_image(&held, &layers, new, wish)?;
        let unique = names::unique(&new.names);
        if matches!(found, Some((_, Some(TopLayer::Copy(_))))) {
            // Before a whole layer is copied in vain.
            self.containers.read(&held)?.1.check_free(container_id, &unique)?;
        }
        let (image, top) = match found {
            None => (None, None),
            Some((image, Some(TopLayer::Copy(template)))) => {
                let copy =
                    self.mapped_copy(&held, &mut layers, &image.id, &template, wish, copies)?;
                let Some(copy) = copy else { return Ok(None) };
                (Some(image), Some(copy))
            }
            Some((image, top)) => (Some(image), top.map(TopLayer::into_layer)),
        };
        // Nobody deletes an image without the lock on the layers.
        let (_, mut containers) = self.containers.write(&held)?;
        containers.check_free(container_id, &unique)?;
        let volatile = new.volatile || self.options.transient_store;
        let layer_id = LayerId::random();
        let begins = top.as_ref().map(Layer::id_maps);
        let maps = match (&image, &begins) {
            (None, _) => wish.over(&self.default_maps()),
            (Some(_), None) => wish.given(),
            (Some(_), Some(below)) => wish.over(below),
        };
        // The record has the maps also where the mount does the mapping: the files that the container writes have the host's ids.
        let on_disk =
            if new.host_uids || self.shifts(&maps)? { IdMaps::default() } else { maps.clone() };
        let layer = Layer {
            id: layer_id.to_string(),
            parent: top.map_or_else(String::new, |top| top.id),
            mount_label: new.mount_label.clone(),
            created: Timestamp::now(),
            uid_map: maps.uids,
            gid_map: maps.gids,
            ..Layer::default()
        };
        let options = CreateOptions {
            mount_label: new.mount_label.clone(),
            storage_opt: new.storage_opt.clone(),
            uid_map: on_disk.uids,
            gid_map: on_disk.gids,
        };
        let file = self.paths.layer_file(false, volatile);
        let planned = plan(&mut layers, file, layer, options, false, begins)?;
        self.make_layers(&held, &mut layers, &mut [planned])?;
        let mut record = Container {
            id: container_id.to_owned(),
            names: unique,
            image: image.map_or_else(String::new, |i| i.id),
            layer: layer_id.to_string(),
            metadata: new.metadata.clone(),
            created: Timestamp::now(),
            uid_map: wish.uids.to_vec(),
            gid_map: wish.gids.to_vec(),
            flags: reserved_flags(new, volatile),
            ..Container::default()
        };
        let data = self.paths.containers().join(container_id);
        let made = (|| {
            self.write_container_items(&data, &mut record, new)?;
            if !volatile {
                // The layer's directory is part of what the record promises.
                self.sync_content()?;
            }
            // From here on the Go library may have the layer, if this process dies; we wait for the container.
            let flags = &mut layers.get_mut(layer_id.as_str())?.flags;
            flags.insert(AWAITS_OWNER.to_owned(), true.into());
            flags.remove(INCOMPLETE);
            layers.save()?;
            containers.push(usize::from(volatile), record.clone())?;
            containers.save()
        })();
        if let Err(error) = made {
            // If only the sync after the record's rename failed, others see the container already.
            if containers.remove(container_id).is_some()
                && let Err(e) = containers.save()
                && !containers.is_on_disk(container_id)
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
        layers.get_mut(layer_id.as_str())?.flags.remove(AWAITS_OWNER);
        if let Err(e) = layers.save() {
            tracing::warn!("the next operation that writes finishes container {container_id}: {e}");
        }
        Ok(Some(record))
    }

    /// The image of a new container, and what its layer is to lie on, if the image has layers.
    fn container_image(
        &self,
        held: &Held<Layers>,
        layers: &Edit<'_, Layer, Layers>,
        new: &NewContainer,
        wish: &Wish<'_>,
    ) -> Result<Option<(Image, Option<TopLayer>)>> {
        let Some(key) = new.image.as_deref().filter(|i| !i.is_empty()) else { return Ok(None) };
        let (image_held, images) = self.images.read(held)?;
        let (image, own) = match images.find(key) {
            Some(image) => (image.clone(), true),
            None => {
                let found = self.find_foreign_image(&image_held, key)?;
                let found =
                    found.ok_or_else(|| unknown::<Image>("creating a container from", key))?;
                (found, false)
            }
        };
        if image.layer.is_empty() {
            return Ok(Some((image, None)));
        }
        let top = self.top_layer(held, layers, &image, own, wish)?;
        Ok(Some((image, Some(top))))
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
