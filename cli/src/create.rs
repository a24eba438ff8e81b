//! Creating layers, images and containers.

use std::path::{Path, PathBuf};

use clap::Args;
use orlop::store::{NewContainer, NewImage, NewLayer};
use orlop::{Digest, Error, ErrorKind};
use serde::Serialize;

use crate::command::Outcome;
use crate::global::Context;
use crate::id_maps::IdMapFlags;
use crate::input::{self, Input};
use crate::progress::Watched;

/// What both ways to a new layer take.
#[derive(Args)]
pub(crate) struct CreateLayer {
    /// The parent layer
    #[arg(value_name = "PARENT")]
    parent: Option<String>,
    /// Mount label
    #[arg(short, long)]
    label: Option<String>,
    /// Layer name (repeatable)
    #[arg(short, long)]
    name: Vec<String>,
    /// Layer ID
    #[arg(short, long)]
    id: Option<String>,
    /// Mark as read-only
    #[arg(short, long)]
    readonly: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    maps: IdMapFlags,
}

impl CreateLayer {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let json = self.json;
        let layer = cx.store()?.create_layer(self.request()?)?;
        created(cx, json, &layer.record, &layer.id, &layer.names)
    }

    fn request(self) -> orlop::Result<NewLayer> {
        let (uid_map, gid_map) = self.maps.resolve()?;
        Ok(NewLayer {
            id: not_empty(self.id),
            parent: not_empty(self.parent),
            names: self.name,
            mount_label: self.label.unwrap_or_default(),
            read_only: self.readonly,
            uid_map,
            gid_map,
            host_uids: self.maps.hostuidmap,
            host_gids: self.maps.hostgidmap,
            ..NewLayer::default()
        })
    }
}

/// `import-layer`.
#[derive(Args)]
pub(crate) struct ImportLayer {
    #[command(flatten)]
    layer: CreateLayer,
    /// Read from file instead of stdin
    #[arg(short, long)]
    file: Option<PathBuf>,
}

impl ImportLayer {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let json = self.layer.json;
        let file = self.file.as_deref().filter(|path| !path.as_os_str().is_empty());
        let input = Input::open(file)?;
        let store = cx.store()?;
        let request = self.layer.request()?;
        let what = file.and_then(Path::file_name).unwrap_or("layer".as_ref()).to_string_lossy();
        let mut stream = Watched::new(input.stream, &what, input.length);
        let layer = store
            .import_layer(request, &mut stream)
            .map_err(|e| e.context(format!("importing {}", Input::describe(file))))?;
        stream.done();
        created(cx, json, &layer.record, &layer.id, &layer.names)
    }
}

/// `create-image`.
#[derive(Args)]
pub(crate) struct CreateImage {
    /// The top layer
    #[arg(value_name = "LAYER")]
    layer: Option<String>,
    /// Image name (repeatable)
    #[arg(short, long)]
    name: Vec<String>,
    /// Image ID
    #[arg(short, long)]
    id: Option<String>,
    /// Image digest
    #[arg(short, long)]
    digest: Option<String>,
    #[command(flatten)]
    metadata: MetadataFlags,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl CreateImage {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let request = NewImage {
            id: not_empty(self.id),
            names: self.name,
            layer: not_empty(self.layer),
            metadata: self.metadata.resolve()?.unwrap_or_default(),
            digest: not_empty(self.digest).map(Digest::parse).transpose()?,
            ..NewImage::default()
        };
        let image = cx.store()?.create_image(request)?;
        created(cx, self.json, &image.record, &image.id, &image.names)
    }
}

/// `create-container`.
#[derive(Args)]
pub(crate) struct CreateContainer {
    /// The image, or "" for a container made from nothing
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Container name (repeatable)
    #[arg(short, long)]
    name: Vec<String>,
    /// Mark as volatile
    #[arg(long)]
    volatile: bool,
    /// Container ID
    #[arg(short, long)]
    id: Option<String>,
    #[command(flatten)]
    metadata: MetadataFlags,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    maps: IdMapFlags,
}

impl CreateContainer {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let (uid_map, gid_map) = self.maps.resolve()?;
        let request = NewContainer {
            id: not_empty(self.id),
            names: self.name,
            image: not_empty(Some(self.image)),
            metadata: self.metadata.resolve()?.unwrap_or_default(),
            volatile: self.volatile,
            uid_map,
            gid_map,
            host_uids: self.maps.hostuidmap,
            host_gids: self.maps.hostgidmap,
            ..NewContainer::default()
        };
        let container = cx.store()?.create_container(request)?;
        created(cx, self.json, &container, &container.id, &container.names)
    }
}

/// Metadata given as text or as a file.
#[derive(Args)]
pub(crate) struct MetadataFlags {
    /// Metadata
    #[arg(short, long)]
    pub(crate) metadata: Option<String>,
    /// Read the metadata from a file
    #[arg(short = 'f', long)]
    metadata_file: Option<PathBuf>,
}

impl MetadataFlags {
    /// The text; that of the file, if there is one, counts.
    ///
    /// # Errors
    /// The file cannot be read or is no UTF-8.
    pub(crate) fn resolve(self) -> orlop::Result<Option<String>> {
        match self.metadata_file.filter(|path| !path.as_os_str().is_empty()) {
            None => Ok(not_empty(self.metadata)),
            Some(path) => {
                let bytes = input::read_all(Some(&path))?;
                let text = String::from_utf8(bytes).map_err(|_| {
                    Error::new(ErrorKind::InvalidArgument, "reading metadata")
                        .path(&path)
                        .detail("it is not UTF-8 text")
                })?;
                Ok(Some(text))
            }
        }
    }
}

/// As Go's flags do, takes an empty value for none.
pub(crate) fn not_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn created<T: Serialize>(
    cx: &mut Context,
    json: bool,
    record: &T,
    id: &str,
    names: &[String],
) -> Outcome {
    if json {
        cx.out.json(record)?;
    } else {
        cx.out.line(id)?;
        for name in names {
            cx.out.line(format_args!("\t{name}"))?;
        }
    }
    Ok(0)
}
