//! The end of a move: docker and the store part. What leaves docker is compared and forgotten there, and what stays gets files of its own.

use std::collections::HashSet;

use super::daemon::Alone;
use super::journal::Begun;
use super::migrate::Work;
use super::needed::Leaving;
use super::report::{Finished, planned_layers};
use super::stage::{compare_stored, is_linked, separate};
use super::{ImageRecord, MigratedImage, MigratedLayer, Outcome};
use crate::{Digest, ErrorKind, Result};

impl Work<'_> {
    /// Compares the layers that the store had before, of which docker's are about to go.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] alone: everything else keeps docker's.
    pub(super) fn compare_present(&mut self) -> Result<()> {
        if !self.options.verify {
            return Ok(());
        }
        let stored: Vec<&MigratedImage> =
            self.report.images.iter().filter(|image| image.error.is_none()).collect();
        // Those that were made now have been verified.
        let mut seen: HashSet<&str> = stored
            .iter()
            .flat_map(|image| &image.layers)
            .filter(|layer| layer.outcome != Outcome::Present)
            .map(|layer| layer.id.as_str())
            .collect();
        let going = stored.iter().filter(|i| i.container.is_none() && i.kept.is_none());
        let begun: Vec<MigratedLayer> = self.begun.images.iter().flat_map(planned_layers).collect();
        for layer in going.flat_map(|image| &image.layers).chain(&begun) {
            if !seen.insert(&layer.id) {
                continue;
            }
            match compare_stored(self.store, &layer.id, &layer.diff, self.options.progress) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::Cancelled => return Err(e),
                Err(e) => drop(self.differing.insert(layer.id.clone(), e.to_string())),
            }
        }
        Ok(())
    }

    /// Lets docker forget the images that are in the store now, once that is on the disk; none, unless all has been gone through.
    /// What goes wrong is for the report.
    pub(super) fn retire(&mut self, alone: &Alone, wanted: &[&ImageRecord], whole: bool) {
        let differing = |image: &MigratedImage| {
            image.layers.iter().find_map(|layer| self.differing.get(&layer.id)).cloned()
        };
        let stored: HashSet<&str> = self
            .report
            .images
            .iter()
            .filter(|image| whole && image.error.is_none() && differing(image).is_none())
            .map(|image| image.id.as_str())
            .collect();
        let mut done: Vec<&ImageRecord> =
            wanted.iter().copied().filter(|image| stored.contains(image.id.hex())).collect();
        let begun = if whole { std::mem::take(&mut self.begun) } else { Begun::default() };
        let same = |image: &&ImageRecord| {
            planned_layers(image).iter().all(|layer| !self.differing.contains_key(&layer.id))
        };
        done.extend(begun.images.iter().filter(same));
        let going: HashSet<&Digest> = done.iter().map(|image| &image.id).collect();
        let asked = wanted.iter().copied().chain(&begun.images);
        let refused: Vec<&ImageRecord> = asked.filter(|image| !going.contains(&image.id)).collect();
        let found = self.docker.leaving(&done, &refused, &begun.journal.layers);
        let (leaving, found) = match found {
            Ok(leaving) => (leaving, Ok(())),
            Err(e) => (Leaving::default(), Err(e)),
        };
        let kept: Vec<Option<String>> = self.report.images.iter().map(differing).collect();
        let separated =
            self.separate_staying(wanted, &leaving).and(self.separate_begun(&leaving, &begun));
        let ended = found.and(separated).and_then(|()| self.store.sync_everything());
        let ended = match whole {
            true => ended.and_then(|()| self.docker.retire(alone, &leaving, &begun)),
            false => ended,
        };
        if ended.is_ok() {
            self.report.finished = Finished::of(&leaving, &begun);
        }
        if let Err(e) = &ended {
            tracing::warn!("docker has not forgotten all that was to be moved: {e}");
        }
        let failure = ended.err().map(|e| e.to_string());
        for (image, differs) in self.report.images.iter_mut().zip(kept) {
            let id = leaving.images.keys().find(|id| id.hex() == image.id);
            let staying = leaving.staying.iter().find(|(id, _)| id.hex() == image.id);
            let meant = image.error.is_none() && done.iter().any(|i| i.id.hex() == image.id);
            image.moved = id.is_some_and(|id| failure.is_none() || !self.docker.has_image(id));
            image.kept = differs.or_else(|| staying.map(|(_, why)| why.clone()));
            if image.kept.is_none() && meant && !image.moved {
                image.kept.clone_from(&failure);
            }
        }
        self.report.unfinished = failure;
    }

    /// Gives docker files of its own again, in the layers that stay there.
    ///
    /// # Errors
    /// The first; the other layers are separated all the same.
    fn separate_staying(&mut self, wanted: &[&ImageRecord], leaving: &Leaving) -> Result<()> {
        let mut outcome = Ok(());
        for image in wanted {
            if self.linked.iter().all(|chain_id| leaving.layers.contains_key(chain_id)) {
                break;
            }
            for layer in self.docker.open_layers(image).unwrap_or_default() {
                let id = &layer.record.chain_id;
                if !leaving.layers.contains_key(id) && self.linked.remove(id) {
                    outcome =
                        outcome.and(separate(&layer).map_err(|e| {
                            e.context(format!("giving docker a copy of its layer {id}"))
                        }));
                }
            }
        }
        outcome
    }

    /// Likewise where an earlier call was about to delete a layer that has come into use again.
    ///
    /// # Errors
    /// The first; the other layers are separated all the same.
    fn separate_begun(&self, leaving: &Leaving, begun: &Begun) -> Result<()> {
        let mut outcome = Ok(());
        for id in begun.journal.layers.iter().filter(|id| !leaving.layers.contains_key(*id)) {
            let separated = self.docker.known_layer(id).and_then(|layer| match layer {
                Some(layer) if is_linked(&layer)? => separate(&layer),
                _ => Ok(()),
            });
            outcome = outcome.and(
                separated.map_err(|e| e.context(format!("giving docker a copy of its layer {id}"))),
            );
        }
        outcome
    }
}
