//! `unshare`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use clap::Args;
use orlop::Error;

use crate::command::Outcome;
use crate::global::Context;

/// `unshare`.
#[derive(Args)]
pub(crate) struct Unshare {
    /// Program and arguments, $SHELL if there are none
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Unshare {
    /// Becomes the program, in the namespace that this process has entered.
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let mut words = self.command.into_iter();
        let shell = || std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        let program = words.next().unwrap_or_else(shell);
        let mut command = std::process::Command::new(&program);
        command.args(words);
        // What the tools of the family tell their children, so that these do not make one more.
        let user = cx.user();
        if user.is_rootless {
            let id = user.rootless_uid.to_string();
            command.env("_CONTAINERS_USERNS_CONFIGURED", "done");
            command.env("_CONTAINERS_ROOTLESS_UID", id);
        }
        Err(Error::io("running", program, command.exec()).into())
    }
}
