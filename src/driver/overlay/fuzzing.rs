//! What must hold of whatever `link`, `lower`, `lower-layers` and a short link hold (ADD-1).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test for any input")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::layout::{self, LINK, LOWER, LOWER_LAYERS};
use crate::{ErrorKind, Result};

/// What is accepted is, put together again, the text that was read, and each word of it one name in its directory.
pub(crate) fn overlay_files(data: &[u8]) {
    let name = format!("orlop-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
    let layer = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&layer).unwrap();
    for file in [LINK, LOWER, LOWER_LAYERS] {
        std::fs::write(layer.join(file), data).unwrap();
    }
    let link = accepted(layout::read_link_file(&layer));
    let lower = accepted(layout::read_lower(&layer));
    let ids = accepted(layout::read_lower_layers(&layer));
    std::fs::remove_dir_all(&layer).unwrap();

    let text = std::str::from_utf8(data.strip_suffix(b"\n").unwrap_or(data));
    if let Some(link) = link {
        assert_eq!(text, Ok(link.as_str()));
        assert_eq!(link.path(Path::new("/h")).parent(), Some(Path::new("/h/l")));
    }
    if let Some(links) = lower {
        let joined: Vec<_> = links.iter().map(|link| link.relative()).collect();
        assert_eq!(text, Ok(joined.join(":").as_str()));
    }
    if let Some(ids) = ids {
        let joined: Vec<_> = ids.iter().map(|id| id.as_str()).collect();
        assert_eq!(text, Ok(joined.join(":").as_str()));
        for id in &ids {
            assert_eq!(layout::layer_of_target(&layout::target_of_layer(id)).as_ref(), Some(id));
        }
    }
    let target = Path::new(OsStr::from_bytes(data));
    if let Some(id) = layout::layer_of_target(target) {
        assert_eq!(layout::target_of_layer(&id), target);
    }
}

fn accepted<T>(outcome: Result<Option<T>>) -> Option<T> {
    match outcome {
        Ok(found) => Some(found.expect("the file is there")),
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
            None
        }
    }
}
