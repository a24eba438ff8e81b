//! What a caller asks for in place of the configuration (`cli.md`, "Calling").

use std::path::PathBuf;

use super::load::IDMAP_DISABLED;
use super::{Loaded, StoreOptions};
use crate::{Dialect, Error, ErrorKind, Result};

/// A caller's own choice of roots and driver; an empty path or name counts as none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Root of the store.
    pub graph_root: Option<PathBuf>,
    /// Run-time root.
    pub run_root: Option<PathBuf>,
    /// Separate root for images.
    pub image_store: Option<PathBuf>,
    /// Name of the driver.
    pub driver: Option<String>,
    /// `key=value` options for the driver.
    pub driver_options: Vec<String>,
    /// Whose layout the overlay driver's layers have; the configured name of a driver then does not count.
    pub dialect: Option<Dialect>,
    /// Container records under the run root.
    pub transient: bool,
}

impl Loaded {
    /// The options of a store that is opened with some choices of the caller.
    ///
    /// If he names no root, no driver and no driver option, the configuration holds, with his image store and transient mark put
    /// upon it. Otherwise nothing of it is inherited but the one of the two roots that he does not name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::IncompleteOptions`] if he names a driver or driver options, but neither root.
    pub fn with_overrides(&self, choice: Overrides) -> Result<StoreOptions> {
        let path = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        let (graph_root, run_root) = (path(choice.graph_root), path(choice.run_root));
        let image_store = path(choice.image_store);
        let driver = choice.driver.unwrap_or_default();
        if graph_root.is_none() && run_root.is_none() {
            if !driver.is_empty() || !choice.driver_options.is_empty() {
                return Err(Error::new(
                    ErrorKind::IncompleteOptions,
                    "no storage runroot or graphroot specified",
                )
                .hint("a driver or driver option takes a graph root or run root beside it"));
            }
            let mut options = self.options.clone();
            options.image_store = image_store.or(options.image_store);
            options.transient_store |= choice.transient;
            if choice.dialect.is_some() {
                options.driver.clear();
                options.dialect = choice.dialect;
            }
            return Ok(options);
        }
        // The Go driver itself reads the variable that this stands for, whatever a caller chooses.
        let switches = self.options.driver_options.iter().filter(|o| *o == IDMAP_DISABLED).cloned();
        Ok(StoreOptions {
            graph_root: graph_root.unwrap_or_else(|| self.options.graph_root.clone()),
            run_root: run_root.unwrap_or_else(|| self.options.run_root.clone()),
            image_store,
            driver,
            dialect: choice.dialect,
            driver_options: choice.driver_options.into_iter().chain(switches).collect(),
            transient_store: choice.transient,
            ..StoreOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Provenance, StoreOptions};
    use super::*;

    #[test]
    fn a_dialect_takes_the_place_of_the_configured_driver() {
        let choice = || Overrides { dialect: Some(Dialect::Moby), ..Overrides::default() };
        let upon = loaded().with_overrides(choice()).unwrap();
        assert_eq!((upon.dialect, upon.driver.as_str()), (Some(Dialect::Moby), ""));
        let root = Overrides { graph_root: Some("/var/lib/docker".into()), ..choice() };
        let alone = loaded().with_overrides(root).unwrap();
        assert_eq!((alone.dialect, alone.driver.as_str()), (Some(Dialect::Moby), ""));
    }

    fn loaded() -> Loaded {
        Loaded {
            options: StoreOptions {
                graph_root: "/g".into(),
                run_root: "/r".into(),
                driver: "vfs".into(),
                driver_options: vec!["size=1".into()],
                driver_priority: vec!["vfs".into()],
                ..StoreOptions::default()
            },
            provenance: Provenance::default(),
            warnings: Vec::new(),
            ignored: Vec::new(),
        }
    }

    #[test]
    fn nothing_chosen_is_the_configuration() {
        let empty = Overrides {
            graph_root: Some("".into()),
            run_root: Some("".into()),
            driver: Some("".into()),
            ..Overrides::default()
        };
        assert_eq!(loaded().with_overrides(Overrides::default()).unwrap(), loaded().options);
        assert_eq!(loaded().with_overrides(empty).unwrap(), loaded().options);
    }

    #[test]
    fn one_root_inherits_only_the_other() {
        let graph = Overrides { graph_root: Some("/G".into()), ..Overrides::default() };
        let expected = StoreOptions {
            graph_root: "/G".into(),
            run_root: "/r".into(),
            ..StoreOptions::default()
        };
        assert_eq!(loaded().with_overrides(graph).unwrap(), expected);
        let run = Overrides {
            run_root: Some("/R".into()),
            driver: Some("overlay".into()),
            driver_options: vec!["x=y".into()],
            transient: true,
            ..Overrides::default()
        };
        let expected = StoreOptions {
            graph_root: "/g".into(),
            run_root: "/R".into(),
            driver: "overlay".into(),
            driver_options: vec!["x=y".into()],
            transient_store: true,
            ..StoreOptions::default()
        };
        assert_eq!(loaded().with_overrides(run).unwrap(), expected);
    }

    #[test]
    fn a_driver_without_a_root_is_refused_in_gos_words() {
        for choice in [
            Overrides { driver: Some("vfs".into()), ..Overrides::default() },
            Overrides { driver_options: vec!["a=b".into()], ..Overrides::default() },
        ] {
            let error = loaded().with_overrides(choice).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IncompleteOptions);
            let text = error.to_string();
            let words = "no storage runroot or graphroot specified: missing necessary StoreOptions";
            assert!(text.starts_with(words), "{text}");
        }
    }

    #[test]
    fn an_image_store_alone_goes_upon_the_configuration() {
        let choice =
            Overrides { image_store: Some("/i".into()), transient: true, ..Overrides::default() };
        let options = loaded().with_overrides(choice).unwrap();
        assert_eq!((options.image_store, options.transient_store), (Some("/i".into()), true));
        assert_eq!(options.driver, "vfs");
    }
}
