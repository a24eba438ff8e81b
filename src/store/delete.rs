//! Deleting, by the rules of `store-format.md` 10.2: nothing that is in use goes, and the bytes go after the locks are released:
//! that of the layers is taken first and released last, with what waits to be deleted.

use std::collections::{HashMap, HashSet};

use super::Store;
use super::kind::INCOMPLETE;
use super::lookup::find_container;
use super::order::{Held, Layers};
use super::table::{Edit, Lists, unknown};
use crate::record::{Container, Image, Layer};
use crate::sys::remove;
use crate::{Error, ErrorKind, LayerId, Result, id};

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
        self.remove_layers(&held, &mut layers, &[layer])
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
        let (container_held, containers) = self.containers.read(&image_held)?;
        if let Some(split) = &self.split_images
            && let Some(image) = split.read(&container_held)?.1.iter().find(|i| i.layer == layer)
        {
            return used(ErrorKind::LayerUsedByImage, &image.id, "image");
        }
        if let Some(container) = containers.iter().find(|c| c.layer == layer) {
            return used(ErrorKind::LayerUsedByContainer, &container.id, "container");
        }
        self.remove_layers(&held, &mut layers, std::slice::from_ref(&layer))?;
        let mapped: Vec<String> = images
            .iter()
            .filter(|i| i.mapped_layers.contains(&layer))
            .map(|i| i.id.clone())
            .collect();
        for image in mapped {
            images.get_mut(&image)?.mapped_layers.retain(|l| *l != layer);
        }
        images.save()
    }

    /// Deletes an image that no container uses, and the layers that nothing else needs; returns their ids, top first. With
    /// `test`, nothing is deleted.
    ///
    /// # Errors
    /// [`ErrorKind::NotAnImage`], [`ErrorKind::ImageUsedByContainer`], [`ErrorKind::ReadOnly`] for an image of an additional store;
    /// nothing is changed.
    pub fn delete_image(&self, id: &str, test: bool) -> Result<Vec<String>> {
        let none = || {
            Error::new(ErrorKind::NotAnImage, format!("deleting image {id:?}"))
                .id(id)
                .hint("`orlop images` lists the images")
        };
        let found = self.image(id).map_err(|e| match e.kind() {
            ErrorKind::ImageUnknown => none(),
            _ => e,
        })?;
        if found.read_only {
            return Err(Error::new(ErrorKind::ReadOnly, format!("deleting image {id:?}"))
                .id(&found.id)
                .hint("it belongs to an additional store: delete it there"));
        }
        self.prepare()?;
        let (held, mut layers) = self.write_layers(&Held::nothing())?;
        let (image_held, mut images) = self.images.write(&held)?;
        let (container_held, containers) = self.containers.read(&image_held)?;
        // With an image store, the graph root has images of its own; either may stand on the other's layers.
        let mut split = match &self.split_images {
            Some(table) => Some(table.write(&container_held)?.1),
            None => None,
        };
        let in_split = split.as_ref().and_then(|s| s.by_id(&found.id));
        let here = images.by_id(&found.id);
        let Some(image) = here.or(in_split).cloned() else {
            return Err(none());
        };
        if let Some(container) = containers.iter().find(|c| c.image == image.id) {
            return Err(Error::new(
                ErrorKind::ImageUsedByContainer,
                format!("deleting image {}: image used by {}", image.id, container.id),
            )
            .id(&container.id)
            .hint("delete that container first"));
        }
        let others = images.iter().chain(split.iter().flat_map(|s| s.iter()));
        let others: Vec<&Image> = others.filter(|i| i.id != image.id).collect();
        let unneeded = unneeded_layers(&image, &layers, &others, &containers);
        if test {
            return Ok(unneeded);
        }
        // As in Go, from every store that has it.
        if images.remove(&image.id).is_some() {
            images.save()?;
        }
        if let Some(split) = &mut split
            && split.remove(&image.id).is_some()
        {
            split.save()?;
        }
        self.remove_image_data(&image.id)?;
        self.remove_layers(&held, &mut layers, &unneeded)?;
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
        let id =
            find_container(&self.containers.read(&held)?.1, id).map_err(|_| not_one())?.id.clone();
        self.remove_container(&held, &mut layers, &id)
    }

    /// Removes a container: its layer is flagged and moved aside, then its directories and its record go, and the layer's record
    /// last, so that a crash at any point leaves a flagged layer by which recovery goes back or ahead.
    pub(super) fn remove_container(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        id: &str,
    ) -> Result<()> {
        let (_, mut containers) = self.containers.write(held)?;
        let layer = match containers.by_id(id) {
            Some(container) => container.layer.clone(),
            None => return Err(unknown::<Container>("deleting", id)),
        };
        let aside = match self.set_layers_aside(held, layers, std::slice::from_ref(&layer))?.all() {
            Ok(aside) => aside,
            Err(error) => {
                // The container stays, and so must its layer: at once, not only at the next recovery.
                if LayerId::new(layer.as_str()).is_ok_and(|id| self.driver.exists(&id)) {
                    layers.get_mut(&layer)?.flags.remove(INCOMPLETE);
                    layers.save()?;
                }
                return Err(error);
            }
        };
        if id::check_component(id).is_ok() {
            for dir in [self.paths.containers(), self.paths.run_containers()] {
                remove::remove_tree(&dir.join(id))?;
            }
        }
        containers.remove(id);
        containers.save()?;
        self.forget_layers(layers, aside)
    }

    pub(super) fn remove_image_data(&self, image: &str) -> Result<()> {
        // An id that is no path component never had a directory.
        if id::check_component(image).is_err() {
            return Ok(());
        }
        let dirs =
            [Some(self.paths.images()), self.paths.split_images(), Some(self.paths.run_images())];
        for dir in dirs.into_iter().flatten() {
            remove::remove_tree(&dir.join(image))?;
        }
        Ok(())
    }
}

/// The layers of `image` that no container, none of the `others` and no layer outside of it needs, in the order of deletion:
/// mapped ones first, then from the top down.
fn unneeded_layers(
    image: &Image,
    layers: &Lists<Layer>,
    others: &[&Image],
    containers: &Lists<Container>,
) -> Vec<String> {
    let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
    for layer in layers.iter() {
        children.entry(&layer.parent).or_default().push(&layer.id);
    }
    let mut used: HashSet<&str> = containers.iter().map(|c| c.layer.as_str()).collect();
    for other in others {
        used.extend(other.mapped_layers.iter().chain([&other.layer]).map(String::as_str));
    }
    let mut unneeded: Vec<String> = Vec::new();
    let candidates = image.mapped_layers.iter().map(String::as_str);
    let free = |id: &str, unneeded: &[String]| {
        let below = children.get(id).map_or(&[][..], Vec::as_slice);
        !used.contains(id) && below.iter().all(|child| unneeded.iter().any(|u| u == child))
    };
    for id in candidates.filter(|id| *id != image.layer) {
        if free(id, &unneeded) && layers.by_id(id).is_some() && !unneeded.iter().any(|u| u == id) {
            unneeded.push(id.to_owned());
        }
    }
    let mut next = image.layer.as_str();
    while let Some(layer) = layers.by_id(next).filter(|_| !unneeded.iter().any(|u| u == next)) {
        // Copies with other owners lie on the image's own layer, whatever their records say.
        let copy_stays = |id: &String| {
            id != next && layers.by_id(id).is_some() && !unneeded.iter().any(|u| u == id)
        };
        let is_template = next == image.layer && image.mapped_layers.iter().any(copy_stays);
        if is_template || !free(next, &unneeded) {
            break;
        }
        unneeded.push(next.to_owned());
        next = &layer.parent;
    }
    unneeded
}
