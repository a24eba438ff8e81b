//! The mapped copies of an image's top layer (`store-format.md` 11). Changing the owners of a whole layer takes its time, and is done while
//! nobody waits for the layers.

use super::Store;
use super::id_maps::Wish;
use super::kind::{AWAITS_OWNER, INCOMPLETE};
use super::making::{Source, plan};
use super::order::{Held, Images, Layers};
use super::table::{Edit, Lists};
use crate::driver::{CreateOptions, OwnerCopy};
use crate::record::{Image, Layer, Timestamp};
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

/// How many copies are begun because what the last one was made of has changed meanwhile; after that, one is made under the lock.
const TRIES: usize = 3;

/// The copies that the making of one container has begun. It is to outlive the locks, since what is not used is deleted with it.
#[derive(Default)]
pub(super) struct Copies<'s> {
    begun: usize,
    last: Option<Copy<'s>>,
    outdated: Option<Copy<'s>>,
}

struct Copy<'s> {
    /// The records of the template and of what it lies on.
    of: Vec<Layer>,
    maps: IdMaps,
    copy: Box<dyn OwnerCopy + 's>,
    failure: Option<Error>,
}

#[cfg(test)]
thread_local! {
    /// What others do while this thread makes copies, one piece for each: a test's evidence that it holds no lock.
    static MEANWHILE: std::cell::RefCell<std::collections::VecDeque<Box<dyn FnOnce()>>> =
        const { std::cell::RefCell::new(std::collections::VecDeque::new()) };
}

impl Copies<'_> {
    /// Makes what was begun, with no lock of the layers held.
    pub(super) fn make(&mut self) {
        self.outdated = None;
        if let Some(last) = &mut self.last {
            // What fails because a layer was taken away is no failure.
            last.failure = last.copy.make().err();
        }
        #[cfg(test)]
        if let Some(work) = MEANWHILE.with_borrow_mut(std::collections::VecDeque::pop_front) {
            work();
        }
    }

    /// Keeps the last copy if it is of these layers and they have not changed.
    ///
    /// # Errors
    /// That of making it, if nothing else has changed.
    fn check(&mut self, of: &[Layer], maps: &IdMaps) -> Result<()> {
        let Some(last) = &mut self.last else { return Ok(()) };
        // Somebody has unmounted what it was to be made of.
        let disturbed = last.failure.as_ref().is_some_and(|e| e.kind() == ErrorKind::Busy);
        if disturbed || last.of != of || last.maps != *maps || !last.copy.is_current() {
            let template = of.first().map_or("", |layer| &layer.id);
            tracing::info!(template, "what a copy with other owners is made of was changed");
            self.outdated = self.last.take();
            return Ok(());
        }
        last.failure.take().map_or(Ok(()), Err)
    }
}

impl Store {
    /// The copy of `template`, an image's top layer, with such owners: enters it with the image, which then has one more. `None` if it
    /// is to be made first, with [`Copies::make`] and without the locks.
    pub(super) fn mapped_copy<'s>(
        &'s self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        image: &str,
        template: &Layer,
        wish: &Wish<'_>,
        copies: &mut Copies<'s>,
    ) -> Result<Option<Layer>> {
        let wanted = wish.given();
        let maps = if self.shifts(&wanted)? { IdMaps::default() } else { wanted };
        let begins = template.id_maps();
        let options = CreateOptions {
            mount_label: template.mount_label.clone(),
            uid_map: maps.uids.clone(),
            gid_map: maps.gids.clone(),
            ..CreateOptions::default()
        };
        let id = LayerId::new(template.id.as_str())?;
        let of = chain_of(layers, template);
        copies.check(&of, &maps)?;
        if copies.last.is_none()
            && copies.begun < TRIES
            && begins != maps
            && let Some(copy) = self.driver.begin_owner_copy(&id, &options, &begins)?
        {
            copies.begun += 1;
            copies.last = Some(Copy { of, maps, copy, failure: None });
            return Ok(None);
        }
        let record = Layer {
            id: LayerId::random().to_string(),
            names: Vec::new(),
            created: Timestamp::now(),
            flags: Default::default(),
            uid_map: maps.uids,
            gid_map: maps.gids,
            big_data_names: Vec::new(),
            extra: Default::default(),
            ..template.clone()
        };
        let (_, mut images) = self.images.write(held)?;
        let file = self.paths.layer_file(true, false);
        let mut copy = plan(layers, file, record, options, true, Some(begins))?;
        copy.source = match &mut copies.last {
            Some(last) => Source::Copied(id, &mut *last.copy),
            None => Source::Template(id),
        };
        let id = copy.id.clone();
        self.make_layers(held, layers, &mut [copy])?;
        self.enter_copy(held, layers, &mut images, image, &id).map(Some)
    }

    /// Brings a copy that is made to the disk and enters it with its image.
    fn enter_copy(
        &self,
        held: &Held<Layers>,
        layers: &mut Edit<'_, Layer, Layers>,
        images: &mut Edit<'_, Image, Images>,
        image: &str,
        id: &LayerId,
    ) -> Result<Layer> {
        let ids = std::slice::from_ref(id);
        // Until the image has it, nobody would ever take it away.
        let whole = self.sync_content().and_then(|()| {
            let flags = &mut layers.get_mut(id.as_str())?.flags;
            flags.insert(AWAITS_OWNER.to_owned(), true.into());
            flags.remove(INCOMPLETE);
            layers.save()
        });
        whole.inspect_err(|_| self.abandon_layers(held, layers, ids))?;
        images.get_mut(image)?.mapped_layers.push(id.to_string());
        images.save().inspect_err(|_| {
            // If only the sync after the image's rename failed, others see the copy with it already.
            if !images.is_on_disk(image) {
                self.abandon_layers(held, layers, ids);
            }
        })?;
        // If that fails, the next operation that writes makes up for it.
        let record = layers.get_mut(id.as_str())?;
        record.flags.remove(AWAITS_OWNER);
        let record = record.clone();
        if let Err(e) = layers.save() {
            tracing::warn!("the next operation that writes finishes the mapped copy {id}: {e}");
        }
        Ok(record)
    }
}

/// The layer and those that it lies on, as far as they are this store's.
fn chain_of(layers: &Lists<Layer>, top: &Layer) -> Vec<Layer> {
    // Damaged records may lead in a circle.
    let most = layers.iter_all().count();
    std::iter::successors(Some(top), |layer| layers.by_id(&layer.parent))
        .take(most)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
