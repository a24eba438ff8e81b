//! The rules of `storage-conf.md`, one by one, on files in memory. What the Go loader makes of them is compared in
//! `tests/config_differential.rs`; here stand the errors' texts and our own rules too.

mod example;
mod keys;
mod merging;
mod roots;
mod search;

use std::io;
use std::path::{Path, PathBuf};

use super::files::memory::MemoryFiles;
use super::keys::KEYS;
use super::*;
use crate::{Error, ErrorKind, Result};

const ETC: &str = "/etc/containers/storage.conf";
const USR: &str = "/usr/share/containers/storage.conf";
const USER: &str = "/home/ann/.config/containers/storage.conf";

fn root() -> User {
    User { uid: 0, rootless_uid: 0, is_rootless: false, home: Some("/home/ann".into()) }
}

fn ann() -> User {
    User { uid: 1000, rootless_uid: 1000, is_rootless: true, home: Some("/home/ann".into()) }
}

fn loaded(files: &MemoryFiles, env: &[(&str, &str)], user: &User) -> Result<Loaded> {
    load(files, &env.iter().copied().collect(), user)
}

fn options(files: &MemoryFiles) -> StoreOptions {
    loaded(files, &[], &root()).unwrap().options
}

fn etc(text: &str) -> Result<Loaded> {
    loaded(&MemoryFiles::default().file(ETC, text), &[], &root())
}

fn refusal(text: &str) -> Error {
    etc(text).unwrap_err()
}

fn driver(name: &str) -> String {
    format!("[storage]\ndriver = {name:?}\n")
}
