//! Changes of a layer: over its parent from its own content, over another layer by comparing two mounted trees
//! (`overlay-driver.md` 9).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use super::Overlay;
use super::chain::{Heal, LayerDir};
use super::composefs::ImageFiles;
use super::dialect::Comparison;
use super::get::View;
use super::layout::{self, open_dir};
use crate::archive::{
    self, Above, Change, Compat, FileSource, PackOptions, TreeFiles, Upper, has_content_elsewhere,
};
use crate::driver::{DiffOptions, naive};
use crate::sys::mount::is_overlay_mount;
use crate::{IdMaps, LayerId, Result};

/// Where the changes are read from.
enum Source<'a> {
    /// The layer's own content, over the contents of those below.
    Upper { own: OwnedFd, lowers: Vec<OwnedFd> },
    /// The whole tree, over the parent's, and what there is above the latter if that makes all the difference.
    Trees { new: View<'a>, old: Option<View<'a>>, above: Option<Vec<OwnedFd>> },
}

impl Overlay {
    fn source(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
        sizes_only: bool,
        comparison: Comparison,
    ) -> Result<Source<'_>> {
        let layer = self.locate(id)?;
        self.check_content(&layer)?;
        let lowers = self.lowers(&layer, Heal::No)?;
        // What a change of owners moved to diff1 and so on is part of the layer (DEF-8), among files that are the parent's but for their
        // owners: only a comparison tells.
        let mut own = self.open_contents(std::slice::from_ref(&layer))?;
        // Only a mount shows what composefs layers have.
        let composed = std::iter::once(&layer).chain(&lowers).any(LayerDir::has_image);
        // Sizes are those of the files there (DIF-2).
        let readable = sizes_only || !self.is_by_program()?;
        let one_upper = own.len() == 1;
        let by_upper = comparison != Comparison::Trees && one_upper && readable && !composed;
        if Self::is_parent(&lowers, parent)
            && by_upper
            && let Some(own) = own.pop()
        {
            for lower in &lowers {
                self.check_content(lower)?;
            }
            return Ok(Source::Upper { own, lowers: self.open_lowers(&layer, &lowers)? });
        }
        // What the kernel left in a lower layer it shows only to a mount that is told of it (DEF-2, DIF-8).
        let mut words: &[&str] = &[];
        // With user xattrs the kernel does neither.
        let by_kernel = self.program().is_none() && !self.rootless;
        for dir in own.iter().filter(|_| by_kernel) {
            if has_content_elsewhere(dir.as_fd(), self.xattr_prefix)? {
                words = &["metacopy=on", "redirect_dir=on"];
                break;
            }
        }
        // A mount that maps shows the owners that the maps of the comparison are for; what was copied with other owners has them.
        let maps = |maps: &IdMaps, copied: bool| -> Result<IdMaps> {
            let shown = !maps.is_empty() && !copied && self.shifts(maps)?;
            Ok(if shown { maps.clone() } else { IdMaps::default() })
        };
        let above = match parent {
            Some(parent)
                if by_kernel
                    && !composed
                    && options.maps.is_empty()
                    && options.parent_maps.is_empty() =>
            {
                self.contents_above(&layer, &lowers, parent)?
            }
            _ => None,
        };
        let new = self.view(id, words, maps(&options.maps, !one_upper)?)?;
        let old = parent.map(|p| self.view(p, words, IdMaps::default())).transpose()?;
        Ok(Source::Trees { new, old, above })
    }

    /// The contents that the layer, which has these below it, shows and `parent` does not; `None` if the parent shows others.
    fn contents_above(
        &self,
        layer: &LayerDir,
        lowers: &[LayerDir],
        parent: &LayerId,
    ) -> Result<Option<Vec<OwnedFd>>> {
        let Some(at) = lowers.iter().position(|lower| lower.id == *parent) else {
            return Ok(None);
        };
        // With an index, a change to one name of a file is seen by the others, which are named nowhere. Views for reading have none; how
        // a mount that is there was made is not known.
        let indexed = is_overlay_mount(&self.merged(layer))
            || self.options.mountopt.split(',').any(|w| matches!(w, "index=on" | "nfs_export=on"));
        // A thin layer shows something else by itself than below others.
        let thin = self.has_nested();
        let (between, rest) = lowers.split_at(at);
        let Some((parent, below)) = rest.split_first() else { return Ok(None) };
        if indexed || thin || self.lowers(parent, Heal::No)? != below {
            return Ok(None);
        }
        let mut above = self.open_contents(std::slice::from_ref(layer))?;
        above.extend(self.open_lowers(layer, between)?);
        Ok(Some(above))
    }

    /// Whether a program mounts the layers: what it leaves in an upper only it reads. On a medium that nobody writes to it cannot be
    /// asked, and the upper is read as the kernel's.
    fn is_by_program(&self) -> Result<bool> {
        let wanted = self.program().is_some()
            || self.options.mount_program.is_some()
            || layout::read_mount_program_flag(&self.home)? == Some(true);
        if !wanted {
            return Ok(false);
        }
        match self.ready() {
            Err(e) if e.os_error() == Some(io::ErrorKind::ReadOnlyFilesystem) => Ok(false),
            ready => ready.map(|()| self.program().is_some()),
        }
    }

    /// Whether a mounted tree has its files as notes say they are not (FMK-3): a program shows them as the notes say.
    fn shows_notes(&self) -> bool {
        self.force_mask().is_some() && self.program().is_none()
    }

    /// Runs `work` on the layer's own content and what is below it.
    fn with_upper<T>(
        &self,
        own: &OwnedFd,
        lowers: &[OwnedFd],
        work: impl FnOnce(&Upper<'_>) -> Result<T>,
    ) -> Result<T> {
        let lowers: Vec<_> = lowers.iter().map(AsFd::as_fd).collect();
        work(&Upper { own: own.as_fd(), lowers: &lowers, prefix: self.xattr_prefix })
    }

    /// The options of a diff, whose form is that of the dialect unless the caller wants a certain one.
    fn in_its_form(&self, options: &DiffOptions) -> DiffOptions {
        let compat = match options.compat {
            Compat::Current => self.rules.shape().compat,
            asked => asked,
        };
        DiffOptions { compat, ..options.clone() }
    }

    /// Runs `work` on the open trees and unmounts them, its failure first.
    fn with_trees<T>(
        &self,
        new: View<'_>,
        old: Option<View<'_>>,
        above: Option<Vec<OwnedFd>>,
        work: impl FnOnce(BorrowedFd<'_>, Option<BorrowedFd<'_>>, Option<&Above<'_>>) -> Result<T>,
    ) -> Result<T> {
        let outcome = (|| {
            let new = open_dir(new.path())?;
            let old = old.as_ref().map(|o| open_dir(o.path())).transpose()?;
            let dirs = above.as_deref().map(borrow);
            let above = dirs.as_ref().map(|dirs| Above { dirs, prefix: self.xattr_prefix });
            work(new.as_fd(), old.as_ref().map(AsFd::as_fd), above.as_ref())
        })();
        let closed = new.close().and(old.map_or(Ok(()), View::close));
        outcome.and_then(|done| closed.map(|()| done))
    }

    pub(super) fn write_diff(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
        out: &mut dyn Write,
    ) -> Result<()> {
        let options = &self.in_its_form(options);
        let shape = self.rules.shape();
        match self.source(id, parent, options, false, shape.diff)? {
            Source::Upper { own, lowers } => {
                let pack = PackOptions {
                    maps: options.maps.clone(),
                    override_stat: self.force_mask().is_some(),
                    compat: options.compat,
                    each_opaque: shape.diff == Comparison::UpperEachOpaque,
                };
                self.with_upper(&own, &lowers, |upper| archive::pack_upper(upper, &pack, out))
            }
            Source::Trees { new, old, above } => {
                let notes = self.shows_notes();
                self.with_trees(new, old, above, |new, old, above| {
                    naive::write_diff(new, old, above, options, notes, out)
                })
            }
        }
    }

    pub(super) fn list_changes(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
    ) -> Result<Vec<Change>> {
        match self.source(id, parent, options, false, self.rules.shape().changes)? {
            Source::Upper { own, lowers } => {
                let notes = self.force_mask().is_some();
                self.with_upper(&own, &lowers, |upper| archive::changes_in_upper(upper, notes))
            }
            Source::Trees { new, old, above } => {
                self.with_trees(new, old, above, |new, old, above| {
                    naive::changes(new, old, above, options.comparison(self.shows_notes()))
                })
            }
        }
    }

    pub(super) fn size_of_diff(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        options: &DiffOptions,
    ) -> Result<u64> {
        match self.source(id, parent, options, true, self.rules.shape().diff)? {
            Source::Upper { own, lowers } => self.with_upper(&own, &lowers, archive::upper_size),
            Source::Trees { new, old, above } => {
                let notes = self.shows_notes();
                self.with_trees(new, old, above, |new, old, above| {
                    naive::diff_size(new, old, above, options, notes)
                })
            }
        }
    }

    /// REM-15: own content first, then that of the layers below.
    pub(super) fn files(&self, id: &LayerId) -> Result<ChainFiles> {
        let layer = self.locate(id)?;
        self.check_content(&layer)?;
        let lowers = self.lowers(&layer, Heal::No)?;
        let mut parts = Vec::new();
        for layer in std::iter::once(layer).chain(lowers) {
            let dirs = self.contents(&layer)?;
            let image = layer.has_image().then_some(layer);
            parts.extend(dirs.into_iter().enumerate().map(|(n, dir)| Part {
                dir,
                image: image.clone().filter(|_| n == 0),
                files: OnceLock::new(),
            }));
        }
        Ok(ChainFiles(parts))
    }
}

fn borrow(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}

/// One directory of a layer's files.
struct Part {
    dir: PathBuf,
    /// The layer, if it is a composefs layer.
    image: Option<LayerDir>,
    files: OnceLock<Box<dyn FileSource>>,
}

impl Part {
    fn open(&self) -> Result<Box<dyn FileSource>> {
        match &self.image {
            Some(layer) => Ok(Box::new(ImageFiles::open(layer, &self.dir)?)),
            None => Ok(Box::new(TreeFiles::new(vec![open_dir(&self.dir)?]))),
        }
    }
}

/// A layer's files and, behind them, those of the layers below, which are opened only when they are needed: nearly every
/// file is found in the first, and a chain can be longer than a process may open files.
pub(super) struct ChainFiles(Vec<Part>);

impl FileSource for ChainFiles {
    fn open_file(&self, name: &[u8]) -> io::Result<File> {
        for part in &self.0 {
            let files = match part.files.get() {
                Some(files) => files,
                None => {
                    let opened = part.open().map_err(io::Error::other)?;
                    part.files.get_or_init(|| opened)
                }
            };
            match files.open_file(name) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{:?} is in none of the layer's directories", String::from_utf8_lossy(name)),
        ))
    }
}
