//! `docker`: what a docker daemon keeps in its data root, listed without the daemon.

use std::path::PathBuf;

use clap::Args;
use orlop::docker::{ContainerRecord, DataRoot, ImageRecord, LayerRecord};
use serde::Serialize;

use crate::command::Outcome;
use crate::global::Context;

/// `docker`.
#[derive(Args)]
pub(crate) struct Docker {
    /// What to list
    #[arg(value_name = "images|layers|containers")]
    #[arg(value_parser = ["images", "layers", "containers"])]
    kind: String,
    /// Docker's data root (default: as /etc/docker/daemon.json says, else /var/lib/docker)
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Just the IDs
    #[arg(short, long)]
    quiet: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

/// Opens the data root that is named, or the one that this machine's daemon has.
pub(crate) fn data_root(named: Option<PathBuf>) -> orlop::Result<DataRoot> {
    match named {
        Some(path) => DataRoot::open(path),
        None => DataRoot::open(DataRoot::configured()?),
    }
}

impl Docker {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let docker = data_root(self.data_root.clone())?;
        match self.kind.as_str() {
            "images" => self.print(cx, docker.images()?.iter().map(ImageRow::from).collect()),
            "layers" => self.print(cx, docker.layers()?.iter().map(LayerRow::from).collect()),
            _ => self.print(cx, docker.containers()?.iter().map(ContainerRow::from).collect()),
        }
    }

    fn print<R: Row>(&self, cx: &mut Context, rows: Vec<R>) -> Outcome {
        if self.json {
            cx.out.json_or_null(&rows)?;
            return Ok(0);
        }
        for row in rows {
            cx.out.line(row.id())?;
            for note in row.notes().iter().filter(|_| !self.quiet) {
                cx.out.line(format_args!("\t{note}"))?;
            }
        }
        Ok(0)
    }
}

trait Row: Serialize {
    fn id(&self) -> &str;
    fn notes(&self) -> Vec<String>;
}

#[derive(Serialize)]
struct ImageRow<'a> {
    id: &'a str,
    names: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    #[serde(rename = "diff-digests")]
    diffs: Vec<&'a str>,
}

impl<'a> From<&'a ImageRecord> for ImageRow<'a> {
    fn from(image: &'a ImageRecord) -> Self {
        Self {
            id: image.id.hex(),
            names: &image.names,
            parent: image.parent.as_ref().map(|id| id.hex()),
            created: image.created.as_deref(),
            diffs: image.diffs.iter().map(|diff| diff.as_str()).collect(),
        }
    }
}

impl Row for ImageRow<'_> {
    fn id(&self) -> &str {
        self.id
    }

    fn notes(&self) -> Vec<String> {
        let names = self.names.iter().map(|name| format!("name: {name}"));
        names.chain([format!("layers: {}", self.diffs.len())]).collect()
    }
}

#[derive(Serialize)]
struct LayerRow<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    #[serde(rename = "diff-digest")]
    diff: &'a str,
    #[serde(rename = "cache-id")]
    cache_id: &'a str,
    size: u64,
}

impl<'a> From<&'a LayerRecord> for LayerRow<'a> {
    fn from(layer: &'a LayerRecord) -> Self {
        Self {
            id: layer.chain_id.hex(),
            parent: layer.parent.as_ref().map(|id| id.hex()),
            diff: layer.diff.as_str(),
            cache_id: &layer.cache_id,
            size: layer.size,
        }
    }
}

impl Row for LayerRow<'_> {
    fn id(&self) -> &str {
        self.id
    }

    fn notes(&self) -> Vec<String> {
        let parent = self.parent.iter().map(|id| format!("parent: {id}"));
        parent.chain([format!("diff: {}", self.diff), format!("size: {}", self.size)]).collect()
    }
}

#[derive(Serialize)]
struct ContainerRow<'a> {
    id: &'a str,
    name: &'a str,
    image: &'a str,
    running: bool,
    created: &'a str,
    layer: &'a str,
}

impl<'a> From<&'a ContainerRecord> for ContainerRow<'a> {
    fn from(container: &'a ContainerRecord) -> Self {
        Self {
            id: &container.id,
            name: &container.name,
            image: container.image.hex(),
            running: container.running,
            created: &container.created,
            layer: &container.mount_id,
        }
    }
}

impl Row for ContainerRow<'_> {
    fn id(&self) -> &str {
        self.id
    }

    fn notes(&self) -> Vec<String> {
        let state = if self.running { "running" } else { "stopped" };
        vec![format!("name: {}", self.name), format!("image: {}", self.image), state.to_owned()]
    }
}
