//! Taking images over: planned image by image, made layer by layer, and reported.

use std::collections::{HashMap, HashSet};

use super::journal::Begun;
use super::needed::Leaving;
use super::report::{Finished, planned_layers};
use super::{
    DataRoot, ImageRecord, MigrateOptions, MigratedImage, Migration, Transfer, names, select,
};
use crate::image;
use crate::store::Store;
use crate::{Digest, ErrorKind, Result};

/// Takes images over from docker into `store`: the same ids, the same diff digests, and what a loading of the same image would record.
///
/// Layers that are there are not made again, so that a second call goes on where the first was ended. An image that cannot be taken over
/// does not keep others from it; the report says why. Docker may run, unless images are to be moved; it must not delete them meanwhile.
///
/// # Errors
/// [`ErrorKind::ImageUnknown`] for an image that docker does not have; [`ErrorKind::NotSupported`] for a store whose layers have another form;
/// [`ErrorKind::Busy`] for a daemon that works where images are to be moved from, and for another migration that excludes this one. Nothing
/// is changed then.
pub fn migrate(
    store: &Store,
    docker: &DataRoot,
    options: &MigrateOptions<'_>,
) -> Result<Migration> {
    let moves = options.transfer == Transfer::Move;
    // Held to the end, unless nothing is to be changed.
    let _turn = docker.turn(moves)?;
    let alone = if moves { Some(docker.alone()?) } else { None };
    store.check_transplant()?;
    // Where the images cannot be read, none could be recorded at the end.
    store.images()?;
    let known = docker.images()?;
    let mut begun = if moves { docker.begun(store, &known)? } else { Begun::default() };
    let is_gone =
        |text: &&String| select::find(&known, text).is_err() && begun.means(store, docker, text);
    let texts: Vec<String> = options.images.iter().filter(|t| !is_gone(t)).cloned().collect();
    for text in &texts {
        check_readable(docker, text)?;
    }
    let mut wanted = Vec::new();
    if !texts.is_empty() || options.images.is_empty() {
        wanted = select::select(&known, &texts)?;
    }
    match options.images.is_empty() {
        // What is only to be finished has been taken over before.
        true => wanted.retain(|image| !begun.images.iter().any(|known| known.id == image.id)),
        false => begun.images.retain(|image| !wanted.iter().any(|known| known.id == image.id)),
    }
    let leaving = if moves {
        let going: Vec<&ImageRecord> = wanted.iter().copied().chain(&begun.images).collect();
        docker.leaving(&going, &[], &begun.journal.layers)?
    } else {
        Leaving::default()
    };
    let report = match options.dry_run {
        true => Migration { finished: Finished::of(&leaving, &begun), ..Migration::default() },
        false => Migration::default(),
    };
    let mut work = Work {
        store,
        docker,
        options,
        leaving,
        begun,
        linked: HashSet::new(),
        differing: HashMap::new(),
        report,
    };
    let mut done = wanted.iter().try_for_each(|image| work.image(image));
    if options.containers && done.is_ok() {
        done = work.containers(&known);
    }
    // Also of what was called off: what has been linked so far is docker's and the store's at once.
    if let Some(alone) = alone.filter(|_| !options.dry_run) {
        docker.discard_half_written();
        if done.is_ok() {
            done = work.compare_present();
        }
        work.retire(&alone, &wanted, done.is_ok());
    }
    done.map(|()| work.report)
}

/// Of an image that is asked for by its whole id, says what is wrong with its record.
fn check_readable(docker: &DataRoot, text: &str) -> Result<()> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    match Digest::parse(format!("sha256:{hex}")) {
        Ok(id) => docker.image(&id).map(drop),
        Err(_) => Ok(()),
    }
}

pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) docker: &'a DataRoot,
    pub(super) options: &'a MigrateOptions<'a>,
    pub(super) leaving: Leaving,
    pub(super) begun: Begun,
    /// The chain ids of layers whose files are docker's and the store's now.
    pub(super) linked: HashSet<Digest>,
    /// The ids of layers that the store had and that are not docker's, and why.
    pub(super) differing: HashMap<String, String>,
    pub(super) report: Migration,
}

impl Work<'_> {
    /// Takes one image over, and notes what came of it.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] alone: everything else is about the image.
    pub(super) fn image(&mut self, image: &ImageRecord) -> Result<()> {
        let mut entry = MigratedImage {
            id: image.id.hex().to_owned(),
            names: names::complete_all(&image.names),
            left_out: Vec::new(),
            container: None,
            layers: planned_layers(image),
            error: None,
            moved: false,
            kept: self.leaving.staying.get(&image.id).cloned(),
        };
        let done = self.take_over(image, &mut entry);
        let cancelled = done.as_ref().is_err_and(|e| e.kind() == ErrorKind::Cancelled);
        entry.error = done.as_ref().err().map(ToString::to_string);
        self.report.images.push(entry);
        if cancelled { done } else { Ok(()) }
    }

    fn take_over(&mut self, image: &ImageRecord, entry: &mut MigratedImage) -> Result<()> {
        self.leave_out_taken(entry)?;
        let config = self.docker.config(&image.id)?;
        let layers = self.docker.open_layers(image)?;
        let mut new = Vec::new();
        let made = self.layers(&layers, entry, &mut new);
        let recorded = made.and_then(|sizes| {
            if self.options.dry_run {
                return Ok(());
            }
            let blobs: Vec<(Digest, u64)> = image.diffs.iter().cloned().zip(sizes).collect();
            let top = entry.layers.last().map(|layer| layer.id.clone());
            image::adopt(self.store, &config, &entry.names, top, &blobs).map(drop)
        });
        if recorded.is_err() {
            for id in new.iter().rev() {
                // A layer that somebody else has begun to use stays.
                if let Err(e) = self.store.delete_layer(id) {
                    tracing::warn!("layer {id} of an image that failed stays: {e}");
                }
            }
        }
        recorded
    }

    /// Takes out the names that another image of the store has: to whoever uses them there, they go on meaning that one.
    pub(super) fn leave_out_taken(&self, entry: &mut MigratedImage) -> Result<()> {
        for name in std::mem::take(&mut entry.names) {
            match self.is_taken(&name, &entry.id)? {
                true => entry.left_out.push(name),
                false => entry.names.push(name),
            }
        }
        Ok(())
    }

    /// Whether another image than `id` has the name, or with a dry run would have it by now.
    pub(super) fn is_taken(&self, name: &String, id: &str) -> Result<bool> {
        let planned = self.report.images.iter().filter(|_| self.options.dry_run);
        if planned.filter(|other| other.id != id).any(|other| other.names.contains(name)) {
            return Ok(true);
        }
        match self.store.image(name) {
            Ok(other) => Ok(other.id != id),
            Err(e) if e.kind() == ErrorKind::ImageUnknown => Ok(false),
            Err(e) => Err(e),
        }
    }
}
