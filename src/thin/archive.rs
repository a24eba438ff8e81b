//! The archive of a thin image's one layer.

use std::io::Write;

use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

use super::document::{FILE_NAME, ThinImage};
use crate::{Error, ErrorKind, Result};

const BLOCK: usize = 512;

/// Writes the tar of a thin layer: `thin.json` of mode 0644, and nothing else. Equal images give equal bytes.
///
/// # Errors
/// As [`ThinImage::to_json`], and when `out` cannot be written.
pub fn write_archive(image: &ThinImage, out: &mut dyn Write) -> Result<()> {
    let document = image.to_json()?;
    let internal = |e: tar_core::HeaderError| {
        Error::new(ErrorKind::Internal, format!("writing the header of {FILE_NAME}")).caused_by(e)
    };
    let mut entry = EntryBuilder::new_ustar();
    entry.path(FILE_NAME).entry_type(EntryType::Regular);
    entry.mode(0o644).map_err(internal)?;
    entry.uid(0).map_err(internal)?;
    entry.gid(0).map_err(internal)?;
    entry.mtime(0).map_err(internal)?;
    entry.size(document.len() as u64).map_err(internal)?;
    let mut tar = entry.finish_bytes();
    tar.extend_from_slice(document.as_bytes());
    // The end is two blocks of zeros.
    tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    out.write_all(&tar)
        .map_err(|e| Error::new(ErrorKind::Io, "writing a thin image's archive").caused_by(e))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::{CvmfsUrl, ThinLayer};
    use super::*;
    use crate::Digest;

    #[test]
    fn the_archive_has_one_member() {
        // 18.1, image tar
        let url = CvmfsUrl::parse("cvmfs://r/layers/1").unwrap();
        let layer = ThinLayer { digest: Digest::sha256(b"1"), url: Some(url) };
        for count in [0, 1, 100] {
            let image = ThinImage::of(vec![layer.clone(); count]);
            let mut tar = Vec::new();
            write_archive(&image, &mut tar).unwrap();
            assert_eq!(tar.len() % BLOCK, 0);
            let mut archive = tar::Archive::new(tar.as_slice());
            let mut seen = 0;
            for entry in archive.entries().unwrap() {
                let mut entry = entry.unwrap();
                assert_eq!(entry.path_bytes().as_ref(), FILE_NAME.as_bytes());
                assert_eq!(entry.header().mode().unwrap(), 0o644);
                assert_eq!(entry.header().uid().unwrap(), 0);
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                assert_eq!(ThinImage::read(text.as_bytes()).unwrap(), image);
                seen += 1;
            }
            assert_eq!(seen, 1);
        }
    }
}
