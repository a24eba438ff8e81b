//! The layers of an image on their way into the store, so many at a time.

use std::collections::{BTreeSet, HashMap};

use super::layers::OpenLayer;
use super::migrate::Work;
use super::stage::{Job, Means, is_linked};
use super::{MigratedImage, Outcome, Transfer};
use crate::archive::CopyMethod;
use crate::image::layer_of_id;
use crate::{Digest, Result};

/// Bytes of content after which the layers so far are committed: what a killed process has to do again is not more.
const BATCH_BYTES: u64 = 512 << 20;

/// Layers after which they are committed: each holds descriptors until then.
const BATCH_LAYERS: usize = 32;

impl Work<'_> {
    /// Makes the layers that are not there; returns the sizes of all their tars. The ids of those made are added to `new`.
    pub(super) fn layers(
        &mut self,
        layers: &[OpenLayer],
        entry: &mut MigratedImage,
        new: &mut Vec<String>,
    ) -> Result<Vec<u64>> {
        let means = Means {
            store: self.store,
            verify: self.options.verify,
            progress: self.options.progress,
        };
        let digests: BTreeSet<&Digest> = layers.iter().map(|l| &l.record.diff).collect();
        let _locks = match self.options.dry_run || layers.is_empty() {
            true => None,
            false => Some(self.store.lock_digests(&digests, &|| Ok(()))?),
        };
        let mut sizes = HashMap::new();
        let mut jobs: Vec<(usize, Job<'_>)> = Vec::new();
        let mut parent: Option<String> = None;
        for (at, (layer, planned)) in layers.iter().zip(&mut entry.layers).enumerate() {
            if let Some(there) = layer_of_id(self.store, &planned.id)? {
                planned.outcome = Outcome::Present;
                let moves = self.options.transfer == Transfer::Move && !self.options.dry_run;
                if moves && !self.linked.contains(&layer.record.chain_id) && is_linked(layer)? {
                    self.linked.insert(layer.record.chain_id.clone());
                }
                sizes.insert(at, u64::try_from(there.diff_size).unwrap_or(0));
            } else {
                planned.bytes = layer.record.size;
                let method = self.method(layer);
                let job = Job { layer, id: planned.id.clone(), parent: parent.clone(), method };
                jobs.push((at, job));
            }
            parent = Some(planned.id.clone());
        }
        if self.options.dry_run {
            return Ok(Vec::new());
        }
        let mut rest = jobs.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut at, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0u64);
            while let Some((place, job)) =
                rest.next_if(|_| batch.len() < BATCH_LAYERS && bytes < BATCH_BYTES)
            {
                bytes = bytes.saturating_add(job.layer.record.size);
                at.push(place);
                batch.push(job);
            }
            let planted = means.plant(&batch)?;
            let (mut staged, mut came) = (Vec::new(), Vec::new());
            for ((place, job), done) in at.iter().zip(&batch).zip(planted) {
                sizes.insert(*place, done.staged.facts().diff_size);
                came.push((*place, done.outcome, done.bytes));
                if done.shares_files {
                    self.linked.insert(job.layer.record.chain_id.clone());
                }
                staged.push((done.new, done.staged));
            }
            let made = self.store.commit_layers(staged)?;
            for (place, outcome, bytes) in came {
                let Some(layer) = entry.layers.get_mut(place) else { continue };
                // One that has come meanwhile is another program's: it is to be compared before docker's goes.
                (layer.outcome, layer.bytes) = match made.iter().any(|m| m.record.id == layer.id) {
                    true => (outcome, bytes),
                    false => (Outcome::Present, 0),
                };
            }
            new.extend(made.into_iter().map(|layer| layer.record.id));
        }
        Ok((0..layers.len()).map(|at| sizes.get(&at).copied().unwrap_or(0)).collect())
    }

    fn method(&self, layer: &OpenLayer) -> CopyMethod {
        match self.options.transfer {
            Transfer::Either => CopyMethod::Either,
            Transfer::Reflink => CopyMethod::Reflink,
            Transfer::Copy => CopyMethod::Copy,
            // What stays with docker as well must not be the same files: whoever changes an owner there would change it here.
            Transfer::Move if self.leaving.layers.contains_key(&layer.record.chain_id) => {
                CopyMethod::Link
            }
            Transfer::Move => CopyMethod::Either,
        }
    }
}
