//! Sizes, and the directories that callers may keep files in.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Store;
use super::lookup::find;
use super::open::make_directory;
use crate::sys::regular::refuse_link;
use crate::{Error, ErrorKind, Result, archive, id};

impl Store {
    /// Bytes of an image: the tars of its layers and its big data.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`]; [`ErrorKind::LayerUnknown`] for a layer that is missing; [`ErrorKind::SizeUnknown`].
    pub fn image_size(&self, id: &str) -> Result<i64> {
        let (image, _) = find(&self.images_everywhere()?, id)?;
        let layers = self.layers_everywhere()?;
        let mut waiting: Vec<String> = image
            .mapped_layers
            .iter()
            .chain([&image.layer])
            .filter(|l| !l.is_empty())
            .cloned()
            .collect();
        let mut seen: Vec<String> = Vec::new();
        let mut size: i64 = 0;
        while let Some(next) = waiting.pop() {
            if seen.contains(&next) {
                continue;
            }
            let (layer, _) = find(&layers, &next)
                .map_err(|e| e.context(format!("adding up the size of image {}", image.id)))?;
            let bytes = if layer.diff_digest.is_empty() || layer.diff_size < 0 {
                i64::try_from(self.diff_size(&layer.id, None)?).unwrap_or(i64::MAX)
            } else {
                layer.diff_size
            };
            size = size.saturating_add(bytes);
            if !layer.parent.is_empty() {
                waiting.push(layer.parent);
            }
            seen.push(next);
        }
        for key in &image.big_data_names {
            let bytes = image.big_data_sizes.get(key).ok_or_else(|| {
                Error::new(
                    ErrorKind::SizeUnknown,
                    format!("adding up the size of image {}", image.id),
                )
                .detail(format!("no size is recorded for the data item {key:?}"))
            })?;
            size = size.saturating_add(*bytes);
        }
        Ok(size)
    }

    /// Bytes of a container: what its layer changes, its big data and its directories.
    ///
    /// # Errors
    /// [`ErrorKind::ContainerUnknown`], [`ErrorKind::LayerUnknown`].
    pub fn container_size(&self, id: &str) -> Result<i64> {
        let container = self.container(id)?;
        let mut size = i64::try_from(self.diff_size(&container.layer, None)?).unwrap_or(i64::MAX);
        size = container.big_data_sizes.values().fold(size, |sum, n| sum.saturating_add(*n));
        id::check_component(&container.id)?;
        for dir in [self.paths.containers(), self.paths.run_containers()] {
            size = size.saturating_add(tree_size(&dir.join(&container.id).join("userdata"))?);
        }
        Ok(size)
    }

    /// A directory for the caller's files of an image, made on request.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`].
    pub fn image_dir(&self, id: &str) -> Result<PathBuf> {
        let (image, dir) = self.image_and_dir(id)?;
        self.user_dir(&dir, &image.id)
    }

    /// As [`Store::image_dir`], in the run root, gone after a reboot.
    ///
    /// # Errors
    /// [`ErrorKind::ImageUnknown`].
    pub fn image_run_dir(&self, id: &str) -> Result<PathBuf> {
        let (image, _) = self.image_and_dir(id)?;
        self.user_dir(&self.paths.run_images(), &image.id)
    }

    /// A directory for the caller's files of a container, made on request.
    ///
    /// # Errors
    /// [`ErrorKind::ContainerUnknown`].
    pub fn container_dir(&self, id: &str) -> Result<PathBuf> {
        self.user_dir(&self.paths.containers(), &self.container_id(id)?)
    }

    /// As [`Store::container_dir`], in the run root, gone after a reboot.
    ///
    /// # Errors
    /// [`ErrorKind::ContainerUnknown`].
    pub fn container_run_dir(&self, id: &str) -> Result<PathBuf> {
        self.user_dir(&self.paths.run_containers(), &self.container_id(id)?)
    }

    fn user_dir(&self, kind: &Path, id: &str) -> Result<PathBuf> {
        id::check_component(id)?;
        let dir = kind.join(id).join("userdata");
        refuse_link(&kind.join(id))?;
        refuse_link(&dir)?;
        make_directory(&dir)?;
        Ok(dir)
    }
}

fn tree_size(dir: &Path) -> Result<i64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::empty()) {
        Ok(root) => Ok(i64::try_from(archive::disk_usage(root.as_fd())?.size).unwrap_or(i64::MAX)),
        Err(Errno::NOENT) => Ok(0),
        Err(e) => Err(Error::io("reading the directory", dir, e)),
    }
}
