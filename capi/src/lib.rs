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
mod stream;
mod version;

pub use buffer::*;
pub use cancel::*;
pub use codes::*;
pub use config::*;
pub use error::*;
pub use log::*;
pub use operation::*;
pub use progress::*;
pub use store::*;
pub use version::*;
