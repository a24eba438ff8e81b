//! Deleting layers, images and containers.

use std::collections::BTreeMap;

use clap::Args;
use orlop::store::Store;
use serde::Serialize;

use crate::command::Outcome;
use crate::global::Context;
use crate::output;

/// `delete`, `delete-layer` and `delete-container`.
#[derive(Args)]
pub(crate) struct Delete {
    /// IDs or names
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Delete {
    /// Deletes with `delete`, one of the store's methods; what fails does not keep the others.
    pub(crate) fn run(
        self,
        cx: &mut Context,
        delete: fn(&Store, &str) -> orlop::Result<()>,
    ) -> Outcome {
        let store = cx.store()?;
        let mut outcomes = BTreeMap::new();
        for id in &self.ids {
            let error = delete(store, id).err().map(|error| cx.advise(&error));
            if let (Some(error), false) = (&error, self.json) {
                output::complain(&format!("{id}: {error}"));
            }
            outcomes.insert(id, error.unwrap_or_default());
        }
        if self.json {
            cx.out.json(&outcomes)?;
        }
        Ok(outcomes.values().any(|error| !error.is_empty()).into())
    }
}

/// `delete-image`.
#[derive(Args)]
pub(crate) struct DeleteImage {
    /// IDs or names
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Only test removal
    #[arg(short, long)]
    test: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

#[derive(Serialize)]
struct DeletedImage {
    #[serde(rename = "deleted-layers", skip_serializing_if = "Vec::is_empty")]
    layers: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

impl DeleteImage {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let mut outcomes = BTreeMap::new();
        for id in &self.ids {
            let outcome = match store.delete_image(id, self.test) {
                Ok(layers) => DeletedImage { layers, error: String::new() },
                Err(error) => DeletedImage { layers: Vec::new(), error: cx.advise(&error) },
            };
            if !self.json {
                let error = Some(&outcome.error).filter(|error| !error.is_empty());
                for line in outcome.layers.iter().chain(error) {
                    output::complain(&format!("{id}: {line}"));
                }
            }
            outcomes.insert(id, outcome);
        }
        if self.json {
            cx.out.json(&outcomes)?;
        }
        Ok(outcomes.values().any(|outcome| !outcome.error.is_empty()).into())
    }
}
