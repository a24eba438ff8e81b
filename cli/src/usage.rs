//! What is said of a command line that cannot be understood, in the Go command's words and with its exit codes.

use std::io::{self, Write};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::command;
use crate::typed::Typed;

/// The code for a flag that the command does not have, or for a command's help.
const BAD_FLAG: u8 = 125;

/// Commands of the Go program that are not here yet (`cli.md`, last section).
const NOT_YET: &[&str] =
    &["applydiff-using-staging-dir", "check", "copy", "create-storage-layer", "gc"];

/// Tells the user of `error`; returns the exit code (`cli.md`, Streams and exit codes).
///
/// # Errors
/// Standard output or standard error cannot be written to.
pub(crate) fn report(error: &clap::Error, typed: &Typed) -> io::Result<u8> {
    let mut out = io::stdout().lock();
    let name = typed.command();
    match error.kind() {
        ErrorKind::DisplayVersion => {
            write!(out, "{error}")?;
            Ok(0)
        }
        ErrorKind::DisplayHelp => {
            let global = typed.has_global("--help") || typed.has_global("-h");
            write!(out, "{}", command::help(name.as_deref().filter(|_| !global)))?;
            Ok(match name {
                _ if typed.has_global("--help") => 0,
                _ if typed.has_global("-h") => 1,
                Some(_) => BAD_FLAG,
                None => 1,
            })
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            write!(out, "{}", command::help(None))?;
            Ok(1)
        }
        ErrorKind::InvalidSubcommand => {
            let name = name.unwrap_or_default();
            writeln!(out, "{name}: unrecognized command.")?;
            let mut err = io::stderr().lock();
            if NOT_YET.contains(&name.as_str()) {
                writeln!(
                    err,
                    "orlop has no '{name}' yet; containers-storage has it, on the same store."
                )?;
            } else {
                writeln!(err, "See 'orlop --help'.")?;
            }
            Ok(1)
        }
        ErrorKind::MissingRequiredArgument => {
            let name = name.unwrap_or_default();
            writeln!(out, "{name}: more arguments required.")?;
            write!(out, "{}", command::help(Some(&name)))?;
            Ok(1)
        }
        ErrorKind::UnknownArgument => {
            let word = context(error, ContextKind::InvalidArg);
            match name {
                Some(name) if !word.starts_with('-') => {
                    let operands = command::operands(typed).join(" ");
                    writeln!(out, "{name}: too many arguments ([{operands}]).")?;
                    write!(out, "{}", command::help(Some(&name)))?;
                    Ok(1)
                }
                name => {
                    let name = name.filter(|_| !typed.has_global(&word));
                    bad_flag(&mut out, name, &format!("flag provided but not defined: {word}"))
                }
            }
        }
        // A flag at the end whose value is lacking; another invalid value is told of below.
        ErrorKind::InvalidValue if context(error, ContextKind::InvalidValue).is_empty() => {
            bad_flag(&mut out, name, &format!("flag needs an argument: {}", typed.last()))
        }
        ErrorKind::ValueValidation => {
            let flag = context(error, ContextKind::InvalidArg);
            let flag = flag.split([' ', '[', '=']).next().unwrap_or_default();
            let value = context(error, ContextKind::InvalidValue);
            let text = match std::error::Error::source(error) {
                Some(why) => format!("invalid value {value:?} for {flag}: {why}"),
                None => format!("invalid boolean value {value:?} for {flag}"),
            };
            bad_flag(&mut out, name, &text)
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            bad_flag(&mut out, name, line.strip_prefix("error: ").unwrap_or(line))
        }
    }
}

/// A flag that cannot be taken: the command's own end with 125, global ones before the command with usage and 1.
fn bad_flag(out: &mut impl Write, name: Option<String>, text: &str) -> io::Result<u8> {
    let mut err = io::stderr().lock();
    writeln!(err, "{text}")?;
    match name {
        Some(name) => {
            writeln!(err, "See 'orlop {name} --help'.")?;
            Ok(BAD_FLAG)
        }
        None => {
            writeln!(err, "See 'orlop --help'.")?;
            writeln!(out, "{text} while parsing arguments (1)")?;
            write!(out, "{}", command::help(None))?;
            Ok(1)
        }
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    }
}
