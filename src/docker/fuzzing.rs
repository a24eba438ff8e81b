//! What must hold of any file in docker's databases.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test for any input")]

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::directory::is_cache_id;
use super::images::Repositories;
use super::{ContainerRecord, DataRoot, ImageRecord, changes, journal, names, select};
use crate::image::{Reference, read_config};
use crate::record::Timestamp;
use crate::record::json::to_go_string;
use crate::{Digest, Error, ErrorKind, Result};

/// An image without layers, whose id names may lead to.
const CONFIG: &str = r#"{"rootfs":{"type":"layers","diff_ids":[]}}"#;

/// The container that a record must be of: 64 times this.
const CONTAINER: &str = "c";

/// A data root with one of each kind, to be taken away again.
struct Sandbox(PathBuf);

impl Sandbox {
    fn below(above: &Path) -> Self {
        let thread = std::thread::current().id();
        let name = format!("orlop-fuzz-docker-{}-{thread:?}", std::process::id());
        let sandbox = Self(above.join(name));
        fs::create_dir_all(sandbox.0.join("overlay2")).unwrap();
        sandbox.write(&config_file(CONFIG.as_bytes()), CONFIG.as_bytes());
        sandbox
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn docker(&self) -> DataRoot {
        DataRoot::open(&self.0).unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn config_file(config: &[u8]) -> String {
    format!("image/overlay2/imagedb/content/sha256/{}", Digest::sha256(config).hex())
}

/// Any bytes as the config of an image, as the names of images, as the record of a container, and as what a move writes down.
pub(crate) fn docker_documents(data: &[u8]) {
    documents(&std::env::temp_dir(), data);
}

/// As [`docker_documents`], with its files below a directory of the caller's.
pub(super) fn documents(above: &Path, data: &[u8]) {
    let sandbox = Sandbox::below(above);
    sandbox.write(&config_file(data), data);
    let docker = sandbox.docker();
    let image = accepted(docker.image(&Digest::sha256(data)));
    if let Some(image) = &image {
        assert_eq!(image.chain_ids().len(), image.diffs.len());
        assert_eq!(image.chain_ids().first(), image.diffs.first());
    }
    let record = format!("containers/{}/config.v2.json", CONTAINER.repeat(64));
    let mounts = format!("image/overlay2/layerdb/mounts/{}", CONTAINER.repeat(64));
    sandbox.write(&format!("{mounts}/mount-id"), CONTAINER.repeat(64).as_bytes());
    sandbox.write(&record, data);
    for found in docker.containers().unwrap() {
        assert_eq!(found.id, CONTAINER.repeat(64));
        container(&found, CONFIG.as_bytes());
    }
    let plain = format!(
        r#"{{"ID":"{}","Name":"/n","Image":"{}","Created":"2024-01-02T03:04:05Z"}}"#,
        CONTAINER.repeat(64),
        Digest::sha256(data)
    );
    sandbox.write(&record, plain.as_bytes());
    let found = docker.containers().unwrap();
    assert_eq!(found.len(), 1);
    if image.is_some() {
        container(&found[0], data);
    }
    sandbox.write(&format!("image/overlay2/{}", journal::NAME), data);
    if let Some(Some(begun)) = accepted(docker.journal()) {
        docker.write_journal(&begun).unwrap();
        assert_eq!(docker.journal().unwrap().unwrap_or_default(), begun);
    }
    sandbox.write("image/overlay2/repositories.json", data);
    if let Some(images) = accepted(docker.images()) {
        named(&images);
        let repositories = docker.repositories().unwrap();
        let text = serde_json::to_vec(&repositories).unwrap();
        let again: Repositories = serde_json::from_slice(&text).unwrap();
        assert_eq!(again.repositories, repositories.repositories);
    }
}

/// What a container gives is an image of one layer more, which can be read where the time of its record can.
fn container(record: &ContainerRecord, base: &[u8]) {
    to_go_string(record).unwrap();
    if let Ok(name) = names::of_container(&record.name, "latest") {
        assert_eq!(Reference::parse(&name).unwrap().to_string(), name);
    }
    let diff = Digest::sha256(b"diff");
    let Some(config) = accepted(changes::config(base, record, &diff)) else { return };
    let Some((after, _)) = accepted(read_config(config.as_bytes(), "the image")) else {
        let time = record.finished.as_ref().unwrap_or(&record.created);
        assert!(Timestamp::parse(time).is_err(), "{config}");
        return;
    };
    let before = read_config(base, "the base").unwrap().0.unwrap();
    assert_eq!(after, Some([before, vec![diff]].concat()));
}

/// A name is a whole one in the store, and means the image that it is docker's of.
fn named(images: &[ImageRecord]) {
    for image in images {
        to_go_string(image).unwrap();
        for name in names::complete_all(&image.names) {
            assert_eq!(names::complete(&name).unwrap(), name);
            let meant = select::select(images, std::slice::from_ref(&name)).unwrap();
            let means = |i: &&ImageRecord| names::complete_all(&i.names).contains(&name);
            assert!(meant.iter().all(means), "{name}");
        }
    }
}

/// Words apart by NUL, as the files of a layer and of a container's layers: what is accepted leads to nothing but directories of
/// `overlay2`, and digests are digests.
pub(crate) fn docker_words(data: &[u8]) {
    words(&std::env::temp_dir(), data);
}

/// As [`docker_words`], with its files below a directory of the caller's.
pub(super) fn words(above: &Path, data: &[u8]) {
    let sandbox = Sandbox::below(above);
    let layer = Digest::sha256(b"layer");
    let mut words = data.split(|byte| *byte == 0);
    for name in ["diff", "cache-id", "size", "parent"] {
        if let Some(word) = words.next() {
            sandbox.write(&format!("image/overlay2/layerdb/sha256/{}/{name}", layer.hex()), word);
        }
    }
    let id = CONTAINER.repeat(64);
    let record = format!(r#"{{"ID":"{id}","Name":"/n","Image":"{layer}"}}"#);
    sandbox.write(&format!("containers/{id}/config.v2.json"), record.as_bytes());
    for name in ["mount-id", "init-id", "parent"] {
        if let Some(word) = words.next() {
            sandbox.write(&format!("image/overlay2/layerdb/mounts/{id}/{name}"), word);
        }
    }
    let docker = sandbox.docker();
    for found in docker.layers().unwrap() {
        assert_eq!(found.chain_id, layer);
        assert!(is_cache_id(&found.cache_id));
        assert_eq!(found.diff.algorithm(), "sha256");
        // There is none.
        assert_eq!(docker.layer_dir(&found.cache_id).unwrap_err().kind(), ErrorKind::Corrupt);
        to_go_string(&found).unwrap();
    }
    for found in docker.containers().unwrap() {
        for name in found.init_id.iter().chain([&found.mount_id]) {
            let mut parts = Path::new(name).components();
            assert!(matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)));
            assert_eq!(docker.layer_dir(name).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
    // A word as the name of something: it may be none, and leads no further than one.
    for word in data.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok()) {
        if let Ok(Some(dir)) = docker.root.find(word) {
            assert_eq!(dir.path().parent(), Some(docker.path()), "{word:?}");
        }
    }
}

fn accepted<T>(outcome: Result<T>) -> Option<T> {
    let expected = |e: &Error| {
        matches!(
            e.kind(),
            ErrorKind::Corrupt | ErrorKind::InvalidArchive | ErrorKind::InvalidDigest
        )
    };
    outcome.map_err(|e| assert!(expected(&e), "{:?}: {e}", e.kind())).ok()
}
