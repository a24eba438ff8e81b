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
            "images" => self.print(cx, docker.images()?),
            "layers" => self.print(cx, docker.layers()?),
            _ => self.print(cx, docker.containers()?),
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

impl Row for ImageRecord {
    fn id(&self) -> &str {
        self.id.hex()
    }

    fn notes(&self) -> Vec<String> {
        let names = self.names.iter().map(|name| format!("name: {name}"));
        names.chain([format!("layers: {}", self.diffs.len())]).collect()
    }
}

impl Row for LayerRecord {
    fn id(&self) -> &str {
        self.chain_id.hex()
    }

    fn notes(&self) -> Vec<String> {
        let parent = self.parent.iter().map(|id| format!("parent: {}", id.hex()));
        parent.chain([format!("diff: {}", self.diff), format!("size: {}", self.size)]).collect()
    }
}

impl Row for ContainerRecord {
    fn id(&self) -> &str {
        &self.id
    }

    fn notes(&self) -> Vec<String> {
        let state = if self.running { "running" } else { "stopped" };
        vec![
            format!("name: {}", self.name),
            format!("image: {}", self.image.hex()),
            state.to_owned(),
        ]
    }
}
