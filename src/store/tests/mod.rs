//! The store over real drivers in temporary roots: as root on the kernel's overlay, else on vfs.

mod additional;
mod containers;
mod crashes;
mod dedup;
mod garbage;
mod images;
mod layers;
mod lookups;
mod maps;
mod migrate_legacy;
mod mounts;
mod streams;
mod thin;
mod traps;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::Digest;
use crate::config::StoreOptions;

/// A store in roots of its own, unmounted and removed at the end.
struct Fixture {
    dir: TempDir,
    driver: &'static str,
}

impl Fixture {
    /// On the kernel's overlay as root, else on vfs.
    fn new() -> Self {
        Self::with_driver(if rustix::process::geteuid().is_root() { "overlay" } else { "vfs" })
    }

    fn with_driver(driver: &'static str) -> Self {
        // Not below /tmp, which may be a file system without what overlay needs.
        Self { dir: tempfile::tempdir_in("/var/tmp").unwrap(), driver }
    }

    /// On another file system, on the driver that [`Fixture::new`] takes.
    fn within(dir: &Path) -> Self {
        let driver = if rustix::process::geteuid().is_root() { "overlay" } else { "vfs" };
        Self { dir: tempfile::tempdir_in(dir).unwrap(), driver }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            graph_root: self.path("graph"),
            run_root: self.path("run"),
            driver: self.driver.to_owned(),
            ..StoreOptions::default()
        }
    }

    /// A handle that shares nothing in memory with others.
    fn store(&self) -> Store {
        Store::open(self.options()).unwrap()
    }

    fn records(&self, kind: &str) -> String {
        let dir = self.path("graph").join(format!("{}-{kind}", self.driver));
        std::fs::read_to_string(dir.join(format!("{kind}.json"))).unwrap_or_default()
    }

    fn write_records(&self, kind: &str, text: &str) {
        let dir = self.path("graph").join(format!("{}-{kind}", self.driver));
        std::fs::write(dir.join(format!("{kind}.json")), text).unwrap();
    }

    /// Everything below the fixture, to show that something has not changed or that nothing is left.
    fn listing(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut waiting = vec![self.path(below)];
        while let Some(dir) = waiting.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    waiting.push(entry.path());
                }
                found.push(entry.path());
            }
        }
        found.sort();
        found
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let root = self.dir.path().canonicalize().unwrap();
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|l| l.split(' ').nth(4)).map(Path::new);
        let mut ours: Vec<_> = points.filter(|p| p.starts_with(&root)).collect();
        ours.reverse();
        for point in ours {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// A tar of these files; a name that ends in `/` is a directory.
fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o644 });
        header.set_size(text.len() as u64);
        header.set_mtime(1_600_000_000);
        header.set_entry_type(if name.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn named(name: &str) -> NewLayer {
    NewLayer { names: vec![name.to_owned()], read_only: true, ..NewLayer::default() }
}

fn import(store: &Store, name: &str, parent: Option<&str>, files: &[(&str, &str)]) -> LayerInfo {
    let layer = NewLayer { parent: parent.map(str::to_owned), ..named(name) };
    store.import_layer(layer, &mut tar_of(files).as_slice()).unwrap()
}

fn item(key: &str, data: &str) -> BigDataItem {
    BigDataItem { key: key.to_owned(), data: data.as_bytes().to_vec(), digest: None }
}

fn kind<T>(result: crate::Result<T>) -> crate::ErrorKind {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error.kind(),
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::sha256(bytes)
}
