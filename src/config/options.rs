//! What a store is opened with: the outcome of all configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Dialect, Error, ErrorKind, IdMap, Result};

/// Everything that opening a store needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreOptions {
    /// Where volatile state lives; expected to vanish at reboot.
    pub run_root: PathBuf,
    /// Where layers, images and containers live.
    pub graph_root: PathBuf,
    /// A separate root for images, where one is configured.
    pub image_store: Option<PathBuf>,
    /// The driver's name; empty: chosen when the store is opened (`storage-conf.md` 6).
    pub driver: String,
    /// Whose layout the overlay driver's layers have; `None`: as they show. Not a key of storage.conf, which others read, too.
    pub dialect: Option<Dialect>,
    /// The order in which drivers are tried when none is named.
    pub driver_priority: Vec<String>,
    /// `key=value` options for the driver, in order (`storage-conf.md` 4).
    pub driver_options: Vec<String>,
    /// Options of partial pulls, handed to the pull code.
    pub pull_options: BTreeMap<String, String>,
    /// Automatic user namespaces.
    pub auto_user_ns: AutoUserNs,
    /// Driver-wide user id map, empty for none.
    pub uid_map: Vec<IdMap>,
    /// Driver-wide group id map, empty for none.
    pub gid_map: Vec<IdMap>,
    /// Never mount with overlay's `volatile`.
    pub disable_volatile: bool,
    /// Container records live under the run root.
    pub transient_store: bool,
}

impl StoreOptions {
    /// Takes relative roots from the working directory.
    ///
    /// # Errors
    /// [`ErrorKind::IncompleteOptions`] for a missing root, [`ErrorKind::Config`] for one that is both graph root and image store.
    pub fn make_roots_absolute(&mut self) -> Result<()> {
        for (name, root) in [("graph root", &mut self.graph_root), ("run root", &mut self.run_root)]
        {
            if root.as_os_str().is_empty() {
                return Err(Error::new(ErrorKind::IncompleteOptions, "opening the store")
                    .detail(format!("no {name} is configured"))
                    .hint("give it on the command line or in storage.conf"));
            }
            *root = absolute(root)?;
        }
        if let Some(root) = &mut self.image_store {
            *root = absolute(root)?;
            if *root == self.graph_root {
                return Err(Error::new(ErrorKind::Config, "opening the store")
                    .path(&*root)
                    .detail("the image store must differ from the graph root"));
            }
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("making the path absolute", path, e))
}

/// How automatic user namespaces are sized and whose ranges feed them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AutoUserNs {
    /// Whose /etc/subuid and /etc/subgid ranges are used for root; empty means `containers`.
    pub root_user: String,
    /// The smallest namespace, in ids; 0 means 1024.
    pub min_size: u32,
    /// The largest namespace, in ids; 0 means 65536.
    pub max_size: u32,
}
