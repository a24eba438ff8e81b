//! Data roots of docker's as its daemon leaves them, made here; those of a real daemon are for `tests/interop/check_docker.py`.

mod content;
mod documents;
mod failing_disk;
mod finishing;
mod hostile;
mod migrating;
mod mounted;
mod moving;
mod parting;
mod tampered;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::archive::{UnpackOptions, Whiteouts, import};
use crate::config::StoreOptions;
use crate::image::{LoadOptions, Output, SaveFormat, SaveOptions, Source, load, save};
use crate::store::{MARKS, Store};
use crate::{Digest, ErrorKind, Result};

/// Marks of overlay are root's; everybody else has none to take over.
fn needs_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: docker's layers have marks that only root may write");
    }
    root
}

/// A data root of docker's beside a store.
struct Fixture {
    dir: TempDir,
    names: std::cell::RefCell<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Fixture {
    fn new() -> Self {
        // Not below /tmp, which may be a file system without what overlay needs.
        Self::below("/var/tmp".as_ref())
    }

    fn below(above: &Path) -> Self {
        let fixture = Self {
            dir: tempfile::tempdir_in(above).unwrap(),
            names: std::cell::RefCell::default(),
        };
        for dir in [
            "overlay2/l",
            "image/overlay2/imagedb/content/sha256",
            "image/overlay2/imagedb/metadata/sha256",
            "image/overlay2/layerdb/sha256",
            "image/overlay2/layerdb/mounts",
            "containers",
            "volumes",
        ] {
            std::fs::create_dir_all(fixture.at(dir)).unwrap();
        }
        std::fs::write(fixture.at("volumes/metadata.db"), "").unwrap();
        fixture.write_names();
        fixture
    }

    /// A path in the data root.
    fn at(&self, below: &str) -> PathBuf {
        self.dir.path().join("docker").join(below)
    }

    fn docker(&self) -> DataRoot {
        DataRoot::open(self.at("")).unwrap()
    }

    fn store(&self) -> Store {
        Store::open(self.store_options("overlay")).unwrap()
    }

    fn store_options(&self, driver: &str) -> StoreOptions {
        StoreOptions {
            graph_root: self.dir.path().join("graph"),
            run_root: self.dir.path().join("run"),
            driver: driver.to_owned(),
            ..StoreOptions::default()
        }
    }

    fn write_names(&self) {
        let json = json!({"Repositories": *self.names.borrow()});
        std::fs::write(self.at("image/overlay2/repositories.json"), json.to_string()).unwrap();
    }

    /// The directory of a layer in `layerdb`.
    fn record(&self, chain_id: &Digest) -> PathBuf {
        self.at("image/overlay2/layerdb/sha256").join(chain_id.hex())
    }

    /// The content of a layer.
    fn diff(&self, chain_id: &Digest) -> PathBuf {
        let cache_id = std::fs::read_to_string(self.record(chain_id).join("cache-id")).unwrap();
        self.at("overlay2").join(cache_id).join("diff")
    }

    fn config(&self, id: &Digest) -> PathBuf {
        self.at("image/overlay2/imagedb/content/sha256").join(id.hex())
    }

    /// A directory of `overlay2`, on the one with the links `lower`.
    fn directory(&self, cache_id: &str, below: Option<&str>) -> PathBuf {
        let dir = self.at("overlay2").join(cache_id);
        std::fs::create_dir_all(dir.join("diff")).unwrap();
        // Of the letters that docker takes for it, any will do.
        let link = Digest::sha256(cache_id.as_bytes()).hex()[..26].to_uppercase();
        std::os::unix::fs::symlink(
            format!("../{cache_id}/diff"),
            self.at("overlay2/l").join(&link),
        )
        .unwrap();
        std::fs::write(dir.join("link"), link).unwrap();
        if let Some(below) = below {
            let below = self.at("overlay2").join(below);
            let word = |name| std::fs::read_to_string(below.join(name)).unwrap_or_default();
            let lower = format!("l/{}:{}", word("link"), word("lower"));
            std::fs::write(dir.join("lower"), lower.trim_end_matches(':')).unwrap();
            std::fs::create_dir(dir.join("work")).unwrap();
        }
        std::fs::write(dir.join("committed"), "").unwrap();
        dir
    }

    /// Makes the layers of these tars, base first, as far as they are not there, and an image upon them.
    fn image(&self, names: &[&str], tars: &[Vec<u8>], parent: Option<&Digest>) -> Digest {
        let diffs: Vec<Digest> = tars.iter().map(|tar| Digest::sha256(tar)).collect();
        let chain = images::chain_ids(&diffs);
        for (at, tar) in tars.iter().enumerate() {
            if !self.record(&chain[at]).exists() {
                self.layer(&chain[at], at.checked_sub(1).map(|below| &chain[below]), tar);
            }
        }
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z",
            "config": {"Cmd": ["/bin/sh"], "Labels": {"names": names.join(" ")}},
            "rootfs": {"type": "layers", "diff_ids": diffs.iter().map(|d| d.as_str()).collect::<Vec<_>>()},
            "history": [],
        })
        .to_string();
        let id = Digest::sha256(config.as_bytes());
        std::fs::write(self.config(&id), config).unwrap();
        if let Some(parent) = parent {
            let dir = self.at("image/overlay2/imagedb/metadata/sha256").join(id.hex());
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("parent"), parent.as_str()).unwrap();
        }
        for name in names {
            let repository = name.rsplit_once(':').unwrap().0;
            let mut known = self.names.borrow_mut();
            let references = known.entry(repository.to_owned()).or_default();
            references.insert((*name).to_owned(), id.to_string());
        }
        self.write_names();
        id
    }

    fn layer(&self, chain_id: &Digest, parent: Option<&Digest>, tar: &[u8]) {
        let cache_id = Digest::sha256(chain_id.as_str().as_bytes()).hex().to_owned();
        let word = |id: &Digest| std::fs::read_to_string(self.record(id).join("cache-id")).unwrap();
        let dir = self.directory(&cache_id, parent.map(word).as_deref());
        let record = self.record(chain_id);
        std::fs::create_dir(&record).unwrap();
        let root = std::fs::File::open(dir.join("diff")).unwrap();
        let options =
            UnpackOptions { whiteouts: Whiteouts::Overlay(MARKS), ..UnpackOptions::default() };
        let mut tar_split = std::fs::File::create(record.join("tar-split.json.gz")).unwrap();
        let mut tar = tar;
        let facts = import(&mut tar, root.as_fd(), &options, Some(&mut tar_split)).unwrap();
        let write = |name: &str, text: &str| std::fs::write(record.join(name), text).unwrap();
        write("cache-id", &cache_id);
        write("diff", facts.diff_digest.as_str());
        write("size", &facts.unpacked_size.to_string());
        if let Some(parent) = parent {
            write("parent", parent.as_str());
        }
    }

    /// An entry of `layerdb/mounts` with these files.
    fn mount(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.at("image/overlay2/layerdb/mounts").join(name);
        std::fs::create_dir(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        dir
    }

    /// A container that is stopped.
    fn container(&self, name: &str, image: &Digest) -> String {
        let id = Digest::sha256(name.as_bytes()).hex().to_owned();
        let image = self.docker().image(image).unwrap();
        let top = image.chain_ids().last().cloned().unwrap();
        let cache_id = std::fs::read_to_string(self.record(&top).join("cache-id")).unwrap();
        let init = format!("{id}-init");
        self.directory(&init, Some(&cache_id));
        self.directory(&id, Some(&init));
        self.mount(&id, &[("mount-id", &id), ("init-id", &init), ("parent", top.as_str())]);
        let record = json!({
            "ID": id, "Name": format!("/{name}"), "Image": image.id.as_str(), "Driver": "overlay2",
            "Created": "2024-02-03T04:05:06Z",
            "State": {"Running": false, "FinishedAt": "2024-02-03T05:06:07Z"},
            "Config": {"Image": "x", "Cmd": ["/bin/other"], "Volumes": null, "Env": ["A=b"]},
        });
        std::fs::create_dir(self.at("containers").join(&id)).unwrap();
        std::fs::write(self.at("containers").join(&id).join("config.v2.json"), record.to_string())
            .unwrap();
        id
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // Opened, it would be made.
        if !self.dir.path().join("graph").exists() {
            return;
        }
        if let Ok(store) = Store::open(self.store_options("overlay")) {
            let _ = store.shutdown(true);
        }
    }
}

/// A tar of directories (`d/`) and files with a content.
fn tar_of(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        let is_dir = name.ends_with('/');
        header.set_entry_type(if is_dir {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_mode(if is_dir { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_600_000_000);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn base() -> Vec<u8> {
    tar_of(&[("etc/", ""), ("etc/a", "base"), ("etc/gone", "x"), ("srv/", ""), ("srv/old", "o")])
}

fn middle() -> Vec<u8> {
    tar_of(&[
        ("etc/", ""),
        ("etc/.wh.gone", ""),
        ("srv/", ""),
        ("srv/.wh..wh..opq", ""),
        ("srv/new", "n"),
    ])
}

fn top(text: &str) -> Vec<u8> {
    tar_of(&[("top/", ""), ("top/file", text)])
}

/// Migrates with these options, all images unless there are some.
fn take(f: &Fixture, images: &[&str], options: MigrateOptions<'_>) -> Result<Migration> {
    let images = images.iter().map(ToString::to_string).collect();
    migrate(&f.store(), &f.docker(), &MigrateOptions { images, ..options })
}

fn moving() -> MigrateOptions<'static> {
    MigrateOptions { transfer: Transfer::Move, ..MigrateOptions::default() }
}

/// What is at a path in a layer of the store.
fn content(f: &Fixture, layer: &str) -> PathBuf {
    f.dir.path().join("graph/overlay").join(layer).join("diff")
}

/// The paths below a directory, with what they hold.
fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_symlink() {
                found.insert(name, std::fs::read_link(&path).unwrap().display().to_string());
            } else if path.is_dir() {
                found.insert(name, "/".to_owned());
                dirs.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(name, String::from_utf8_lossy(&bytes).into_owned());
            } else {
                found.insert(name, "special".to_owned());
            }
        }
    }
    found
}
