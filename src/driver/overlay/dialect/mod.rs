//! What the relatives of the driver do in another way (`overlay-driver.md` 17 to 20).
//!
//! Mounting, unpacking, packing, quotas and removal exist once, in the driver's other files. Where a home's files, the chain of a
//! layer's lowers, its view or its changes differ from one relative to the next, they ask the home's [`Rules`], which answer with
//! data: only the driver itself mounts, unmounts and reads marks.

mod containers;
mod cvmfs;
mod detect;
mod legacy;
mod moby;
mod overlay2;

pub(in crate::driver) use self::detect::detect;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::Overlay;
use super::chain::{Heal, LayerDir};
use super::create::ParentFiles;
use super::layout::DirLook;
use super::mount::Lower;
use crate::archive::Compat;
use crate::driver::options::OverlayOptions;
use crate::thin::{Held, InUse, Repository};
use crate::{Dialect, IdMaps, LayerId, Result};

/// The answers of a dialect, for the driver of the home at `home`.
pub(super) fn rules(dialect: Dialect, home: &Path) -> Box<dyn Rules> {
    match dialect {
        Dialect::Containers => Box::new(containers::Containers),
        Dialect::Moby => Box::new(moby::Moby),
        Dialect::Legacy => Box::new(legacy::Legacy),
        Dialect::Cvmfs => Box::new(cvmfs::Cvmfs::new(home)),
    }
}

/// What stays the same for all layers of a home.
#[derive(Debug)]
pub(super) struct Shape {
    /// The mode of a new home.
    pub(super) home_mode: u32,
    /// The mode of the directory of short links; `None` where there are none.
    pub(super) links_mode: Option<u32>,
    /// The directory of temp dirs stays when it is empty.
    pub(super) keeps_temp_dirs: bool,
    /// The home is made a private mount, unless the options say no.
    pub(super) private_home: bool,
    /// A program may mount in the kernel's place, and a file in the home tells whether one does.
    pub(super) programs: bool,
    /// Mounts may map owners.
    pub(super) shifts: bool,
    /// Layers can get other id maps, one by one.
    pub(super) remaps: bool,
    /// Layers may be pulled in parts, for which the home has a place.
    pub(super) partial_pulls: bool,
    /// A home that is open may become one of another layout meanwhile, which is looked for before each writing operation.
    pub(super) may_be_migrated: bool,
    /// What comes before the names of the driver's options, for messages.
    pub(super) option_prefix: &'static str,
    /// Layers may be made with options of their own.
    pub(super) storage_options: bool,
    /// The content of an image's layer is the whole tree, which begins as its parent's.
    pub(super) whole_trees: bool,
    /// A layer may stand for others ([`Rules::nested`]), of which is made sure before a mount.
    pub(super) stands_for_others: bool,
    /// Image layers may have limits, too.
    pub(super) image_quotas: bool,
    /// How many layers a new one may lie on, where that is not left to the mount.
    pub(super) max_depth: Option<usize>,
    /// Mounts name the layers below by short links.
    pub(super) lowers_by_link: bool,
    /// What the kernel makes in a work directory gets the owner of the layer's root.
    pub(super) chowns_work: bool,
    /// What becomes of the mount point.
    pub(super) after_unmount: AfterUnmount,
    /// How changes over the parent are listed.
    pub(super) changes: Comparison,
    /// How changes over the parent are exported and measured.
    pub(super) diff: Comparison,
    /// Whose tar a diff is, if the caller asks for the present one.
    pub(super) compat: Compat,
}

/// What becomes of a mount point when its mount has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterUnmount {
    /// A fresh one takes its place.
    Swap,
    /// It is removed.
    Remove,
    /// It stays as it is.
    Keep,
}

/// How a layer is compared with its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// By its own content, where that tells.
    Upper,
    /// By its own content, where that tells; each opaque directory counts, whether it hides something or not.
    UpperEachOpaque,
    /// By the trees, always.
    Trees,
}

/// How a layer is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LayerView {
    /// As an overlay, read-write unless the caller wants it otherwise.
    Overlay,
    /// As an overlay that nobody may write to.
    ReadOnly,
    /// As the directory that it is.
    Plain(PathBuf),
}

/// A layer that is being made; its directory is there, and empty.
pub(super) struct Making {
    pub(super) layer: LayerDir,
    pub(super) parent: Option<LayerDir>,
    /// The lists of layers below that it is to have, where layers have short links.
    pub(super) below: Option<ParentFiles>,
    pub(super) maps: IdMaps,
    /// The owner and mode that the root of a child of `parent` has.
    pub(super) root: DirLook,
    /// Whether it is a container's.
    pub(super) read_write: bool,
}

/// An empty file that tells others something about a layer.
#[derive(Debug)]
pub(super) struct Marker {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
}

/// The answers of a dialect.
pub(super) trait Rules: Send + Sync {
    /// Whose answers they are.
    fn dialect(&self) -> Dialect;

    /// What is the same for all layers.
    fn shape(&self) -> &'static Shape;

    /// Reads the driver's options.
    fn parse(&self, options: &[String]) -> Result<OverlayOptions>;

    /// The owner and mode of a new layer's directory.
    fn layer_look(&self, maps: &IdMaps) -> Result<DirLook> {
        DirLook::of_root(maps, 0o700)
    }

    /// The name of the directory of a layer's own content.
    fn content(&self, layer: &Path) -> &'static str {
        let _ = layer;
        "diff"
    }

    /// The layers below, nearest first.
    fn lowers(&self, driver: &Overlay, layer: &LayerDir, heal: Heal) -> Result<Vec<LayerDir>> {
        driver.listed_lowers(layer, heal)
    }

    /// Words of every mount.
    fn words(&self) -> Vec<String> {
        Vec::new()
    }

    /// How the layer is seen.
    fn view(&self, driver: &Overlay, layer: &LayerDir) -> Result<LayerView> {
        let _ = (driver, layer);
        Ok(LayerView::Overlay)
    }

    /// The owner and mode of the root of a new layer's content.
    fn root_look(
        &self,
        driver: &Overlay,
        parent: Option<&LayerId>,
        maps: &IdMaps,
    ) -> Result<DirLook> {
        driver.parents_look(parent, maps)
    }

    /// Fills the directory of a new layer. What it makes outside of that is among `links`, whether it fails or not; what it returns is
    /// written when all else stands.
    fn fill(
        &self,
        driver: &Overlay,
        making: &Making,
        links: &mut Vec<PathBuf>,
    ) -> Result<Option<Marker>>;

    /// The directories of a layer, of those that today's driver tells of it.
    fn metadata(
        &self,
        layer: &LayerDir,
        rows: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let _ = layer;
        rows
    }

    /// Before the layer gets `content`: writes down what others are to know of it.
    fn applying(&self, driver: &Overlay, layer: &LayerDir, content: BorrowedFd<'_>) -> Result<()> {
        let _ = (driver, layer, content);
        Ok(())
    }

    /// The directories that stand in a layer's place where it lies below another one, newest first; `None` for its own.
    fn nested(&self, driver: &Overlay, layer: &LayerDir) -> Result<Option<Vec<Lower>>> {
        let _ = (driver, layer);
        Ok(None)
    }

    /// How many lower directories a layer stands for.
    fn weight(&self, layer: &LayerDir) -> Result<usize> {
        let _ = layer;
        Ok(1)
    }

    /// Makes sure that what [`Rules::nested`] names of these layers is there, until `user` gives it back; it does not go before the
    /// guard does.
    fn acquire(&self, driver: &Overlay, user: &str, lowers: &[LayerDir]) -> Result<Option<Held>> {
        let _ = (driver, user, lowers);
        Ok(None)
    }

    /// Makes sure of the same until the guard goes, before the layers are locked, and that it answers.
    fn bring(&self, driver: &Overlay, lowers: &[LayerDir]) -> Result<Option<InUse<'_>>> {
        let _ = (driver, lowers);
        Ok(None)
    }

    /// Gives back what [`Rules::acquire`] has made sure of.
    fn release(&self, driver: &Overlay, user: &str, lowers: &[LayerDir]) {
        let _ = (driver, user, lowers);
    }

    /// Gives back everything, whoever had it.
    fn release_all(&self, driver: &Overlay) {
        let _ = driver;
    }

    /// Looks for what is new in a repository, if that is in use.
    fn refresh(&self, driver: &Overlay, repository: &Repository) -> Result<()> {
        let _ = (driver, repository);
        Ok(())
    }

    /// The links that a layer has beside its short one, and that go with it.
    fn more_links(&self, layer: &LayerDir) -> Vec<PathBuf> {
        let _ = layer;
        Vec::new()
    }

    /// The rows of `status`, of those that today's driver has.
    fn status(&self, rows: Vec<(String, String)>) -> Vec<(String, String)> {
        rows
    }
}
