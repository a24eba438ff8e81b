//! Which driver serves a store: the one that is named, or the one that fits (`storage-conf.md` 6, `overlay-driver.md` 1).

use std::path::Path;

use super::Driver;
use super::overlay::{self, Overlay};
use super::vfs::Vfs;
use crate::config::StoreOptions;
use crate::{Dialect, Error, ErrorKind, Result};

/// The order in which drivers are tried when no other is configured.
const PRIORITY: [&str; 4] = ["overlay", "btrfs", "zfs", "vfs"];

/// The drivers that a directory below a graph root can belong to.
const KNOWN: [&str; 5] = ["overlay", "overlay2", "btrfs", "zfs", "vfs"];

/// The drivers that there are.
const SERVED: [&str; 3] = ["overlay", "overlay2", "vfs"];

/// What all drivers are opened with.
struct Roots<'a> {
    graph: &'a Path,
    run: &'a Path,
    image_store: Option<&'a Path>,
    options: &'a [String],
    /// `None`: the one that the layers have.
    dialect: Option<Dialect>,
}

/// Opens the driver of that name: `overlay`, also as `overlay2`, or `vfs`. Its options are read and checked; nothing on disk
/// is touched until [`Driver::prepare`] or the first operation that writes.
///
/// # Errors
/// [`ErrorKind::NotSupported`] for another driver, [`ErrorKind::Config`] for a malformed option.
///
/// ```
/// # fn main() -> orlop::Result<()> {
/// let root = std::path::Path::new("/var/tmp/no-store-here");
/// let driver = orlop::driver::open("vfs", root, root, None, &["vfs.sync=filesystem".into()])?;
/// assert_eq!((driver.name(), driver.sync_filesystem()), ("vfs", true));
/// # Ok(())
/// # }
/// ```
pub fn open(
    name: &str,
    graph_root: &Path,
    run_root: &Path,
    image_store: Option<&Path>,
    options: &[String],
) -> Result<Box<dyn Driver>> {
    Roots { graph: graph_root, run: run_root, image_store, options, dialect: None }.open(name)
}

/// Opens the overlay driver on a home of that dialect, which is `<graph root>/overlay` or `overlay2` ([`Dialect::driver_name`]); [`open`]
/// finds out by itself which one the layers of a home have, as far as these tell.
///
/// # Errors
/// [`ErrorKind::Config`] for a malformed option.
///
/// ```
/// # fn main() -> orlop::Result<()> {
/// use orlop::Dialect;
/// use orlop::driver::open_dialect;
/// let root = std::path::Path::new("/var/tmp/no-docker-here");
/// let driver = open_dialect(Dialect::Moby, root, &root.join("run"), &["overlay2.size=10g".into()])?;
/// assert_eq!(driver.home(), root.join("overlay2"));
/// # Ok(())
/// # }
/// ```
pub fn open_dialect(
    dialect: Dialect,
    graph_root: &Path,
    run_root: &Path,
    options: &[String],
) -> Result<Box<dyn Driver>> {
    let name = dialect.driver_name();
    let dialect = Some(dialect);
    Roots { graph: graph_root, run: run_root, image_store: None, options, dialect }.open(name)
}

/// Finds the driver of a store for which none is named: the first of `priority` (if empty: overlay, btrfs, zfs, vfs) that has
/// a directory below `graph_root`; without any, the first that this host can serve. `vfs` is only looked for where `priority`
/// names it.
///
/// # Errors
/// When the driver with a directory cannot be had, when several have one, or when no driver fits.
pub fn choose(
    graph_root: &Path,
    run_root: &Path,
    image_store: Option<&Path>,
    priority: &[String],
    options: &[String],
) -> Result<Box<dyn Driver>> {
    let roots = Roots { graph: graph_root, run: run_root, image_store, options, dialect: None };
    let order: Vec<&str> = match priority {
        [] => PRIORITY.to_vec(),
        _ => priority.iter().map(String::as_str).collect(),
    };
    let prior: Vec<&str> =
        KNOWN.into_iter().filter(|name| graph_root.join(name).symlink_metadata().is_ok()).collect();
    let looked_for = |name: &&&str| **name != "vfs" || !priority.is_empty();
    if let Some(name) = order.iter().filter(looked_for).find(|name| prior.contains(name)) {
        let driver = roots.start(name)?;
        if prior.len() > 1 {
            return Err(Error::new(
                ErrorKind::Config,
                format!("choosing the driver of {graph_root:?}"),
            )
            .path(graph_root)
            .detail(format!("contains several valid graphdrivers: {}", prior.join(", ")))
            .hint("name one: driver = \"overlay\" in storage.conf, or STORAGE_DRIVER"));
        }
        return Ok(driver);
    }
    let mut refusals = Vec::new();
    let mut tried = Vec::new();
    for name in order.into_iter().chain(["overlay", "vfs"]) {
        if tried.contains(&name) {
            continue;
        }
        tried.push(name);
        if !SERVED.contains(&name) {
            continue;
        }
        // A malformed option must not silently end in another driver.
        let driver = roots.open(name)?;
        match driver.check() {
            Ok(()) => return Ok(driver),
            Err(e) if moves_on(&e) => refusals.push(e.to_string()),
            Err(e) => return Err(e),
        }
    }
    Err(Error::new(ErrorKind::NotSupported, format!("choosing a driver for {graph_root:?}"))
        .path(graph_root)
        .detail(refusals.join("; ")))
}

/// The driver of the store that `options` describe: the one they name, else the one that [`choose`] finds.
///
/// # Errors
/// As for [`open`] and [`choose`].
pub fn of(options: &StoreOptions) -> Result<Box<dyn Driver>> {
    let StoreOptions { graph_root, run_root, driver_options, .. } = options;
    let image_store = options.image_store.as_deref();
    if let Some(dialect) = options.dialect {
        let name = name_beside_dialect(options, dialect)?;
        let roots = Roots {
            graph: graph_root,
            run: run_root,
            image_store,
            options: driver_options,
            dialect: Some(dialect),
        };
        roots.open(name)
    } else if options.driver.is_empty() {
        choose(graph_root, run_root, image_store, &options.driver_priority, driver_options)
    } else {
        open(&options.driver, graph_root, run_root, image_store, driver_options)
    }
}

/// The name of a driver of that dialect. A home of a foreign one is one directory: nothing else can be part of its store.
fn name_beside_dialect(options: &StoreOptions, dialect: Dialect) -> Result<&'static str> {
    let wrong = |why: String| {
        Err(Error::new(ErrorKind::Config, format!("opening a store of the dialect {dialect}"))
            .detail(why))
    };
    let driver = dialect.driver_name();
    if dialect != Dialect::Containers && options.image_store.is_some() {
        return wrong("such a store has no separate root for images".to_owned());
    }
    match options.driver.as_str() {
        "" => Ok(driver),
        named if named == driver => Ok(driver),
        // The plugin's home, where podman's has the other name.
        "overlay2" if dialect == Dialect::Cvmfs => Ok("overlay2"),
        named => wrong(format!("its driver is called {driver}, and {named:?} is configured")),
    }
}

/// The dialect of the home at `home`, such as `/var/lib/docker/overlay2`, as its layers show it; `None` if it has none, or none that
/// tells.
///
/// # Errors
/// When the home cannot be read.
pub fn detect_dialect(home: &Path) -> Result<Option<Dialect>> {
    overlay::detect(home)
}

/// IDN-7: whether the next driver is to be tried.
fn moves_on(e: &Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::NotSupported | ErrorKind::Prerequisites | ErrorKind::IncompatibleFs
    )
}

impl Roots<'_> {
    fn open(&self, name: &str) -> Result<Box<dyn Driver>> {
        Ok(match name {
            "overlay" | "overlay2" => {
                let Self { graph, run, image_store, options, dialect } = *self;
                Box::new(Overlay::open(name, graph, run, image_store, options, dialect)?)
            }
            "vfs" => Box::new(Vfs::open(self.graph, self.image_store, self.options)?),
            _ => {
                return Err(Error::new(
                    ErrorKind::NotSupported,
                    format!("opening the driver {name:?}"),
                )
                .hint("the drivers are overlay and vfs"));
            }
        })
    }

    fn start(&self, name: &str) -> Result<Box<dyn Driver>> {
        let driver = self.open(name)?;
        driver.check()?;
        Ok(driver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(dirs: &[&str], priority: &[&str], options: &[&str]) -> Result<&'static str> {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        for dir in dirs {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        let own = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
        let before = std::fs::read_dir(root.path()).unwrap().count();
        let found = choose(root.path(), root.path(), None, &own(priority), &own(options));
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), before, "nothing is made");
        found.map(|d| d.name())
    }

    #[test]
    fn prior_state_decides() {
        // IDN-6
        assert_eq!(pick(&["overlay"], &[], &[]).unwrap(), "overlay");
        assert_eq!(pick(&["vfs"], &["vfs"], &[]).unwrap(), "vfs");
        assert_eq!(pick(&["overlay"], &["vfs", "overlay"], &[]).unwrap(), "overlay");
        let e = pick(&["overlay", "vfs"], &[], &[]).unwrap_err();
        assert!(e.to_string().contains("several valid graphdrivers: overlay, vfs"), "{e}");
        assert_eq!(pick(&["btrfs"], &[], &[]).unwrap_err().kind(), ErrorKind::NotSupported);
    }

    #[test]
    fn without_state_the_first_that_starts() {
        assert_eq!(pick(&[], &[], &[]).unwrap(), "overlay");
        assert_eq!(pick(&[], &["btrfs", "nosuch", "vfs"], &[]).unwrap(), "vfs");
        assert_eq!(pick(&["vfs"], &[], &[]).unwrap(), "overlay");
        // Refused when something is to be written, not by a silent way to vfs.
        assert_eq!(pick(&[], &[], &["overlay.size=1g"]).unwrap(), "overlay");
        assert_eq!(pick(&[], &[], &["overlay.size=x"]).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn only_known_names_open() {
        // IDN-5
        let root = Path::new("/nowhere");
        for name in ["", "btrfs", "Overlay", "../overlay"] {
            let e = open(name, root, root, None, &[]).err().unwrap();
            assert_eq!(e.kind(), ErrorKind::NotSupported, "{name}");
        }
        let old = open("overlay2", root, root, None, &[]).unwrap();
        assert_eq!((old.name(), old.home()), ("overlay", Path::new("/nowhere/overlay2")));
    }
}
