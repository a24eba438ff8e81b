//! Recording an image, be it new, there already, or in an additional store.

use std::collections::HashSet;

use crate::record::{Flags, Timestamp};
use crate::store::{BigDataItem, ImageInfo, NewImage, Store};
use crate::{Digest, Error, ErrorKind, Result};

/// An image with all that is recorded of it.
pub(super) struct Described<'a> {
    pub(super) config: &'a [u8],
    pub(super) config_digest: &'a Digest,
    pub(super) manifest: &'a [u8],
    /// The index that the manifest was chosen from.
    pub(super) index: Option<&'a [u8]>,
    pub(super) created: Option<&'a str>,
    /// Complete; those that come twice count once.
    pub(super) names: &'a [String],
    pub(super) top: Option<String>,
}

/// The record that the Go library makes of the image, whose id is its config's digest.
pub(super) fn described(image: &Described<'_>) -> NewImage {
    let manifest_digest = Digest::sha256(image.manifest);
    let item = |key: String, data: &[u8]| BigDataItem {
        key,
        data: data.to_vec(),
        digest: Some(Digest::sha256(data)),
    };
    let mut big_data = vec![item(image.config_digest.to_string(), image.config)];
    if let Some(index) = image.index {
        big_data.push(item(format!("manifest-{}", Digest::sha256(index)), index));
    }
    big_data.push(item(format!("manifest-{manifest_digest}"), image.manifest));
    big_data.push(item("manifest".into(), image.manifest));
    let mut seen = HashSet::new();
    let names: Vec<String> =
        image.names.iter().filter(|name| seen.insert(name.as_str())).cloned().collect();
    NewImage {
        id: Some(image.config_digest.hex().to_string()),
        // In Go the names are given one after the other, each in front of those before; and each time the whole list goes into
        // the history, one by one in front.
        names: names.iter().rev().cloned().collect(),
        names_history: names,
        take_names: true,
        layer: image.top.clone(),
        metadata: "{}".into(),
        digest: Some(image.index.map_or(manifest_digest, Digest::sha256)),
        created: created(image.created),
        big_data,
        flags: Flags::default(),
    }
}

/// Go's zero time stands for no time.
pub(super) fn created(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| Timestamp::parse(text).ok()).filter(|t| *t != Timestamp::default())
}

/// Creates an image; if it is there already with the same top layer, gives it names, items and metadata as the Go library does.
/// Tells whether it is new.
pub(super) fn record_image(store: &Store, new: NewImage) -> Result<bool> {
    let id = new.id.clone().unwrap_or_default();
    let new = match store.image(&id) {
        Ok(known) if known.id == id && known.read_only => merged(store, &known, new)?,
        _ => new,
    };
    match store.create_image(new.clone()) {
        Ok(_) => return Ok(true),
        Err(e) if e.kind() == ErrorKind::DuplicateId => {}
        Err(e) => return Err(e),
    }
    let image = store.image(&id)?;
    if image.layer != new.layer.unwrap_or_default() {
        return Err(Error::new(ErrorKind::DuplicateId, format!("recording the image {id}"))
            .detail("an image of that id exists and has a different top layer"));
    }
    for item in new.big_data {
        store.set_image_big_data(&image.id, item)?;
    }
    if image.metadata != new.metadata {
        store.set_image_metadata(&image.id, &new.metadata)?;
    }
    // One after the other, the first first, so that their order comes out as in Go.
    for name in new.names.iter().rev() {
        store.add_image_names(&image.id, std::slice::from_ref(name))?;
    }
    Ok(false)
}

/// What Go makes of an image that an additional store has already: a record in this store that keeps the other's names and items.
fn merged(store: &Store, known: &ImageInfo, mut new: NewImage) -> Result<NewImage> {
    let mut items = Vec::new();
    for key in &known.big_data_names {
        let at = new.big_data.iter().position(|item| item.key == *key);
        items.push(match at {
            Some(at) => new.big_data.remove(at),
            None => BigDataItem {
                key: key.clone(),
                data: store.image_big_data(&known.id, key)?,
                digest: known
                    .big_data_digests
                    .get(key)
                    .and_then(|d| Digest::parse(d.as_str()).ok()),
            },
        });
    }
    items.append(&mut new.big_data);
    new.big_data = items;
    new.digest = Digest::parse(known.digest.as_str()).ok().or(new.digest);
    for name in &known.names {
        if !new.names.contains(name) {
            new.names.push(name.clone());
        }
    }
    new.names_history = new.names.iter().rev().cloned().collect();
    for name in &known.names_history {
        if !new.names_history.contains(name) {
            new.names_history.push(name.clone());
        }
    }
    Ok(new)
}
