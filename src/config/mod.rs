//! storage.conf: files, drop-ins and environment to one [`StoreOptions`] (`storage-conf.md`).

mod options;

pub use options::{AutoUserNs, StoreOptions};
