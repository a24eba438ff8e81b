//! The C ABI of orlop: what `include/orlop.h` declares, and nothing else.
//!
//! The comments of the exported functions are those of the header. The rules that hold for all of them are in
//! `header.txt`, which stands at the head of it; `guard` and `input` carry them out.
// Names are those that C programs write.
#![allow(non_camel_case_types)]

mod buffer;
mod cancel;
mod codes;
mod config;
mod docker;
mod driver;
mod driver_additional;
mod driver_apart;
mod driver_dedup;
mod driver_files;
mod driver_layers;
mod driver_mounts;
mod driver_partial;
mod driver_streams;
mod driver_trees;
mod error;
mod guard;
mod handle;
mod input;
mod json;
mod log;
mod operation;
mod panics;
mod progress;
mod signals;
mod store;
mod store_archives;
mod store_containers;
mod store_data;
mod store_delete;
mod store_diffs;
mod store_images;
mod store_input;
mod store_layers;
mod store_lists;
mod store_migrate;
mod store_mounts;
mod store_names;
mod store_records;
mod store_sizes;
mod stream;
mod thin;
mod version;

pub use buffer::*;
pub use cancel::*;
pub use codes::*;
pub use config::*;
pub use docker::*;
pub use driver::*;
pub use driver_additional::*;
pub use driver_apart::*;
pub use driver_dedup::*;
pub use driver_files::*;
pub use driver_layers::*;
pub use driver_mounts::*;
pub use driver_partial::*;
pub use driver_streams::*;
pub use driver_trees::*;
pub use error::*;
pub use input::{orlop_id_map, orlop_id_maps, orlop_strings};
pub use log::*;
pub use operation::*;
pub use progress::*;
pub use store::*;
pub use store_archives::*;
pub use store_containers::*;
pub use store_data::*;
pub use store_delete::*;
pub use store_diffs::*;
pub use store_images::*;
pub use store_input::*;
pub use store_layers::*;
pub use store_lists::*;
pub use store_migrate::*;
pub use store_mounts::*;
pub use store_names::*;
pub use store_sizes::*;
pub use thin::*;
pub use version::*;
