//! Owners above a mount whom the mounted layer's id maps do not know.

use clap::Args;
use orlop::store::ParentOwners as Owners;
use serde::Serialize;

use crate::command::Outcome;
use crate::global::Context;
use crate::list;
use crate::output::Output;

/// `layer-parent-owners` and `container-parent-owners`.
#[derive(Args)]
pub(crate) struct ParentOwners {
    /// IDs or names
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

/// As Go has them: what is empty is a nil slice.
#[derive(Serialize)]
struct Found<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "UIDs")]
    uids: Option<&'a [u32]>,
    #[serde(rename = "GIDs")]
    gids: Option<&'a [u32]>,
}

impl ParentOwners {
    pub(crate) fn layers(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let (layers, code) = list::find(&self.ids, |id| store.layer(id))?;
        for layer in &layers {
            let owners = store.layer_parent_owners(&layer.id)?;
            self.print(&layer.id, &owners, false, &mut cx.out)?;
        }
        Ok(code)
    }

    pub(crate) fn containers(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let (containers, code) = list::find(&self.ids, |id| store.container(id))?;
        for container in &containers {
            let owners = store.container_parent_owners(&container.id)?;
            self.print(&container.id, &owners, true, &mut cx.out)?;
        }
        Ok(code)
    }

    /// `empty`: whether lists without ids are shown, too.
    fn print(
        &self,
        id: &str,
        owners: &Owners,
        empty: bool,
        out: &mut Output,
    ) -> anyhow::Result<()> {
        let lists = [("UIDs", &owners.uids), ("GIDs", &owners.gids)];
        if self.json {
            let [uids, gids] = lists.map(|(_, ids)| Some(ids.as_slice()).filter(|i| !i.is_empty()));
            return out.json(&Found { id, uids, gids });
        }
        out.line(format_args!("ID: {id}"))?;
        for (name, ids) in lists {
            if empty || !ids.is_empty() {
                let words: Vec<String> = ids.iter().map(u32::to_string).collect();
                out.line(format_args!("{name}: [{}]", words.join(" ")))?;
            }
        }
        Ok(())
    }
}
