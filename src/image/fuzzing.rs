//! What must hold of any image archive, the documents in one, image names, and signature policies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test for any input")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::MemfdFlags;

use super::model::{self, Config, Index, Kind, MAX_LAYERS, Manifest, kind_of};
use super::plan::{Plan, read_config};
use super::policy::{Policy, Transport};
use super::reference::Reference;
use super::source::ImageSource;
use super::spool::Source;
use super::{docker_archive, oci};
use crate::progress::Silent;
use crate::{Digest, ErrorKind, Result};

/// Any bytes as an archive: what is planned can be opened, and is bounded.
pub(crate) fn image_archive(data: &[u8]) {
    let stream = Source::Stream(Box::new(std::io::Cursor::new(data.to_vec())));
    let source = match ImageSource::open(stream, &std::env::temp_dir(), &Silent) {
        Ok(source) => source,
        Err(e) => return refused(&e),
    };
    for name in ["manifest.json", "index.json", "oci-layout"] {
        // Whatever is there is as long as it says.
        if let Ok(Some(mut file)) = source.open_file(name) {
            let mut content = Vec::new();
            file.reader.read_to_end(&mut content).unwrap();
            assert_eq!(content.len() as u64, file.size);
        }
    }
    planned(&source);
}

/// Documents apart by lines of `---`, the first of them `index.json`, and `manifest.json` where it begins with `[`; in each,
/// `@2` stands for the digest of the second one, and so on. All are there under their digests.
pub(crate) fn image_documents(data: &[u8]) {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let text = String::from_utf8_lossy(data);
    let count = text.split("\n---\n").count().min(9);
    for (at, part) in
        text.split("\n---\n").take(count).enumerate().collect::<Vec<_>>().into_iter().rev()
    {
        let mut part = part.to_owned();
        for (n, later) in (at + 1..count).rev().zip(&parts) {
            let digest = Digest::sha256(later);
            part = part.replace(&format!("@{}", n + 1), digest.as_str());
        }
        document(part.as_bytes());
        parts.push(part.into_bytes());
    }
    parts.reverse();
    let mut builder = Archive(Vec::new());
    for (at, part) in parts.iter().enumerate() {
        builder.add(&format!("blobs/sha256/{}", Digest::sha256(part).hex()), part);
        builder.add(&(at + 1).to_string(), part);
    }
    let docker = parts[0].trim_ascii_start().starts_with(b"[");
    builder.add(if docker { "manifest.json" } else { "index.json" }, &parts[0]);
    let file = File::from(rustix::fs::memfd_create("archive", MemfdFlags::CLOEXEC).unwrap());
    (&file).write_all(&builder.0).unwrap();
    let index = super::tar_index::TarIndex::read(Arc::new(file), "the archive").unwrap();
    if let Ok(source) = ImageSource::archive(index, None, "archive".into()) {
        planned(&source);
    }
}

/// A tar of plain files.
struct Archive(Vec<u8>);

impl Archive {
    fn add(&mut self, name: &str, content: &[u8]) {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[156] = b'0';
        let at = self.0.len();
        self.0.extend_from_slice(&block);
        crate::fuzzing::seal_headers(&mut self.0[at..]);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }
}

/// One document as whatever it could be.
fn document(bytes: &[u8]) {
    for declared in ["", model::OCI_MANIFEST, model::OCI_INDEX, model::DOCKER_MANIFEST] {
        let Ok(kind) = kind_of(bytes, declared, "the document") else { continue };
        // Another reader, which looks at what is passed over too, sees that it is not both.
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { continue };
        let has = |key| value.get(key).is_some_and(|v| !v.is_null());
        let other = if kind == Kind::Index { "layers" } else { "manifests" };
        assert!(!has(other), "an index and a manifest at once");
    }
    if let Ok(index) = model::parse::<Index>(bytes, "the document") {
        assert!(index.manifests.len() <= 1 << 14);
    }
    if let Ok(manifest) = model::parse::<Manifest>(bytes, "the document") {
        for layer in &manifest.layers {
            if let Ok(digest) = layer.digest("a layer") {
                assert_eq!(digest.as_str(), layer.digest);
            }
        }
    }
    match read_config(bytes, "the document") {
        Ok((diffs, _)) => assert!(diffs.unwrap_or_default().len() <= MAX_LAYERS),
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::InvalidArchive | ErrorKind::InvalidDigest), "{e}")
        }
    }
    if let Ok(config) = model::parse::<Config>(bytes, "the document") {
        assert!(config.history.len() <= 1 << 14);
    }
}

fn planned(source: &ImageSource) {
    let plans = match source.transport {
        Transport::DockerArchive => docker_archive::plans(source),
        Transport::OciArchive | Transport::OciDir => oci::plans(source, None),
    };
    match plans {
        Ok(plans) => plans.iter().for_each(|plan| check(plan, source)),
        Err(e) => refused(&e),
    }
}

fn refused(e: &crate::Error) {
    use ErrorKind as K;
    let expected =
        [K::InvalidArchive, K::InvalidDigest, K::DigestMismatch, K::InvalidArgument, K::Io];
    assert!(expected.contains(&e.kind()), "{:?}: {e}", e.kind());
}

/// What would be loaded is what its digests say, as far as that can be told without the layers.
fn check(plan: &Plan, source: &ImageSource) {
    assert!(plan.layers.len() <= MAX_LAYERS);
    assert_eq!(plan.config_digest.algorithm().len(), 6);
    if plan.config_digest.algorithm() == "sha256" {
        assert_eq!(Digest::sha256(&plan.config), plan.config_digest);
    }
    for name in &plan.names {
        assert_eq!(Reference::normalize(name).unwrap().to_string(), *name);
    }
    for layer in &plan.layers {
        if let Ok(Some(mut blob)) = source.open_file(&layer.file) {
            let mut content = Vec::new();
            blob.reader.read_to_end(&mut content).unwrap();
            assert_eq!(content.len() as u64, blob.size);
        }
    }
}

/// A name that is accepted reads back as the same, and a complete one is not completed again.
pub(crate) fn references(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let bounded =
        |name: &Reference| assert!(name.name().len() <= 255 && name.to_string().is_ascii());
    if let Ok(plain) = Reference::parse(text) {
        bounded(&plain);
        assert_eq!(plain.to_string(), text);
        assert_eq!(Reference::parse(&plain.to_string()).unwrap(), plain);
    }
    for complete in [Reference::parse_docker, Reference::normalize] {
        if let Ok(full) = complete(text) {
            bounded(&full);
            assert_eq!(complete(&full.to_string()).unwrap(), full);
            assert_eq!(Reference::parse(&full.to_string()).unwrap(), full);
            assert!(full.name().contains('/'), "a complete name has a registry");
        }
    }
}

/// Only a policy that says somewhere that it accepts anything accepts something; asked again it says the same.
pub(crate) fn policy(data: &[u8]) {
    let file = Path::new("/etc/containers/policy.json");
    let Ok(policy) = Policy::parse(data, file) else { return };
    for transport in [Transport::DockerArchive, Transport::OciArchive, Transport::OciDir] {
        for path in [None, Some("/a"), Some("/a/b"), Some("/srv/images/web.tar")] {
            let ask = || -> Result<()> { policy.check(transport, path.map(Path::new)) };
            match ask() {
                Ok(()) => {
                    // Escapes in its strings are for another reader to undo.
                    let value: serde_json::Value = serde_json::from_slice(data).unwrap();
                    assert!(value.to_string().contains("insecureAcceptAnything"));
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::PolicyRejected, "{e}"),
            }
            assert_eq!(ask().is_ok(), ask().is_ok());
        }
    }
}
