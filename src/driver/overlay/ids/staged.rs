//! A copy of a layer with other owners that is made beside the layers, under no lock (`overlay-driver.md` MAP-1b, ADD-4).
//!
//! The directories of the layers that it is made of stay open meanwhile, so that no others can get their inode numbers: whether their names
//! still lead to them tells, once the lock is held, whether the copies are of what they were meant to be of.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{Copying, Move};
use crate::archive::change_owners;
use crate::driver::overlay::Overlay;
use crate::driver::overlay::chain::{Heal, LayerDir};
use crate::driver::overlay::create::{read_override, write_override};
use crate::driver::overlay::layout::{self, DirLook, make_dir, open_dir};
use crate::driver::overlay::plan::Chain;
use crate::driver::{CreateOptions, OwnerCopy};
use crate::sys::beneath::Identity;
use crate::sys::tempdir::TempDir;
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

/// Of longer chains the copies are made under the lock: a process often has no more than 1024 descriptors.
const MOST_OPEN: usize = 128;

/// A copy in the making.
pub(in crate::driver::overlay) struct Apart<'d> {
    driver: &'d Overlay,
    template: LayerId,
    options: CreateOptions,
    from: IdMaps,
    /// The template and those below it, each with its open directory.
    bases: Vec<(LayerDir, OwnedFd)>,
    /// Where the copies are made.
    temp: Option<TempDir>,
    /// The directory with all of them, to be moved into a layer.
    made: Option<PathBuf>,
}

impl Overlay {
    /// As [`crate::driver::Driver::begin_owner_copy`].
    pub(in crate::driver::overlay) fn begin_apart(
        &self,
        template: &LayerId,
        options: &CreateOptions,
        from: &IdMaps,
    ) -> Result<Option<Apart<'_>>> {
        let shape = self.rules.shape();
        // Where layers stand for others, these would have to be kept in use.
        if !shape.remaps || shape.stands_for_others {
            return Ok(None);
        }
        let bases = self.bases(template)?;
        if bases.len() > MOST_OPEN {
            return Ok(None);
        }
        let open = |layer: LayerDir| -> Result<(LayerDir, OwnedFd)> {
            let path = layer.path();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = rustix::fs::open(&path, flags, Mode::empty())
                .map_err(|e| Error::io("opening", &path, e))?;
            Ok((layer, dir))
        };
        Ok(Some(Apart {
            driver: self,
            template: template.clone(),
            options: options.clone(),
            from: from.clone(),
            bases: bases.into_iter().map(open).collect::<Result<_>>()?,
            temp: None,
            made: None,
        }))
    }

    /// The layer and those below it.
    fn bases(&self, template: &LayerId) -> Result<Vec<LayerDir>> {
        let layer = self.locate(template)?;
        let below = self.lowers(&layer, Heal::No)?;
        Ok(std::iter::once(layer).chain(below).collect())
    }
}

impl OwnerCopy for Apart<'_> {
    fn make(&mut self) -> Result<()> {
        let (from, to) = (self.from.clone(), self.options.maps());
        self.make_with(|tree| change_owners(tree, &from, &to))
    }

    fn is_current(&self) -> bool {
        if self.temp.as_ref().is_some_and(|temp| !temp.is_whole()) {
            return false;
        }
        // A home may have got a layer meanwhile that another store's was taken for.
        let Ok(bases) = self.driver.bases(&self.template) else { return false };
        let leads_to = |layer: &LayerDir, dir: &OwnedFd| {
            let (named, open) = (rustix::fs::lstat(layer.path()), rustix::fs::fstat(dir));
            matches!((named, open), (Ok(n), Ok(o)) if Identity::from(&n) == Identity::from(&o))
        };
        bases.iter().eq(self.bases.iter().map(|(layer, _)| layer))
            && self.bases.iter().all(|(layer, dir)| leads_to(layer, dir))
    }

    fn commit(&mut self, id: &LayerId) -> Result<()> {
        let Some(upper) = &self.made else {
            return Err(Error::new(ErrorKind::Internal, format!("creating layer {id}"))
                .id(id.as_str())
                .detail("the copies that it is to consist of were not made"));
        };
        self.driver.create_layer(id, Some(&self.template), &self.options, false)?;
        self.move_into(id, upper).map_err(|e| e.id(id.as_str())).inspect_err(|_| {
            if let Err(e) = self.driver.remove_by_id(id) {
                tracing::warn!(layer = %id, error = %e, "removing a layer without its content");
            }
        })
    }
}

impl Apart<'_> {
    fn make_with(&mut self, change: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
        let upper = self.copy(change).map_err(|e| e.id(self.template.as_str()))?;
        self.made = Some(upper);
        Ok(())
    }

    fn copy(&mut self, change: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<PathBuf> {
        let driver = self.driver;
        driver.ready()?;
        let maps = self.options.maps();
        let root = DirLook::of_root(&maps, 0o700)?;
        let layer = driver.locate(&self.template)?;
        let below = driver.contents_below(driver.lowers(&layer, Heal::No)?)?;
        let older = driver.check_content(&layer)?;
        let shown = driver.root_look(Some(&self.template), &maps)?;
        let mask = driver.force_mask();

        let home = driver.image_layer_home().join(layout::TEMP_DIRS);
        // Kept also if this fails: others may have deleted it.
        let temp = self.temp.insert(TempDir::create(&home)?);
        let (upper, work, target) = (temp.addition(), temp.addition(), temp.addition());
        make_dir(&upper, DirLook { mode: mask.unwrap_or(shown.mode), ..root })?;
        if mask.is_some() {
            write_override(&upper, DirLook { mode: shown.mode, ..root })?;
        }
        make_dir(&work, DirLook::root(0o700))?;
        make_dir(&target, DirLook::root(0o700))?;
        driver.copy_up(
            &Copying {
                chain: Chain { layer: &layer, below: &below, older: &older, heal: Heal::No },
                with_content: true,
                upper: &upper,
                work: &work,
                target: &target,
                label: &self.options.mount_label,
            },
            change,
        )?;
        Ok(upper)
    }

    /// Makes the new, empty layer what [`Overlay::change_id_maps`] makes of one (MAP-1, MAP-2).
    fn move_into(&self, id: &LayerId, upper: &Path) -> Result<()> {
        let driver = self.driver;
        let layer = driver.locate_own(id)?;
        let root = DirLook::of_root(&self.options.maps(), 0o700)?;
        let (diff, work) = (layer.diff(), layer.path().join("work"));
        if let Some(look) = read_override(&diff) {
            write_override(&diff, DirLook { mode: look.mode, ..root })?;
        }
        let mode = DirLook::of(&diff).map_err(|e| Error::io("examining", &diff, e))?.mode;
        DirLook { mode, ..root }.apply(open_dir(&diff)?.as_fd(), &diff)?;
        DirLook { mode: 0o555, ..root }.apply(open_dir(&work)?.as_fd(), &work)?;
        Move { from: upper.to_path_buf(), to: layer.older_dir(1) }.carry_out()
    }
}

#[cfg(test)]
mod tests;
