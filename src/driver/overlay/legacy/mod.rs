//! The layout of 2016's containers/storage (`overlay-driver.md` 19): an image's layer is a whole tree, `root`, which shares its files with
//! its parent's by hard links; a container's has an `upper` and, in `lower-id`, the one image that it lies on.

mod apply;
mod build;
mod migration;
mod plan;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::migration::{Migration, Planned};

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::chain::list_layers;
use super::layout;
use crate::{Error, LayerId, Result};

/// The tree of an image's layer.
pub(super) const ROOT: &str = "root";
/// What a container has written.
pub(super) const UPPER: &str = "upper";
/// The file that names what a container lies on.
pub(super) const LOWER_ID: &str = "lower-id";

/// What a layer directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// The whole tree of an image.
    Image,
    /// What a container has written over the tree of the image `lower`.
    Container { lower: LayerId },
}

/// What the directories of a home are.
#[derive(Debug, Default)]
struct Survey {
    /// Those of this layout.
    legacy: BTreeMap<LayerId, Content>,
    /// Those of today's.
    today: Vec<LayerId>,
}

impl Survey {
    /// Reads a home; what is no layer's directory is passed over. A missing home has no layers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] for a damaged layer, which it names.
    fn of(home: &Path) -> Result<Self> {
        let mut found = Self::default();
        for name in list_layers(home)? {
            let Ok(id) = LayerId::new(name) else { continue };
            let dir = home.join(&id);
            match read_content(&dir)? {
                Some(content) => drop(found.legacy.insert(id, content)),
                None if dir.join("diff").symlink_metadata().is_ok() => found.today.push(id),
                None => {}
            }
        }
        Ok(found)
    }
}

/// Whether a home has a layer of this layout; nothing of it is checked.
fn is_legacy(home: &Path) -> Result<bool> {
    Ok(list_layers(home)?.iter().any(|name| is_layer(&home.join(name))))
}

/// Whether a layer directory looks like one of this layout.
pub(super) fn is_layer(layer: &Path) -> bool {
    [ROOT, LOWER_ID].iter().any(|name| layer.join(name).symlink_metadata().is_ok())
}

/// Whether a layer directory looks like a container's.
pub(super) fn is_container(layer: &Path) -> bool {
    layer.join(LOWER_ID).symlink_metadata().is_ok()
}

/// What a layer directory holds; `None` if it is not of this layout.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] for a link or a file in place of a directory, a missing one, and a `lower-id` that is no id.
pub(super) fn read_content(layer: &Path) -> Result<Option<Content>> {
    // A container whose content became an image's has both for a moment (LEG-8): then it is an image.
    if is_own_dir(&layer.join(ROOT))? {
        return Ok(Some(Content::Image));
    }
    let path = layer.join(LOWER_ID);
    let Some(text) = layout::read_text(&path)? else { return Ok(None) };
    let lower = LayerId::new(text)
        .map_err(|e| layout::damaged(&path, "it does not hold a layer's id").caused_by(e))?;
    if !is_own_dir(&layer.join(UPPER))? {
        return Err(layout::damaged(&layer.join(UPPER), "the layer's content is missing"));
    }
    Ok(Some(Content::Container { lower }))
}

/// Whether there is a directory; anything else in its place is damage.
fn is_own_dir(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(m) if m.is_dir() => Ok(true),
        Ok(m) if m.is_symlink() => Err(layout::damaged(path, "it is a symbolic link")),
        Ok(_) => Err(layout::damaged(path, "it is not a directory")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("examining", path, e)),
    }
}
