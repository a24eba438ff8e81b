//! From a layer to the directories of the layers below it, with lost short links found again.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::layout::{self, LinkId};
use super::near::Near;
use super::plain::Look;
use super::{Overlay, ids, legacy};
use crate::{Error, ErrorKind, LayerId, Result};

/// In what kind of store a layer lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The home.
    Home,
    /// The separate root for images: changed, but mounted read-only below the run root.
    ImageStore,
    /// An additional image store: never written to.
    Additional,
}

/// One layer's directory.
#[derive(Debug, Clone)]
pub(super) struct LayerDir {
    pub(super) id: LayerId,
    /// The home that it lies in.
    pub(super) home: PathBuf,
    pub(super) place: Place,
    /// The name of the directory of its own content.
    pub(super) content: &'static str,
    /// How the directory looked when the layer was looked up, if that was asked.
    pub(super) look: Option<Look>,
}

/// The same place; what was seen there when does not count.
impl PartialEq for LayerDir {
    fn eq(&self, other: &Self) -> bool {
        let place = |dir: &Self| (dir.place, dir.content);
        self.id == other.id && self.home == other.home && place(self) == place(other)
    }
}

impl Eq for LayerDir {}

impl LayerDir {
    /// The layer directory.
    pub(super) fn path(&self) -> PathBuf {
        self.home.join(&self.id)
    }

    /// Where the layer's own content is, or a link to where it lies in an additional layer store.
    pub(super) fn diff(&self) -> PathBuf {
        self.home.join(&self.id).join(self.content)
    }

    /// The older upper of that number.
    pub(super) fn older_dir(&self, n: usize) -> PathBuf {
        self.path().join(format!("diff{n}"))
    }

    /// The numbers of the older uppers, newest first: 1, 2 and so on. A rotation that was cut short leaves a gap of one or two, behind
    /// which other versions see nothing more (ADD-4).
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where something else has such a name.
    pub(super) fn older(&self) -> Result<Vec<usize>> {
        let mut older = Vec::new();
        for n in 1..=layout::MAX_LOWERS {
            let next = self.older_dir(n);
            match next.symlink_metadata() {
                Ok(m) if m.is_dir() => older.push(n),
                Ok(_) => return Err(layout::damaged(&next, "it is not a directory")),
                Err(_) if n - older.last().unwrap_or(&0) > ids::WIDEST_GAP => break,
                Err(_) => {}
            }
        }
        Ok(older)
    }
}

impl LinkId {
    /// Whether the link is there and leads to that layer.
    pub(super) fn leads_to(&self, layer: &LayerDir) -> bool {
        matches!(layout::read_short_link(&layer.home, self), Ok(Some(id)) if id == layer.id)
    }
}

/// Whether lost short links may be made again on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heal {
    /// Only in memory.
    No,
    /// In the home.
    OnDisk,
}

/// What a search for lost short links found: every store's `link` files, read at most once.
#[derive(Default)]
struct Index(Option<HashMap<LinkId, LayerDir>>);

impl Overlay {
    /// The homes in the order in which an id is looked up (CRE-17).
    pub(super) fn homes(&self) -> impl Iterator<Item = (&Path, Place)> {
        std::iter::once((self.home.as_path(), Place::Home))
            .chain(self.image_home.as_deref().map(|h| (h, Place::ImageStore)))
            .chain(self.store_homes.iter().map(|h| (h.as_path(), Place::Additional)))
    }

    /// The directory of a layer, in the home or else in the first store that has it.
    pub(super) fn find(&self, id: &LayerId) -> Option<LayerDir> {
        let (home, place) = self.homes().find(|(home, _)| is_real_dir(&home.join(id)))?;
        Some(self.layer_dir(id.clone(), home, place))
    }

    /// A layer's directory in that home.
    pub(super) fn layer_dir(&self, id: LayerId, home: &Path, place: Place) -> LayerDir {
        let content = self.rules.content(&home.join(&id));
        LayerDir { id, home: home.to_path_buf(), place, content, look: None }
    }

    /// As [`Overlay::find`].
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`] when no store has the layer; that of the system call when the home may not be entered.
    pub(super) fn locate(&self, id: &LayerId) -> Result<LayerDir> {
        self.find(id).ok_or_else(|| {
            let path = self.home.join(id);
            match path.symlink_metadata() {
                // A home that cannot be looked into does not tell what it has.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    Error::io(format!("looking for layer {id}"), path, e)
                }
                _ => Error::new(ErrorKind::LayerUnknown, format!("looking for layer {id}"))
                    .path(path),
            }
            .id(id.as_str())
        })
    }

    /// As [`Overlay::locate`], of a layer that may be changed (ADD-2).
    pub(super) fn locate_own(&self, id: &LayerId) -> Result<LayerDir> {
        let layer = self.locate(id)?;
        if layer.place == Place::Additional {
            return Err(Error::new(ErrorKind::ReadOnly, format!("changing layer {id}"))
                .id(id.as_str())
                .path(layer.path())
                .detail("the layer belongs to an additional image store"));
        }
        Ok(layer)
    }

    /// The layers below `layer`, nearest first.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when a file is damaged or a layer cannot be found.
    pub(super) fn lowers(&self, layer: &LayerDir, heal: Heal) -> Result<Vec<LayerDir>> {
        self.rules.lowers(self, layer, heal)
    }

    /// The layers below `layer`, nearest first, by `lower-layers`, else by `lower` and the short links.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when a file is damaged or a layer cannot be found.
    pub(super) fn listed_lowers(&self, layer: &LayerDir, heal: Heal) -> Result<Vec<LayerDir>> {
        let dir = layer.path();
        let lowers = match layout::read_lower_layers(&dir)? {
            Some(ids) => {
                let near = Near::of(&self.home);
                let found = |id: LayerId| match near.look(&id) {
                    Some(look) => {
                        let layer = self.layer_dir(id, &self.home, Place::Home);
                        Ok(LayerDir { look: Some(look), ..layer })
                    }
                    None => self.find(&id).ok_or_else(|| {
                        layout::damaged(
                            &dir.join(layout::LOWER_LAYERS),
                            format!("layer {id}, which it names, is in no store"),
                        )
                    }),
                };
                ids.into_iter().map(found).collect::<Result<Vec<_>>>()?
            }
            None => match layout::read_lower(&dir)? {
                Some(links) => {
                    let mut index = Index::default();
                    links
                        .iter()
                        .map(|link| self.follow(link, &dir, heal, &mut index))
                        .collect::<Result<Vec<_>>>()?
                }
                None => Vec::new(),
            },
        };
        if lowers.iter().any(|l| l.id == layer.id) {
            return Err(layout::damaged(&dir, "the layer is listed among those below it"));
        }
        check_length(&dir, &lowers)?;
        Ok(lowers)
    }

    /// The layer that a short link stands for. The store that the link is found in stays bound to it (ADD-7).
    fn follow(
        &self,
        link: &LinkId,
        child: &Path,
        heal: Heal,
        index: &mut Index,
    ) -> Result<LayerDir> {
        for (home, place) in self.homes() {
            if let Some(id) = layout::read_short_link(home, link)?
                && is_real_dir(&home.join(&id))
            {
                return Ok(self.layer_dir(id, home, place));
            }
        }
        let found = index.look_up(self, link)?.ok_or_else(|| {
            layout::damaged(
                &child.join(layout::LOWER),
                format!("no store has a layer of short link {}", link.as_str()),
            )
        })?;
        if heal == Heal::OnDisk && found.place == Place::Home {
            self.make_short_link(&found.home, link, &found.id)?;
        }
        Ok(found)
    }

    /// The short link of a layer, in its `link` file and on disk; a lost one is made again where that is allowed (DEF-5).
    /// `None` if the layer has none that leads to it.
    pub(super) fn short_link(&self, layer: &LayerDir, heal: Heal) -> Result<Option<LinkId>> {
        let Some(link) = layout::read_link_file(&layer.path())? else { return Ok(None) };
        match layout::read_short_link(&layer.home, &link)? {
            Some(id) if id == layer.id => Ok(Some(link)),
            Some(_) => Ok(None),
            None if heal == Heal::OnDisk && layer.place == Place::Home => {
                self.make_short_link(&layer.home, &link, &layer.id)?;
                Ok(Some(link))
            }
            None => Ok(None),
        }
    }

    fn make_short_link(&self, home: &Path, link: &LinkId, id: &LayerId) -> Result<()> {
        layout::ensure_own_dir(&home.join(layout::LINKS), layout::DirLook::root(0o755))?;
        let path = link.path(home);
        tracing::warn!(link = link.as_str(), layer = %id, "a lost short link is made again");
        match symlink(layout::target_of_layer(id), &path) {
            // It dangles: its layer is gone, or it was half made.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let aside = home.join(layout::LINKS).join(format!("{}.new", link.as_str()));
                let _ = std::fs::remove_file(&aside);
                symlink(layout::target_of_layer(id), &aside)
                    .and_then(|()| std::fs::rename(&aside, &path))
                    .map_err(|e| Error::io("replacing the link", &path, e))
            }
            done => done.map_err(|e| Error::io("making the link", &path, e)),
        }
    }

    /// Whether `parent` is the layer right below `layer` (DIF-1).
    pub(super) fn is_parent(lowers: &[LayerDir], parent: Option<&LayerId>) -> bool {
        lowers.first().map(|l| &l.id) == parent
    }
}

/// A layer lists its parent and all that the parent lists. A list that was cut between two words would give a tree without the
/// layers at the bottom.
fn check_length(dir: &Path, lowers: &[LayerDir]) -> Result<()> {
    let Some(parent) = lowers.first() else { return Ok(()) };
    // A parent whose lists are damaged can say nothing against its child's.
    let by_id = layout::read_lower_layers(&parent.path()).map(|l| l.map(|ids| ids.len()));
    let below = match by_id {
        Ok(None) => layout::read_lower(&parent.path()).map(|l| l.map(|links| links.len())),
        counted => counted,
    };
    match below {
        Ok(Some(below)) if lowers.len() <= below => {
            let by_id = dir.join(layout::LOWER_LAYERS);
            let file = if by_id.exists() { by_id } else { dir.join(layout::LOWER) };
            let parent = &parent.id;
            let why =
                format!("it lists {} layers, and {parent} has {below} below it", lowers.len());
            Err(layout::damaged(&file, why))
        }
        _ => Ok(()),
    }
}

impl Index {
    fn look_up(&mut self, driver: &Overlay, link: &LinkId) -> Result<Option<LayerDir>> {
        if self.0.is_none() {
            self.0 = Some(Self::read(driver)?);
        }
        Ok(self.0.as_ref().and_then(|found| found.get(link)).cloned())
    }

    /// Reads all `link` files; what is no layer or has a damaged one is passed over, since another layer is asked for.
    fn read(driver: &Overlay) -> Result<HashMap<LinkId, LayerDir>> {
        let mut found = HashMap::new();
        for (home, place) in driver.homes() {
            for name in list_layers(home)? {
                let Ok(id) = LayerId::new(name) else { continue };
                if let Ok(Some(link)) = layout::read_link_file(&home.join(&id)) {
                    let layer = driver.layer_dir(id, home, place);
                    found.entry(link).or_insert(layer);
                }
            }
        }
        Ok(found)
    }
}

/// The names of the layer directories of a home, sorted (REM-8); none if there is no home.
pub(super) fn list_layers(home: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(home) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("listing", home, e)),
        Ok(entries) => entries,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("listing", home, e))?;
        let is_dir = match entry.file_type() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(Error::io("examining", entry.path(), e)),
            Ok(kind) => kind.is_dir(),
        };
        if let (true, Ok(name)) = (is_dir, entry.file_name().into_string())
            && !is_reserved(&name)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// As [`list_layers`], each layer before those that it lies on (DEF-36): a removal of all in this order leaves whole layers wherever it
/// stops. Layers with a damaged list, which are not whole anyway, come first.
pub(super) fn list_children_first(home: &Path) -> Result<Vec<String>> {
    let mut names = list_layers(home)?;
    // What can be no layer's id (`lost+found`) could not be removed as one, and a removal of all would end there.
    names.retain(|name| LayerId::new(name.as_str()).is_ok());
    names.sort_by_cached_key(|name| Reverse(count_lowers(&home.join(name))));
    Ok(names)
}

fn count_lowers(layer: &Path) -> usize {
    if legacy::is_container(layer) {
        return 1;
    }
    let by_id = layout::read_lower_layers(layer).map(|l| l.map(|ids| ids.len()));
    let listed = match by_id {
        Ok(None) => layout::read_lower(layer).map(|l| l.map(|links| links.len())),
        counted => counted,
    };
    listed.map_or(usize::MAX, Option::unwrap_or_default)
}

/// Whether a name in the home is not a layer's: the driver's own, or of what a killed probe left (DEF-28).
pub(super) fn is_reserved(name: &str) -> bool {
    let probe = |prefix: &&str| {
        name.strip_prefix(*prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    layout::RESERVED.contains(&name) || layout::PROBES.iter().any(&probe)
}

pub(super) fn is_real_dir(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_dir())
}
