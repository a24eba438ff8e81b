//! What must hold of any driver option, id and digest, and of the files that a layer directory may hold.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test for any input")]

use super::options;
use crate::{Digest, ErrorKind, LayerId};

pub(crate) use super::overlay::fuzzing::overlay_files;

/// A refusal of a word is one of its kind; a word that is accepted is kept as it stands, and is no way out of a directory. The
/// words are lines.
pub(crate) fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for outcome in [
        options::parse_overlay(&lines).map(drop),
        options::parse_cvmfs(&lines, false).map(drop),
        options::parse_cvmfs(&lines, true).map(drop),
        options::parse_vfs(&lines).map(drop),
    ] {
        if let Err(e) = outcome {
            assert_eq!(e.kind(), ErrorKind::Config, "{e}");
        }
    }
    for line in &lines {
        crate::record::fuzzing::timestamp(line);
        if let Ok(id) = LayerId::new(line.as_str()) {
            assert_eq!(id.as_str(), line);
            let path = std::path::Path::new("/home").join(&id);
            assert_eq!(path.parent().unwrap(), std::path::Path::new("/home"));
            assert!(path.file_name().unwrap().to_str().unwrap() == line);
        }
        if let Ok(digest) = Digest::parse(line.as_str()) {
            assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), *line);
            assert_eq!(Digest::parse(digest.as_str()).unwrap(), digest);
        }
        if let Ok(platform) = line.parse::<crate::image::Platform>() {
            assert_eq!(platform.to_string(), *line);
        }
    }
}
