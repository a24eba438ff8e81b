//! The command's surface: what it prints and how it ends, run as a user runs it (`cli.md`).

// The helpers around the tests fail as the tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod beside_go;
mod changing;
mod doctor;
mod id_maps;
mod images;
mod legacy;
mod mistakes;
mod normal;
mod output;
mod program;
mod sandbox;
mod unfit;
mod usage;
