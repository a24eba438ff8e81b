//! Making composefs layers: from files that lie by their digests, and a list of their names, an image by mkcomposefs
//! (`overlay-driver.md` APL-5, APL-6, GET-41).

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use super::chain::LayerDir;
use super::composefs::{BLOB, DATA};
use super::create::BASE_MODE;
use super::dump_tar::DumpTar;
use super::layout::{DirLook, make_dir, open_dir};
use super::{Overlay, dump};
use crate::archive;
use crate::config::Environment;
use crate::driver::ApplyOptions;
use crate::sys::program::{self, Streams};
use crate::sys::relocate::relocate;
use crate::sys::remove::remove_tree;
use crate::sys::verity;
use crate::{Error, ErrorKind, Result};

/// The program that makes images.
const MAKER: &str = "mkcomposefs";

/// What a staged pull by digests becomes.
pub(super) enum Made {
    /// A composefs layer: the directory with its image, to lie beside the content.
    Image(PathBuf),
    /// An ordinary layer, in place of the content: it deletes, which an image by that program cannot do.
    Tree(PathBuf),
}

impl Overlay {
    /// Finds the program that makes images, and whether this store can mount them.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`]
    pub(super) fn image_maker(&self) -> Result<PathBuf> {
        let hindrance = if self.rootless {
            Some(("a user namespace mounts no images", "run as root"))
        } else if self.program().is_some() {
            Some(("the mount program cannot show it", "remove mount_program"))
        } else if self.force_mask().is_some() {
            Some(("an image has the modes that the files shall not have", "remove force_mask"))
        } else {
            None
        };
        usable_maker(hindrance, find_maker())
    }

    /// Makes the image of the files that `dump` lists, whose content is in `content`, in the empty directory `beside`; of a layer that
    /// deletes, the tree. No layer is touched. Without `root_mode` the root's mode is the dump's.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a dump that is malformed, or names content that is not there; [`ErrorKind::NotSupported`]
    /// without mkcomposefs; with its words when it fails.
    pub(super) fn make_image(
        &self,
        beside: &Path,
        content: BorrowedFd<'_>,
        root_mode: Option<u32>,
        dump: &mut dyn Read,
    ) -> Result<Made> {
        let maker = self.image_maker()?;
        let path = beside.join("list");
        let mut list = BufWriter::new(fresh_file(&path, 0o600)?);
        let deletes = dump::check(dump, content, root_mode, &mut list)?;
        let list = reread(list).map_err(|e| Error::io("writing", &path, e))?;
        if deletes {
            let tree = beside.join("tree");
            let root = make_dir(&tree, DirLook::root(BASE_MODE))?;
            let how = self.unpack_options(&ApplyOptions::default())?;
            archive::unpack(&mut DumpTar::new(&list, content), root.as_fd(), &how)?;
            return Ok(Made::Tree(tree));
        }
        let data = beside.join(DATA);
        make_dir(&data, DirLook::root(0o700))?;
        let blob = data.join(BLOB);
        run_maker(&maker, &list, &blob)?;
        seal(&blob)?;
        Ok(Made::Image(data))
    }

    /// Makes the image at `data` the layer's, whose content is to follow.
    ///
    /// # Errors
    /// A failed rename.
    pub(super) fn put_image(&self, data: &Path, layer: &LayerDir) -> Result<()> {
        self.adopt_content(open_dir(data)?.as_fd(), layer)?;
        let place = layer.path().join(DATA);
        relocate(data, &place, RenameFlags::NOREPLACE)
            .map_err(|e| Error::io("moving the image of a composefs layer to", &place, e))
    }

    /// Undoes [`Overlay::put_image`].
    pub(super) fn withdraw_image(&self, layer: &LayerDir) {
        let place = layer.path().join(DATA);
        if let Err(e) = remove_tree(&place) {
            tracing::warn!(path = ?place, error = %e, "removing the image of a composefs layer that was not made");
        }
    }
}

fn usable_maker(hindrance: Option<(&str, &str)>, found: Option<PathBuf>) -> Result<PathBuf> {
    let (why, hint) = match (hindrance, found) {
        (None, Some(maker)) => return Ok(maker),
        (Some(hindrance), _) => hindrance,
        (None, None) => ("mkcomposefs is not on PATH", "install composefs"),
    };
    Err(Error::new(ErrorKind::NotSupported, "making a composefs layer, as use_composefs asks for")
        .detail(why)
        .hint(format!("{hint}, or remove use_composefs from storage.conf")))
}

fn find_maker() -> Option<PathBuf> {
    let found = Environment::of_process().find_program(MAKER);
    #[cfg(test)]
    let found = found.or_else(super::tests::fetched_maker);
    found
}

/// Has the program make the image at `blob` of the files in `list`.
fn run_maker(maker: &Path, list: &File, blob: &Path) -> Result<()> {
    let out = fresh_file(blob, 0o644)?;
    let streams = Streams { input: Some(list.as_fd()), output: Some(out.as_fd()) };
    let arguments: [&OsStr; 3] = ["--from-file".as_ref(), "-".as_ref(), "-".as_ref()];
    let environment = Environment::of_process();
    let failed = |why: String| {
        Error::new(ErrorKind::Io, format!("making the image of a composefs layer by {maker:?}"))
            .path(blob)
            .detail(why)
    };
    let ended = program::run(maker, &arguments, Path::new("/"), &environment.vars, streams)
        .map_err(|e| failed(format!("it cannot be run: {e}")).caused_by(e))?;
    match ended.code {
        0 => Ok(()),
        code => Err(failed(format!("{} (exit code {code})", ended.said))),
    }
}

/// Seals the image with fs-verity, where that is to be had (GET-41).
fn seal(blob: &Path) -> Result<()> {
    let file = File::open(blob).map_err(|e| Error::io("opening", blob, e))?;
    if let Err(e) = verity::seal(&file) {
        tracing::warn!(path = ?blob, error = %e, "an image is not sealed with fs-verity");
    }
    Ok(())
}

/// What was written, to be read from its beginning.
fn reread(writer: BufWriter<File>) -> io::Result<File> {
    let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

fn fresh_file(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(mode).custom_flags(libc::O_CLOEXEC);
    options.open(path).map_err(|e: io::Error| Error::io("making", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        // APL-5, 4.1
        let found = || Some(PathBuf::from("/bin/mkcomposefs"));
        assert_eq!(usable_maker(None, found()).unwrap(), Path::new("/bin/mkcomposefs"));
        let e = usable_maker(None, None).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotSupported);
        assert!(e.to_string().contains("mkcomposefs is not on PATH"), "{e}");
        let e = usable_maker(Some(("why", "what")), found()).unwrap_err();
        assert!(e.to_string().contains("why"), "{e}");
    }
}
