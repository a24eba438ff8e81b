//! Docker archives, member for member as `podman save` writes them.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use super::model::{go_json, parse};
use super::save::Wanted;
use super::stored::{StoredImage, write_layer};
use super::tar_write::TarWriter;
use crate::progress::{Counted, Progress};
use crate::store::Store;
use crate::{Digest, Result};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes the archive to `out`.
pub(super) fn write(
    store: &Store,
    images: &[Wanted],
    out: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<()> {
    let mut tar = TarWriter::new(out);
    let mut written: HashSet<String> = HashSet::new();
    let mut items = Vec::new();
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for wanted in images {
        let image = &wanted.image;
        for layer in &image.layers {
            let name = layer_file(&layer.diff);
            if !written.insert(name.clone()) {
                continue;
            }
            let item =
                progress.start(layer.diff.hex().get(..12).unwrap_or_default(), Some(layer.size));
            tar.member(&name, layer.size, &mut |out| {
                write_layer(store, layer, &mut Counted::new(out, &*item))
            })?;
            item.finish("done");
        }
        let config = format!("{}.json", image.config_digest.hex());
        if written.insert(config.clone()) {
            tar.bytes(&config, &image.config)?;
        }
        let mut top = String::new();
        for legacy in legacy_layers(image)? {
            if written.insert(legacy.id.clone()) {
                tar.symlink(
                    &format!("{}/layer.tar", legacy.id),
                    &format!("../{}", layer_file(&legacy.diff)),
                )?;
                tar.bytes(&format!("{}/VERSION", legacy.id), b"1.0")?;
                tar.bytes(&format!("{}/json", legacy.id), &legacy.json)?;
            }
            top = legacy.id;
        }
        let tags: Vec<_> =
            wanted.names.iter().filter_map(|n| n.tag().map(|tag| (n.name(), tag))).collect();
        if !top.is_empty() {
            for (name, tag) in &tags {
                repositories
                    .entry(name.clone())
                    .or_default()
                    .insert((*tag).to_string(), top.clone());
            }
        }
        items.push(Item {
            config,
            repo_tags: tags.iter().map(|(name, tag)| format!("{name}:{tag}")).collect(),
            layers: image.layers.iter().map(|l| layer_file(&l.diff)).collect(),
        });
    }
    tar.bytes("manifest.json", &go_json(&items)?)?;
    tar.bytes("repositories", &go_json(&repositories)?)?;
    tar.finish().map(|_| ())
}

fn layer_file(diff: &Digest) -> String {
    format!("{}.tar", diff.hex())
}

/// A layer as the oldest docker releases want it: a directory of its own, with an image's config in it.
struct Legacy {
    id: String,
    diff: Digest,
    json: Vec<u8>,
}

/// The ids are digests of the configs with the chain of diff digests in them, which makes them those of the Go library.
fn legacy_layers(image: &StoredImage) -> Result<Vec<Legacy>> {
    const TAKEN: [&str; 7] = [
        "architecture",
        "config",
        "container",
        "container_config",
        "created",
        "docker_version",
        "os",
    ];
    let config: Map<String, Value> = parse(&image.config, "the image's config")?;
    let mut layers: Vec<Legacy> = Vec::new();
    let mut chain: Option<Digest> = None;
    for (at, layer) in image.layers.iter().enumerate() {
        let mut json: BTreeMap<&str, Value> = BTreeMap::new();
        if let Some(parent) = layers.last() {
            json.insert("parent", parent.id.clone().into());
        }
        if at + 1 == image.layers.len() {
            for key in TAKEN {
                json.insert(key, config.get(key).cloned().unwrap_or(Value::Null));
            }
        }
        let next = match chain {
            None => layer.diff.clone(),
            Some(chain) => Digest::sha256(format!("{chain} {}", layer.diff).as_bytes()),
        };
        json.insert("layer_id", next.to_string().into());
        let id = Digest::sha256(&go_json(&json)?).hex().to_string();
        json.remove("layer_id");
        json.insert("id", id.clone().into());
        layers.push(Legacy { id, diff: layer.diff.clone(), json: go_json(&json)? });
        chain = Some(next);
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::stored::StoredLayer;

    // Ids and sizes are those that podman 4.3 wrote for this image.
    #[test]
    fn legacy_ids_are_podmans() {
        let config = concat!(
            r#"{"architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09.5+02:00", "#,
            r#""config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh", "-c", "a && b"]}, "rootfs": {"type": "layers", "diff_ids": "#,
            r#"["sha256:1f61dc6f00a6b89c0740004b12fb7cf2ff40db8fec28867d56a102d8e3b445a9", "#,
            r#""sha256:4f0f9a4de5a205a95dd7c1a04bff89862189ebaf6860410bce50cd10f7d980a8"]}, "#,
            r#""history": [{"created": "2024-05-06T07:08:09Z", "created_by": "one"}, "#,
            r#"{"created": "2024-05-06T07:08:09Z", "created_by": "two"}]}"#
        );
        let layer = |hex: &str| StoredLayer {
            id: String::new(),
            diff: Digest::parse(format!("sha256:{hex}")).unwrap(),
            size: 10240,
            annotations: BTreeMap::new(),
        };
        let image = StoredImage {
            id: String::new(),
            config: config.as_bytes().to_vec(),
            config_digest: Digest::sha256(config.as_bytes()),
            annotations: BTreeMap::new(),
            layers: vec![
                layer("1f61dc6f00a6b89c0740004b12fb7cf2ff40db8fec28867d56a102d8e3b445a9"),
                layer("4f0f9a4de5a205a95dd7c1a04bff89862189ebaf6860410bce50cd10f7d980a8"),
            ],
        };
        assert_eq!(
            image.config_digest.hex(),
            "aecece42b2f1383af29a985ad7a7728f385a95345494ff3bfb6dc38b0bc692c0"
        );
        let layers = legacy_layers(&image).unwrap();
        assert_eq!(
            layers[0].id,
            "0968f40af6f8fdd78660c20fc0542ed3677dc43bf4bc702ac988d85546fffae5"
        );
        assert_eq!(layers[0].json.len(), 73);
        assert_eq!(
            layers[1].id,
            "33b8eeeb02c6d3763336cf1629e1a5b2473683bc9f57efd5692fca95e81f56e1"
        );
        assert_eq!(layers[1].json.len(), 361);
    }
}
