//! The overlay driver of 2016 (`overlay-driver.md` 19): one image below a container, each image a whole tree.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::{AfterUnmount, Comparison, LayerView, Making, Marker, Rules, Shape};
use crate::archive::{self, Compat};
use crate::driver::options::OverlayOptions;
use crate::driver::overlay::Overlay;
use crate::driver::overlay::chain::{Heal, LayerDir, Place, is_real_dir};
use crate::driver::overlay::layout::{self, DirLook, make_dir, open_dir};
use crate::driver::overlay::legacy::{Content, LOWER_ID, ROOT, UPPER, read_content};
use crate::{Dialect, IdMaps, LayerId, Result};

/// Its answers.
pub(super) struct Legacy;

const SHAPE: Shape = Shape {
    home_mode: 0o700,
    links_mode: None,
    keeps_temp_dirs: false,
    private_home: true,
    programs: false,
    shifts: false,
    remaps: false,
    partial_pulls: false,
    may_be_migrated: true,
    option_prefix: "",
    storage_options: false,
    whole_trees: true,
    stands_for_others: false,
    image_quotas: false,
    max_depth: None,
    lowers_by_link: false,
    chowns_work: true,
    after_unmount: AfterUnmount::Keep,
    changes: Comparison::Trees,
    diff: Comparison::Trees,
    compat: Compat::V1_24,
};

impl Rules for Legacy {
    fn dialect(&self) -> Dialect {
        Dialect::Legacy
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    /// LEG-1
    fn parse(&self, _: &[String]) -> Result<OverlayOptions> {
        Ok(OverlayOptions::default())
    }

    fn content(&self, layer: &Path) -> &'static str {
        if is_real_dir(&layer.join(ROOT)) { ROOT } else { UPPER }
    }

    /// The one image below a container.
    fn lowers(&self, driver: &Overlay, layer: &LayerDir, _: Heal) -> Result<Vec<LayerDir>> {
        match content(layer)? {
            Content::Image => Ok(Vec::new()),
            Content::Container { lower } => {
                let below = driver.layer_dir(lower, &layer.home, Place::Home);
                match read_content(&below.path())? {
                    Some(Content::Image) => Ok(vec![below]),
                    _ => Err(layout::damaged(
                        &layer.path().join(LOWER_ID),
                        format!("it names {}, which has no {ROOT:?}", below.id),
                    )),
                }
            }
        }
    }

    /// LEG-6
    fn view(&self, _: &Overlay, layer: &LayerDir) -> Result<LayerView> {
        Ok(match content(layer)? {
            Content::Image => LayerView::Plain(layer.path().join(ROOT)),
            Content::Container { .. } => LayerView::Overlay,
        })
    }

    /// LEG-4: the mode of the parent's content; the owner is always the maps' root.
    fn root_look(
        &self,
        driver: &Overlay,
        parent: Option<&LayerId>,
        maps: &IdMaps,
    ) -> Result<DirLook> {
        let Some(parent) = parent else { return DirLook::of_root(maps, 0o755) };
        let mode = driver.parents_look(Some(parent), maps)?.mode;
        DirLook::of_root(maps, mode)
    }

    /// LEG-4
    fn fill(&self, _: &Overlay, making: &Making, _: &mut Vec<PathBuf>) -> Result<Option<Marker>> {
        let dir = making.layer.path();
        let Some(parent) = &making.parent else {
            make_dir(&dir.join(ROOT), making.root)?;
            return Ok(None);
        };
        let upper = make_dir(&dir.join(UPPER), making.root)?;
        for name in ["work", "merged"] {
            let maps_root = DirLook::of_root(&making.maps, 0o700)?;
            make_dir(&dir.join(name), maps_root)?;
        }
        let lower = match content(parent)? {
            Content::Image => parent.id.clone(),
            Content::Container { lower } => {
                archive::copy_tree(open_dir(&parent.path().join(UPPER))?.as_fd(), upper.as_fd())?;
                lower
            }
        };
        layout::write_new(&dir.join(LOWER_ID), 0o644, lower.as_str().as_bytes())?;
        Ok(None)
    }

    /// LEG-12
    fn metadata(
        &self,
        layer: &LayerDir,
        mut rows: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        match (layer.content, rows.remove("UpperDir")) {
            (ROOT, Some(root)) => BTreeMap::from([("RootDir".to_owned(), root)]),
            (_, upper) => {
                rows.extend(upper.map(|upper| ("UpperDir".to_owned(), upper)));
                rows
            }
        }
    }

    /// LEG-12
    fn status(&self, rows: Vec<(String, String)>) -> Vec<(String, String)> {
        rows.into_iter().filter(|(name, _)| name == "Backing Filesystem").collect()
    }
}

fn content(layer: &LayerDir) -> Result<Content> {
    let dir = layer.path();
    read_content(&dir)?.ok_or_else(|| layout::damaged(&dir, "the layer's content is missing"))
}
