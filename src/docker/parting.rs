//! The end of a move: docker and the store part. What leaves docker is compared and forgotten there, and what stays gets files of its own.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use super::daemon::Alone;
use super::journal::Begun;
use super::migrate::Work;
use super::needed::Leaving;
use super::report::{Finished, planned_layers};
use super::stage::{compare_stored, is_linked, separate};
use super::{DataRoot, ImageRecord, MigratedImage, MigratedLayer, Outcome};
use crate::sys::mount::mounts_below;
use crate::{Digest, Error, ErrorKind, Result};

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
        let separated = self.separate_staying(&leaving, &begun);
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

    /// Gives docker files of its own again, in the layers that stay there: what is linked now, and what an earlier call was about to
    /// delete and has come into use again.
    ///
    /// # Errors
    /// The first; the other layers are separated all the same.
    fn separate_staying(&mut self, leaving: &Leaving, begun: &Begun) -> Result<()> {
        let linked = std::mem::take(&mut self.linked);
        let shared: BTreeSet<&Digest> = linked.iter().chain(&begun.journal.layers).collect();
        let mut outcome = Ok(());
        for id in shared.into_iter().filter(|id| !leaving.layers.contains_key(*id)) {
            let separated = self.separate_layer(id, linked.contains(id));
            outcome = outcome.and(
                separated.map_err(|e| e.context(format!("giving docker a copy of its layer {id}"))),
            );
        }
        outcome
    }

    fn separate_layer(&self, id: &Digest, linked: bool) -> Result<()> {
        match self.docker.known_layer(id)? {
            Some(layer) if linked || is_linked(&layer)? => {
                self.docker.refuse_mounted()?;
                separate(&layer)
            }
            None if linked => Err(Error::new(ErrorKind::Corrupt, "looking for it")
                .id(id.hex())
                .detail("its record is gone, and its files are linked to the store's")
                .hint("change neither side's files; pull the image anew, and migrate once more")),
            _ => Ok(()),
        }
    }
}

impl DataRoot {
    /// Refuses to replace files while a container's or a build's file system is mounted, which goes on reading the old ones: containers
    /// run on without their daemon where it is told so, or was killed.
    fn refuse_mounted(&self) -> Result<()> {
        let layers = self.layers.path();
        let is_merged = |mount: &PathBuf| {
            let below = mount.strip_prefix(layers).ok();
            below.and_then(|b| b.iter().nth(1)).is_some_and(|name| name == "merged")
        };
        // Deepest first: the last one lies in no other.
        match mounts_below(layers)?.into_iter().rfind(is_merged) {
            Some(mount) => Err(Error::new(ErrorKind::Busy, "replacing linked files")
                .path(&mount)
                .detail("this is mounted, and may lie on the layer")
                .hint(format!(
                    "stop its container, or if none runs `umount {}`, and move the same images once more; until then change neither \
                     side's files",
                    mount.display()
                ))),
            None => Ok(()),
        }
    }
}
