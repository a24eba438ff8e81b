//! storage.conf: files, drop-ins and environment to one [`StoreOptions`] (`storage-conf.md`).
//!
//! Loading is a function of its three arguments: the files, the environment, the user. Options are read here and judged
//! by whom they concern: a driver refuses what it does not know.
//!
//! ```
//! use orlop::config::{self, Environment, RealFiles, User};
//! let env: Environment = [("HOME", "/nonexistent"), ("STORAGE_DRIVER", "vfs")].into_iter().collect();
//! let user = User { uid: 0, rootless_uid: 0, is_rootless: false, home: Some("/nonexistent".into()) };
//! let files = RealFiles { alternate_root: Some("/nonexistent".into()) };
//! let loaded = config::load(&files, &env, &user)?;
//! assert_eq!(loaded.options.driver, "vfs");
//! assert_eq!(loaded.options.graph_root, std::path::Path::new("/var/lib/containers/storage"));
//! # Ok::<(), orlop::Error>(())
//! ```

mod environment;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod keys;
mod load;
mod options;
mod overrides;
mod paths;
mod rootless;
mod search;
mod settings;
mod user;

#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use files::{Files, Node, RealFiles};
pub use load::{Loaded, Provenance, Source, load, load_default};
pub use options::{AutoUserNs, StoreOptions};
pub use overrides::Overrides;
pub use user::User;
