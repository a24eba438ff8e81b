//! Other id maps for a layer: a new upper with copies that have other owners, and the old ones below it (`overlay-driver.md` MAP-1,
//! MAP-2, ADD-4).
//!
//! The copies are made beside the layer. It stays as it was until they are complete and its directories are moved on, and wherever that
//! stops, it is as before or as after: a gap in the numbers is passed over and closed, a missing `diff` made again.

mod staged;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, RenameFlags};

use super::Overlay;
use super::chain::{Heal, LayerDir, Place};
use super::create::{read_override, write_override};
use super::get::lock;
use super::layout::{self, DirLook, make_dir, open_dir};
use super::mount::{Lower, Plan, Upper};
use super::places::Places;
use super::plan::{Chain, words_of};
use super::program::{self, More};
use crate::archive::change_owners;
use crate::archive::walk::Walk;
use crate::sys::beneath::Beneath;
use crate::sys::mount::{FSCONFIG_STRING_MAX, detach, is_fuse_mount, kernel_before};
use crate::sys::relocate::relocate;
use crate::sys::tempdir::TempDir;
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

/// How many numbers of older uppers can be missing in a row, when one that was not empty is moved on beside the new one.
pub(super) const WIDEST_GAP: usize = 2;

/// What takes the place of what, in order.
#[derive(Debug)]
struct Move {
    from: PathBuf,
    to: PathBuf,
}

/// A remapped layer that is ready to be moved into place; dropped, it is gone.
struct Remapped {
    temp: TempDir,
    moves: Vec<Move>,
}

/// Where copies are made, and of what.
struct Copying<'a> {
    chain: Chain<'a>,
    /// Whether the layer's own content is among what is copied.
    with_content: bool,
    upper: &'a Path,
    work: &'a Path,
    /// Where to mount, if that needs a place.
    target: &'a Path,
    label: &'a str,
}

/// The mount in which copies are made.
enum Mount {
    /// It ends with this descriptor and those of its files.
    Detached(OwnedFd),
    /// It stands there.
    At(PathBuf),
}

impl Overlay {
    /// Gives all that the layer shows the owners that `to_host` has for what they are by `to_container`.
    pub(super) fn change_id_maps(
        &self,
        id: &LayerId,
        to_container: &IdMaps,
        to_host: &IdMaps,
        label: &str,
    ) -> Result<()> {
        if !self.rules.shape().remaps {
            return Err(Error::new(
                ErrorKind::NotSupported,
                format!("changing the id maps of layer {id}"),
            )
            .id(id.as_str())
            .detail(format!(
                "all layers of a home of the dialect {} have the same",
                self.rules.dialect()
            )));
        }
        let root = DirLook::of_root(to_host, 0o700)?;
        let layer = self.locate_own(id)?;
        self.ready()?;
        let slot = self.counts.slot(id);
        let mut uses = lock(&slot);
        let merged = self.merged(&layer);
        self.refresh(&mut uses, &merged);
        let outcome = if uses.is_used() {
            Err(Error::new(ErrorKind::Busy, format!("changing the id maps of layer {id}"))
                .path(merged)
                .detail("the layer is mounted")
                .hint("unmount it first"))
        } else {
            self.acquire_nested(&layer).and_then(|held| {
                let change = |tree: BorrowedFd<'_>| change_owners(tree, to_container, to_host);
                let outcome = self.remap(&layer, root, change, label).and_then(Remapped::commit);
                drop(held);
                self.release_nested(&layer);
                outcome
            })
        };
        drop(uses);
        self.counts.tidy(id, slot);
        outcome.map_err(|e| e.id(id.as_str()))
    }

    /// Makes the copies and plans the moves. The layer itself stays as it is, but for what a rotation that was cut short has left.
    fn remap(
        &self,
        layer: &LayerDir,
        root: DirLook,
        change: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
        label: &str,
    ) -> Result<Remapped> {
        let heal = if layer.place == Place::Home { Heal::OnDisk } else { Heal::No };
        let below = self.contents_below(self.lowers(layer, heal)?)?;
        let older = close_gaps(layer)?;
        self.restore_diff(layer, below.first().map(|(lower, _)| lower), None)?;
        self.content_of(layer)?;
        self.check_writable(layer)?;
        let diff = layer.diff();
        let mode = DirLook::of(&diff).map_err(|e| Error::io("examining", &diff, e))?.mode;
        let has_content = has_entries(&diff)?;

        let mut temp = TempDir::create(&layer.home.join(layout::TEMP_DIRS))?;
        let mut fresh = |look: DirLook| -> Result<PathBuf> {
            let path = temp.addition();
            make_dir(&path, look)?;
            Ok(path)
        };
        let upper = fresh(DirLook { mode, ..root })?;
        let new_diff = fresh(DirLook { mode, ..root })?;
        let new_work = fresh(DirLook { mode: 0o555, ..root })?;
        let (work, target) = (fresh(DirLook::root(0o700))?, fresh(DirLook::root(0o700))?);
        let (old_work, old_diff) = (temp.addition(), temp.addition());
        // Files cannot be moved from one project to another, and the copies count, too.
        for dir in [&upper, &new_diff, &new_work, &work] {
            self.adopt_content(open_dir(dir)?.as_fd(), layer)?;
        }
        if let Some(look) = read_override(&diff) {
            let look = DirLook { mode: look.mode, ..root };
            write_override(&upper, look)?;
            write_override(&new_diff, look)?;
        }

        self.copy_up(
            &Copying {
                // With an empty `diff` among them, a chain of full length would be one too long.
                chain: Chain { layer, below: &below, older: &older, heal },
                with_content: has_content,
                upper: &upper,
                work: &work,
                target: &target,
                label,
            },
            change,
        )?;

        // The old work directory can hold an index of the old upper, which must not be found with the new one.
        let mut moves = vec![
            Move { from: layer.path().join("work"), to: old_work },
            Move { from: new_work, to: layer.path().join("work") },
        ];
        let by = if has_content { 2 } else { 1 };
        moves.extend(
            older
                .iter()
                .rev()
                .map(|n| Move { from: layer.older_dir(*n), to: layer.older_dir(n + by) }),
        );
        moves.extend([
            Move {
                from: diff.clone(),
                to: if has_content { layer.older_dir(2) } else { old_diff },
            },
            Move { from: upper, to: layer.older_dir(1) },
            Move { from: new_diff, to: diff },
        ]);
        Ok(Remapped { temp, moves })
    }
}

impl Overlay {
    /// Lays the upper on the chain and has `change` go through the tree that this makes. What it copied is on the disk afterwards, and the
    /// mount gone.
    fn copy_up(
        &self,
        copying: &Copying<'_>,
        change: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        let Copying { chain, with_content, upper, work, target, label } = *copying;
        let mut places = Places::of(&self.home, None);
        let (mut lowers, data) = self.lower_dirs(&chain, with_content, &mut places)?;
        if lowers.is_empty() {
            lowers.push(self.empty_lower(chain.layer, chain.heal)?);
        }
        let mut words = self.words_of_copies()?;
        let composed = !places.is_empty();
        words.extend(words_of(&places));
        let side = |path: &Path| Lower { absolute: path.to_path_buf(), short: path.to_path_buf() };
        let plan = Plan {
            home: self.home.clone(),
            target: target.to_path_buf(),
            lowers,
            data,
            upper: Some(Upper { diff: side(upper), work: side(work) }),
            words,
            label: label.to_owned(),
        };
        // Before anything is written to it: the descriptor tells of what fails later.
        let copies = open_dir(upper)?;
        let mount = self.mount_copies(&plan)?;
        drop(places);
        let changed = mount.tree(copies.as_fd()).and_then(|tree| {
            change(tree.as_fd())?;
            match composed {
                true => copy_content(copies.as_fd(), tree.as_fd()),
                false => Ok(()),
            }
        });
        let ended = mount.end();
        changed.and(ended)?;
        if !self.options.unsynced {
            rustix::fs::syncfs(&copies).map_err(|e| Error::io("syncing", upper, e))?;
        }
        Ok(())
    }

    /// Mounts the tree in which the copies are made; where the kernel can, without a place: then nothing of the mount outlives a killed
    /// process, and nobody else can unmount it.
    fn mount_copies(&self, plan: &Plan) -> Result<Mount> {
        if let Some(program) = self.program() {
            let modes_apart = self.force_mask().is_some();
            plan.mount_by(program, &More { maps: None, modes_apart })?;
            return Ok(Mount::At(plan.target.clone()));
        }
        // A longer label no parameter carries, but a string may.
        if !kernel_before(6, 7) && plan.label.len() <= FSCONFIG_STRING_MAX {
            // What keeps the kernel from it, with long names for layers, too, keeps it from no mount at a place.
            const LACKS: [i32; 4] = [libc::ENOSYS, libc::EPERM, libc::EINVAL, libc::EOPNOTSUPP];
            match plan.mount_detached() {
                Err(e) if e.raw_os_error().is_some_and(|code| LACKS.contains(&code)) => {}
                made => return made.map(Mount::Detached),
            }
        }
        plan.mount().map(|()| Mount::At(plan.target.clone()))
    }

    /// The words of the mount in which the copies are made.
    fn words_of_copies(&self) -> Result<Vec<String>> {
        let mut words = self.effective_words(&[])?;
        words.extend(self.own_words());
        if self.program().is_some() {
            return Ok(words);
        }
        // An index would keep names of one file together that are not in the upper, and it does not outlive this mount.
        words.retain(|w| !w.starts_with("index=") && !w.starts_with("nfs_export="));
        words.push("index=off".to_owned());
        // The copies are synced in one go, not one by one, and a crash leaves none.
        if !words.iter().any(|w| w == "volatile") && self.supports_volatile()? {
            words.push("volatile".to_owned());
        }
        Ok(words)
    }
}

impl Mount {
    /// The tree, of which `upper` is the upper directory.
    fn tree(&self, upper: BorrowedFd<'_>) -> Result<OwnedFd> {
        let place = match self {
            Self::Detached(mount) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                return rustix::fs::openat(mount, ".", flags, Mode::empty()).map_err(|e| {
                    Error::new(ErrorKind::Io, "opening the tree of a mount")
                        .caused_by(std::io::Error::from(e))
                });
            }
            Self::At(place) => place,
        };
        let tree = open_dir(place)?;
        let device = |dir: BorrowedFd<'_>| {
            rustix::fs::fstat(dir).map(|s| s.st_dev).map_err(|e| Error::io("examining", place, e))
        };
        // In the directory below the mount there is nothing, which would be taken for all that has to be changed.
        if device(tree.as_fd())? == device(upper)? {
            return Err(Error::new(ErrorKind::Busy, format!("copying files at {place:?}"))
                .path(place)
                .detail("another process has unmounted what was mounted there")
                .hint("try again"));
        }
        Ok(tree)
    }

    fn end(self) -> Result<()> {
        let Self::At(place) = self else { return Ok(()) };
        if is_fuse_mount(&place) && program::unmount(&place) {
            return Ok(());
        }
        match detach(&place) {
            // Others have unmounted it; what was opened before that is whole.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            done => done.map_err(|e| Error::io("unmounting", &place, e)),
        }
    }
}

impl Remapped {
    fn commit(self) -> Result<()> {
        self.moves.iter().try_for_each(Move::carry_out)?;
        // The layer is changed: what is left of the old one is for the next recovery, and no failure.
        if let Err(e) = self.temp.cleanup() {
            tracing::warn!(error = %e, "removing what a change of id maps has replaced");
        }
        Ok(())
    }
}

impl Move {
    fn carry_out(&self) -> Result<()> {
        match relocate(&self.from, &self.to, RenameFlags::NOREPLACE) {
            // A work directory that was lost is no loss.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.from.ends_with("work") => {
                Ok(())
            }
            done => done.map_err(|e| Error::io("moving a layer's directory to", &self.to, e)),
        }
    }
}

/// Gives the older uppers the numbers from 1 on again, the newest first, as other versions look for them; returns these.
pub(super) fn close_gaps(layer: &LayerDir) -> Result<Vec<usize>> {
    let mut older = layer.older()?;
    for (n, found) in (1..).zip(&mut older) {
        if n != *found {
            tracing::warn!(layer = %layer.id, from = found, to = n, "an older upper gets its number back");
            Move { from: layer.older_dir(*found), to: layer.older_dir(n) }.carry_out()?;
            *found = n;
        }
    }
    Ok(older)
}

/// Has the kernel copy the content of the files in `upper`, which it has copied without: it does so for who opens them for writing in
/// the `tree`. What reads a layer's own files knows nothing of content in the layers below.
fn copy_content(upper: BorrowedFd<'_>, tree: BorrowedFd<'_>) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let copy = || -> rustix::io::Result<()> {
        let mut walk = Walk::new(upper)?;
        while let Some(item) = walk.next()? {
            if item.kind() == FileType::RegularFile {
                Beneath::new(tree).open(walk.path(), flags)?;
            }
        }
        Ok(())
    };
    copy().map_err(|e| {
        Error::new(ErrorKind::Io, "copying the content of files that get other owners")
            .caused_by(std::io::Error::from(e))
    })
}

fn has_entries(dir: &Path) -> Result<bool> {
    let failed = |e| Error::io("listing", dir, e);
    std::fs::read_dir(dir).map_err(failed)?.next().transpose().map(|e| e.is_some()).map_err(failed)
}

#[cfg(test)]
mod tests;
