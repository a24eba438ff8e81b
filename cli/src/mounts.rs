//! Mounting and unmounting.

use clap::Args;
use orlop::store::{MountRequest, Store};
use orlop::{Error, ErrorKind};
use serde::Serialize;

use crate::command::Outcome;
use crate::global::Context;
use crate::output;

/// `mount`.
#[derive(Args)]
pub(crate) struct Mount {
    /// IDs or names of layers and containers, of images with --read-only
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Mount options (ignored)
    #[arg(short, long)]
    opt: Option<String>,
    /// Mount label
    #[arg(short, long)]
    label: Option<String>,
    /// Mount an image, read-only
    #[arg(short, long, visible_alias = "ro")]
    read_only: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

#[derive(Serialize)]
struct MountOutcome<'a> {
    id: &'a str,
    mountpoint: String,
    error: String,
}

impl Mount {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        cx.check_mounts_last(store)?;
        let request = MountRequest {
            mount_label: self.label.unwrap_or_default(),
            read_only: self.read_only,
            options: Vec::new(),
        };
        let mut outcomes = Vec::new();
        for id in &self.ids {
            let mounted = if self.read_only {
                store.mount_image(id, &request)
            } else {
                store.mount(id, &request)
            };
            let (mountpoint, error) = match mounted {
                Ok(path) => (path.display().to_string(), String::new()),
                Err(error) => (String::new(), cx.advise(&not_mountable(error, store, id))),
            };
            outcomes.push(MountOutcome { id, mountpoint, error });
        }
        if self.json {
            cx.out.json(&outcomes)?;
        } else {
            for MountOutcome { id, mountpoint, error } in &outcomes {
                if !error.is_empty() {
                    output::complain(&format!("{error} while mounting {id}"));
                }
                cx.out.line(mountpoint)?;
            }
        }
        Ok(outcomes.iter().any(|outcome| !outcome.error.is_empty()).into())
    }
}

/// An id and what went wrong with it.
#[derive(Serialize)]
struct IdOutcome<'a> {
    id: &'a str,
    error: String,
}

/// `unmount`.
#[derive(Args)]
pub(crate) struct Unmount {
    /// IDs or names
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Unmount whatever the number of mounts
    #[arg(short, long)]
    force: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Unmount {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        cx.check_mounts_last(store)?;
        let mut outcomes = Vec::new();
        for id in &self.ids {
            let mut text = String::new();
            match store.unmount(id, self.force) {
                Ok(true) => {}
                Ok(false) => cx.out.line(format_args!("{id} mountpoint unmounted"))?,
                // An image then; if that fails too, the first error is the telling one.
                Err(error) => {
                    if store.unmount_image(id, self.force).is_err() {
                        text = cx.advise(&not_mountable(error, store, id));
                    }
                }
            }
            outcomes.push(IdOutcome { id, error: text });
        }
        conclude(cx, self.json, &outcomes, "while unmounting", "")
    }
}

/// `mounted`.
#[derive(Args)]
pub(crate) struct Mounted {
    /// IDs or names
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Mounted {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let mut outcomes = Vec::new();
        for id in &self.ids {
            let mut text = String::new();
            match store.mounted(id) {
                Ok(count) if count > 0 => cx.out.line(format_args!("{id} mounted"))?,
                Ok(_) => {}
                Err(error) => text = cx.advise(&not_mountable(error, store, id)),
            }
            outcomes.push(IdOutcome { id, error: text });
        }
        conclude(cx, self.json, &outcomes, "checking if", " is mounted")
    }
}

/// Leads on from an id that is no layer's: to the image that it names, or to the lists of what can be mounted.
fn not_mountable(error: Error, store: &Store, id: &str) -> Error {
    match error.kind() {
        ErrorKind::LayerUnknown if store.image(id).is_ok() => error
            .hint("it is an image: mount it with --read-only, or mount a container made from it"),
        ErrorKind::LayerUnknown => {
            error.hint("`orlop containers` and `orlop layers` list what there is to mount")
        }
        _ => error,
    }
}

fn conclude(
    cx: &mut Context,
    json: bool,
    outcomes: &[IdOutcome<'_>],
    before: &str,
    after: &str,
) -> Outcome {
    let failed = || outcomes.iter().filter(|outcome| !outcome.error.is_empty());
    if json {
        cx.out.json(outcomes)?;
    } else {
        for IdOutcome { id, error } in failed() {
            output::complain(&format!("{error} {before} {id}{after}"));
        }
    }
    Ok(failed().next().is_some().into())
}
