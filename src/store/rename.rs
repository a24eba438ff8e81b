//! Changing names and metadata of what is already there.

use super::kind::Record;
use super::names::{self, Change};
use super::order::Held;
use super::table::{Table, unknown};
use super::{BigDataItem, ImageInfo, NewImage, Object, Store, order};
use crate::record::Image;
use crate::{Digest, Error, ErrorKind, Result};

impl Store {
    /// Gives a layer, image or container these names instead of its own; another one of its kind loses them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::ReadOnly`] for a layer of an additional store; an image of one is copied into this
    /// store first.
    pub fn set_names(&self, id: &str, names: &[String]) -> Result<()> {
        self.change_names(id, Change::Set, names)
    }

    /// Puts names in front of those that a layer, image or container has; another one of its kind loses them.
    ///
    /// # Errors
    /// As [`Store::set_names`].
    pub fn add_names(&self, id: &str, names: &[String]) -> Result<()> {
        self.change_names(id, Change::Add, names)
    }

    /// Takes names away from a layer, image or container; those it does not have are ignored.
    ///
    /// # Errors
    /// As [`Store::set_names`].
    pub fn remove_names(&self, id: &str, names: &[String]) -> Result<()> {
        self.change_names(id, Change::Remove, names)
    }

    /// As [`Store::add_names`], for an image only.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`]; [`ErrorKind::ReadOnly`] for an image of an additional store.
    pub fn add_image_names(&self, id: &str, names: &[String]) -> Result<()> {
        self.prepare()?;
        self.change_image_names(id, Change::Add, names)
    }

    fn change_names(&self, id: &str, change: Change, given: &[String]) -> Result<()> {
        let object = self.lookup(id)?;
        self.prepare()?;
        match object {
            Object::Layer(layer) if !layer.read_only => {
                let (_, mut edit) = self.write_layers(&Held::nothing())?;
                let present = edit.by_id(&layer.id).map(|l| l.names.clone()).unwrap_or_default();
                let new = names::changed(&present, change, given);
                edit.steal_names(&layer.id, &new);
                edit.get_mut(&layer.id)?.names = new;
                edit.save()
            }
            Object::Image(image) if !image.read_only => {
                self.change_image_names(&image.id, change, given)
            }
            Object::Image(image) => {
                self.adopt_image(&image)?;
                self.change_image_names(&image.id, change, given)
            }
            Object::Container(container) => {
                let (_, mut edit) = self.containers.write(&Held::nothing())?;
                let present =
                    edit.by_id(&container.id).map(|c| c.names.clone()).unwrap_or_default();
                let new = names::changed(&present, change, given);
                edit.steal_names(&container.id, &new);
                edit.get_mut(&container.id)?.names = new;
                edit.save()
            }
            other => Err(Error::new(ErrorKind::ReadOnly, format!("renaming {id:?}"))
                .id(other.id())
                .hint("it belongs to an additional store; load the image into this store first")),
        }
    }

    /// Copies the record and the big data of an additional store's image into the primary store, so that it can be changed (11).
    fn adopt_image(&self, image: &ImageInfo) -> Result<()> {
        let items = image.big_data_names.iter().map(|key| {
            let digest = image.big_data_digests.get(key).map(Digest::parse).transpose()?;
            Ok(BigDataItem { key: key.clone(), data: self.image_big_data(&image.id, key)?, digest })
        });
        let copy = NewImage {
            id: Some(image.id.clone()),
            names: image.names.clone(),
            names_history: image.names_history.clone(),
            layer: Some(image.layer.clone()),
            metadata: image.metadata.clone(),
            digest: Some(image.digest.as_str())
                .filter(|d| !d.is_empty())
                .map(Digest::parse)
                .transpose()?,
            created: Some(image.created),
            big_data: items.collect::<Result<_>>()?,
            flags: image.flags.clone(),
            ..NewImage::default()
        };
        self.create_image(copy).map(drop)
    }

    fn change_image_names(&self, id: &str, change: Change, given: &[String]) -> Result<()> {
        let nothing = Held::nothing();
        match rename_image(&self.images, &nothing, id, change, given) {
            Err(e) if e.kind() == ErrorKind::ImageUnknown => match &self.split_images {
                Some(split) => rename_image(split, &nothing, id, change, given),
                None => Err(e),
            },
            other => other,
        }
    }

    /// Replaces the metadata of a layer, image or container.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::ReadOnly`] for what belongs to an additional store.
    pub fn set_metadata(&self, id: &str, metadata: &str) -> Result<()> {
        let object = self.lookup(id)?;
        self.prepare()?;
        match object {
            Object::Layer(layer) if !layer.read_only => {
                let (_, mut edit) = self.write_layers(&Held::nothing())?;
                metadata.clone_into(&mut edit.get_mut(&layer.id)?.metadata);
                edit.save()
            }
            Object::Image(image) if !image.read_only => {
                self.set_image_metadata(&image.id, metadata)
            }
            Object::Container(container) => {
                let (_, mut edit) = self.containers.write(&Held::nothing())?;
                metadata.clone_into(&mut edit.get_mut(&container.id)?.metadata);
                edit.save()
            }
            other => {
                Err(Error::new(ErrorKind::ReadOnly, format!("changing the metadata of {id:?}"))
                    .id(other.id()))
            }
        }
    }

    /// Replaces the metadata of an image.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`].
    pub fn set_image_metadata(&self, id: &str, metadata: &str) -> Result<()> {
        self.prepare()?;
        let (_, mut edit) = self.images.write(&Held::nothing())?;
        let id = edit.find(id).ok_or_else(|| unknown::<Image>("changing", id))?.id.clone();
        metadata.clone_into(&mut edit.get_mut(&id)?.metadata);
        edit.save()
    }
}

fn rename_image<Rank>(
    table: &Table<Image, Rank>,
    nothing: &Held<order::Nothing>,
    id: &str,
    change: Change,
    given: &[String],
) -> Result<()>
where
    order::Nothing: order::Before<Rank>,
{
    let (_, mut edit) = table.write(nothing)?;
    let image = edit.find(id).ok_or_else(|| unknown::<Image>("renaming", id))?.clone();
    let new = names::changed(image.names(), change, given);
    edit.steal_names(&image.id, &new);
    let record = edit.get_mut(&image.id)?;
    record.names_history = names::history(&record.names_history, &new);
    record.names = new;
    edit.save()
}
