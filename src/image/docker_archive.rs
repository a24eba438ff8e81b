//! Reading docker archives, as `docker save` and `podman save` write them.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::lenient::{Bounded, list};
use super::model::{MAX_JSON, parse};
use super::plan::{Plan, PlannedLayer, layer_count, read_config};
use super::reference::Reference;
use super::source::ImageSource;
use super::tar_index::clean;
use crate::{Digest, Error, ErrorKind, Result};

/// The largest `manifest.json`, in bytes; the Go library's limit.
const MAX_MANIFEST: u64 = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Item {
    config: String,
    #[serde(deserialize_with = "list")]
    repo_tags: Vec<String>,
    #[serde(deserialize_with = "list")]
    layers: Vec<String>,
}

/// The images of a docker archive.
pub(super) fn plans(source: &ImageSource) -> Result<Vec<Plan>> {
    let bytes = source.read_file("manifest.json", MAX_MANIFEST)?;
    let Bounded(items): Bounded<Item> =
        parse(&bytes, &format!("manifest.json of {}", source.name))?;
    if items.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArchive, format!("reading {}", source.name))
            .detail("manifest.json lists no image"));
    }
    items.into_iter().enumerate().map(|(at, item)| plan(source, at, item)).collect()
}

fn plan(source: &ImageSource, at: usize, item: Item) -> Result<Plan> {
    let tags = item.repo_tags;
    let label = match tags.first() {
        Some(tag) => format!("image {tag:?} of {}", source.name),
        None => format!("image {} of {}", at + 1, source.name),
    };
    let config = source
        .read_file(&item.config, MAX_JSON)
        .map_err(|e| e.context(format!("reading {label}")))?;
    let what = format!("the config {:?} of {label}", item.config);
    let (diffs, created) = read_config(&config, &what)?;
    let Some(diffs) = diffs else {
        return Err(Error::new(ErrorKind::InvalidArchive, format!("reading {what}"))
            .detail("it has no rootfs"));
    };
    let files = item.layers;
    if files.len() != diffs.len() {
        return Err(layer_count(&label, files.len(), diffs.len()));
    }
    // A diff that occurs twice is read from where it occurs first: `docker save` makes the others links to it.
    let mut first: HashMap<&Digest, String> = HashMap::new();
    let mut taken: HashSet<String> = HashSet::new();
    let mut layers = Vec::new();
    for (diff, file) in diffs.iter().zip(&files) {
        let file = clean(file);
        if !first.contains_key(diff) && !taken.insert(file.clone()) {
            return Err(Error::new(ErrorKind::InvalidArchive, format!("reading {label}"))
                .detail(format!("the layer file {file:?} stands for two different diff digests")));
        }
        let file = first.entry(diff).or_insert(file).clone();
        if source.open_file(&file)?.is_none() {
            return Err(source.missing(&file).context(format!("reading {label}")));
        }
        layers.push(PlannedLayer {
            file,
            blob: diff.clone(),
            size: None,
            diff: Some(diff.clone()),
            uncompress: true,
        });
    }
    let names = tags
        .iter()
        .map(|tag| Reference::normalize(tag).map(|r| r.to_string()))
        .collect::<Result<Vec<_>>>()
        .map_err(|e| e.context(format!("reading the names of {label}")))?;
    let config_digest = Digest::sha256(&config);
    Ok(Plan { label, config, config_digest, created, manifest: None, index: None, layers, names })
}
