//! Stopped containers: what they changed becomes a layer, and an image upon theirs.

use std::io::{BufWriter, Write};

use serde_json::{Map, Value, json};
use sha2::Digest as _;

use super::directory::{Directory, damaged};
use super::migrate::Work;
use super::report::{failed, planned_layers};
use super::{ContainerRecord, ImageRecord, MigratedImage, MigratedLayer, Outcome, Transfer, names};
use crate::archive::{PackOptions, Upper, pack_upper};
use crate::image::{self, TEMP_DIR, layer_id, layer_of_id, rewind};
use crate::record::json::to_go_string;
use crate::store::{MARKS, NewLayer};
use crate::sys::mount::is_mount_point;
use crate::sys::unnamed::unnamed_file;
use crate::{Digest, Error, ErrorKind, Result};

impl Work<'_> {
    /// Makes an image of each stopped container, and notes what came of it.
    pub(super) fn containers(&mut self, images: &[ImageRecord]) -> Result<()> {
        for container in self.docker.containers()? {
            let Some(image) = images.iter().find(|image| image.id == container.image) else {
                let e = damaged(
                    &format!("the container {}", container.name),
                    format!("its image {} is gone", container.image),
                );
                self.report.images.push(failed("", &container.name, &e));
                continue;
            };
            let hex = image.id.hex();
            if !self.report.images.iter().any(|known| known.id == hex) {
                self.image(image)?;
            }
            let base = self.report.images.iter().find(|known| known.id == hex);
            if let Some(why) = base.and_then(|base| base.error.clone()) {
                let e = Error::new(ErrorKind::ImageUnknown, "taking over its image").detail(why);
                self.report.images.push(failed("", &container.name, &e));
                continue;
            }
            let entry = match self.container(&container, image) {
                Ok(entry) => entry,
                Err(e) if e.kind() == ErrorKind::Cancelled => return Err(e),
                Err(e) => failed("", &container.name, &e),
            };
            self.report.images.push(entry);
        }
        Ok(())
    }

    fn container(&self, container: &ContainerRecord, image: &ImageRecord) -> Result<MigratedImage> {
        let what = format!("the container {}", container.name);
        // A daemon that was killed leaves records that say so, and one that may be restarted leaves containers that do run.
        let merged = self.docker.layer_dir(&container.mount_id)?.path().join("merged");
        // Whoever moves has kept daemons away already; the locks that would be found are its own.
        let runs = container.running
            && self.options.transfer != Transfer::Move
            && self.docker.is_in_use()?;
        if runs || is_mount_point(&merged)? {
            return Err(Error::new(ErrorKind::Busy, format!("taking over {what}"))
                .detail("it runs")
                .hint("stop it, and migrate once more"));
        }
        if container.parent.as_ref() != image.chain_ids().last() {
            return Err(damaged(&what, "it does not lie on the layers of its image"));
        }
        let mut layers = planned_layers(image);
        for layer in &mut layers {
            layer.outcome = Outcome::Present;
        }
        let mut entry = MigratedImage {
            id: String::new(),
            names: Vec::new(),
            left_out: Vec::new(),
            container: Some(container.name.clone()),
            layers,
            error: None,
            moved: false,
            kept: None,
        };
        let (diff, size, new) = self.layer_of(container, image, &mut entry)?;
        let config = config(&self.docker.config(&image.id)?, container, &diff)?;
        entry.id = Digest::sha256(config.as_bytes()).hex().to_owned();
        entry.names = vec![self.free_name(container, &entry.id)?];
        self.leave_out_taken(&mut entry)?;
        if self.options.dry_run {
            return Ok(entry);
        }
        let mut blobs = Vec::new();
        for layer in &entry.layers {
            let known = layer_of_id(self.store, &layer.id)?.map(|l| l.diff_size);
            let known = known.and_then(|size| u64::try_from(size).ok()).unwrap_or(size);
            blobs.push((layer.diff.clone(), known));
        }
        let top = entry.layers.last().map(|layer| layer.id.clone());
        let recorded =
            image::adopt(self.store, config.as_bytes(), &entry.names, top.clone(), &blobs);
        if let (Err(_), Some(id), true) = (&recorded, top, new)
            && let Err(e) = self.store.delete_layer(&id)
        {
            tracing::warn!("layer {id} of a container that failed stays: {e}");
        }
        recorded.map(|_| entry)
    }

    /// Makes the layer of what the container changed; tells its diff digest, its size, and whether it is new.
    fn layer_of(
        &self,
        container: &ContainerRecord,
        image: &ImageRecord,
        entry: &mut MigratedImage,
    ) -> Result<(Digest, u64, bool)> {
        let item = self.options.progress.start(&container.name, None);
        let own = self.docker.layer_dir(&container.mount_id)?.at("diff")?;
        let init = container.init_id.as_ref();
        let init = init.map(|id| self.docker.layer_dir(id)?.at("diff")).transpose()?;
        let below = self.docker.open_layers(image)?;
        let lowers: Vec<&Directory> =
            init.iter().chain(below.iter().rev().map(|layer| &layer.diff)).collect();
        let lowers: Vec<_> = lowers.iter().map(|dir| dir.fd()).collect();
        let upper = Upper { own: own.fd(), lowers: &lowers, prefix: MARKS };
        let temp_dir = self.options.temp_dir.as_deref().unwrap_or(TEMP_DIR.as_ref());
        // What is only planned needs the digest alone.
        let mut file = match self.options.dry_run {
            true => None,
            false => Some(unnamed_file(temp_dir)?),
        };
        let (diff, size) = {
            let out: Box<dyn Write + '_> = match &file {
                Some(file) => Box::new(BufWriter::new(file)),
                None => Box::new(std::io::sink()),
            };
            let mut out = Digested { out, hash: sha2::Sha256::new(), size: 0 };
            pack_upper(&upper, &PackOptions::default(), &mut out)?;
            out.flush().map_err(|e| Error::io("writing a temporary file", temp_dir, e))?;
            (Digest::from_sha256(out.hash.finalize().as_slice()), out.size)
        };
        let parent = entry.layers.last().map(|layer| layer.id.clone());
        let id = layer_id(parent.as_deref(), &diff);
        let there = layer_of_id(self.store, &id)?.is_some();
        let outcome = match (there, &file) {
            (true, _) => Outcome::Present,
            (false, Some(_)) => Outcome::Copied,
            (false, None) => Outcome::Planned,
        };
        entry.layers.push(MigratedLayer {
            id: id.clone(),
            diff: diff.clone(),
            outcome,
            bytes: size,
        });
        if let Some(file) = file.as_mut().filter(|_| !there) {
            rewind(file, temp_dir)?;
            let new = NewLayer {
                id: Some(id),
                parent,
                read_only: true,
                expected_diff_digest: Some(diff.clone()),
                ..NewLayer::default()
            };
            self.store.import_layer(new, &mut crate::progress::Counted::new(file, &*item))?;
        }
        item.finish(if there { "already exists" } else { "done" });
        Ok((diff, size, !there))
    }

    /// The container's name, unless another image has it.
    fn free_name(&self, container: &ContainerRecord, id: &str) -> Result<String> {
        let name = names::of_container(&container.name, "latest")?;
        if !self.is_taken(&name, id)? {
            return Ok(name);
        }
        names::of_container(&container.name, container.id.get(..12).unwrap_or_default())
    }
}

/// The config of the image: its base's, run as the container was. Nothing in it is of the moment, so that the same container gives the
/// same image however often it is taken over.
pub(super) fn config(base: &[u8], container: &ContainerRecord, diff: &Digest) -> Result<String> {
    let what = format!("the config of the image {}", container.image);
    let mut config: Map<String, Value> = serde_json::from_slice(base)
        .map_err(|e| damaged(&what, "it is not the JSON it should be").caused_by(e))?;
    let created = container.finished.as_ref().unwrap_or(&container.created);
    config.insert("created".into(), json!(created));
    config.insert("container".into(), json!(container.id));
    // What is empty says nothing, and an image's name says nothing here.
    let mut run = container.config.clone();
    run.retain(|key, value| !value.is_null() && key != "Image");
    config.shift_remove("container_config");
    config.shift_remove("parent");
    config.insert("config".into(), Value::Object(run));
    let odd = || damaged(&what, "its rootfs or history is not what it should be");
    let diffs = config.get_mut("rootfs").and_then(|r| r.get_mut("diff_ids"));
    let diffs = diffs.map_or_else(|| Err(odd()), Ok)?;
    if diffs.is_null() {
        *diffs = json!([]);
    }
    diffs.as_array_mut().ok_or_else(odd)?.push(json!(diff.as_str()));
    let line = json!({"created": created, "created_by": "/bin/sh", "comment": format!("container {} of docker", container.name)});
    match config.get_mut("history").filter(|history| !history.is_null()) {
        Some(history) => history.as_array_mut().ok_or_else(odd)?.push(line),
        None => drop(config.insert("history".into(), json!([line]))),
    }
    to_go_string(&config)
}

struct Digested<W> {
    out: W,
    hash: sha2::Sha256,
    size: u64,
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        self.size = self.size.saturating_add(n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
