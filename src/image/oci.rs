//! Reading OCI layouts, in a directory or in a tar.

use std::collections::HashMap;

use super::model::{
    ANNOTATION_CONTAINERD_NAME, ANNOTATION_REF_NAME, Descriptor, Index, Kind, MAX_LAYERS, Manifest,
    OCI_CONFIG, kind_of, parse,
};
use super::plan::{Plan, PlannedLayer, blob_path, layer_count, read_blob, read_config};
use super::platform::{Platform, wanted};
use super::reference::Reference;
use super::source::ImageSource;
use crate::{Error, ErrorKind, Result};

/// How deep indexes may be nested below `index.json`.
const MAX_NESTING: usize = 8;
const ANNOTATION_ATTESTS: &str = "vnd.docker.reference.type";
const ANNOTATION_ZSTD: &str = "io.github.containers.compression.zstd";

/// The images of a layout: one for each name in `index.json`, and one for each entry without a name. Of entries of one name
/// that say their platform, and inside an index, the one for the wanted platform is taken.
pub(super) fn plans(source: &ImageSource, platform: Option<&Platform>) -> Result<Vec<Plan>> {
    let index = source.index()?;
    let wanted = wanted(platform);
    let mut plans: Vec<Plan> = Vec::new();
    let mut groups: Vec<(Option<&str>, Vec<&Descriptor>)> = Vec::new();
    let mut group_of: HashMap<Option<&str>, usize> = HashMap::new();
    for entry in index.manifests.iter().filter(|d| !d.annotations.contains_key(ANNOTATION_ATTESTS))
    {
        let name = name_of(entry);
        let at = *group_of.entry(name).or_insert(groups.len());
        match groups.get_mut(at) {
            Some((_, group)) => group.push(entry),
            None => groups.push((name, vec![entry])),
        }
    }
    for (name, group) in groups {
        let names = match name {
            Some(name) => vec![
                Reference::normalize(name)
                    .map_err(|e| e.context(format!("reading index.json of {}", source.name)))?
                    .to_string(),
            ],
            None => Vec::new(),
        };
        let choose = group.len() > 1 && group.iter().all(|d| d.platform.is_some());
        let chosen = if choose { vec![best(group, &wanted, &source.name)?] } else { group };
        for entry in chosen {
            let plan = plan(source, entry, &wanted, names.clone())?;
            match plans.iter_mut().find(|p| {
                p.config_digest == plan.config_digest
                    && p.manifest == plan.manifest
                    && p.index == plan.index
            }) {
                Some(same) => same.names.extend(plan.names),
                None => plans.push(plan),
            }
        }
    }
    if plans.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArchive, format!("reading {}", source.name))
            .detail("its index.json lists no image"));
    }
    Ok(plans)
}

/// The name of an entry: containerd's full one, else that of the OCI specification.
fn name_of(entry: &Descriptor) -> Option<&str> {
    [ANNOTATION_CONTAINERD_NAME, ANNOTATION_REF_NAME]
        .iter()
        .filter_map(|key| entry.annotations.get(*key))
        .map(String::as_str)
        .find(|name| !name.is_empty())
}

/// The entry of the best platform; of equals one compressed with zstd, then the first. Entries without a platform come last.
fn best<'a>(
    entries: impl IntoIterator<Item = &'a Descriptor>,
    wanted: &[Platform],
    what: &str,
) -> Result<&'a Descriptor> {
    let rank = |entry: &Descriptor| match &entry.platform {
        None => Some(usize::MAX),
        Some(raw) => {
            let platform = Platform::from(raw);
            wanted.iter().position(|w| *w == platform)
        }
    };
    entries
        .into_iter()
        .filter_map(|entry| {
            let zstd = entry.annotations.get(ANNOTATION_ZSTD).is_some_and(|v| v == "true");
            rank(entry).map(|rank| ((rank, !zstd), entry))
        })
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, entry)| entry)
        .ok_or_else(|| {
            let asked = wanted.first().map(Platform::to_string).unwrap_or_default();
            Error::new(ErrorKind::InvalidArchive, format!("reading {what}"))
                .detail(format!("it has no image for the platform {asked}"))
                .hint("name one that it has with --platform")
        })
}

fn plan(
    source: &ImageSource,
    entry: &Descriptor,
    wanted: &[Platform],
    names: Vec<String>,
) -> Result<Plan> {
    let label = match names.first() {
        Some(name) => format!("image {name:?} of {}", source.name),
        None => format!("image {} of {}", entry.digest, source.name),
    };
    let mut descriptor = entry.clone();
    let mut top_index = None;
    for _ in 0..=MAX_NESTING {
        let what = format!("the manifest {} of {label}", descriptor.digest);
        let (bytes, _) = read_blob(source, &descriptor, &what)?;
        let kind = kind_of(&bytes, &descriptor.media_type, &what)?;
        if kind == Kind::Index {
            let index: Index = parse(&bytes, &what)?;
            descriptor = best(&index.manifests, wanted, &what)?.clone();
            top_index.get_or_insert(bytes);
            continue;
        }
        let manifest: Manifest = parse(&bytes, &what)?;
        return image(source, label, kind, bytes, &manifest, top_index, names);
    }
    Err(Error::new(ErrorKind::InvalidArchive, format!("reading {label}"))
        .detail(format!("its indexes are nested more than {MAX_NESTING} deep")))
}

fn image(
    source: &ImageSource,
    label: String,
    kind: Kind,
    bytes: Vec<u8>,
    manifest: &Manifest,
    index: Option<Vec<u8>>,
    names: Vec<String>,
) -> Result<Plan> {
    let refused =
        |why: String| Error::new(ErrorKind::InvalidArchive, format!("reading {label}")).detail(why);
    if kind == Kind::Oci && manifest.config.media_type != OCI_CONFIG {
        return Err(refused(format!(
            "it is an artifact (its config is of type {:?}), not a container image",
            manifest.config.media_type
        )));
    }
    if let Some(layer) = manifest.layers.iter().find(|l| l.media_type.ends_with("+encrypted")) {
        return Err(refused(format!("its layer {} is encrypted", layer.digest))
            .hint("decrypt the image first"));
    }
    let what = format!("the config of {label}");
    let (config, config_digest) = read_blob(source, &manifest.config, &what)?;
    let (diffs, created) = read_config(&config, &what)?;
    // An image whose config names no diff at all is let through as in Go; the digests are then only what the blobs say.
    let diffs = diffs.unwrap_or_default();
    if manifest.layers.len() > MAX_LAYERS {
        return Err(refused(format!("it has more than {MAX_LAYERS} layers")));
    }
    if !diffs.is_empty() && diffs.len() != manifest.layers.len() {
        return Err(layer_count(&label, manifest.layers.len(), diffs.len()));
    }
    let layers = manifest
        .layers
        .iter()
        .enumerate()
        .map(|(at, layer)| {
            let blob = layer.digest(&format!("layer {} of {label}", at + 1))?;
            Ok(PlannedLayer {
                file: blob_path(&blob),
                blob,
                size: layer.size(),
                diff: diffs.get(at).cloned(),
                uncompress: false,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Plan { label, config, config_digest, created, manifest: Some(bytes), index, layers, names })
}
