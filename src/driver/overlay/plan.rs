//! What a layer's mount is made of: its directories and those of the layers below, and the words (`overlay-driver.md` 6.1 to 6.3).

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::chain::{Heal, LayerDir, Place};
use super::create::BASE_MODE;
use super::dialect::LayerView;
use super::get::How;
use super::layout::{self, DirLook, LinkId};
use super::mount::{Lower, Plan, Upper};
use super::near::Near;
use super::places::Places;
use super::probe::METACOPY;
use super::shift::unmappable;
use super::{Overlay, ids};
use crate::sys::idmapped::map_owners;
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
    /// again, and its work directory is made ready; else nothing of the layer changes. `places` are to live until the mount is made: after
    /// that the overlay keeps what stands there itself.
    pub(super) fn plan(
        &self,
        layer: &LayerDir,
        merged: &Path,
        how: &How,
        heal: Heal,
        places: &mut Places,
    ) -> Result<Plan> {
        let own = layer.place == Place::Home;
        let dir = layer.path();
        let heal = if own { heal } else { Heal::No };
        let lower_layers = self.lowers(layer, heal)?;
        let below = self.contents_below(lower_layers)?;
        let frozen = self.rules.view(self, layer)? == LayerView::ReadOnly;
        let read_only = !own || frozen || how.read_only();
        let older = if heal == Heal::OnDisk {
            let older = ids::close_gaps(layer)?;
            let maps = (!read_only).then_some(&how.maps);
            self.restore_diff(layer, below.first().map(|(lower, _)| lower), maps)?;
            self.content_of(layer)?;
            older
        } else {
            self.check_content(layer)?
        };
        if !read_only {
            self.check_writable(layer)?;
        }

        let chain = Chain { layer, below: &below, older: &older, heal };
        let (mut lowers, data) = self.lower_dirs(&chain, read_only, places)?;
        // Two lowers at least make a read-only overlay; N names the empty directory as well.
        if lowers.len() <= usize::from(read_only) {
            lowers.push(self.empty_lower(layer, heal)?);
        }

        let mut words = self.rules.words();
        words.extend_from_slice(&how.words);
        words.extend(self.own_words());
        words.extend(words_of(places));
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
            layer.clear_volatile_mark()?;
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

    /// Layers with the numbers of their older directories, each of them checked.
    pub(super) fn contents_below(
        &self,
        lowers: Vec<LayerDir>,
    ) -> Result<Vec<(LayerDir, Vec<usize>)>> {
        let near = Near::of(&self.home);
        lowers
            .into_iter()
            .map(|lower| match lower.place == Place::Home && near.is_plain(&lower, &self.plain) {
                true => Ok((lower, Vec::new())),
                false => self.check_content(&lower).map(|older| (lower, older)),
            })
            .collect()
    }

    /// Every directory of the layers below, and the layer's own that lie below the upper, or with `diff` all of them; then those that
    /// hold nothing but the data of composefs layers among them.
    pub(super) fn lower_dirs(
        &self,
        chain: &Chain<'_>,
        with_diff: bool,
        places: &mut Places,
    ) -> Result<(Vec<Lower>, Vec<Lower>)> {
        let Chain { layer, below, older, heal } = *chain;
        let links = Self::listed_links(layer, below.len());
        let near = Near::of(&self.home);
        let (mut lowers, mut data) = (Vec::new(), Vec::new());
        if with_diff {
            lowers.push(self.top(layer, 0, None, places, &mut data)?);
            self.settle_data(&mut lowers, &mut data)?;
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
            let here = lower.place == Place::Home;
            let leads = |link: &LinkId| match here {
                true => near.leads_to(link, &lower.id),
                false => link.leads_to(lower),
            };
            let link = match links.get(n) {
                Some(listed) if leads(listed) => Some(listed.clone()),
                _ => self.short_link(lower, heal)?,
            };
            let link = link.as_ref().map(|l| match lower.place {
                Place::Home => PathBuf::from(l.relative()),
                Place::ImageStore | Place::Additional => l.path(&lower.home),
            });
            let link = link.as_deref();
            lowers.push(match here && near.has_no_image(lower, &self.plain) {
                true => self.lower(lower, 0, link),
                false => self.top(lower, n + 1, link, places, &mut data)?,
            });
            self.settle_data(&mut lowers, &mut data)?;
            lowers.extend(older.iter().map(|n| self.lower(lower, *n, link)));
        }
        Ok((lowers, data))
    }

    /// Where the kernel knows no layers of data alone, what an image names lies right below it: its marks hide the names of content from
    /// layers that are seen, those of the images below would hide the content itself (GET-40).
    fn settle_data(&self, lowers: &mut Vec<Lower>, data: &mut Vec<Lower>) -> Result<()> {
        if !data.is_empty() && !self.supports_data_only()? {
            lowers.append(data);
        }
        Ok(())
    }

    /// What the `n`th layer from the top has in `diff`: of a composefs layer its image, with `diff` among `data`.
    fn top(
        &self,
        layer: &LayerDir,
        n: usize,
        link: Option<&Path>,
        places: &mut Places,
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
        let image = layer.open_image()?;
        // What is the layer's own keeps its owners (GET-36).
        if n > 0
            && let Some(owners) = places.owners()
        {
            map_owners(&image, owners).map_err(|e| unmappable(&layer.path(), e, &layer.id))?;
        }
        data.push(diff);
        let image = places.put(&image).map_err(|e| e.id(layer.id.as_str()))?;
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

    /// Makes a lost `diff` again (GET-7), with mode and owner of what lies below, else with the mode that all have. The tree's root is
    /// seen with its owner, whom mounts do not map: with `maps` it is root's of these, without it stays as it is (DEF-22, ADD-9).
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
            Ok(m) if m.is_dir() => Some(DirLook::from(&m)),
            _ => return Ok(()),
        };
        let look = present
            .or_else(|| DirLook::of(&layer.older_dir(1)).ok())
            .or_else(|| below.and_then(|b| DirLook::of(&b.diff()).ok()))
            .unwrap_or_else(|| DirLook::root(self.force_mask().unwrap_or(BASE_MODE)));
        let (uid, gid) = root.unwrap_or((look.uid, look.gid));
        let wanted = DirLook { uid, gid, ..look };
        match present {
            None => layout::make_dir(&diff, wanted).map(drop),
            Some(present) if present == wanted => Ok(()),
            Some(_) => wanted.apply(layout::open_dir(&diff)?.as_fd(), &diff),
        }
    }
}

/// The words that content elsewhere needs, if there are images among the lowers (GET-20).
pub(super) fn words_of(places: &Places) -> Vec<String> {
    match places.is_empty() {
        true => Vec::new(),
        false => [METACOPY, "redirect_dir=on"].map(str::to_owned).into(),
    }
}
