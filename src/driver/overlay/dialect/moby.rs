//! Docker's `overlay2`, as of 20.10 (`overlay-driver.md` 17).

use std::path::PathBuf;

use super::{AfterUnmount, Comparison, LayerView, Making, Marker, Rules, Shape, overlay2};
use crate::archive::Compat;
use crate::driver::options::{OverlayOptions, parse_moby};
use crate::driver::overlay::Overlay;
use crate::driver::overlay::chain::LayerDir;
use crate::driver::overlay::layout::{self, DirLook};
use crate::{Dialect, IdMaps, LayerId, Result};

/// Its answers.
pub(super) struct Moby;

/// The file in a layer's directory that tells that the layer has children, and is not written to any more (MOB-10).
pub(super) const COMMITTED: &str = "committed";

/// Whether the kernel's overlay has an index of hard links, which a layer below another one's mount must not have (MOB-6).
const INDEX: &str = "/sys/module/overlay/parameters/index";

const SHAPE: Shape = Shape {
    home_mode: 0o701,
    links_mode: Some(0o701),
    keeps_temp_dirs: false,
    private_home: false,
    programs: false,
    shifts: false,
    remaps: false,
    partial_pulls: false,
    may_be_migrated: false,
    option_prefix: "overlay2.",
    storage_options: true,
    whole_trees: false,
    stands_for_others: false,
    image_quotas: false,
    max_depth: Some(overlay2::MAX_DEPTH),
    lowers_by_link: true,
    chowns_work: true,
    after_unmount: AfterUnmount::Remove,
    changes: Comparison::Trees,
    diff: Comparison::UpperEachOpaque,
    compat: Compat::Moby,
};

impl Rules for Moby {
    fn dialect(&self) -> Dialect {
        Dialect::Moby
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn parse(&self, options: &[String]) -> Result<OverlayOptions> {
        parse_moby(options)
    }

    /// That of the daemon itself, whose users look through it.
    fn layer_look(&self, _: &IdMaps) -> Result<DirLook> {
        Ok(DirLook::root(0o701))
    }

    /// MOB-6
    fn words(&self) -> Vec<String> {
        match std::fs::exists(INDEX) {
            Ok(true) => vec!["index=off".to_owned()],
            Ok(false) => Vec::new(),
            Err(e) => {
                tracing::warn!(error = %e, "looking whether the kernel's overlay has an index");
                Vec::new()
            }
        }
    }

    /// MOB-13, MOB-14
    fn view(&self, driver: &Overlay, layer: &LayerDir) -> Result<LayerView> {
        let dir = layer.path();
        if layout::read_lower(&dir)?.is_none() {
            return driver.content_of(layer).map(LayerView::Plain);
        }
        Ok(match dir.join(COMMITTED).symlink_metadata() {
            Ok(_) => LayerView::ReadOnly,
            Err(_) => LayerView::Overlay,
        })
    }

    fn root_look(&self, _: &Overlay, _: Option<&LayerId>, maps: &IdMaps) -> Result<DirLook> {
        DirLook::of_root(maps, 0o755)
    }

    /// MOB-10, MOB-12; the parent is frozen last, so that a child that fails leaves it as it was (ADD-10).
    fn fill(
        &self,
        driver: &Overlay,
        making: &Making,
        links: &mut Vec<PathBuf>,
    ) -> Result<Option<Marker>> {
        let parent = overlay2::fill(driver, making, links, &["work"], |_, lower| Ok(lower))?;
        Ok(parent.map(|parent| Marker { path: parent.path().join(COMMITTED), mode: 0o600 }))
    }

    /// MOB-8
    fn status(&self, rows: Vec<(String, String)>) -> Vec<(String, String)> {
        const SHOWN: [&str; 3] = ["Backing Filesystem", "Supports d_type", "Native Overlay Diff"];
        rows.into_iter().filter(|(name, _)| SHOWN.contains(&name.as_str())).collect()
    }
}
