//! Commands about the store as a whole.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use orlop::IdMap;
use orlop::config::StoreOptions;
use serde::Serialize;

use crate::command::Outcome;
use crate::global::{self, Context};
use crate::output;

/// `status`.
#[derive(Args)]
pub(crate) struct Status {
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let options = store.options();
        let mut rows = vec![
            row("Root", options.graph_root.display().to_string()),
            row("Run Root", options.run_root.display().to_string()),
            row("Driver Name", store.driver_name().to_owned()),
            row("Driver Options", format!("[{}]", options.driver_options.join(" "))),
        ];
        rows.extend(store.driver_status());
        print_rows(cx, self.json, &rows)
    }
}

/// `version`.
#[derive(Args)]
pub(crate) struct Version {
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Version {
    /// Opens no store: the version is to be had where no store can be opened, too.
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let rows =
            [row("Version", orlop::VERSION.to_owned()), row("Commit", orlop::COMMIT.to_owned())];
        print_rows(cx, self.json, &rows)
    }
}

fn row(key: &str, value: String) -> (String, String) {
    (key.to_owned(), value)
}

/// Pairs on standard output as JSON, or on standard error as lines, as the Go command has it.
fn print_rows(cx: &mut Context, json: bool, rows: &[(String, String)]) -> Outcome {
    if json {
        cx.out.json(rows)?;
    } else {
        for (key, value) in rows {
            output::complain(&format!("{key}: {value}"));
        }
    }
    Ok(0)
}

/// `config`.
#[derive(Args)]
pub(crate) struct Config {
    /// Read this file instead of the search path
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Config {
    /// Prints the options that the configuration leads to; the flags for roots and driver do not change them.
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let options = global::load_configuration(self.file, cx.user())?.options;
        cx.out.json(&OptionsJson::from(&options))?;
        Ok(0)
    }
}

/// Store options with the keys and in the order of the Go command.
#[derive(Serialize)]
struct OptionsJson<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    runroot: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    imagestore: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    driver: &'a str,
    #[serde(rename = "driver-priority", skip_serializing_if = "<[_]>::is_empty")]
    driver_priority: &'a [String],
    #[serde(rename = "driver-options", skip_serializing_if = "<[_]>::is_empty")]
    driver_options: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uidmap: Vec<IdMapJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gidmap: Vec<IdMapJson>,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_auto_ns_user: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    auto_userns_min_size: u32,
    #[serde(skip_serializing_if = "is_zero")]
    auto_userns_max_size: u32,
    #[serde(rename = "PullOptions")]
    pull_options: Option<&'a BTreeMap<String, String>>,
    #[serde(rename = "disable-volatile", skip_serializing_if = "is_false")]
    disable_volatile: bool,
    #[serde(skip_serializing_if = "is_false")]
    transient_store: bool,
}

#[derive(Serialize)]
struct IdMapJson {
    container_id: u32,
    host_id: u32,
    size: u32,
}

impl<'a> From<&'a StoreOptions> for OptionsJson<'a> {
    fn from(options: &'a StoreOptions) -> Self {
        let maps = |maps: &[IdMap]| {
            let map = |m: &IdMap| IdMapJson {
                container_id: m.container_id,
                host_id: m.host_id,
                size: m.size,
            };
            maps.iter().map(map).collect()
        };
        let image_store = options.image_store.as_ref();
        Self {
            runroot: options.run_root.display().to_string(),
            root: options.graph_root.display().to_string(),
            imagestore: image_store.map(|path| path.display().to_string()).unwrap_or_default(),
            driver: &options.driver,
            driver_priority: &options.driver_priority,
            driver_options: &options.driver_options,
            uidmap: maps(&options.uid_map),
            gidmap: maps(&options.gid_map),
            root_auto_ns_user: &options.auto_user_ns.root_user,
            auto_userns_min_size: options.auto_user_ns.min_size,
            auto_userns_max_size: options.auto_user_ns.max_size,
            pull_options: Some(&options.pull_options).filter(|map| !map.is_empty()),
            disable_volatile: options.disable_volatile,
            transient_store: options.transient_store,
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// `shutdown`.
#[derive(Args)]
pub(crate) struct Shutdown {
    /// Unmount mounted layers first
    #[arg(short, long)]
    force: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Shutdown {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let outcome = cx.store()?.shutdown(self.force);
        conclude(cx, self.json, outcome)
    }
}

/// `wipe`.
#[derive(Args)]
pub(crate) struct Wipe {
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Wipe {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let outcome = cx.store()?.wipe();
        conclude(cx, self.json, outcome)
    }
}

/// `gc`.
#[derive(Args)]
pub(crate) struct Gc {
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Gc {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        cx.store()?.garbage_collect()?;
        if self.json {
            cx.out.json("")?;
        }
        Ok(0)
    }
}

/// In JSON `""` for success and `{}` for a failure, whose text is on standard error then.
fn conclude(cx: &mut Context, json: bool, outcome: orlop::Result<()>) -> Outcome {
    if json {
        match &outcome {
            Ok(()) => cx.out.json("")?,
            Err(_) => cx.out.json(&BTreeMap::<(), ()>::new())?,
        }
    }
    outcome?;
    Ok(0)
}
