//! Images in and out of real stores: as root on the kernel's overlay, else on vfs.

mod beside;
mod cancelling;
mod committing;
mod loading;
mod mapped;
mod refusing;
mod saving;
mod thin;

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::config::StoreOptions;
use crate::store::Store;
use crate::{ErrorKind, Result};

/// A docker archive of one image with two layers and two tags.
const DOCKER: &[u8] = include_bytes!("fixtures/docker.tar.gz");
/// An OCI archive of two images, one of them behind an index for two platforms, that share layers.
const OCI: &[u8] = include_bytes!("fixtures/oci.tar.gz");
/// What a program on go.podman.io/image/v5 v5.41.2 recorded of them, one name after the other, in one store.
const RECORDED: &str = include_str!("fixtures/recorded.json");

/// A store in roots of its own, unmounted and removed at the end.
struct Fixture {
    dir: TempDir,
    driver: &'static str,
}

impl Fixture {
    fn new() -> Self {
        Self::on(if rustix::process::geteuid().is_root() { "overlay" } else { "vfs" })
    }

    fn on(driver: &'static str) -> Self {
        // Not below /tmp, which may be a file system without what overlay needs.
        Self { dir: tempfile::tempdir_in("/var/tmp").unwrap(), driver }
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

    fn store(&self) -> Store {
        Store::open(self.options()).unwrap()
    }

    fn records(&self, kind: &str) -> Vec<Value> {
        let file = self.path("graph").join(format!("{0}-{kind}/{kind}.json", self.driver));
        match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).unwrap(),
            Err(_) => Vec::new(),
        }
    }

    /// Layer records without their times.
    fn layers(&self) -> Vec<Value> {
        let mut layers = self.records("layers");
        for layer in &mut layers {
            layer.as_object_mut().unwrap().shift_remove("created");
        }
        layers
    }

    /// Writes a file of the fixture's and gives its path.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Unpacks an archive into a directory.
    fn unpacked(&self, name: &str, gz: &[u8]) -> PathBuf {
        let dir = self.path(name);
        tar::Archive::new(gunzip(gz).as_slice()).unpack(&dir).unwrap();
        dir
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Ok(store) = Store::open(self.options()) {
            let _ = store.shutdown(true);
        }
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

/// For the machine that the fixtures are for.
fn options() -> LoadOptions<'static> {
    LoadOptions { platform: Some("linux/amd64".parse().unwrap()), ..LoadOptions::default() }
}

fn load_path(store: &Store, path: &Path) -> Result<Vec<Loaded>> {
    load(store, Source::Path(path.to_path_buf()), &options())
}

fn load_bytes(store: &Store, bytes: &[u8]) -> Result<Vec<Loaded>> {
    load(store, Source::Stream(Box::new(bytes)), &options())
}

fn recorded() -> (Vec<Value>, Vec<Value>) {
    let all: Value = serde_json::from_str(RECORDED).unwrap();
    (all["layers"].as_array().unwrap().clone(), all["images"].as_array().unwrap().clone())
}
