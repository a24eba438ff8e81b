//! Recording an image, be it new, there already, or in an additional store.

use crate::store::{BigDataItem, ImageInfo, NewImage, Store};
use crate::{Digest, Error, ErrorKind, Result};

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
