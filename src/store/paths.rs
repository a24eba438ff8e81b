//! Where a store keeps what (`store-format.md` 1).

use std::path::{Path, PathBuf};

use super::table::RecordFile;
use crate::config::StoreOptions;
use crate::record::big_data;
use crate::sys::regular::refuse_link;
use crate::{LayerId, Result};

/// The directories of one store under one driver.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    graph_root: PathBuf,
    run_root: PathBuf,
    image_store: Option<PathBuf>,
    driver: String,
    transient: bool,
}

impl Paths {
    pub(crate) fn new(options: &StoreOptions, driver: &str) -> Self {
        Self {
            graph_root: options.graph_root.clone(),
            run_root: options.run_root.clone(),
            image_store: options.image_store.clone(),
            driver: driver.to_owned(),
            transient: options.transient_store,
        }
    }

    fn below(&self, root: &Path, kind: &str) -> PathBuf {
        root.join(format!("{}-{kind}", self.driver))
    }

    pub(crate) fn graph_root(&self) -> &Path {
        &self.graph_root
    }

    /// `storage.lock`, which guards the driver.
    pub(crate) fn graph_lock(&self) -> PathBuf {
        self.graph_root.join("storage.lock")
    }

    /// The directories that opening for writing makes, each 0700.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let mut all = vec![self.graph_root.clone(), self.run_root.clone()];
        all.extend(
            self.image_store
                .iter()
                .flat_map(|i| [i.clone(), self.below(i, "layers"), self.below(i, "images")]),
        );
        all.extend(
            ["layers", "images", "containers"].map(|kind| self.below(&self.graph_root, kind)),
        );
        all.extend(["layers", "containers"].map(|kind| self.below(&self.run_root, kind)));
        all
    }

    /// The layer files in load order (3.1): stable, image store, volatile.
    pub(crate) fn layer_files(&self) -> Vec<RecordFile> {
        let stable = |root: &Path| RecordFile {
            path: self.below(root, "layers").join("layers.json"),
            durable: true,
        };
        let volatile = if self.transient { &self.run_root } else { &self.graph_root };
        let mut files = vec![stable(&self.graph_root)];
        files.extend(self.image_store.as_deref().map(stable));
        files.push(RecordFile {
            path: self.below(volatile, "layers").join("volatile-layers.json"),
            durable: false,
        });
        files
    }

    /// Which of [`Paths::layer_files`] a new layer goes to.
    pub(crate) fn layer_file(&self, read_only: bool, volatile: bool) -> usize {
        match (volatile, read_only, self.image_store.is_some()) {
            (true, _, split) => 1 + usize::from(split),
            (false, true, true) => 1,
            _ => 0,
        }
    }

    /// The layer locks in the order they are taken; the first tells about changes.
    pub(crate) fn layer_locks(&self) -> Vec<PathBuf> {
        self.layer_dirs().iter().map(|dir| dir.join("layers.lock")).collect()
    }

    /// The directories of layer metadata, one in each root that layers are written to.
    pub(crate) fn layer_dirs(&self) -> Vec<PathBuf> {
        let roots = [Some(&self.graph_root), self.image_store.as_ref()];
        roots.iter().flatten().map(|root| self.below(root, "layers")).collect()
    }

    /// Where tar-splits and big data of layers are; under the graph root in every mode.
    pub(crate) fn layer_metadata(&self) -> PathBuf {
        self.below(&self.graph_root, "layers")
    }

    /// Temp dirs of layer metadata (10.3).
    pub(crate) fn layer_temp(&self) -> PathBuf {
        self.layer_metadata().join("tmp")
    }

    /// The record files that only a store of the other mode, transient or not, reads.
    pub(crate) fn files_of_other_mode(&self) -> Vec<RecordFile> {
        let other = Self { transient: !self.transient, ..self.clone() };
        let mine: Vec<PathBuf> = self.record_files().map(|file| file.path).collect();
        other.record_files().filter(|file| !mine.contains(&file.path)).collect()
    }

    fn record_files(&self) -> impl Iterator<Item = RecordFile> {
        self.layer_files().into_iter().chain(self.container_files())
    }

    /// The tar-split file of a layer (8); under the graph root in every mode.
    pub(crate) fn tar_split(&self, id: &LayerId) -> PathBuf {
        self.below(&self.graph_root, "layers").join(format!("{id}.tar-split.gz"))
    }

    /// The tar-split file of a layer of an additional store.
    pub(crate) fn foreign_tar_split(&self, store: &Path, id: &LayerId) -> PathBuf {
        self.below(store, "layers").join(format!("{id}.tar-split.gz"))
    }

    /// The big data directory of a layer.
    pub(crate) fn layer_data(&self, id: &LayerId) -> PathBuf {
        self.below(&self.graph_root, "layers").join(id)
    }

    /// The locks of digests.
    pub(crate) fn digest_locks(&self) -> PathBuf {
        self.below(&self.run_root, "locks")
    }

    /// `mountpoints.lock` and `mountpoints.json`.
    pub(crate) fn mount_points(&self) -> (PathBuf, PathBuf) {
        let dir = self.below(&self.run_root, "layers");
        (dir.join("mountpoints.lock"), dir.join("mountpoints.json"))
    }

    /// Whether a recorded path can be that of a layer's mount: below one of the roots, in a directory named by the id.
    pub(crate) fn holds(&self, path: &Path, id: &LayerId) -> bool {
        let roots = [Some(&self.graph_root), Some(&self.run_root), self.image_store.as_ref()];
        let below = roots.into_iter().flatten().find_map(|root| path.strip_prefix(root).ok());
        below.is_some_and(|below| {
            use std::path::Component;
            below.components().all(|part| matches!(part, Component::Normal(_)))
                && below.components().any(|part| part == Component::Normal(id.as_str().as_ref()))
        })
    }

    /// Where images live: the image store, else the graph root.
    pub(crate) fn images(&self) -> PathBuf {
        self.below(self.image_store.as_ref().unwrap_or(&self.graph_root), "images")
    }

    /// The images of the graph root, where an image store is configured beside it.
    pub(crate) fn split_images(&self) -> Option<PathBuf> {
        self.image_store.as_ref().map(|_| self.below(&self.graph_root, "images"))
    }

    /// A kind's directory in an additional store.
    pub(crate) fn foreign(&self, store: &Path, kind: &str) -> PathBuf {
        self.below(store, kind)
    }

    /// Where container records live for good, and the directory of big data.
    pub(crate) fn containers(&self) -> PathBuf {
        self.below(&self.graph_root, "containers")
    }

    /// The container files in load order: stable, volatile.
    pub(crate) fn container_files(&self) -> Vec<RecordFile> {
        vec![
            RecordFile { path: self.containers().join("containers.json"), durable: true },
            RecordFile {
                path: self.volatile_containers().join("volatile-containers.json"),
                durable: false,
            },
        ]
    }

    /// `containers.lock`, in the run root of a transient store.
    pub(crate) fn container_lock(&self) -> PathBuf {
        self.volatile_containers().join("containers.lock")
    }

    fn volatile_containers(&self) -> PathBuf {
        if self.transient { self.run_containers() } else { self.containers() }
    }

    /// The files that are replaced as a whole, each first written to a temporary file; those of data items share one in each
    /// directory.
    pub(crate) fn replaced_files(&self) -> Vec<PathBuf> {
        let (layers, containers) = (self.below(&self.graph_root, "layers"), self.containers());
        let images = [Some(self.images()), self.split_images()].into_iter().flatten();
        let mut all: Vec<PathBuf> =
            images.flat_map(|dir| [dir.join("images.json"), dir.join(ITEM)]).collect();
        all.extend([layers.join(ITEM), containers.join(ITEM), self.mount_points().1]);
        all.extend(self.record_files().map(|f| f.path));
        all
    }

    /// The run-time directories of containers.
    pub(crate) fn run_containers(&self) -> PathBuf {
        self.below(&self.run_root, "containers")
    }

    /// The run-time directories of images.
    pub(crate) fn run_images(&self) -> PathBuf {
        self.below(&self.run_root, "images")
    }
}

/// Stands for all data items of a directory of records, above their own directories: what a killed process has half written of one
/// is found there, without a look into each.
pub(crate) const ITEM: &str = "item";

/// The file of a big data item in the directory `data` of its record (7), which must not lead elsewhere.
pub(crate) fn data_file(data: &Path, key: &str) -> Result<PathBuf> {
    refuse_link(data)?;
    Ok(data.join(big_data::file_name(key)?))
}
