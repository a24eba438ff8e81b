//! What the homes called `overlay2` have in common, Docker's and that of the plugin of CernVM-FS, which began as a copy of it
//! (`overlay-driver.md` 17.1, CVM-6).

use std::path::PathBuf;

use super::Making;
use crate::Result;
use crate::driver::overlay::Overlay;
use crate::driver::overlay::chain::LayerDir;
use crate::driver::overlay::layout::{self, DirLook};

/// How many layers a new one may lie on (MOB-11, CVM-7).
pub(super) const MAX_DEPTH: usize = 128;

/// Fills the directory of a new layer: its content and its short link; over a parent, which is returned, the directories `dirs` for its
/// mounts as well, and the list that `lower` makes of the one that a child of that parent has.
pub(super) fn fill<'a>(
    driver: &Overlay,
    making: &'a Making,
    links: &mut Vec<PathBuf>,
    dirs: &[&str],
    lower: impl FnOnce(&LayerDir, &'a str) -> Result<&'a str>,
) -> Result<Option<&'a LayerDir>> {
    let dir = making.layer.path();
    layout::make_dir(&dir.join("diff"), making.root)?;
    driver.make_link(making, links)?;
    let (Some(parent), Some(below)) = (&making.parent, &making.below) else { return Ok(None) };
    for name in dirs {
        layout::make_dir(&dir.join(name), DirLook { mode: 0o700, ..making.root })?;
    }
    let list = lower(parent, &below.lower)?;
    layout::write_new(&dir.join(layout::LOWER), 0o644, list.as_bytes())?;
    Ok(Some(parent))
}
