//! The functions on a store, as a C program calls them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

#[path = "store/support.rs"]
#[macro_use]
mod support;
#[path = "store/cancelling.rs"]
mod cancelling;
#[path = "store/codes.rs"]
mod codes;
#[path = "store/fixtures.rs"]
mod fixtures;
#[path = "store/life.rs"]
mod life;
#[path = "store/nulls.rs"]
mod nulls;
#[path = "store/options.rs"]
mod options;
#[path = "store/records.rs"]
mod records;
#[path = "store/sharing.rs"]
mod sharing;
