//! What a layer's mount is made of: its directories and those of the layers below, and the words (`overlay-driver.md` 6.1 to 6.3).

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::chain::{Heal, LayerDir, Place};
use super::composefs::Images;
use super::dialect::LayerView;
use super::get::How;
use super::layout::{self, DirLook, LinkId};
use super::mount::{Lower, Plan, Upper};
use super::probe::METACOPY;
use super::shift::Mapped;
use super::{Overlay, ids};
use crate::sys::remove::remove_tree;
use crate::{Error, ErrorKind, IdMaps, Result};

/// A layer and those below it, with the numbers of their older directories.
#[derive(Clone, Copy)]
pub(super) struct Chain<'a> {
    pub(super) layer: &'a LayerDir,
    pub(super) below: &'a [(LayerDir, Vec<usize>)],
    pub(super) older: &'a [usize],
    /// Whether lost short links are made again.
    pub(super) heal: Heal,
}

impl Overlay {
    /// What a mount of the layer is made of. With [`Heal::OnDisk`], for a layer that is not mounted, what a crash has taken from it is made
    /// again, and its work directory is made ready; else nothing on the disk changes. `images` are to live until the mount is made: after
    /// that the overlay keeps them itself.
    pub(super) fn plan(
        &self,
        layer: &LayerDir,
        merged: &Path,
        how: &How,
        heal: Heal,
        images: &mut Images,
    ) -> Result<Plan> {
        let own = layer.place == Place::Home;
        let dir = layer.path();
        let heal = if own { heal } else { Heal::No };
        let lower_layers = self.lowers(layer, heal)?;
        let below = self.contents_below(lower_layers)?;
        let frozen = self.rules.view(self, layer)? == LayerView::ReadOnly;
        let read_only = !own || frozen || how.read_only();
        if heal == Heal::OnDisk {
            ids::close_gaps(layer)?;
            let maps = (!read_only).then_some(&how.maps);
            self.restore_diff(layer, below.first().map(|(lower, _)| lower), maps)?;
        }
        let older = self.check_content(layer)?;
        if !read_only {
            self.check_writable(layer)?;
        }

        let chain = Chain { layer, below: &below, older: &older, heal };
        let (mut lowers, mut data) = self.lower_dirs(&chain, read_only, images)?;
        // Two lowers at least make a read-only overlay; N names the empty directory as well.
        if lowers.len() <= usize::from(read_only) {
            lowers.push(self.empty_lower(layer, heal)?);
        }

        let mut words = self.rules.words();
        words.extend_from_slice(&how.words);
        words.extend(self.own_words());
        if !data.is_empty() {
            words.extend([METACOPY, "redirect_dir=on"].map(str::to_owned));
            if !self.supports_data_only()? {
                lowers.append(&mut data);
            }
        }
        if how.volatile && !words.iter().any(|w| w == "volatile") && self.supports_volatile()? {
            words.push("volatile".to_owned());
        }
        let upper = (!read_only).then(|| {
            let side = |name: &str| {
                let path = dir.join(name);
                Lower { short: self.shorten(&path), absolute: path }
            };
            Upper { diff: side(layer.content), work: side("work") }
        });
        if !read_only && heal == Heal::OnDisk {
            layout::ensure_own_dir(&dir.join("work"), DirLook::root(0o700))?;
            // The kernel refuses a second volatile mount as long as this marker stands (GET-42).
            remove_tree(&dir.join("work/work/incompat/volatile"))?;
        }
        Ok(Plan {
            home: self.home.clone(),
            target: merged.to_path_buf(),
            lowers,
            data,
            upper,
            words,
            label: how.label.clone(),
        })
    }

    /// Maps the owners of the lower directories, where the mount asks for it and the kernel can; what is returned keeps the mapped
    /// directories until the mount is made (GET-33).
    pub(super) fn map_lowers(
        &self,
        layer: &LayerDir,
        how: &How,
        plan: &mut Plan,
        images: &Images,
    ) -> Result<Option<Mapped>> {
        let both = !how.maps.uids.is_empty() && !how.maps.gids.is_empty();
        if both && self.shifts(&how.maps)? {
            let elsewhere = |l: &Lower| l.absolute.is_symlink();
            if !images.is_empty() || plan.lowers.iter().any(elsewhere) {
                // Neither is in the home, which is what is mapped.
                return Err(Error::new(
                    ErrorKind::NotSupported,
                    "mapping the owners of the layers below",
                )
                .id(layer.id.as_str())
                .detail("composefs layers, or layers of an additional layer store, are among them")
                .hint("set disable_idmap=true, so that layers are copied with other owners"));
            }
            let read_only = plan.upper.is_none();
            self.map_plan(layer, &how.maps, read_only, plan).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Layers with the numbers of their older directories, each of them checked.
    pub(super) fn contents_below(
        &self,
        lowers: Vec<LayerDir>,
    ) -> Result<Vec<(LayerDir, Vec<usize>)>> {
        lowers
            .into_iter()
            .map(|lower| self.check_content(&lower).map(|older| (lower, older)))
            .collect()
    }

    /// Every directory of the layers below, and the layer's own that lie below the upper, or with `diff` all of them; then those that
    /// hold nothing but the data of composefs layers among them.
    pub(super) fn lower_dirs(
        &self,
        chain: &Chain<'_>,
        with_diff: bool,
        images: &mut Images,
    ) -> Result<(Vec<Lower>, Vec<Lower>)> {
        let Chain { layer, below, older, heal } = *chain;
        let links = Self::listed_links(layer, below.len());
        let (mut lowers, mut data) = (Vec::new(), Vec::new());
        if with_diff {
            lowers.push(self.top(layer, 0, None, images, &mut data)?);
        }
        lowers.extend(older.iter().map(|n| {
            let path = layer.older_dir(*n);
            Lower { short: self.shorten(&path), absolute: path }
        }));
        for (n, (lower, older)) in below.iter().enumerate() {
            if let Some(nested) = self.rules.nested(self, lower)? {
                lowers.extend(nested);
                continue;
            }
            let link = match links.get(n) {
                Some(listed) if listed.leads_to(lower) => Some(listed.clone()),
                _ => self.short_link(lower, heal)?,
            };
            let link = link.as_ref().map(|l| match lower.place {
                Place::Home => PathBuf::from(l.relative()),
                Place::ImageStore | Place::Additional => l.path(&lower.home),
            });
            let link = link.as_deref();
            lowers.push(self.top(lower, n + 1, link, images, &mut data)?);
            lowers.extend(older.iter().map(|n| self.lower(lower, *n, link)));
        }
        Ok((lowers, data))
    }

    /// What the `n`th layer from the top has in `diff`: of a composefs layer its image, with `diff` among `data`.
    fn top(
        &self,
        layer: &LayerDir,
        n: usize,
        link: Option<&Path>,
        images: &mut Images,
        data: &mut Vec<Lower>,
    ) -> Result<Lower> {
        let diff = self.lower(layer, 0, link);
        if !layer.has_image() {
            return Ok(diff);
        }
        if let Some(program) = self.program() {
            return Err(Error::new(
                ErrorKind::NotSupported,
                format!("mounting layer {}", layer.id),
            )
            .id(layer.id.as_str())
            .detail(format!("it is a composefs layer, which {program:?} cannot show")));
        }
        data.push(diff);
        let image = images.mount(layer, n)?;
        Ok(Lower { short: self.shorten(&image), absolute: image })
    }

    /// The words that every mount by the kernel has: without the rights of the first user namespace's root, overlay's marks are in user
    /// xattrs (GET-20).
    pub(super) fn own_words(&self) -> Option<String> {
        (self.rootless && self.program().is_none()).then(|| "userxattr".to_owned())
    }

    /// The short links of the layers below as the layer itself lists them, which spares a look into each; none if the list is
    /// another one.
    fn listed_links(layer: &LayerDir, below: usize) -> Vec<LinkId> {
        let listed = layout::read_lower(&layer.path()).ok().flatten().unwrap_or_default();
        if listed.len() == below { listed } else { Vec::new() }
    }

    /// One directory of a lower layer, `n` 0 for `diff`, as N writes it and as short as can be.
    fn lower(&self, layer: &LayerDir, n: usize, link: Option<&Path>) -> Lower {
        let diff = layer.diff();
        let absolute = match n {
            0 => diff,
            _ => diff.join("..").join(format!("diff{n}")),
        };
        let direct = match n {
            0 => self.shorten(&absolute),
            _ => self.shorten(&layer.path().join(format!("diff{n}"))),
        };
        let by_link = link.map(|l| match n {
            0 => l.to_path_buf(),
            _ => l.join("..").join(format!("diff{n}")),
        });
        let absolute = match &by_link {
            Some(link) if self.rules.shape().lowers_by_link => layer.home.join(link),
            _ => absolute,
        };
        let short = match by_link {
            Some(link) if link.as_os_str().len() < direct.as_os_str().len() => link,
            _ => direct,
        };
        Lower { absolute, short }
    }

    /// A path as seen from the home.
    pub(super) fn shorten(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.home).unwrap_or(path).to_path_buf()
    }

    /// The directory that stands below a layer without parent.
    pub(super) fn empty_lower(&self, layer: &LayerDir, heal: Heal) -> Result<Lower> {
        let path = layer.path().join("empty");
        if heal == Heal::OnDisk {
            layout::ensure_own_dir(&path, DirLook::root(0o700))?;
        }
        Ok(Lower { short: self.shorten(&path), absolute: path })
    }

    /// Makes a lost `diff` again (GET-7), with mode and owner of what lies below. The tree's root is seen with its owner, whom mounts do
    /// not map: with `maps` it is root's of these, without it stays as it is (DEF-22, ADD-9).
    pub(super) fn restore_diff(
        &self,
        layer: &LayerDir,
        below: Option<&LayerDir>,
        maps: Option<&IdMaps>,
    ) -> Result<()> {
        let diff = layer.diff();
        let root = match maps {
            Some(maps) if !maps.is_empty() => Some(maps.root()?),
            _ => None,
        };
        let present = match diff.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Ok(m) if m.is_dir() => DirLook::of(&diff).ok(),
            _ => return Ok(()),
        };
        let look = present
            .or_else(|| DirLook::of(&layer.older_dir(1)).ok())
            .or_else(|| below.and_then(|b| DirLook::of(&b.diff()).ok()))
            .unwrap_or(DirLook::root(0o555));
        let (uid, gid) = root.unwrap_or((look.uid, look.gid));
        let wanted = DirLook { uid, gid, ..look };
        match present {
            None => layout::make_dir(&diff, wanted).map(drop),
            Some(present) if present == wanted => Ok(()),
            Some(_) => wanted.apply(layout::open_dir(&diff)?.as_fd(), &diff),
        }
    }
}
