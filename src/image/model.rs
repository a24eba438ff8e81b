//! Manifests, indexes and the few fields of a config that matter here, read as leniently as the Go library reads them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient::{list, or_default};
use super::platform::Platform;
use crate::{Digest, Error, ErrorKind, Result};

/// More layers than any driver can mount.
pub(super) const MAX_LAYERS: usize = 4096;

/// The largest manifest, index or config that is read, in bytes; the Go library's limit.
pub(super) const MAX_JSON: u64 = 4 << 20;

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(super) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub(super) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

pub(super) const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(super) const ANNOTATION_CONTAINERD_NAME: &str = "io.containerd.image.name";

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Descriptor {
    #[serde(deserialize_with = "or_default")]
    pub(super) media_type: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) digest: String,
    pub(super) size: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) platform: Option<RawPlatform>,
}

impl Descriptor {
    /// The digest, checked; `what` names the blob in the error.
    pub(super) fn digest(&self, what: &str) -> Result<Digest> {
        Digest::parse(self.digest.as_str())
            .map_err(|e| e.context(format!("reading the descriptor of {what}")))
    }

    /// The size, if the descriptor gives one that can be.
    pub(super) fn size(&self) -> Option<u64> {
        self.size.and_then(|s| u64::try_from(s).ok())
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawPlatform {
    #[serde(deserialize_with = "or_default")]
    architecture: String,
    #[serde(deserialize_with = "or_default")]
    os: String,
    #[serde(deserialize_with = "or_default")]
    variant: String,
}

impl From<&RawPlatform> for Platform {
    fn from(raw: &RawPlatform) -> Self {
        Self {
            os: raw.os.clone(),
            architecture: raw.architecture.clone(),
            variant: raw.variant.clone(),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Manifest {
    #[serde(deserialize_with = "or_default")]
    pub(super) config: Descriptor,
    #[serde(deserialize_with = "list")]
    pub(super) layers: Vec<Descriptor>,
    #[serde(deserialize_with = "or_default")]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Index {
    #[serde(deserialize_with = "list")]
    pub(super) manifests: Vec<Descriptor>,
}

/// What a document that a manifest's descriptor points to is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An image's OCI manifest.
    Oci,
    /// An image's docker manifest, schema 2.
    Docker,
    /// A list of manifests, OCI's or docker's.
    Index,
}

/// Tells what `bytes` are from the media type of the descriptor, or where that is absent from what is in them, and refuses a
/// document that could be read both as a manifest and as an index.
pub(super) fn kind_of(bytes: &[u8], declared: &str, what: &str) -> Result<Kind> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Probe {
        #[serde(deserialize_with = "or_default")]
        media_type: String,
        #[serde(deserialize_with = "or_default")]
        schema_version: i64,
        #[serde(deserialize_with = "or_default")]
        config: Descriptor,
        layers: Option<serde::de::IgnoredAny>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let probe: Probe = parse(bytes, what)?;
    let bad =
        |why: String| Error::new(ErrorKind::InvalidArchive, format!("reading {what}")).detail(why);
    let media_type = if declared.is_empty() { probe.media_type.as_str() } else { declared };
    let kind = match media_type {
        OCI_MANIFEST => Kind::Oci,
        DOCKER_MANIFEST => Kind::Docker,
        OCI_INDEX | DOCKER_LIST => Kind::Index,
        "" if probe.schema_version == 2 => match probe.config.media_type.as_str() {
            DOCKER_CONFIG => Kind::Docker,
            "" if probe.manifests.is_some() => Kind::Index,
            _ => Kind::Oci,
        },
        other => return Err(bad(format!("manifests of type {other:?} cannot be loaded"))),
    };
    let image = probe.layers.is_some() || !probe.config.digest.is_empty();
    match kind {
        Kind::Index if image => Err(bad("it is an index and an image's manifest at once".into())),
        Kind::Oci | Kind::Docker if probe.manifests.is_some() => {
            Err(bad("it is an image's manifest and an index at once".into()))
        }
        kind => Ok(kind),
    }
}

/// An image's config. Only time and diffs matter for loading; the rest is here so that a config that the Go library could not
/// read, and over which it would then stumble at every look into the store, is refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) created: Option<String>,
    pub(super) rootfs: Option<RootFs>,
    author: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    config: Option<RunConfig>,
    #[serde(deserialize_with = "list")]
    pub(super) history: Vec<History>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunConfig {
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, Option<serde_json::Map<String, serde_json::Value>>>>,
    env: Option<Vec<Option<String>>>,
    entrypoint: Option<Vec<Option<String>>>,
    cmd: Option<Vec<Option<String>>>,
    volumes: Option<BTreeMap<String, Option<serde_json::Map<String, serde_json::Value>>>>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
    stop_signal: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct History {
    pub(super) created: Option<String>,
    created_by: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    empty_layer: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RootFs {
    #[serde(deserialize_with = "list")]
    pub(super) diff_ids: Vec<String>,
}

/// Reads JSON; `what` names the file in the error.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(ErrorKind::InvalidArchive, format!("reading {what}"))
            .detail("it is not the JSON it should be")
            .caused_by(e)
    })
}

/// Writes JSON as Go's encoder does: without white space, with `<`, `>`, `&` and the two Unicode line ends escaped.
pub(super) fn go_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let text = serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "writing JSON").caused_by(e))?;
    // These characters occur in strings only.
    let text = text
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    Ok(text.into_bytes())
}

/// A layer as a manifest that is written here names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenBlob {
    pub(super) media_type: &'static str,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) annotations: BTreeMap<String, String>,
}

impl WrittenBlob {
    pub(super) fn new(media_type: &'static str, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, annotations: BTreeMap::new() }
    }
}

/// A docker manifest, schema 2, in the bytes that the Go library writes.
pub(super) fn write_docker_manifest(
    config: &WrittenBlob,
    layers: &[WrittenBlob],
) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Out<'a> {
        schema_version: u8,
        media_type: &'a str,
        config: Blob<'a>,
        layers: Vec<Blob<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Blob<'a> {
        media_type: &'a str,
        size: u64,
        digest: &'a str,
    }
    fn blob(b: &WrittenBlob) -> Blob<'_> {
        Blob { media_type: b.media_type, size: b.size, digest: b.digest.as_str() }
    }
    go_json(&Out {
        schema_version: 2,
        media_type: DOCKER_MANIFEST,
        config: blob(config),
        layers: layers.iter().map(blob).collect(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciBlob<'a> {
    media_type: &'a str,
    digest: &'a str,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a WrittenBlob> for OciBlob<'a> {
    fn from(b: &'a WrittenBlob) -> Self {
        Self {
            media_type: b.media_type,
            digest: b.digest.as_str(),
            size: b.size,
            annotations: &b.annotations,
        }
    }
}

/// An OCI manifest in the bytes that the Go library writes.
pub(super) fn write_oci_manifest(
    config: &WrittenBlob,
    layers: &[WrittenBlob],
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Out<'a> {
        schema_version: u8,
        media_type: &'a str,
        config: OciBlob<'a>,
        layers: Vec<OciBlob<'a>>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        annotations: &'a BTreeMap<String, String>,
    }
    go_json(&Out {
        schema_version: 2,
        media_type: OCI_MANIFEST,
        config: config.into(),
        layers: layers.iter().map(OciBlob::from).collect(),
        annotations,
    })
}

/// The `index.json` of a layout.
pub(super) fn write_oci_index(manifests: &[WrittenBlob]) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Out<'a> {
        schema_version: u8,
        manifests: Vec<OciBlob<'a>>,
    }
    go_json(&Out { schema_version: 2, manifests: manifests.iter().map(OciBlob::from).collect() })
}

/// The id of a layer with content `diff` upon the layer `parent`: a base layer's is its diff digest, a child's the sha256 of
/// `<parent>+<diff digest>`, both digests without their algorithm (`store-format.md` 3.2).
pub(crate) fn layer_id(parent: Option<&str>, diff: &Digest) -> String {
    match parent {
        None => diff.hex().to_string(),
        Some(parent) => {
            Digest::sha256(format!("{parent}+{}", diff.hex()).as_bytes()).hex().to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(hex: &str) -> Digest {
        Digest::parse(format!("sha256:{hex}")).unwrap()
    }

    const BASE: &str = "1f61dc6f00a6b89c0740004b12fb7cf2ff40db8fec28867d56a102d8e3b445a9";
    const TOP: &str = "4f0f9a4de5a205a95dd7c1a04bff89862189ebaf6860410bce50cd10f7d980a8";

    // The ids and bytes below are those that go.podman.io/image/v5 v5.41.2 recorded for a docker archive of these two layers.
    #[test]
    fn layer_ids_are_those_of_the_go_library() {
        let base = layer_id(None, &digest(BASE));
        assert_eq!(base, BASE);
        assert_eq!(
            layer_id(Some(&base), &digest(TOP)),
            "42ce5a7d21518725105be8fcbcf8d5fd0f0a45448e232fe8475f3c03612a05f8"
        );
    }

    #[test]
    fn docker_manifests_are_those_of_the_go_library() {
        let config = WrittenBlob::new(
            DOCKER_CONFIG,
            digest("aecece42b2f1383af29a985ad7a7728f385a95345494ff3bfb6dc38b0bc692c0"),
            475,
        );
        let layers = [BASE, TOP].map(|hex| WrittenBlob::new(DOCKER_LAYER_GZIP, digest(hex), 10240));
        let bytes = write_docker_manifest(&config, &layers).unwrap();
        assert_eq!(bytes.len(), 587);
        assert_eq!(
            Digest::sha256(&bytes).hex(),
            "ebd4ec2c3c5c29bd79c43e1ccf030a95b71e73d84fa6c9661e5da1b873bb2131"
        );
    }

    #[test]
    fn oci_manifests_are_those_of_the_go_library() {
        let config = WrittenBlob::new(
            OCI_CONFIG,
            digest("f439a0809e7e5e1a1d4c3c12be24ca1967f72fe932cc30df276168f9103318b9"),
            458,
        );
        let layers = [
            ("9a126c3bbbe8691c2663aded77424ca8fdcd40bb042ed670137821354100b743", 175),
            ("bcc30d8d76381bf7c305356a62e0aabac8ca278f77a04631ce7597a391756002", 174),
        ]
        .map(|(hex, size)| WrittenBlob::new(OCI_LAYER_GZIP, digest(hex), size));
        let bytes = write_oci_manifest(&config, &layers, &BTreeMap::new()).unwrap();
        assert_eq!(
            Digest::sha256(&bytes).hex(),
            "ce0a8adc4d6230c3e29966975546b4b2aa2c233f177e692494e893eef5671813"
        );
    }

    #[test]
    fn ambiguous_documents_are_refused() {
        let kind = |text: &str, declared: &str| kind_of(text.as_bytes(), declared, "x");
        assert_eq!(
            kind(r#"{"schemaVersion":2,"config":{},"layers":[]}"#, OCI_MANIFEST).unwrap(),
            Kind::Oci
        );
        assert_eq!(kind(r#"{"schemaVersion":2,"manifests":[]}"#, "").unwrap(), Kind::Index);
        assert_eq!(
            kind(
                &format!(r#"{{"schemaVersion":2,"config":{{"mediaType":"{DOCKER_CONFIG}"}}}}"#),
                ""
            )
            .unwrap(),
            Kind::Docker
        );
        assert!(kind(r#"{"layers":[],"manifests":[]}"#, OCI_INDEX).is_err());
        assert!(kind(r#"{"layers":[],"manifests":[]}"#, OCI_MANIFEST).is_err());
        assert!(kind(r#"{"schemaVersion":1}"#, "").is_err());
        assert!(kind("{}", "text/plain").is_err());
        assert!(kind("[", OCI_MANIFEST).is_err());
    }

    #[test]
    fn json_is_escaped_as_go_does() {
        assert_eq!(go_json(&"a<b>&\u{2028}").unwrap(), br#""a\u003cb\u003e\u0026\u2028""#);
    }
}
