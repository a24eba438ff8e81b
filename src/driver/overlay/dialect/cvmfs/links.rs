//! The plugin's links and lists (18.1, CVM-6, CVM-7, CVM-14, ADD-12).
//!
//! A thin layer's `lower` has a short link for each layer that it lists, the newest first, and behind them what its parent has. A child of
//! a thin layer has the same list, without a word for its parent, which it names in `thin_parent`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::thin::{self, PARENT};
use crate::driver::overlay::Overlay;
use crate::driver::overlay::chain::{LayerDir, Place, is_real_dir};
use crate::driver::overlay::dialect::{Making, overlay2};
use crate::driver::overlay::layout::{self, LinkId};
use crate::sys::atomic;
use crate::thin::{CvmfsUrl, ThinImage};
use crate::{Error, LayerId, Result};

/// Where links into repositories lead.
const REPOSITORIES: &str = "../cvmfs";

/// What a thin layer lists: one that has the file, and more words in its list than its parent gave it, the first of them a link into a
/// repository.
pub(super) fn thin(layer: &LayerDir) -> Result<Option<ThinImage>> {
    if own(layer)?.is_empty() { Ok(None) } else { thin::document(&layer.diff()) }
}

/// The links into repositories that the layer itself has made, newest first.
pub(super) fn own(layer: &LayerDir) -> Result<Vec<LinkId>> {
    let dir = layer.path();
    // Nearly every layer has no such file, and that is quickly told.
    if !layer.diff().join(crate::thin::FILE_NAME).is_file() {
        return Ok(Vec::new());
    }
    let mut words = layout::read_lower(&dir)?.unwrap_or_default();
    let inherited = match thin_parent(&dir)? {
        Some(parent) => {
            layout::read_lower(&layer.home.join(parent))?.map_or(0, |words| words.len())
        }
        None => 0,
    };
    words.truncate(words.len().saturating_sub(inherited));
    let into = words.iter().take_while(|link| is_into_repository(&layer.home, link)).count();
    words.truncate(into);
    Ok(words)
}

fn is_into_repository(home: &Path, link: &LinkId) -> bool {
    std::fs::read_link(link.path(home)).is_ok_and(|target| target.starts_with(REPOSITORIES))
}

/// Whether a link leads where that layer lies.
pub(super) fn leads_to(home: &Path, link: &LinkId, url: &CvmfsUrl) -> bool {
    std::fs::read_link(link.path(home)).is_ok_and(|target| target == target_of(url))
}

fn target_of(url: &CvmfsUrl) -> PathBuf {
    Path::new(REPOSITORIES).join(url.repository().as_str()).join(url.folder())
}

fn thin_parent(dir: &Path) -> Result<Option<LayerId>> {
    let path = dir.join(PARENT);
    layout::read_text(&path)?
        .map(|id| LayerId::new(id).map_err(|e| layout::damaged(&path, "").caused_by(e)))
        .transpose()
}

/// The layers below, the nearest first, each thin one among them.
pub(super) fn lowers(driver: &Overlay, layer: &LayerDir) -> Result<Vec<LayerDir>> {
    let file = layer.path().join(layout::LOWER);
    let words = layout::read_lower(&layer.path())?.unwrap_or_default();
    let mut words = words.iter().skip(own(layer)?.len()).peekable();
    let mut found: Vec<LayerDir> = Vec::new();
    loop {
        let above = found.last().unwrap_or(layer);
        let next = match thin_parent(&above.path())? {
            Some(id) => parent_of(above, id)?,
            None => {
                let Some(link) = words.next() else { return Ok(found) };
                match layout::read_short_link(&layer.home, link)? {
                    Some(id) if is_real_dir(&layer.home.join(&id)) => {
                        driver.layer_dir(id, &layer.home, Place::Home)
                    }
                    _ => {
                        let why = format!("no layer has the short link {}", link.as_str());
                        return Err(layout::damaged(&file, why));
                    }
                }
            }
        };
        let inherited = own(&next)?;
        for link in &inherited {
            if words.next_if_eq(&link).is_none() {
                let why = format!("it lacks the links of {}, which is thin", next.id);
                return Err(layout::damaged(&file, why));
            }
        }
        if next.id == layer.id || found.len() > layout::MAX_LOWERS {
            return Err(layout::damaged(&file, "the layer is among those below it"));
        }
        found.push(next);
    }
}

fn parent_of(layer: &LayerDir, id: LayerId) -> Result<LayerDir> {
    let parent = LayerDir { id, look: None, ..layer.clone() };
    if is_real_dir(&parent.path()) {
        return Ok(parent);
    }
    let why = format!("layer {}, which it names, is not there", parent.id);
    Err(layout::damaged(&layer.path().join(PARENT), why))
}

/// Fills the directory of a new layer. A thin parent has a file of its own that names it, and no word in the list.
pub(super) fn fill(driver: &Overlay, making: &Making, links: &mut Vec<PathBuf>) -> Result<()> {
    overlay2::fill(driver, making, links, &["work", "merged"], |parent, lower| {
        if own(parent)?.is_empty() {
            return Ok(lower);
        }
        let file = making.layer.path().join(PARENT);
        layout::write_new(&file, 0o644, parent.id.as_str().as_bytes())?;
        Ok(lower.split_once(':').map_or("", |(_, rest)| rest))
    })
    .map(drop)
}

/// Gives a layer the links and the list that its new content asks for, and takes the former ones away.
pub(super) fn replace(driver: &Overlay, layer: &LayerDir, image: Option<&ThinImage>) -> Result<()> {
    let former = own(layer)?;
    if image.is_none() && former.is_empty() {
        return Ok(());
    }
    let mut made = Vec::new();
    let outcome = write(driver, layer, image, former.len(), &mut made);
    let gone = if outcome.is_ok() { former } else { made };
    for link in gone {
        let path = link.path(&layer.home);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(?path, %error, "a link that leads into a repository stays");
        }
    }
    outcome
}

fn write(
    driver: &Overlay,
    layer: &LayerDir,
    image: Option<&ThinImage>,
    former: usize,
    made: &mut Vec<LinkId>,
) -> Result<()> {
    let urls = image.map(ThinImage::newest_first).transpose()?.unwrap_or_default();
    for url in urls {
        let link = LinkId::random();
        let path = link.path(&layer.home);
        symlink(target_of(url), &path).map_err(|e| Error::io("making the link", &path, e))?;
        made.push(link);
    }
    let inherited = layout::read_lower(&layer.path())?.unwrap_or_default();
    let all: Vec<String> =
        made.iter().chain(inherited.iter().skip(former)).map(LinkId::relative).collect();
    let path = layer.path().join(layout::LOWER);
    if all.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("removing", &path, e))
            }
            _ => Ok(()),
        };
    }
    let durable = !driver.options.unsynced;
    atomic::replace(&path, all.join(":").as_bytes(), 0o644, durable).map(drop)
}
