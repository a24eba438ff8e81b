//! A container's changes as a new layer, and a new image upon that.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::changes::{self, Change};
use super::load::{MAX_ATTEMPTS, vanished};
use super::model::{
    DOCKER_CONFIG, DOCKER_LAYER, OCI_CONFIG, OCI_LAYER, WrittenBlob, go_json, layer_id, parse,
    write_docker_manifest, write_oci_manifest,
};
use super::record::record_image;
use super::reference::Reference;
use super::spool::{TEMP_DIR, rewind};
use super::stored::{self, StoredImage, StoredLayer};
use super::verify::{Hashed, Hasher};
use crate::archive::Compression;
use crate::progress::{Counted, Progress, Silent, Watched};
use crate::record::{Container, Timestamp};
use crate::store::{BigDataItem, NewImage, NewLayer, Store};
use crate::sys::unnamed::unnamed_file;
use crate::{Digest, Error, ErrorKind, Result};

/// What kind of manifest a committed image gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitFormat {
    /// OCI's.
    #[default]
    Oci,
    /// Docker's, schema 2.
    Docker,
}

impl FromStr for CommitFormat {
    type Err = Error;

    /// Reads `oci` or `docker`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "oci" => Ok(Self::Oci),
            "docker" => Ok(Self::Docker),
            _ => {
                Err(Error::new(ErrorKind::InvalidArgument, format!("reading the format {text:?}"))
                    .hint("images are committed as oci or docker"))
            }
        }
    }
}

/// How to commit.
pub struct CommitOptions<'a> {
    /// The author, for config and history.
    pub author: Option<String>,
    /// A message, for the history.
    pub message: Option<String>,
    /// Instructions such as `CMD ["/bin/sh"]`: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD (docker format only), STOPSIGNAL,
    /// USER, VOLUME, WORKDIR.
    pub changes: Vec<String>,
    /// When the image was created; now if absent.
    pub created: Option<Timestamp>,
    /// The kind of manifest.
    pub format: CommitFormat,
    /// Where large temporary files go; `/var/tmp` if absent.
    pub temp_dir: Option<PathBuf>,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
}

impl Default for CommitOptions<'_> {
    fn default() -> Self {
        Self {
            author: None,
            message: None,
            changes: Vec::new(),
            created: None,
            format: CommitFormat::Oci,
            temp_dir: None,
            progress: &Silent,
        }
    }
}

impl std::fmt::Debug for CommitOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitOptions")
            .field("author", &self.author)
            .field("message", &self.message)
            .field("changes", &self.changes)
            .field("created", &self.created)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// Makes an image of a container's root file system as it is now, and gives it `name` (completed as `podman commit` does, taken
/// away from other images; empty for none). Returns the image's id.
///
/// The container need not be stopped, but what it writes meanwhile may or may not be in the image. A container without changes
/// makes a layer all the same.
///
/// # Errors
/// [`ErrorKind::ContainerUnknown`], [`ErrorKind::InvalidArgument`] for a name or change; nothing is left then.
pub fn commit(
    store: &Store,
    container: &str,
    name: &str,
    options: &CommitOptions<'_>,
) -> Result<String> {
    let name = if name.is_empty() { None } else { Some(Reference::normalize(name)?) };
    if let Some(name) = name.as_ref().filter(|n| n.digest().is_some()) {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("naming the image {name}"))
            .detail("a digest cannot be chosen"));
    }
    let edits =
        options.changes.iter().map(|text| changes::parse(text)).collect::<Result<Vec<_>>>()?;
    if options.format == CommitFormat::Oci && edits.iter().any(|c| matches!(c, Change::OnBuild(_)))
    {
        return Err(Error::new(ErrorKind::InvalidArgument, "reading the changes")
            .detail("OCI images have no ONBUILD")
            .hint("commit in the docker format"));
    }
    // One time for all attempts.
    let created = options.created.unwrap_or_else(Timestamp::now);
    let mut attempt = 1;
    loop {
        match attempt_commit(store, container, name.as_ref(), &edits, created, options) {
            Err(e) if attempt < MAX_ATTEMPTS && vanished(&e) => {
                tracing::info!("committing once more, as a layer relied on was deleted: {e}");
                attempt += 1;
            }
            done => return done,
        }
    }
}

fn attempt_commit(
    store: &Store,
    container: &str,
    name: Option<&Reference>,
    edits: &[Change],
    created: Timestamp,
    options: &CommitOptions<'_>,
) -> Result<String> {
    let container = store.container(container)?;
    let base = base(store, &container)?;
    let (layer, new) = commit_layer(store, &container, base.image.as_ref(), options)?;
    let made = config(&container, &base, &layer, edits, created, options).and_then(|config| {
        let mut layers: Vec<&StoredLayer> = base.image.iter().flat_map(|b| &b.layers).collect();
        layers.push(&layer);
        record(store, name, &config, &layers, base.image.as_ref(), options)
    });
    if made.is_err()
        && new
        && let Err(e) = store.delete_layer(&layer.id)
    {
        tracing::warn!("layer {} of a failed commit stays: {e}", layer.id);
    }
    made
}

/// What the container was made from.
struct Base {
    /// Absent for a container made from nothing.
    image: Option<StoredImage>,
    /// How to call it in the history.
    name: Option<String>,
}

fn base(store: &Store, container: &Container) -> Result<Base> {
    if container.image.is_empty() {
        return Ok(Base { image: None, name: None });
    }
    let image = store.image(&container.image)?;
    let parent = store.layer(&container.layer)?.parent.clone();
    if parent != image.layer && !image.mapped_layers.contains(&parent) {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("committing container {}", container.id),
        )
        .detail(format!(
            "its layer is upon {parent:?}, its image {} upon {:?}",
            image.id, image.layer
        )));
    }
    let name = image.names.first().cloned();
    Ok(Base { image: Some(stored::read(store, &image)?), name })
}

/// Makes the layer, unless one of the same content is there upon the same parent. Tells whether it is new.
fn commit_layer(
    store: &Store,
    container: &Container,
    base: Option<&StoredImage>,
    options: &CommitOptions<'_>,
) -> Result<(StoredLayer, bool)> {
    let temp_dir = options.temp_dir.clone().unwrap_or_else(|| TEMP_DIR.into());
    let item = options.progress.start("Changes", None);
    // The diff is complete before the store is asked for the new layer: reading it holds locks that making a layer needs.
    let mut file = unnamed_file(&temp_dir)?;
    let mut out =
        Hashed::new(Counted::new(std::io::BufWriter::new(&mut file), &*item), Hasher::sha256());
    store
        .diff(&container.layer, None, Some(Compression::None), &mut out)
        .and_then(|_| out.flush().map_err(|e| Error::io("writing a temporary file", &temp_dir, e)))
        .map_err(|e| e.context(format!("reading the changes of container {}", container.id)))?;
    let (size, diff) = (out.bytes, Digest::parse(out.hasher.clone().text())?);
    drop(out);
    rewind(&mut file, &temp_dir)?;
    let parent = base.and_then(|b| b.layers.last()).map(|l| l.id.clone());
    let id = layer_id(parent.as_deref(), &diff);
    let layer =
        StoredLayer { id: id.clone(), diff: diff.clone(), size, annotations: BTreeMap::new() };
    if matches!(store.layer(&id), Ok(known) if known.id == id) {
        item.finish("already exists");
        return Ok((layer, false));
    }
    let new = NewLayer {
        id: Some(id),
        parent,
        read_only: true,
        expected_diff_digest: Some(diff),
        ..NewLayer::default()
    };
    match store.import_layer(new, &mut Watched::new(&mut file, &*item)) {
        Ok(_) => {
            item.finish("done");
            Ok((layer, true))
        }
        Err(e) if e.kind() == ErrorKind::DuplicateId => Ok((layer, false)),
        Err(e) => Err(e.context(format!("storing the changes of container {}", container.id))),
    }
}

/// The config of the new image: the base's with the changes, one more diff and one more line of history.
fn config(
    container: &Container,
    base: &Base,
    layer: &StoredLayer,
    edits: &[Change],
    created: Timestamp,
    options: &CommitOptions<'_>,
) -> Result<Vec<u8>> {
    let old: Map<String, Value> = match &base.image {
        Some(image) => parse(&image.config, &format!("the config of image {}", image.id))?,
        None => Map::new(),
    };
    let created = created.to_string();
    let host = super::platform::host();
    let mut new = Map::new();
    let mut put = |key: &str, value: Value| {
        new.insert(key.to_string(), value);
    };
    let docker = options.format == CommitFormat::Docker;
    if let Some(message) = options.message.as_ref().filter(|_| docker) {
        put("comment", json!(message));
    }
    put("created", json!(created));
    match (&options.author, old.get("author")) {
        (Some(author), _) => put("author", json!(author)),
        (None, Some(author)) => put("author", author.clone()),
        (None, None) => {}
    }
    if docker {
        put("container", json!(container.id));
    }
    put(
        "architecture",
        old.get("architecture").cloned().unwrap_or_else(|| json!(host.architecture)),
    );
    for key in ["variant", "os.version", "os.features"] {
        if let Some(value) = old.get(key) {
            put(key, value.clone());
        }
    }
    put("os", old.get("os").cloned().unwrap_or_else(|| json!(host.os)));
    let mut run = old.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    // Docker writes every field of its config; what is empty says nothing.
    run.retain(|_, value| !value.is_null());
    if !docker {
        run.shift_remove("OnBuild");
    }
    for edit in edits {
        changes::apply(&mut run, edit);
    }
    put("config", Value::Object(run));
    if let Some(image) = base.image.as_ref().filter(|_| docker) {
        put("parent", json!(format!("sha256:{}", image.id)));
    }
    let diffs: Vec<&str> = base
        .image
        .iter()
        .flat_map(|b| &b.layers)
        .chain(std::iter::once(layer))
        .map(|l| l.diff.as_str())
        .collect();
    put("rootfs", json!({"type": "layers", "diff_ids": diffs}));
    let mut history = old.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut line = Map::new();
    line.insert("created".into(), json!(created));
    line.insert("created_by".into(), json!("/bin/sh"));
    if let Some(author) = &options.author {
        line.insert("author".into(), json!(author));
    }
    let comment =
        options.message.clone().or_else(|| base.name.as_ref().map(|name| format!("FROM {name}")));
    if let Some(comment) = comment {
        line.insert("comment".into(), json!(comment));
    }
    history.push(Value::Object(line));
    put("history", Value::Array(history));
    go_json(&new)
}

fn record(
    store: &Store,
    name: Option<&Reference>,
    config: &[u8],
    layers: &[&StoredLayer],
    base: Option<&StoredImage>,
    options: &CommitOptions<'_>,
) -> Result<String> {
    let blobs = |kind: &'static str| -> Vec<WrittenBlob> {
        layers.iter().map(|l| WrittenBlob::new(kind, l.diff.clone(), l.size)).collect()
    };
    let digest = Digest::sha256(config);
    let length = u64::try_from(config.len()).unwrap_or(u64::MAX);
    let manifest = match options.format {
        CommitFormat::Oci => {
            let annotations = base.map(|b| b.annotations.clone()).unwrap_or_default();
            write_oci_manifest(
                &WrittenBlob::new(OCI_CONFIG, digest.clone(), length),
                &blobs(OCI_LAYER),
                &annotations,
            )?
        }
        CommitFormat::Docker => write_docker_manifest(
            &WrittenBlob::new(DOCKER_CONFIG, digest.clone(), length),
            &blobs(DOCKER_LAYER),
        )?,
    };
    let manifest_digest = Digest::sha256(&manifest);
    let id = digest.hex().to_string();
    let item = |key: String, data: &[u8], digest: &Digest| BigDataItem {
        key,
        data: data.to_vec(),
        digest: Some(digest.clone()),
    };
    let names: Vec<String> = name.iter().map(|n| n.to_string()).collect();
    let created =
        serde_json::from_slice::<super::model::Config>(config).ok().and_then(|c| c.created);
    record_image(
        store,
        NewImage {
            id: Some(id.clone()),
            names: names.clone(),
            names_history: names,
            take_names: true,
            layer: layers.last().map(|l| l.id.clone()),
            metadata: "{}".into(),
            digest: Some(manifest_digest.clone()),
            created: super::record::created(created.as_deref()),
            big_data: vec![
                item(digest.to_string(), config, &digest),
                item(format!("manifest-{manifest_digest}"), &manifest, &manifest_digest),
                item("manifest".into(), &manifest, &manifest_digest),
            ],
            flags: crate::record::Flags::default(),
        },
    )?;
    Ok(id)
}
