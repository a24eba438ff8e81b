//! What must hold of any `thin.json`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test for any input")]

use std::path::{Component, Path};

use super::ThinImage;
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
    for url in image.layers.iter().filter_map(|layer| layer.url.as_ref()) {
        let path = Path::new(url.repository().as_str()).join(url.folder());
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{url}");
        assert!(path.components().count() >= 2, "{url}");
    }
    assert_eq!(ThinImage::read(image.to_json().unwrap().as_bytes()).unwrap(), image);
}
