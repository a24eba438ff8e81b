//! The `orlop` command: container storage from the shell, with the surface of the Go library's command
//! (`docs/spec/cli.md`) and `load`, `save` and `commit` besides.

mod advice;
mod command;
mod create;
mod data;
mod dedup;
mod delete;
mod diffs;
mod docker;
mod doctor;
mod global;
mod id_maps;
mod images;
mod input;
mod list;
mod logging;
mod migrate;
mod migrate_legacy;
mod mounts;
mod names;
mod namespace;
mod output;
mod owners;
mod progress;
mod quote;
mod store;
#[cfg(feature = "thin")]
mod thin;
mod tree;
mod typed;
mod unshare;
mod usage;

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let typed = typed::Typed::from_process();
    let code = match command::parse(&typed) {
        Ok((global, command)) => {
            logging::start(global.debug);
            run(global, command)
        }
        Err(error) => usage::report(&error, &typed).unwrap_or(1),
    };
    ExitCode::from(code)
}

/// Carries the command out; whatever fails becomes one line on standard error and code 1.
fn run(global: global::GlobalArgs, command: command::Command) -> u8 {
    let mut context = match global::Context::new(global, &command) {
        Ok(context) => context,
        Err(error) => return failed(&error, &error.to_string()),
    };
    let outcome = command.run(&mut context);
    // What was printed before a failure stays printed, as with an unbuffered writer.
    let flushed = context.out.flush().map_err(anyhow::Error::from);
    match flushed.and(outcome) {
        Ok(code) => code,
        Err(error) => failed(&error, &context.explain(&error)),
    }
}

fn failed(error: &anyhow::Error, text: &str) -> u8 {
    // Whoever read our output has gone: nothing to say, and nobody to say it to.
    if !is_broken_pipe(error) && !error.is::<global::Reported>() {
        output::complain(text);
    }
    1
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
