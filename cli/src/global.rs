//! The flags that every command takes, and the store that they and the configuration lead to.

use std::io;
use std::path::PathBuf;

use clap::Args;
use orlop::config::{self, Environment, Loaded, Overrides, RealFiles, Source, StoreOptions, User};
use orlop::store::Store;
use orlop::{Dialect, Error, ErrorKind};

use crate::command::{Command, GoBool};
use crate::output::Output;
use crate::{advice, namespace};

/// Flags taken before and after the command's name.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Root of the storage tree
    #[arg(short = 'g', long, visible_alias = "root", value_name = "DIR")]
    pub(crate) graph: Option<PathBuf>,
    /// Root of the runtime state tree
    #[arg(short = 'R', long, visible_alias = "runroot", value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// Root of the separate image store
    #[arg(long, value_name = "DIR")]
    pub(crate) image_store: Option<PathBuf>,
    /// Storage driver to use ($STORAGE_DRIVER)
    #[arg(short = 's', long, value_name = "NAME")]
    pub(crate) storage_driver: Option<String>,
    /// Whose layout the overlay driver's layers have: containers, moby, legacy or cvmfs (default: as they show)
    #[arg(long, value_name = "NAME")]
    pub(crate) dialect: Option<Dialect>,
    /// Set storage driver options ($STORAGE_OPTS)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) storage_opt: Vec<String>,
    /// Keep container records under the run root, so that they are gone after a reboot
    #[arg(long)]
    pub(crate) transient_store: bool,
    /// Print debugging information
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// Run in a user namespace; without root, commands that need one do
    #[arg(
        short = 'U',
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = GoBool
    )]
    pub(crate) unshare: Option<bool>,
}

impl GlobalArgs {
    /// Adds the flags that stand after the command's name; of two values the later one counts.
    pub(crate) fn add(&mut self, after: Self) {
        self.graph = after.graph.or_else(|| self.graph.take());
        self.run = after.run.or_else(|| self.run.take());
        self.image_store = after.image_store.or_else(|| self.image_store.take());
        self.storage_driver = after.storage_driver.or_else(|| self.storage_driver.take());
        self.dialect = after.dialect.or(self.dialect);
        self.storage_opt.extend(after.storage_opt);
        self.transient_store |= after.transient_store;
        self.debug |= after.debug;
        self.unshare = after.unshare.or(self.unshare);
    }
}

impl GlobalArgs {
    /// What these flags and the configuration come to.
    fn options(&self, loaded: &Loaded) -> orlop::Result<StoreOptions> {
        let options = loaded.with_overrides(self.overrides())?;
        let dialect = self.dialect.or(options.dialect);
        Ok(StoreOptions { dialect, ..options })
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            graph_root: self.graph.clone(),
            run_root: self.run.clone(),
            image_store: self.image_store.clone(),
            driver: self.storage_driver.clone(),
            driver_options: self.storage_opt.clone(),
            dialect: self.dialect,
            transient: self.transient_store,
        }
    }
}

/// Loads the configuration, from `file` instead of its search path if there is one.
///
/// # Errors
/// A file cannot be read or is malformed.
pub(crate) fn load_configuration(file: Option<PathBuf>, user: &User) -> orlop::Result<Loaded> {
    let loaded = read_configuration(file, user)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

fn read_configuration(file: Option<PathBuf>, user: &User) -> orlop::Result<Loaded> {
    let mut env = Environment::of_process();
    if let Some(file) = file {
        env.vars.insert("CONTAINERS_STORAGE_CONF".into(), file.into());
    }
    config::load(&RealFiles::default(), &env, user)
}

/// What a command works with.
pub(crate) struct Context {
    global: GlobalArgs,
    /// Whose configuration and store are meant.
    user: User,
    /// Whether this process is in namespaces of its own, which end with it.
    in_own_namespace: bool,
    /// Standard output.
    pub(crate) out: Output,
    /// The configured graph root and the file that sets it, if that is the one in use.
    configured_root: Option<(PathBuf, PathBuf)>,
}

impl Context {
    /// Enters a user namespace if `command` needs one, or the flags ask for it.
    ///
    /// # Errors
    /// Standard output cannot be had, or the namespace that was asked for.
    pub(crate) fn new(global: GlobalArgs, command: &Command) -> anyhow::Result<Self> {
        let entered = match global.unshare {
            Some(false) => None,
            Some(true) => Some(namespace::enter()?),
            // Who is root of a namespace needs no other one.
            None if matches!(command, Command::Unshare(_)) => {
                let user = User::of_process(&Environment::of_process());
                let inside = user.is_rootless && !namespace::is_needed();
                (!inside).then(namespace::enter).transpose()?
            }
            None if namespace::is_needed() && !command.reads_records() => {
                // Without it the store tells what it cannot do, and a store on vfs may manage.
                let before = namespace::id();
                match namespace::enter() {
                    Err(e) if namespace::id() == before => {
                        tracing::warn!("no user namespace: {e}");
                        None
                    }
                    // Half inside, this process would take another user's store for its own.
                    entered => Some(entered?),
                }
            }
            None => None,
        };
        let in_own_namespace = entered.is_some();
        let user = entered.unwrap_or_else(|| User::of_process(&Environment::of_process()));
        Ok(Self { global, user, in_own_namespace, out: Output::new()?, configured_root: None })
    }

    /// Whose configuration and store are meant.
    pub(crate) fn user(&self) -> &User {
        &self.user
    }

    /// Refuses to mount where nobody would see it: in a namespace that ends with this process.
    ///
    /// # Errors
    /// There.
    pub(crate) fn check_mounts_last(&self, store: &Store) -> orlop::Result<()> {
        if !self.in_own_namespace || store.driver_name() != "overlay" {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotSupported, "mounting or unmounting without root")
            .detail("the mount would end with the command")
            .hint(
                "run it, and what works on the mount, within `podman unshare` or `orlop unshare`",
            ))
    }

    /// Opens the store, which lives as long as the process: to take apart at the end what it has read, record by record, would
    /// be for nothing.
    ///
    /// # Errors
    /// [`Reported`]: the configuration or the store cannot be read, which has been told.
    pub(crate) fn store(&mut self) -> anyhow::Result<&'static Store> {
        let store = self.try_store().map_err(|e| self.initialization_failed(e))?;
        Ok(Box::leak(Box::new(store)))
    }

    /// What the store would be opened with, and what the configuration has to be told of.
    ///
    /// # Errors
    /// [`Reported`]: the configuration cannot be read, which has been told.
    pub(crate) fn configured(&mut self) -> anyhow::Result<Configured> {
        let configured = read_configuration(None, &self.user).and_then(|loaded| {
            let mut options = self.global.options(&loaded)?;
            options.make_roots_absolute()?;
            let Loaded { warnings, ignored, .. } = loaded;
            Ok(Configured { options, warnings, ignored })
        });
        configured.map_err(|e| self.initialization_failed(e))
    }

    fn try_store(&mut self) -> orlop::Result<Store> {
        let loaded = load_configuration(None, &self.user)?;
        let options = self.global.options(&loaded)?;
        if let Source::File(file) = loaded.provenance.graph_root
            && options.graph_root == loaded.options.graph_root
        {
            self.configured_root = Some((options.graph_root.clone(), file));
        }
        tracing::debug!("Root: {}", options.graph_root.display());
        tracing::debug!("Run Root: {}", options.run_root.display());
        tracing::debug!("Driver Name: {}", options.driver);
        tracing::debug!("Driver Options: {:?}", options.driver_options);
        Store::open(options)
    }

    /// The error in words, and what to do about it.
    pub(crate) fn explain(&self, error: &anyhow::Error) -> String {
        match error.downcast_ref::<Error>() {
            Some(error) => self.advise(error),
            // Files have names in their errors; only standard output's come bare.
            None if error.is::<io::Error>() => format!("writing to standard output: {error}"),
            None => error.to_string(),
        }
    }

    /// An error of the library in words; of a graph root that may not be written to also who chose it.
    pub(crate) fn advise(&self, error: &Error) -> String {
        let denied = match error.os_error() {
            Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                error.file()
            }
            _ => None,
        };
        let chosen = match (&self.configured_root, denied) {
            (Some((root, file)), Some(path)) if path.starts_with(root) => {
                Some(format!("the graph root {root:?} is set in {file:?}"))
            }
            _ => None,
        };
        let todo = advice::on(error, self.user.is_rootless).map(str::to_owned);
        let notes: Vec<String> = chosen.into_iter().chain(todo).collect();
        if notes.is_empty() { error.to_string() } else { format!("{error} ({})", notes.join("; ")) }
    }

    /// The Go command says this on standard output.
    fn initialization_failed(&mut self, error: Error) -> anyhow::Error {
        let text = self.advise(&error);
        match self.out.line(format_args!("error initializing: {text}")) {
            Ok(()) => anyhow::Error::new(Reported),
            Err(error) => error.into(),
        }
    }
}

/// What a store would be opened with.
pub(crate) struct Configured {
    /// The options, roots absolute.
    pub(crate) options: StoreOptions,
    /// What the user should be told of the configuration.
    pub(crate) warnings: Vec<String>,
    /// Keys without effect.
    pub(crate) ignored: Vec<String>,
}

/// A failure whose text has been printed.
#[derive(Debug)]
pub(crate) struct Reported;

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the store cannot be opened")
    }
}

impl std::error::Error for Reported {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_chose_the_graph_root_is_told_when_it_is_denied() {
        let context = Context {
            global: GlobalArgs::default(),
            user: User::of_process(&Environment::of_process()),
            in_own_namespace: false,
            out: Output::new().unwrap(),
            configured_root: Some(("/g".into(), "/etc/storage.conf".into())),
        };
        let denied = |path| Error::io("creating", path, io::ErrorKind::PermissionDenied).into();
        assert!(context.explain(&denied("/g/overlay")).contains("is set in \"/etc/storage.conf\""));
        assert!(!context.explain(&denied("/elsewhere")).contains("storage.conf"));
        let missing = Error::io("opening", "/g/x", io::ErrorKind::NotFound).into();
        assert!(!context.explain(&missing).contains("storage.conf"));
    }
}
