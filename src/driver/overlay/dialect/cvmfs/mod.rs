//! Thin images, whose layers lie in CernVM-FS repositories (`overlay-driver.md` 18).
//!
//! A thin layer has one file, `thin.json`. Where another layer lies on it, the directories that it lists stand in its place. That is so in
//! two homes: in one called `overlay`, which is shared with podman and has its layout, and in the one of the docker-graphdriver plugin,
//! which is called `overlay2` and has links and lists for the layers in repositories as well.

mod links;
mod thin;

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::containers::{self, Containers};
use super::{AfterUnmount, Comparison, LayerView, Making, Marker, Rules, Shape, overlay2};
use crate::archive::Compat;
use crate::driver::options::{OverlayOptions, Publisher, parse_cvmfs};
use crate::driver::overlay::Overlay;
use crate::driver::overlay::chain::{Heal, LayerDir};
use crate::driver::overlay::layout::{self, DirLook};
use crate::driver::overlay::mount::Lower;
use crate::thin::{Held, InUse, Method, Repositories, Repository, ThinImage};
use crate::{Dialect, IdMaps, LayerId, Result};

pub(super) use self::thin::{HOME_FLAG, PARENT};

/// Whose layout the home has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// podman's, and a mark at each thin layer.
    Containers,
    /// The plugin's.
    Plugin,
}

/// Its answers.
pub(super) struct Cvmfs {
    form: Form,
    repositories: OnceLock<Repositories>,
}

/// podman's, but for the thin layers.
const SHARED: Shape = Shape { stands_for_others: true, partial_pulls: false, ..containers::SHAPE };

/// CVM-3, CVM-5, CVM-6, CVM-12
const PLUGIN: Shape = Shape {
    home_mode: 0o755,
    links_mode: Some(0o700),
    keeps_temp_dirs: false,
    private_home: false,
    programs: false,
    shifts: false,
    remaps: false,
    partial_pulls: false,
    may_be_migrated: false,
    option_prefix: "",
    storage_options: true,
    whole_trees: false,
    stands_for_others: true,
    image_quotas: true,
    max_depth: Some(overlay2::MAX_DEPTH),
    lowers_by_link: false,
    chowns_work: true,
    after_unmount: AfterUnmount::Keep,
    changes: Comparison::Upper,
    diff: Comparison::Upper,
    compat: Compat::V1_24,
};

impl Cvmfs {
    pub(super) fn new(home: &Path) -> Self {
        let plugin = home.file_name().is_some_and(|name| name == Dialect::Moby.driver_name());
        let form = if plugin { Form::Plugin } else { Form::Containers };
        Self { form, repositories: OnceLock::new() }
    }

    fn repositories(&self, driver: &Overlay) -> &Repositories {
        self.repositories.get_or_init(|| {
            let method = match &driver.options.publisher {
                Publisher::Internal(limit) => {
                    Method::Internal(crate::thin::Client::of_host(*limit))
                }
                Publisher::External(root, limit) => Method::External(root.clone(), *limit),
            };
            // What collects podman's garbage takes a directory in its home for a layer that nobody knows.
            let above = match self.form {
                Form::Containers => &driver.run,
                Form::Plugin => &driver.home,
            };
            Repositories::new(above, method)
        })
    }

    /// What a thin layer lists; `None` for any other.
    fn thin(&self, layer: &LayerDir) -> Result<Option<ThinImage>> {
        match self.form {
            Form::Containers => thin::marked(layer),
            Form::Plugin => links::thin(layer),
        }
    }

    /// What the thin ones among the layers list.
    fn images(&self, lowers: &[LayerDir]) -> Result<Vec<ThinImage>> {
        lowers.iter().filter_map(|lower| self.thin(lower).transpose()).collect()
    }

    fn repositories_of(&self, lowers: &[LayerDir]) -> Result<BTreeSet<Repository>> {
        Ok(repositories(&self.images(lowers)?))
    }
}

fn repositories(images: &[ThinImage]) -> BTreeSet<Repository> {
    images.iter().flat_map(ThinImage::repositories).collect()
}

impl Rules for Cvmfs {
    fn dialect(&self) -> Dialect {
        Dialect::Cvmfs
    }

    fn shape(&self) -> &'static Shape {
        match self.form {
            Form::Containers => &SHARED,
            Form::Plugin => &PLUGIN,
        }
    }

    fn parse(&self, options: &[String]) -> Result<OverlayOptions> {
        parse_cvmfs(options, self.form == Form::Plugin)
    }

    fn lowers(&self, driver: &Overlay, layer: &LayerDir, heal: Heal) -> Result<Vec<LayerDir>> {
        match self.form {
            Form::Containers => driver.listed_lowers(layer, heal),
            Form::Plugin => links::lowers(driver, layer),
        }
    }

    /// CVM-8
    fn view(&self, driver: &Overlay, layer: &LayerDir) -> Result<LayerView> {
        let bare = self.form == Form::Plugin && layout::read_lower(&layer.path())?.is_none();
        if bare || self.thin(layer)?.is_some() {
            return driver.content_of(layer).map(LayerView::Plain);
        }
        Ok(LayerView::Overlay)
    }

    fn root_look(
        &self,
        driver: &Overlay,
        parent: Option<&LayerId>,
        maps: &IdMaps,
    ) -> Result<DirLook> {
        match self.form {
            Form::Containers => driver.parents_look(parent, maps),
            Form::Plugin => DirLook::of_root(maps, 0o755),
        }
    }

    fn fill(
        &self,
        driver: &Overlay,
        making: &Making,
        links: &mut Vec<PathBuf>,
    ) -> Result<Option<Marker>> {
        match self.form {
            Form::Containers => Containers.fill(driver, making, links),
            Form::Plugin => links::fill(driver, making, links).map(|()| None),
        }
    }

    fn applying(&self, driver: &Overlay, layer: &LayerDir, content: BorrowedFd<'_>) -> Result<()> {
        let image = thin::staged(content).map_err(|e| e.id(layer.id.as_str()))?;
        match self.form {
            Form::Containers => thin::mark(driver, layer, image.is_some()),
            Form::Plugin => links::replace(driver, layer, image.as_ref()),
        }
    }

    fn nested(&self, driver: &Overlay, layer: &LayerDir) -> Result<Option<Vec<Lower>>> {
        let Some(image) = self.thin(layer)? else { return Ok(None) };
        let repositories = self.repositories(driver);
        repositories.await_answers(&image).map_err(|e| e.id(layer.id.as_str()))?;
        let short = match self.form {
            Form::Containers => Vec::new(),
            Form::Plugin => links::own(layer)?,
        };
        let mut nested = Vec::new();
        for (n, url) in image.newest_first()?.into_iter().enumerate() {
            let absolute = repositories.folder(url).map_err(|e| e.id(layer.id.as_str()))?;
            let link = short.get(n).filter(|link| links::leads_to(&layer.home, link, url));
            let short = match link {
                Some(link) => PathBuf::from(link.relative()),
                None => driver.shorten(&absolute),
            };
            nested.push(Lower { absolute, short });
        }
        Ok(Some(nested))
    }

    fn acquire(&self, driver: &Overlay, user: &str, lowers: &[LayerDir]) -> Result<Option<Held>> {
        let wanted = self.repositories_of(lowers)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        self.repositories(driver).acquire(user, &wanted).map(Some)
    }

    fn bring(&self, driver: &Overlay, lowers: &[LayerDir]) -> Result<Option<InUse<'_>>> {
        let images = match self.images(lowers) {
            Ok(images) if images.is_empty() => return Ok(None),
            Ok(images) => images,
            // As they are read without a lock, it is whoever locks them who can tell that they are damaged.
            Err(error) => {
                tracing::debug!(%error, "what thin layers list is not known yet");
                return Ok(None);
            }
        };
        let all = self.repositories(driver);
        let in_use = all.bring(repositories(&images))?;
        images.iter().try_for_each(|image| all.await_answers(image))?;
        Ok(Some(in_use))
    }

    fn release(&self, driver: &Overlay, user: &str, lowers: &[LayerDir]) {
        match self.repositories_of(lowers) {
            Ok(wanted) if wanted.is_empty() => {}
            Ok(wanted) => self.repositories(driver).release(user, &wanted),
            Err(error) => tracing::warn!(user, %error, "its repositories stay mounted"),
        }
    }

    fn release_all(&self, driver: &Overlay) {
        self.repositories(driver).release_all();
    }

    fn refresh(&self, driver: &Overlay, repository: &Repository) -> Result<()> {
        self.repositories(driver).refresh(repository)
    }

    /// CVM-16, ADD-12: none but its own.
    fn more_links(&self, layer: &LayerDir) -> Vec<PathBuf> {
        if self.form == Form::Containers {
            return Vec::new();
        }
        match links::own(layer) {
            Ok(own) => own.iter().map(|link| link.path(&layer.home)).collect(),
            Err(error) => {
                tracing::warn!(layer = %layer.id, %error, "looking for the links of a damaged layer");
                Vec::new()
            }
        }
    }

    fn weight(&self, layer: &LayerDir) -> Result<usize> {
        Ok(self.thin(layer)?.map_or(1, |image| image.layers.len()))
    }
}
