//! Today's layout, that of containers/storage (`overlay-driver.md` 2, 5).

use std::path::PathBuf;

use super::{AfterUnmount, Comparison, Making, Marker, Rules, Shape};
use crate::archive::Compat;
use crate::driver::options::{OverlayOptions, parse_overlay};
use crate::driver::overlay::Overlay;
use crate::driver::overlay::layout::{self, DirLook};
use crate::{Dialect, Result};

/// Its answers, all but a few of which are the usual ones.
pub(super) struct Containers;

pub(super) const SHAPE: Shape = Shape {
    home_mode: 0o755,
    links_mode: Some(0o755),
    keeps_temp_dirs: true,
    private_home: true,
    programs: true,
    shifts: true,
    remaps: true,
    partial_pulls: true,
    may_be_migrated: false,
    option_prefix: "",
    storage_options: true,
    whole_trees: false,
    stands_for_others: false,
    image_quotas: false,
    max_depth: None,
    lowers_by_link: false,
    chowns_work: false,
    after_unmount: AfterUnmount::Swap,
    changes: Comparison::Upper,
    diff: Comparison::Upper,
    compat: Compat::Current,
};

impl Rules for Containers {
    fn dialect(&self) -> Dialect {
        Dialect::Containers
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn parse(&self, options: &[String]) -> Result<OverlayOptions> {
        parse_overlay(options)
    }

    fn fill(
        &self,
        driver: &Overlay,
        making: &Making,
        links: &mut Vec<PathBuf>,
    ) -> Result<Option<Marker>> {
        let dir = making.layer.path();
        let shown = driver.make_diff(&dir.join("diff"), making.root, &making.maps)?;
        driver.make_link(making, links)?;
        let private = DirLook { mode: 0o700, ..shown };
        layout::make_dir(&dir.join("work"), private)?;
        layout::make_dir(&dir.join("merged"), private)?;
        match &making.below {
            None => drop(layout::make_dir(&dir.join("empty"), private)?),
            Some(below) => {
                layout::write_new(&dir.join(layout::LOWER), 0o644, below.lower.as_bytes())?;
                let ids = below.lower_layers.as_bytes();
                layout::write_new(&dir.join(layout::LOWER_LAYERS), 0o644, ids)?;
            }
        }
        Ok(None)
    }
}
