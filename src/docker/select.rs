//! Which of docker's images are meant.

use std::collections::HashSet;

use super::{ImageRecord, names};
use crate::{Digest, Error, ErrorKind, Result};

/// The images that are meant by ids, unique prefixes of ids, and names; without any, all those that `docker images` shows: the ones
/// that have a name, and the ones that no other was built upon.
pub(super) fn select<'a>(
    images: &'a [ImageRecord],
    wanted: &[String],
) -> Result<Vec<&'a ImageRecord>> {
    if wanted.is_empty() {
        let parents: HashSet<&Digest> = images.iter().filter_map(|i| i.parent.as_ref()).collect();
        let shown = |i: &&ImageRecord| !i.names.is_empty() || !parents.contains(&i.id);
        return Ok(images.iter().filter(shown).collect());
    }
    let mut found: Vec<&ImageRecord> = Vec::new();
    for text in wanted {
        let image = find(images, text)?;
        if !found.iter().any(|known| known.id == image.id) {
            found.push(image);
        }
    }
    Ok(found)
}

/// The one image that `text` means.
pub(super) fn find<'a>(images: &'a [ImageRecord], text: &str) -> Result<&'a ImageRecord> {
    if let Ok(name) = names::complete(text) {
        let named =
            |i: &&ImageRecord| i.names.iter().any(|n| names::complete(n).is_ok_and(|n| n == name));
        if let Some(image) = images.iter().find(named) {
            return Ok(image);
        }
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let mut meant = images.iter().filter(|i| !hex.is_empty() && i.id.hex().starts_with(hex));
    let unknown = |why: &str| {
        Err(Error::new(
            ErrorKind::ImageUnknown,
            format!("looking for the image {text:?} of docker"),
        )
        .detail(why)
        .hint("list the images with `orlop docker images`"))
    };
    match (meant.next(), meant.next()) {
        (Some(image), None) => Ok(image),
        (Some(_), Some(_)) => unknown("it is the beginning of several ids"),
        (None, _) => unknown("docker has no image of that id or name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: u8, names: &[&str], parent: Option<u8>) -> ImageRecord {
        let id_of =
            |n: u8| Digest::parse(format!("sha256:{}", format!("{n:x}").repeat(64))).unwrap();
        ImageRecord {
            id: id_of(id),
            names: names.iter().map(ToString::to_string).collect(),
            parent: parent.map(id_of),
            created: None,
            diffs: Vec::new(),
        }
    }

    #[test]
    fn images_are_found_by_what_docker_shows() {
        let images = [
            image(1, &["busybox:latest", "quay.io/a/b:2"], None),
            image(2, &[], Some(1)),
            image(3, &[], Some(2)),
        ];
        let ids = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            let found = select(&images, &wanted)?;
            Ok::<_, Error>(found.iter().map(|i| i.id.hex()[..1].to_owned()).collect::<String>())
        };
        assert_eq!(ids(&[]).unwrap(), "13", "what others are built upon is not shown");
        for text in ["busybox", "docker.io/library/busybox:latest", "sha256:11", "1111"] {
            assert_eq!(ids(&[text]).unwrap(), "1", "{text}");
        }
        assert_eq!(ids(&["quay.io/a/b:2", "busybox", "2222"]).unwrap(), "12");
        for text in ["quay.io/a/b", "busybox:2", "4", "sha256:", ""] {
            assert_eq!(ids(&[text]).unwrap_err().kind(), ErrorKind::ImageUnknown, "{text}");
        }
    }
}
