//! Stores in roots of their own, and what is put into them.

use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use orlop_capi::*;
use tempfile::TempDir;

use crate::support::{Outcome, Strings, c};

/// A docker archive of one image with two layers and two tags.
pub(crate) const DOCKER: &[u8] = include_bytes!("../../../src/image/tests/fixtures/docker.tar.gz");
/// An OCI archive of two images, one of them behind an index for two platforms.
pub(crate) const OCI: &[u8] = include_bytes!("../../../src/image/tests/fixtures/oci.tar.gz");

/// A store that is unmounted and removed at the end.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) driver: &'static str,
    pub(crate) store: *mut orlop_store,
}

// SAFETY: the handle is made for any number of threads.
unsafe impl Sync for Fixture {}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The drivers that can serve here.
pub(crate) fn drivers() -> Vec<&'static str> {
    if is_root() {
        return vec!["vfs", "overlay"];
    }
    println!("skipped: the kernel's overlay needs root");
    vec!["vfs"]
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::on(if is_root() { "overlay" } else { "vfs" })
    }

    pub(crate) fn on(driver: &'static str) -> Self {
        // Not below /tmp, which may be a file system without what overlay needs.
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let store = open(dir.path(), driver, &[]).unwrap();
        Self { dir, driver, store }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Another handle on the same store.
    pub(crate) fn another(&self) -> *mut orlop_store {
        open(self.dir.path(), self.driver, &[]).unwrap()
    }

    pub(crate) fn records(&self, kind: &str) -> PathBuf {
        self.path("graph").join(format!("{0}-{kind}/{kind}.json", self.driver))
    }

    /// Imports a layer of these files; its record.
    pub(crate) fn import(
        &self,
        id: &str,
        parent: &str,
        files: &[(&str, &[u8])],
    ) -> Outcome<serde_json::Value> {
        let (id, parent) = (c(id), c(parent));
        let layer = options!(orlop_new_layer { id: id.as_ptr(), parent: parent.as_ptr() });
        let file = file(&tar(files));
        json!(orlop_import_layer(self.store, &layer, file.as_raw_fd(), std::ptr::null()))
    }

    pub(crate) fn image(&self, id: &str, layer: &str, names: &[&str]) -> Outcome<String> {
        let (id, layer, names) = (c(id), c(layer), Strings::new(names));
        let image = options!(orlop_new_image {
            id: id.as_ptr(),
            layer: layer.as_ptr(),
            names: names.list()
        });
        text!(orlop_create_image(self.store, &image))
    }

    pub(crate) fn container(&self, id: &str, image: &str) -> Outcome<serde_json::Value> {
        let (id, image) = (c(id), c(image));
        let new = options!(orlop_new_container { id: id.as_ptr(), image: image.as_ptr() });
        json!(orlop_create_container(self.store, &new))
    }

    /// Everything in the roots, but for what locks and an open store leave there.
    pub(crate) fn listing(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut waiting = vec![self.path("graph"), self.path("run")];
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
        // The first unmounts, the second lets the driver's directory go.
        for _ in 0..2 {
            let _ = call!(orlop_shutdown(self.store, 1));
        }
        // SAFETY: nobody uses it any more.
        unsafe { orlop_store_free(self.store) };
    }
}

/// Opens a store with its roots in `dir`.
pub(crate) fn open(dir: &Path, driver: &str, more: &[&str]) -> Outcome<*mut orlop_store> {
    let path = |name: &str| c(dir.join(name).as_os_str().as_bytes());
    let (graph, run, driver, more) = (path("graph"), path("run"), c(driver), Strings::new(more));
    let given = options!(orlop_config_options {
        only_given: 1,
        graph_root: graph.as_ptr(),
        run_root: run.as_ptr(),
        driver: driver.as_ptr(),
        driver_options: more.list(),
    });
    let (mut config, mut store) = (std::ptr::null_mut(), std::ptr::null_mut());
    call!(orlop_config_load(&given, &mut config))?;
    let opened = call!(orlop_store_open(config, &mut store));
    // SAFETY: made above.
    unsafe { orlop_config_free(config) };
    opened.map(|_| store)
}

/// A file without a name, at its beginning.
pub(crate) fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile_in("/var/tmp").unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

/// A tar header (POSIX ustar).
pub(crate) fn header(name: &str, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{size:011o}\x0000000000000\0").as_bytes());
    put(148, b"        0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A tar of these files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in files {
        tar.extend_from_slice(&header(name, content.len() as u64));
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A docker archive of an image of one layer.
pub(crate) fn docker(name: &str, layer: &[u8]) -> Vec<u8> {
    let diff = orlop::Digest::sha256(layer);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff.as_str()]},
    });
    let config = config.to_string();
    let file = format!("{}.json", orlop::Digest::sha256(config.as_bytes()).hex());
    let manifest =
        serde_json::json!([{"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]}]);
    tar(&[
        ("layer.tar", layer),
        (&file, config.as_bytes()),
        ("manifest.json", manifest.to_string().as_bytes()),
    ])
}
