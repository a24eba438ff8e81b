//! Layers whose names and attributes are an EROFS image, and whose files lie in `diff` by their digests: reading them
//! (`overlay-driver.md` 6.7, REM-15).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::chain::LayerDir;
use super::layout::{self, DirLook, open_dir};
use crate::archive::FileSource;
use crate::sys::beneath::Beneath;
use crate::sys::mount::detach;
use crate::sys::{erofs, regular};
use crate::{Error, Result};

/// The directory in a layer's that only a composefs layer has.
pub(super) const DATA: &str = "composefs-data";

/// The image in it.
const BLOB: &str = "composefs.blob";

/// Where in the home, or the run home, of the layer that is mounted the images are while it is.
const LAYERS: &str = "composefs-layers";

/// Where a file's content lies, from the root of the content's directory.
const REDIRECT: &str = "trusted.overlay.redirect";

/// That a file's content is not in the image.
const METACOPY: &str = "trusted.overlay.metacopy";

impl LayerDir {
    /// Whether the layer's tree is an image.
    pub(super) fn has_image(&self) -> bool {
        self.path().join(DATA).symlink_metadata().is_ok()
    }

    /// The layer's image, mounted nowhere in the tree.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] for a missing or damaged image; the kernel's.
    pub(super) fn open_image(&self) -> Result<OwnedFd> {
        let data = self.path().join(DATA);
        regular::refuse_link(&data)?;
        let blob = data.join(BLOB);
        let file = regular::open("opening the image of a composefs layer", &blob)?
            .ok_or_else(|| layout::damaged(&blob, "the image of a composefs layer is missing"))?;
        let with_acls = has_acls(&file).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => layout::damaged(&blob, "it is no image"),
            _ => Error::io("reading", &blob, e),
        })?;
        erofs::mount_image(&file, with_acls).map_err(|e| {
            let hint = match e.raw_os_error() {
                Some(libc::ENODEV) => "load the kernel module erofs",
                Some(libc::EINVAL | libc::EUCLEAN) => "the image is damaged: pull the layer again",
                _ => "look into the kernel's log",
            };
            Error::io("mounting the image of a composefs layer", &blob, e)
                .id(self.id.as_str())
                .hint(hint)
        })
    }
}

/// What the header of the image says of ACLs: bit 0 of its third number (GET-38). What else it says is the kernel's to judge.
fn has_acls(image: &File) -> io::Result<bool> {
    let mut header = [0u8; 12];
    (&mut &*image).read_exact(&mut header)?;
    let [.., a, b, c, d] = header;
    Ok(u32::from_le_bytes([a, b, c, d]) & 1 != 0)
}

/// The images that one mount needs, mounted beside it until the overlay has them (GET-40).
pub(super) struct Images {
    dir: PathBuf,
    mounted: Vec<PathBuf>,
}

impl Images {
    /// None yet; they are mounted beside `merged`.
    pub(super) fn beside(merged: &Path) -> Self {
        Self { dir: merged.with_file_name(LAYERS), mounted: Vec::new() }
    }

    /// Whether no layer of the mount is a composefs layer.
    pub(super) fn is_empty(&self) -> bool {
        self.mounted.is_empty()
    }

    /// Mounts the image of the layer that is the `n`th from the top, and tells where.
    pub(super) fn mount(&mut self, layer: &LayerDir, n: usize) -> Result<PathBuf> {
        let image = layer.open_image()?;
        let private = DirLook::root(0o700);
        layout::ensure_own_dir(&self.dir, private)?;
        let target = self.dir.join(n.to_string());
        layout::ensure_own_dir(&target, private)?;
        // What a killed process has left there would be hidden, and stay.
        let _ = detach(&target);
        erofs::attach(&image, &target)
            .map_err(|e| Error::io("mounting an image at", &target, e).id(layer.id.as_str()))?;
        self.mounted.push(target.clone());
        Ok(target)
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        for target in &self.mounted {
            if let Err(e) = detach(target) {
                tracing::warn!(path = ?target, error = %e, "unmounting a composefs image");
            }
        }
    }
}

/// The files of a composefs layer under their names.
pub(super) struct ImageFiles {
    image: OwnedFd,
    content: OwnedFd,
}

impl ImageFiles {
    pub(super) fn open(layer: &LayerDir, content: &Path) -> Result<Self> {
        Ok(Self { image: layer.open_image()?, content: open_dir(content)? })
    }
}

impl FileSource for ImageFiles {
    /// Finds the file in the image and opens what that says its content is; a small file's content may be in the image itself.
    fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let image = Beneath::new(self.image.as_fd());
        let named = image.open(name, OFlags::PATH | OFlags::NOFOLLOW)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&named)?.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = image.open(name, flags)?;
        let mut buffer = [0u8; 4096];
        match rustix::fs::fgetxattr(&file, REDIRECT, &mut buffer) {
            Ok(length) => {
                let path = buffer.get(..length).unwrap_or_default();
                Ok(File::from(Beneath::new(self.content.as_fd()).open(path, flags)?))
            }
            Err(Errno::NODATA) => match rustix::fs::fgetxattr(&file, METACOPY, &mut buffer) {
                Err(Errno::NODATA) => Ok(File::from(file)),
                Err(e) => Err(e.into()),
                Ok(_) => Err(io::Error::other("the image does not say where the content lies")),
            },
            Err(e) => Err(e.into()),
        }
    }
}
