//! What must hold of any `thin.json`, and of any address of a layer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test for any input")]

use std::path::{Component, Path};

use super::{CvmfsUrl, Repository, ThinImage};
use crate::ErrorKind;

/// Any bytes as a document: what is accepted leads nowhere but into repositories, and written again says the same.
pub(crate) fn thin_json(data: &[u8]) {
    let image = match ThinImage::read(data) {
        Ok(image) => image,
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::NotSupported), "{e:?}");
            return;
        }
    };
    image.layers.iter().filter_map(|layer| layer.url.as_ref()).for_each(stays_below);
    assert_eq!(ThinImage::read(image.to_json().unwrap().as_bytes()).unwrap(), image);
}

/// Lines as addresses and as names of repositories: what is accepted reads back as the same, and leads into the repository.
pub(crate) fn cvmfs_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.split('\n') {
        match CvmfsUrl::parse(line) {
            Ok(url) => {
                assert_eq!(url.to_string(), line);
                assert_eq!(CvmfsUrl::new(url.repository().clone(), url.folder()).unwrap(), url);
                stays_below(&url);
            }
            Err(e) => assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{e}"),
        }
        if let Ok(repository) = Repository::new(line) {
            assert_eq!(repository.as_str(), line);
            assert!(CvmfsUrl::parse(&format!("cvmfs://{repository}/layers/1")).is_ok());
        }
    }
}

/// Joined to a mount point, the address is a path below it, whose first part is the repository's name alone.
fn stays_below(url: &CvmfsUrl) {
    let path = Path::new(url.repository().as_str()).join(url.folder());
    assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{url}");
    assert!(path.components().count() >= 2, "{url}");
    assert_eq!(path.iter().next().unwrap().to_str(), Some(url.repository().as_str()));
}
