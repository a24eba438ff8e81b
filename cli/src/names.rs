//! Names, metadata and existence of layers, images and containers.

use std::collections::BTreeMap;

use clap::Args;
use orlop::store::{Object, Store};
use orlop::{Error, ErrorKind};

use crate::command::Outcome;
use crate::create::MetadataFlags;
use crate::global::Context;
use crate::list::is_unknown;
use crate::output;

/// `exists`.
#[derive(Args)]
pub(crate) struct Exists {
    /// IDs or names
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Don't print names
    #[arg(short, long)]
    quiet: bool,
    /// Only succeed if the match is a layer
    #[arg(short, long)]
    layer: bool,
    /// Only succeed if the match is an image
    #[arg(short, long)]
    image: bool,
    /// Only succeed if the match is a container
    #[arg(short, long)]
    container: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Exists {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let mut known: Vec<(&str, bool)> = Vec::new();
        let mut code = 0;
        for id in &self.ids {
            let exists = found(store.lookup(id))?;
            if !known.iter().any(|(seen, _)| seen == id) {
                known.push((id, exists));
            }
            let wanted = exists
                && (!self.container || found(store.container(id))?)
                && (!self.image || found(store.image(id))?)
                && (!self.layer || found(store.layer(id))?);
            if !wanted {
                code = 1;
            }
        }
        if self.json {
            cx.out.json(&known.into_iter().collect::<BTreeMap<_, _>>())?;
        } else if !self.quiet {
            for (id, exists) in known {
                cx.out.line(format_args!("{id}: {exists}"))?;
            }
        }
        Ok(code)
    }
}

fn found<T>(looked_up: orlop::Result<T>) -> orlop::Result<bool> {
    match looked_up {
        Ok(_) => Ok(true),
        Err(error) if is_unknown(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `metadata`.
#[derive(Args)]
pub(crate) struct Metadata {
    /// IDs or names
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Omit names and IDs
    #[arg(short, long)]
    quiet: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Metadata {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let mut texts = BTreeMap::new();
        let mut code = 0;
        for id in &self.ids {
            match store.lookup(id) {
                Ok(object) => {
                    let text = object.metadata();
                    texts.insert(id, text.strip_suffix('\n').unwrap_or(text).to_owned());
                }
                Err(error) if is_unknown(&error) => {
                    output::complain(&error.to_string());
                    code = 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.json {
            cx.out.json(&texts)?;
            return Ok(code);
        }
        for id in &self.ids {
            let text = texts.get(id).map(String::as_str).unwrap_or_default();
            if self.quiet {
                cx.out.line(text)?;
            } else {
                cx.out.line(format_args!("{id}: {text}"))?;
            }
        }
        Ok(code)
    }
}

/// `set-metadata`.
#[derive(Args)]
pub(crate) struct SetMetadata {
    /// ID or name
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    pub(crate) metadata: MetadataFlags,
}

impl SetMetadata {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let action = format!("setting the metadata of {:?}", self.id);
        let metadata = self.metadata.resolve()?.ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, action)
                .detail("no new metadata provided")
                .hint("give it with --metadata or --metadata-file")
        })?;
        cx.store()?.set_metadata(&self.id, &metadata)?;
        Ok(0)
    }
}

/// Finds what has names; of what is not there the Go command says that it is no layer.
fn look_up(store: &Store, id: &str) -> orlop::Result<Object> {
    store.lookup(id).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::LayerUnknown, format!("looking up {id:?}"))
            .detail("it is no image or container either")
            .hint("`orlop layers`, `orlop images` and `orlop containers` list what there is"),
        _ => error,
    })
}

/// `get-names`.
#[derive(Args)]
pub(crate) struct GetNames {
    /// ID or name
    #[arg(value_name = "ID")]
    id: String,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl GetNames {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let object = look_up(cx.store()?, &self.id)?;
        if self.json {
            cx.out.json(object.names())?;
        } else {
            for name in object.names() {
                cx.out.line(name)?;
            }
        }
        Ok(0)
    }
}

/// `add-names`, `remove-names` and `set-names`.
#[derive(Args)]
pub(crate) struct ChangeNames {
    /// ID or name; further ones are ignored
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Name to add, remove or set (repeatable)
    #[arg(short, long)]
    name: Vec<String>,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl ChangeNames {
    /// Changes names with `change`, one of the store's methods.
    pub(crate) fn run(
        self,
        cx: &mut Context,
        change: fn(&Store, &str, &[String]) -> orlop::Result<()>,
    ) -> Outcome {
        let Some(id) = self.ids.first() else { return Ok(1) };
        let store = cx.store()?;
        // The id stays what it is, even if the name it was found by goes.
        let id = look_up(store, id)?.id().to_owned();
        change(store, &id, &self.name)?;
        if self.json {
            cx.out.json_or_null(store.lookup(&id)?.names())?;
        }
        Ok(0)
    }
}
