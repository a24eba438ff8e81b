//! The command's surface: what it prints and how it ends, run as a user runs it (`cli.md`).

mod beside_go;
mod changing;
mod images;
mod normal;
mod output;
mod sandbox;
mod usage;
