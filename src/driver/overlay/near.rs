//! The home, open while a mount looks at many of its layers: names from there are short, and nearly every layer is plain.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::chain::LayerDir;
use super::composefs::DATA;
use super::ids::WIDEST_GAP;
use super::layout::{self, LinkId};
use super::plain::{Lack, Look, Plain};
use crate::LayerId;

/// Says of a layer in the home what it is sure of; whoever hears nothing asks by the whole path, and learns what is wrong.
pub(super) struct Near<'a> {
    home: &'a Path,
    open: OnceCell<Option<OwnedFd>>,
}

impl<'a> Near<'a> {
    /// The home is opened once it is asked something.
    pub(super) fn of(home: &'a Path) -> Self {
        Self { home, open: OnceCell::new() }
    }

    fn dir(&self) -> Option<&OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || rustix::fs::open(self.home, flags, Mode::empty()).ok();
        self.open.get_or_init(open).as_ref()
    }

    /// How the layer's directory looks, if it has it.
    pub(super) fn look(&self, id: &LayerId) -> Option<Look> {
        self.stat(id.as_str()).ok().filter(is_dir).map(|about| Look::of(&about))
    }

    /// Whether the layer's content is one directory of its own, `diff`, and nothing else.
    pub(super) fn is_plain(&self, layer: &LayerDir, plain: &Plain) -> bool {
        let search = || {
            let path = [layer.id.as_str(), "/diff"].concat();
            self.stat(&path).is_ok_and(|about| is_dir(&about))
                && (1..=WIDEST_GAP + 1).all(|n| self.lacks(&format!("{path}{n}")))
        };
        match &layer.look {
            Some(look) => plain.lacks(&layer.id, look, Lack::Older, search),
            None => search(),
        }
    }

    /// Whether the layer's tree is surely no image.
    pub(super) fn has_no_image(&self, layer: &LayerDir, plain: &Plain) -> bool {
        let search = || self.lacks(&[layer.id.as_str(), "/", DATA].concat());
        match &layer.look {
            Some(look) => plain.lacks(&layer.id, look, Lack::Image, search),
            None => search(),
        }
    }

    /// Whether the short link leads to the layer.
    pub(super) fn leads_to(&self, link: &LinkId, id: &LayerId) -> bool {
        let Some(home) = self.dir() else { return false };
        rustix::fs::readlinkat(home, link.relative(), Vec::new()).is_ok_and(|text| {
            text.as_bytes() == layout::target_of_layer(id).as_os_str().as_encoded_bytes()
        })
    }

    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        let home = self.dir().ok_or(Errno::BADF)?;
        rustix::fs::statat(home, path, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn lacks(&self, path: &str) -> bool {
        self.stat(path).is_err_and(|e| e == Errno::NOENT)
    }
}

fn is_dir(about: &Stat) -> bool {
    FileType::from_raw_mode(about.st_mode) == FileType::Directory
}
