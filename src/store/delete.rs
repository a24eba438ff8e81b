//! Deleting, by the rules of `store-format.md` 10.2: nothing that is in use goes, and the bytes go after the locks are released.

use super::Store;
use super::lookup::find_container;
use super::order::{Held, Layers};
use super::removal::Removed;
use super::table::{Edit, Lists, unknown};
use crate::record::{Container, Image, Layer};
use crate::sys::remove;
use crate::{Error, ErrorKind, Result, id};

impl Store {
    /// Deletes whatever `id` is: a container with its layer, an image's record and data alone, or a layer, without any checks.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`] if it is none of them.
    pub fn delete(&self, id: &str) -> Result<()> {
        match self.delete_container(id) {
            Err(e) if e.kind() == ErrorKind::NotAContainer => {}
            other => return other,
        }
        self.prepare()?;
        let nothing = Held::nothing();
        let (held, mut layers) = self.write_layers(&nothing)?;
        let (_, mut images) = self.images.write(&held)?;
        if let Some(image) = images.find(id).map(|i| i.id.clone()) {
            images.remove(&image);
            images.save()?;
            return self.remove_image_data(&image);
        }
        drop(images);
        let layer = layers.find(id).ok_or_else(|| unknown::<Layer>("deleting", id))?.id.clone();
        let removed = self.remove_layers(&held, &mut layers, &[layer])?;
        drop(layers);
        removed.empty();
        Ok(())
    }

    /// Deletes a layer that no other layer, image or container uses.
    ///
    /// # Errors
    /// [`ErrorKind::NotALayer`], [`ErrorKind::LayerHasChildren`], [`ErrorKind::LayerUsedByImage`],
    /// [`ErrorKind::LayerUsedByContainer`]; nothing is changed.
    pub fn delete_layer(&self, id: &str) -> Result<()> {
        self.prepare()?;
        let (held, mut layers) = self.write_layers(&Held::nothing())?;
        let Some(layer) = layers.find(id).map(|l| l.id.clone()) else {
            return Err(Error::new(ErrorKind::NotALayer, format!("deleting layer {id:?}"))
                .id(id)
                .hint("`orlop layers` lists the layers"));
        };
        let used = |kind: ErrorKind, by: &str, what: &str| {
            Err(Error::new(kind, format!("deleting layer {layer}: used by {what} {by}"))
                .id(by)
                .hint(format!("delete that {what} first")))
        };
        if let Some(child) = layers.iter().find(|l| l.parent == layer) {
            return used(ErrorKind::LayerHasChildren, &child.id, "layer");
        }
        let (image_held, mut images) = self.images.write(&held)?;
        if let Some(image) = images.iter().find(|i| i.layer == layer) {
            return used(ErrorKind::LayerUsedByImage, &image.id, "image");
        }
        let (_, containers) = self.containers.read(&image_held)?;
        if let Some(container) = containers.iter().find(|c| c.layer == layer) {
            return used(ErrorKind::LayerUsedByContainer, &container.id, "container");
        }
        let removed = self.remove_layers(&held, &mut layers, std::slice::from_ref(&layer))?;
        let mapped: Vec<String> = images
            .iter()
            .filter(|i| i.mapped_layers.contains(&layer))
            .map(|i| i.id.clone())
            .collect();
        for image in mapped {
            images.get_mut(&image)?.mapped_layers.retain(|l| *l != layer);
        }
        images.save()?;
        drop((containers, images, layers));
        removed.empty();
        Ok(())
    }

    /// Deletes an image that no container uses, and the layers that nothing else needs; returns their ids, top first. With
    /// `test`, nothing is deleted.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`], [`ErrorKind::ImageUsedByContainer`], [`ErrorKind::ReadOnly`] for an image of an additional store;
    /// nothing is changed.
    pub fn delete_image(&self, id: &str, test: bool) -> Result<Vec<String>> {
        let found = self.image(id)?;
        if found.read_only {
            return Err(Error::new(ErrorKind::ReadOnly, format!("deleting image {id:?}"))
                .id(&found.id)
                .hint("it belongs to an additional store: delete it there"));
        }
        self.prepare()?;
        let (held, mut layers) = self.write_layers(&Held::nothing())?;
        let (image_held, mut images) = self.images.write(&held)?;
        let (container_held, containers) = self.containers.read(&image_held)?;
        let Some(image) = images.by_id(&found.id).cloned() else {
            return match &self.split_images {
                Some(split) => {
                    let (_, mut edit) = split.write(&container_held)?;
                    edit.remove(&found.id).ok_or_else(|| unknown::<Image>("deleting", id))?;
                    if !test {
                        edit.save()?;
                    }
                    Ok(Vec::new())
                }
                None => Err(unknown::<Image>("deleting", id)),
            };
        };
        if let Some(container) = containers.iter().find(|c| c.image == image.id) {
            return Err(Error::new(
                ErrorKind::ImageUsedByContainer,
                format!("deleting image {}: image used by {}", image.id, container.id),
            )
            .id(&container.id)
            .hint("delete that container first"));
        }
        let unneeded = unneeded_layers(&image, &layers, &images, &containers);
        if test {
            return Ok(unneeded);
        }
        images.remove(&image.id);
        images.save()?;
        self.remove_image_data(&image.id)?;
        let removed = self.remove_layers(&held, &mut layers, &unneeded)?;
        drop((containers, images, layers));
        removed.empty();
        Ok(unneeded)
    }

    /// Deletes a container, its layer and its directories.
    ///
    /// # Errors
    /// [`ErrorKind::NotAContainer`]; when its layer cannot be unmounted or moved, nothing is deleted.
    pub fn delete_container(&self, id: &str) -> Result<()> {
        let not_one = || {
            Error::new(ErrorKind::NotAContainer, format!("deleting container {id:?}"))
                .id(id)
                .hint("`orlop containers` lists the containers")
        };
        // A look first: what is no container makes nobody wait for the locks.
        find_container(&*self.containers_now()?, id).map_err(|_| not_one())?;
        self.prepare()?;
        let (held, mut layers) = self.write_layers(&Held::nothing())?;
        let (_, mut containers) = self.containers.write(&held)?;
        let container = find_container(&containers, id).map_err(|_| not_one())?.clone();
        let removed = self.delete_container_locked(&held, &mut layers, &container)?;
        containers.remove(&container.id);
        containers.save()?;
        drop((containers, layers));
        removed.empty();
        Ok(())
    }

    fn delete_container_locked(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        container: &Container,
    ) -> Result<Removed> {
        let removed = self.remove_layers(held, layers, std::slice::from_ref(&container.layer))?;
        if id::check_component(&container.id).is_ok() {
            for dir in [self.paths.containers(), self.paths.run_containers()] {
                remove::remove_tree(&dir.join(&container.id))?;
            }
        }
        Ok(removed)
    }

    pub(super) fn remove_image_data(&self, image: &str) -> Result<()> {
        // An id that is no path component never had a directory.
        if id::check_component(image).is_err() {
            return Ok(());
        }
        for dir in [self.paths.images(), self.paths.run_images()] {
            remove::remove_tree(&dir.join(image))?;
        }
        Ok(())
    }
}

/// The layers of `image` that no container, no other image and no layer outside of it needs, in the order of deletion.
fn unneeded_layers(
    image: &Image,
    layers: &Lists<Layer>,
    images: &Lists<Image>,
    containers: &Lists<Container>,
) -> Vec<String> {
    let mut unneeded = image.mapped_layers.clone();
    let mut next = image.layer.clone();
    while !next.is_empty() && !unneeded.contains(&next) {
        let Some(layer) = layers.by_id(&next) else { break };
        let other =
            |i: &Image| i.id != image.id && (i.layer == next || i.mapped_layers.contains(&next));
        if containers.iter().any(|c| c.layer == next) || images.iter().any(other) {
            break;
        }
        let is_ours = |parent: &str| {
            parent == next
                || (next == image.layer && image.mapped_layers.iter().any(|m| m == parent))
        };
        if layers.iter().any(|l| is_ours(&l.parent) && !unneeded.contains(&l.id)) {
            break;
        }
        unneeded.push(next.clone());
        next.clone_from(&layer.parent);
    }
    unneeded
}
