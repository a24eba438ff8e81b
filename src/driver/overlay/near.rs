//! The home, open while a mount looks at many of its layers: names from there are short, and nearly every layer is plain.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::composefs::DATA;
use super::ids::WIDEST_GAP;
use super::layout::{self, LinkId};
use crate::LayerId;

/// Says of a layer in the home what it is sure of; whoever hears nothing asks by the whole path, and learns what is wrong.
pub(super) struct Near(Option<OwnedFd>);

impl Near {
    pub(super) fn open(home: &Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self(rustix::fs::open(home, flags, Mode::empty()).ok())
    }

    /// Whether it has the layer's directory.
    pub(super) fn has(&self, id: &LayerId) -> bool {
        self.kind(id.as_str()) == Ok(FileType::Directory)
    }

    /// Whether the layer's content is one directory of its own, `diff`, and nothing else.
    pub(super) fn is_plain(&self, id: &LayerId) -> bool {
        let path = [id.as_str(), "/diff"].concat();
        self.kind(&path) == Ok(FileType::Directory)
            && (1..=WIDEST_GAP + 1).all(|n| self.lacks(&format!("{path}{n}")))
    }

    /// Whether the layer's tree is surely no image.
    pub(super) fn has_no_image(&self, id: &LayerId) -> bool {
        self.lacks(&[id.as_str(), "/", DATA].concat())
    }

    /// Whether the short link leads to the layer.
    pub(super) fn leads_to(&self, link: &LinkId, id: &LayerId) -> bool {
        let Some(home) = &self.0 else { return false };
        rustix::fs::readlinkat(home, link.relative(), Vec::new()).is_ok_and(|text| {
            text.as_bytes() == layout::target_of_layer(id).as_os_str().as_encoded_bytes()
        })
    }

    fn kind(&self, path: &str) -> Result<FileType, Errno> {
        let home = self.0.as_ref().ok_or(Errno::BADF)?;
        let about = rustix::fs::statat(home, path, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(about.st_mode))
    }

    fn lacks(&self, path: &str) -> bool {
        self.kind(path) == Err(Errno::NOENT)
    }
}
