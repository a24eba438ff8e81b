//! Removing what has no record, when somebody asks for it (`store-format.md` 10.4): never done by the way, since records that were lost
//! by an accident look the same.

use std::collections::HashSet;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::Store;
use super::order::Held;
use super::table::RecordFile;
use crate::sys::{regular, remove};
use crate::{Error, ErrorKind, LayerId, Result};

impl Store {
    /// Removes the data directories of containers and images, and the layers of the driver with their tar-splits and data, that have no
    /// record. Of the data only what is named by 64 hexadecimal digits goes, of the driver's home every directory. A store that is used
    /// with an image store must be opened with it: the layers there have their tar-splits here.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if a record names a layer whose own record is lost while its files are there, and
    /// [`ErrorKind::InvalidArgument`] if the store has records that are only read with (or only without) `transient_store`: nothing is
    /// removed then. What cannot be removed: the rest goes, and the first failure is told.
    pub fn garbage_collect(&self) -> Result<()> {
        self.refuse_other_mode()?;
        self.prepare()?;
        // All locks at once: what is made meanwhile has its files before its record.
        let (held, mut layers) = self.write_layers(&Held::nothing())?;
        let mut foreign = HashSet::new();
        for other in &self.others {
            let (_, theirs) = other.layers.read(&held)?;
            foreign.extend(theirs.iter().map(|layer| layer.id.clone()));
        }
        let (image_held, images) = self.images.write(&held)?;
        let (container_held, containers) = self.containers.write(&image_held)?;
        let split = match &self.split_images {
            Some(table) => Some(table.write(&container_held)?.1),
            None => None,
        };
        let split_images = || split.iter().flat_map(|s| s.iter_all());
        let known: HashSet<String> = layers.iter_all().map(|l| l.id.clone()).collect();
        let in_driver = self.driver.list_layers()?;

        let needed = layers.iter_all().map(|l| (&l.parent, &l.id));
        let by_images = images.iter_all().chain(split_images()).flat_map(|image| {
            image.mapped_layers.iter().chain([&image.layer]).map(|layer| (layer, &image.id))
        });
        let by_containers = containers.iter_all().map(|c| (&c.layer, &c.id));
        let lost = needed.chain(by_images).chain(by_containers).find(|(layer, _)| {
            !known.contains(*layer) && !foreign.contains(*layer) && in_driver.contains(layer)
        });
        if let Some((layer, by)) = lost {
            return Err(Error::new(ErrorKind::Corrupt, "collecting garbage")
                .id(layer)
                .detail(format!("layer {layer}, which {by} needs, has files but no record"))
                .hint(format!(
                    "bring the record back, or delete {by} first; nothing was removed"
                )));
        }

        let mut failure = None;
        let mut note = |outcome: Result<()>| {
            if let Err(error) = outcome {
                failure.get_or_insert(error);
            }
        };
        let image_ids: HashSet<&str> =
            images.iter_all().chain(split_images()).map(|i| i.id.as_str()).collect();
        let container_ids: HashSet<&str> = containers.iter_all().map(|c| c.id.as_str()).collect();
        let image_dirs = [Some(self.paths.images()), self.paths.split_images()];
        let kinds = image_dirs.into_iter().flatten().map(|dir| (dir, &image_ids));
        for (dir, ids) in kinds.chain([(self.paths.containers(), &container_ids)]) {
            for entry in entries(&dir)? {
                let name = entry.file_name();
                let orphan = name.to_str().is_some_and(|n| is_id(n) && !ids.contains(n));
                if orphan && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    note(remove::remove_tree(&entry.path()));
                }
            }
        }

        let mut garbage: Vec<String> = in_driver;
        for entry in entries(&self.paths.layer_metadata())? {
            if let Some(id) = entry.file_name().to_str().and_then(layer_of_file)
                && !garbage.iter().any(|known| known == id)
            {
                garbage.push(id.to_owned());
            }
        }
        garbage.retain(|id| !known.contains(id));
        let mut data = None;
        for id in &garbage {
            note(match LayerId::new(id.as_str()) {
                Ok(id) => self
                    .move_files_aside(&id, &mut layers, &mut data)
                    .map_err(|e| e.context(format!("removing layer {id}, which has no record"))),
                // It was never a layer's.
                Err(_) => Ok(()),
            });
        }
        data.into_iter().for_each(|dir| layers.waste.add_dir(dir));
        failure.map_or(Ok(()), Err)
    }

    /// Records of a transient store are not read by others, and the other way round: what they name is no garbage.
    fn refuse_other_mode(&self) -> Result<()> {
        for RecordFile { path, .. } in self.paths.files_of_other_mode() {
            let text = regular::read("looking for records", &path)?.unwrap_or_default();
            if matches!(text.trim_ascii(), b"" | b"[]" | b"null") {
                continue;
            }
            let switch = if self.options.transient_store { "without" } else { "with" };
            return Err(Error::new(ErrorKind::InvalidArgument, "collecting garbage")
                .path(path)
                .detail(format!("it has records that are only read {switch} transient_store"))
                .hint(format!("collect garbage {switch} --transient-store")));
        }
        Ok(())
    }
}

/// The layer that a file or directory of the layers' metadata belongs to.
fn layer_of_file(name: &str) -> Option<&str> {
    Some(name.strip_suffix(".tar-split.gz").unwrap_or(name)).filter(|id| is_id(id))
}

fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn entries(dir: &Path) -> Result<Vec<DirEntry>> {
    let failed = |e| Error::io("listing", PathBuf::from(dir), e);
    std::fs::read_dir(dir).map_err(failed)?.collect::<std::io::Result<_>>().map_err(failed)
}
