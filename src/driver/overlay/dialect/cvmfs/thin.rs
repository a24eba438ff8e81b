//! Which layers are thin, and what they list.
//!
//! That a layer has a file `thin.json` is not enough: whoever writes into a container can make one. What counts is that the layer was
//! unpacked from an archive with nothing else in it, which is written down beside its content.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags};

use crate::driver::overlay::Overlay;
use crate::driver::overlay::chain::LayerDir;
use crate::driver::overlay::layout;
use crate::sys::regular;
use crate::thin::{FILE_NAME, ThinImage};
use crate::{Error, Result};

/// The file in a layer's directory that tells that it is thin, in a home that is shared with podman.
const MARK: &str = "thin";

/// The file in such a home that tells that it has thin layers.
pub(in crate::driver::overlay::dialect) const HOME_FLAG: &str = ".has-thin-layers";

/// The file in a layer's directory that names its parent, if that is thin (18.1).
pub(in crate::driver::overlay::dialect) const PARENT: &str = "thin_parent";

/// What a layer with the mark lists.
pub(super) fn marked(layer: &LayerDir) -> Result<Option<ThinImage>> {
    match layer.path().join(MARK).symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("examining", layer.path().join(MARK), e)),
        Ok(_) => document(&layer.diff()),
    }
}

/// Marks a layer that is about to get thin content, or takes the mark away.
pub(super) fn mark(driver: &Overlay, layer: &LayerDir, thin: bool) -> Result<()> {
    let path = layer.path().join(MARK);
    if thin {
        layout::write_marker(&driver.home.join(HOME_FLAG), 0o644)?;
        return layout::write_marker(&path, 0o644);
    }
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(|e| Error::io("removing", &path, e)),
    }
}

/// The document in a layer's content, if there is one.
pub(super) fn document(content: &Path) -> Result<Option<ThinImage>> {
    let path = content.join(FILE_NAME);
    let Some(file) = regular::open("reading", &path)? else { return Ok(None) };
    ThinImage::read(file).map(Some).map_err(|e| e.path(&path))
}

/// The document in content that has nothing else.
pub(super) fn staged(content: BorrowedFd<'_>) -> Result<Option<ThinImage>> {
    let failed = |e: rustix::io::Errno| {
        Error::io("reading what was unpacked", FILE_NAME, io::Error::from(e))
    };
    let mut names = Vec::new();
    for entry in Dir::read_from(content).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
        if names.len() > 1 {
            return Ok(None);
        }
    }
    if names.first().is_none_or(|name| name.to_bytes() != FILE_NAME.as_bytes()) {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(content, FILE_NAME, flags, Mode::empty()).map_err(failed)?;
    let file = File::from(file);
    if !file.metadata().is_ok_and(|m| m.is_file()) {
        return Ok(None);
    }
    let image = ThinImage::read(file)?;
    // A layer that nothing could be mounted from is better refused now than on a busy day.
    image.newest_first()?;
    Ok(Some(image))
}
