//! Making a layer directory: all of it or nothing (`overlay-driver.md` 5).

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;

use super::Overlay;
use super::chain::{Heal, LayerDir, Place, is_reserved};
use super::dialect::{Making, Marker};
use super::layout::{self, DirLook, LinkId};
use super::remove::remove_links;
use crate::archive::override_stat::{self, Kind, OverrideStat};
use crate::driver::CreateOptions;
use crate::sys::remove::remove_tree;
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

/// The mode of a base layer's root.
pub(super) const BASE_MODE: u32 = 0o555;

/// Takes a half-made layer away again unless it is told that the layer is whole.
struct Undo {
    dir: PathBuf,
    links: Vec<PathBuf>,
    done: bool,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        for link in &self.links {
            if let Err(e) = std::fs::remove_file(link)
                && e.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = ?link, error = %e, "removing the link of a half-made layer");
            }
        }
        if let Err(e) = remove_tree(&self.dir) {
            tracing::warn!(error = %e, "removing a half-made layer");
        }
    }
}

impl Overlay {
    /// Makes the directory of a new, empty layer.
    pub(super) fn create_layer(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &CreateOptions,
        read_write: bool,
    ) -> Result<()> {
        check_names(id, parent)?;
        let maps = options.maps();
        let root = self.rules.layer_look(&maps)?;
        let wanted = self.wanted_limits(options, read_write, id)?;
        self.check_layer_limits(wanted.as_ref(), id)?;
        self.ready()?;
        if read_write {
            self.check_mask(id)?;
        }
        let (home, place) = match &self.image_home {
            Some(home) if !read_write => (home.as_path(), Place::ImageStore),
            _ => (self.home.as_path(), Place::Home),
        };
        let parent = parent.map(|p| self.locate(p)).transpose()?;
        let shape = self.rules.shape();
        if let Some(mode) = shape.links_mode {
            layout::ensure_own_dir(&home.join(layout::LINKS), DirLook::root(mode))?;
        }
        let mut making = Making {
            layer: self.layer_dir(id.clone(), home, place),
            below: match &parent {
                Some(parent) if shape.links_mode.is_some() => Some(self.parent_files(parent)?),
                _ => None,
            },
            root: self.root_look(parent.as_ref().map(|p| &p.id), &maps)?,
            parent,
            maps,
            read_write,
        };
        self.check_depth(&making)?;
        let dir = making.layer.path();
        if dir.symlink_metadata().is_ok() {
            tracing::warn!(path = ?dir, "the directory of a new layer exists; removing it first");
            self.remove_layer(&making.layer)?;
        }
        // Two links to one layer would make the repair of older versions go round in circles (`store-format.md` 16.11).
        remove_links(&making.layer)?;
        let mut undo = Undo { dir: dir.clone(), links: Vec::new(), done: false };
        let made = layout::make_dir(&dir, root)?;
        if let Some(wanted) = &wanted {
            self.give_project(made.as_fd(), &dir, wanted)?;
        }
        making.layer = self.layer_dir(id.clone(), home, place);
        let last = self.rules.fill(self, &making, &mut undo.links)?;
        if let Some(Marker { path, mode }) = last {
            layout::write_marker(&path, mode)?;
        }
        undo.done = true;
        Ok(())
    }

    /// Refuses a layer that no kernel could mount, where the dialect does so at once.
    fn check_depth(&self, making: &Making) -> Result<()> {
        let Some(most) = self.rules.shape().max_depth else { return Ok(()) };
        let Some(parent) = &making.parent else { return Ok(()) };
        let mut depth = self.rules.weight(parent)?;
        for lower in &self.lowers(parent, Heal::No)? {
            depth += self.rules.weight(lower)?;
        }
        if depth <= most {
            return Ok(());
        }
        let id = &making.layer.id;
        Err(Error::new(ErrorKind::MaxDepth, format!("creating layer {id}"))
            .id(id.as_str())
            .detail(format!("it would lie on {depth} layers, and {most} are the most here"))
            .hint("squash the image to fewer layers"))
    }

    /// Writes a new layer's `link` file and makes the link that it names.
    ///
    /// # Errors
    /// When a system call fails.
    pub(super) fn make_link(&self, making: &Making, links: &mut Vec<PathBuf>) -> Result<()> {
        let layer = &making.layer;
        // The file comes before the link that it names, so that a removal finds the link whenever the process dies.
        let link = LinkId::random();
        // What is made for an image is synced as a whole before its record counts.
        let durable = making.read_write && !self.options.unsynced;
        layout::write_link_file(&layer.path(), &link, durable)?;
        let path = link.path(&layer.home);
        symlink(layout::target_of_layer(&layer.id), &path)
            .map_err(|e| Error::io("making the link", &path, e))?;
        links.push(path);
        Ok(())
    }

    /// A container's layer needs a program that shows what `force_mask` hides (CRE-2).
    fn check_mask(&self, id: &LayerId) -> Result<()> {
        if self.force_mask().is_none() || self.program().is_some() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotSupported, format!("creating layer {id}"))
            .id(id.as_str())
            .detail("the kernel cannot show a container the owners and modes that force_mask keeps in xattrs")
            .hint("set mount_program, or remove force_mask, in storage.conf"))
    }

    /// Makes the directory of the layer's content; with `force_mask` it has that mode, the maps' root for an owner, and `look` in an
    /// xattr (CRE-8). Returns what it looks like.
    pub(super) fn make_diff(&self, diff: &Path, look: DirLook, maps: &IdMaps) -> Result<DirLook> {
        let Some(mode) = self.force_mask() else {
            return layout::make_dir(diff, look).map(|_| look);
        };
        let (uid, gid) = maps.root()?;
        let shown = DirLook { mode, uid, gid };
        layout::make_dir(diff, shown)?;
        write_override(diff, look)?;
        Ok(shown)
    }

    /// What a child of `parent` has in `lower` and `lower-layers` (CRE-12, CRE-13).
    pub(super) fn parent_files(&self, layer: &LayerDir) -> Result<ParentFiles> {
        let dir = layer.path();
        let link = layout::read_link_file(&dir)?
            .ok_or_else(|| layout::damaged(&dir.join(layout::LINK), "the file is missing"))?;
        let lowers = self.lowers(layer, Heal::OnDisk)?;
        let links = match layout::read_lower(&dir)? {
            Some(links) => links,
            None => lowers
                .iter()
                .map(|l| {
                    layout::read_link_file(&l.path())?.ok_or_else(|| {
                        layout::damaged(&l.path().join(layout::LINK), "the file is missing")
                    })
                })
                .collect::<Result<Vec<_>>>()?,
        };
        let join = |words: Vec<String>| words.join(":");
        Ok(ParentFiles {
            lower: join(std::iter::once(&link).chain(&links).map(LinkId::relative).collect()),
            lower_layers: join(
                std::iter::once(&layer.id)
                    .chain(lowers.iter().map(|l| &l.id))
                    .map(ToString::to_string)
                    .collect(),
            ),
        })
    }

    /// Mode and owner of the root of a new child of `parent`.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`] if the parent has vanished.
    pub(super) fn root_look(&self, parent: Option<&LayerId>, maps: &IdMaps) -> Result<DirLook> {
        self.rules.root_look(self, parent, maps)
    }

    /// The parent's, in full (CRE-8, CRE-10); without one, root's of `maps`.
    ///
    /// # Errors
    /// [`ErrorKind::LayerUnknown`] if the parent has vanished.
    pub(super) fn parents_look(&self, parent: Option<&LayerId>, maps: &IdMaps) -> Result<DirLook> {
        let Some(parent) = parent else { return DirLook::of_root(maps, BASE_MODE) };
        let parent_dir = self.locate(parent)?;
        let diff = match parent_dir.diff().is_symlink() {
            true => self.content_of(&parent_dir)?,
            false => parent_dir.diff(),
        };
        if let Some(look) = read_override(&diff) {
            return Ok(look);
        }
        DirLook::of(&diff).map_err(|e| {
            if e.kind() == io::ErrorKind::NotFound {
                Error::new(
                    ErrorKind::LayerUnknown,
                    format!("looking for the parent layer {parent}"),
                )
                .id(parent.as_str())
                .path(&diff)
                .caused_by(e)
            } else {
                Error::io("examining", &diff, e)
            }
        })
    }
}

/// The lists of layers below that a child of some layer has.
pub(super) struct ParentFiles {
    pub(super) lower: String,
    pub(super) lower_layers: String,
}

/// The owner and mode that a store with `force_mask` keeps in an xattr: `uid:gid:octal mode[:type]`.
pub(super) fn read_override(path: &Path) -> Option<DirLook> {
    let mut buffer = [0u8; 256];
    let length = rustix::fs::lgetxattr(path, override_stat::KEY, &mut buffer).ok()?;
    let OverrideStat { uid, gid, mode, .. } = OverrideStat::parse(buffer.get(..length)?)?;
    Some(DirLook { mode, uid, gid })
}

/// Writes what [`read_override`] reads, of a directory.
pub(super) fn write_override(dir: &Path, look: DirLook) -> Result<()> {
    let DirLook { uid, gid, mode } = look;
    let note = OverrideStat { uid, gid, mode, kind: Some(Kind::Directory) }.to_string();
    rustix::fs::lsetxattr(dir, override_stat::KEY, note.as_bytes(), XattrFlags::empty())
        .map_err(|e| Error::io("setting an xattr of", dir, e))
}

/// Refuses a layer that would be taken for one of the home's own files, and a parent whose id would be two in a list of ids.
fn check_names(id: &LayerId, parent: Option<&LayerId>) -> Result<()> {
    let wrong = |id: &LayerId, why: &str| {
        Err(Error::new(ErrorKind::InvalidArgument, format!("creating layer {id}"))
            .id(id.as_str())
            .detail(why))
    };
    if is_reserved(id.as_str()) {
        return wrong(id, "the driver's home has a use of its own for this name");
    }
    match parent {
        Some(p) if p.as_str().contains(':') => {
            wrong(p, "a layer with ':' in its id cannot be a parent")
        }
        _ => Ok(()),
    }
}
