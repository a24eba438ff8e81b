//! From files, environment and user to the options of a store.

use std::fmt;
use std::path::{Path, PathBuf};

use super::keys::{KEYS, Kind, Table};
use super::search;
use super::settings::Settings;
use super::{AutoUserNs, Environment, Files, RealFiles, StoreOptions, User, paths, rootless};
use crate::{Error, ErrorKind, Result};

const GRAPH_ROOT: &str = "/var/lib/containers/storage";
const RUN_ROOT: &str = "/run/containers/storage";
/// `yes`: the overlay driver never maps ids by mounts (`overlay-driver.md` 3.4).
const DISABLE_IDMAP: &str = "_CONTAINERS_OVERLAY_DISABLE_IDMAP";
/// The driver option that it stands for.
pub(super) const IDMAP_DISABLED: &str = "overlay.disable_idmap=true";

/// Where a value comes from; displayed as `the default`, `set in <file>` or `set by <variable>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// Nobody set it.
    #[default]
    Default,
    /// This file set it, or had the last say in it.
    File(PathBuf),
    /// This environment variable set it.
    Environment(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(file) => write!(f, "set in {}", file.display()),
            Self::Environment(name) => write!(f, "set by {name}"),
        }
    }
}

/// Where the values come from that an error at opening a store may have to explain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// Of [`StoreOptions::graph_root`].
    pub graph_root: Source,
    /// Of [`StoreOptions::run_root`].
    pub run_root: Source,
    /// Of [`StoreOptions::image_store`].
    pub image_store: Source,
    /// Of [`StoreOptions::driver`].
    pub driver: Source,
    /// Of each of [`StoreOptions::driver_options`], in their order.
    pub driver_options: Vec<Source>,
    /// The files read, in the order in which they were applied.
    pub files: Vec<PathBuf>,
}

/// The configuration, loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What a store is opened with by default.
    pub options: StoreOptions,
    /// Who said so.
    pub provenance: Provenance,
    /// What the user should be told: old names, settings without effect.
    pub warnings: Vec<String>,
    /// Keys that no version knows, each with its file and table; they are passed over.
    pub ignored: Vec<String>,
}

/// Loads the configuration of this process.
///
/// A rootless user without XDG_RUNTIME_DIR gets his private runtime directory made; nothing else is changed.
pub fn load_default() -> Result<Loaded> {
    let env = Environment::of_process();
    let user = User::of_process(&env);
    load(&RealFiles::default(), &env, &user)
}

/// Loads the configuration that `files` hold for `user` in the environment `env` (`storage-conf.md`).
///
/// # Errors
///
/// [`ErrorKind::Config`] names the file, the line and the key of what is malformed; [`ErrorKind::Io`] a file that exists but
/// cannot be read, or that a variable names and that does not exist.
pub fn load(files: &dyn Files, env: &Environment, user: &User) -> Result<Loaded> {
    let mut settings = Settings::default();
    let mut provenance = Provenance::default();
    search::each_file(files, env, user, &mut |found| {
        settings.merge(&found.path, &found.bytes)?;
        provenance.files.push(found.path);
        Ok(())
    })?;
    let mut warnings = std::mem::take(&mut settings.warnings);
    let ignored = std::mem::take(&mut settings.ignored);
    let (driver, driver_source) = driver(&settings, env, &mut warnings)?;
    provenance.driver = driver_source;
    let (driver_options, sources) = driver_options(&settings, env)?.into_iter().unzip();
    provenance.driver_options = sources;
    let (run_root, graph_root) =
        roots(&settings, files, env, user, &mut provenance, &mut warnings)?;
    let image_store = settings.text(Table::Storage, "imagestore");
    if !image_store.is_empty() {
        provenance.image_store = set_in(&settings, Table::Storage, "imagestore");
        if Path::new(image_store).as_os_str() == graph_root.as_os_str() {
            let mut error = Error::new(ErrorKind::Config, "reading the roots of the store")
                .detail(format!("imagestore {image_store} is the graphroot"))
                .hint("leave imagestore out, or give it a directory of its own");
            if let Source::File(file) = &provenance.image_store {
                error = error.path(file);
            }
            return Err(error);
        }
    }
    let options = StoreOptions {
        run_root,
        graph_root,
        image_store: Some(image_store).filter(|path| !path.is_empty()).map(PathBuf::from),
        driver,
        dialect: None,
        driver_priority: settings.list(Table::Storage, "driver_priority").to_vec(),
        driver_options,
        pull_options: settings.map(Table::Options, "pull_options"),
        auto_user_ns: AutoUserNs {
            root_user: settings.text(Table::Options, "root-auto-userns-user").to_owned(),
            min_size: settings.number(Table::Options, "auto-userns-min-size"),
            max_size: settings.number(Table::Options, "auto-userns-max-size"),
        },
        uid_map: Vec::new(),
        gid_map: Vec::new(),
        disable_volatile: settings.flag(Table::Options, "disable-volatile"),
        transient_store: settings.flag(Table::Storage, "transient_store"),
    };
    Ok(Loaded { options, provenance, warnings, ignored })
}

fn set_in(settings: &Settings, table: Table, name: &'static str) -> Source {
    settings.file(table, name).map_or(Source::Default, |file| Source::File(file.to_path_buf()))
}

fn driver(
    settings: &Settings,
    env: &Environment,
    warnings: &mut Vec<String>,
) -> Result<(String, Source)> {
    let configured = settings.text(Table::Storage, "driver");
    let (name, source) = match env.text("STORAGE_DRIVER")? {
        Some(name) if !name.is_empty() => (name, Source::Environment("STORAGE_DRIVER")),
        _ if configured.is_empty() => return Ok((String::new(), Source::Default)),
        _ => (configured, set_in(settings, Table::Storage, "driver")),
    };
    if name == "overlay2" {
        warnings.push("the driver name overlay2 is an old one: overlay is used".to_owned());
        return Ok(("overlay".to_owned(), source));
    }
    Ok((name.to_owned(), source))
}

/// The driver's options in the order of `storage-conf.md` 4, each with its source, and in the end the one that an environment variable
/// stands for which the Go driver reads itself.
fn driver_options(settings: &Settings, env: &Environment) -> Result<Vec<(String, Source)>> {
    let mut options = configured_options(settings, env)?;
    if env.get(DISABLE_IDMAP).is_some_and(|value| value == "yes") {
        options.push((IDMAP_DISABLED.to_owned(), Source::Environment(DISABLE_IDMAP)));
    }
    Ok(options)
}

fn configured_options(settings: &Settings, env: &Environment) -> Result<Vec<(String, Source)>> {
    if let Some(list) = env.text("STORAGE_OPTS")? {
        let source = Source::Environment("STORAGE_OPTS");
        let options = list.split(',').filter(|_| !list.is_empty());
        return Ok(options.map(|option| (option.to_owned(), source.clone())).collect());
    }
    let mut options = Vec::new();
    for key in &KEYS {
        let Some(option) = key.option else { continue };
        let mut add = |value: &str| {
            let source = set_in(settings, key.table, key.name);
            options.push((format!("{option}={value}"), source));
        };
        match key.kind {
            Kind::Text => match settings.text(key.table, key.name) {
                "" => {}
                text => add(text),
            },
            Kind::Number => match settings.number(key.table, key.name) {
                0 => {}
                mask => add(&format!("{mask:o}")),
            },
            Kind::List => settings.list(key.table, key.name).iter().for_each(|item| add(item)),
            Kind::Flag | Kind::Map => {}
        }
    }
    Ok(options)
}

/// The run root and the graph root.
fn roots(
    settings: &Settings,
    files: &dyn Files,
    env: &Environment,
    user: &User,
    provenance: &mut Provenance,
    warnings: &mut Vec<String>,
) -> Result<(PathBuf, PathBuf)> {
    let (mut run_root, mut graph_root) = if user.per_user_storage() {
        (
            paths::join(&rootless::runtime_dir(files, env, user)?, "containers"),
            paths::join(&rootless::data_dir(env, user)?, "containers/storage"),
        )
    } else {
        (PathBuf::from(RUN_ROOT), PathBuf::from(GRAPH_ROOT))
    };
    let mut expanded = |name: &'static str| -> Option<(PathBuf, Source)> {
        let text = settings.text(Table::Storage, name);
        if text.is_empty() {
            return None;
        }
        let path = paths::expand(files, env, user.rootless_uid, text);
        let source = set_in(settings, Table::Storage, name);
        if path == Path::new(".") && text != "." {
            let whose = settings.file(Table::Storage, name).unwrap_or(Path::new("")).display();
            warnings.push(format!("{whose}: {name} {text:?} expands to the working directory"));
        }
        Some((path, source))
    };
    if let Some((path, source)) = expanded("runroot") {
        (run_root, provenance.run_root) = (path, source);
    }
    if user.per_user_storage()
        && let Some((path, source)) = expanded("rootless_storage_path")
    {
        (graph_root, provenance.graph_root) = (path, source);
    }
    if let Some((path, source)) = expanded("graphroot") {
        (graph_root, provenance.graph_root) = (path, source);
        if !settings.text(Table::Storage, "rootless_storage_path").is_empty() {
            warnings.push(format!(
                "rootless_storage_path ({}) is deprecated and has no effect beside graphroot: remove it",
                set_in(settings, Table::Storage, "rootless_storage_path"),
            ));
        }
    }
    Ok((run_root, graph_root))
}
