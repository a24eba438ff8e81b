//! Listing and examining layers, images and containers.

use std::collections::HashMap;

use clap::Args;
use orlop::record::{Container, Image, Layer};
use orlop::store::{ImageInfo, LayerInfo};
use orlop::{Digest, ErrorKind};

use crate::command::Outcome;
use crate::global::Context;
use crate::output::{self, Output};
use crate::tree;

/// `layers`.
#[derive(Args)]
pub(crate) struct Layers {
    /// Use a tree
    #[arg(short, long)]
    tree: bool,
    /// Just the IDs
    #[arg(short, long)]
    pub(crate) quick: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    pub(crate) json: bool,
}

impl Layers {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let layers = store.layers()?;
        if self.json {
            let records: Vec<&Layer> = layers.iter().map(|layer| &layer.record).collect();
            cx.out.json_or_null(&records)?;
            return Ok(0);
        }
        if self.quick && !self.tree {
            for layer in &layers {
                cx.out.line(&layer.id)?;
            }
            return Ok(0);
        }
        let (images, containers) = (store.images()?, store.containers()?);
        let users = Users::new(&images, &containers);
        if self.tree {
            let nodes = layers.iter().map(|layer| users.node(layer)).collect();
            for line in tree::lines(nodes) {
                cx.out.line(line)?;
            }
        } else {
            for layer in &layers {
                users.print(layer, &mut cx.out)?;
            }
        }
        Ok(0)
    }
}

/// `storage-layers`.
#[derive(Args)]
pub(crate) struct StorageLayers {
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl StorageLayers {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let mut ids = cx.store()?.driver_layers()?;
        ids.sort_unstable();
        if self.json {
            cx.out.json(&ids)?;
            return Ok(0);
        }
        for id in ids {
            cx.out.line(id)?;
        }
        Ok(0)
    }
}

/// Which images and containers have a layer as their top.
struct Users<'a> {
    images: HashMap<&'a str, Vec<&'a ImageInfo>>,
    containers: HashMap<&'a str, &'a Container>,
}

impl<'a> Users<'a> {
    fn new(images: &'a [ImageInfo], containers: &'a [Container]) -> Self {
        let mut by_layer: HashMap<&str, Vec<&ImageInfo>> = HashMap::new();
        for image in images {
            for layer in std::iter::once(&image.layer).chain(&image.mapped_layers) {
                by_layer.entry(layer).or_default().push(image);
            }
        }
        let containers = containers.iter().map(|c| (c.layer.as_str(), c)).collect();
        Self { images: by_layer, containers }
    }

    fn images(&self, layer: &LayerInfo) -> &[&'a ImageInfo] {
        self.images.get(layer.id.as_str()).map(Vec::as_slice).unwrap_or_default()
    }

    fn print(&self, layer: &LayerInfo, out: &mut Output) -> anyhow::Result<()> {
        out.line(&layer.id)?;
        for name in &layer.names {
            out.line(format_args!("\tname: {name}"))?;
        }
        for image in self.images(layer) {
            out.line(format_args!("\timage: {}", image.id))?;
            for name in &image.names {
                out.line(format_args!("\t\tname: {name}"))?;
            }
        }
        if let Some(container) = self.containers.get(layer.id.as_str()) {
            out.line(format_args!("\tcontainer: {}", container.id))?;
            for name in &container.names {
                out.line(format_args!("\t\tname: {name}"))?;
            }
        }
        Ok(())
    }

    fn node(&self, layer: &LayerInfo) -> tree::Node {
        let mut notes: Vec<String> = layer.names.iter().map(|n| format!("name: {n}")).collect();
        notes.extend(layer.mount_point.iter().map(|path| format!("mount: {}", path.display())));
        for image in self.images(layer) {
            notes.push(format!("image: {}", image.id));
            notes.extend(image.names.iter().map(|name| format!("image name: {name}")));
        }
        if let Some(container) = self.containers.get(layer.id.as_str()) {
            notes.push(format!("container: {}", container.id));
            notes.extend(container.names.iter().map(|name| format!("container name: {name}")));
        }
        let parent =
            if layer.parent.is_empty() { "(base)".to_owned() } else { layer.parent.clone() };
        tree::Node { parent, id: layer.id.clone(), notes }
    }
}

/// `images`.
#[derive(Args)]
pub(crate) struct Images {
    /// Only print IDs
    #[arg(short, long)]
    quiet: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Images {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let images = cx.store()?.images()?;
        if self.json {
            let records: Vec<&Image> = images.iter().map(|image| &image.record).collect();
            cx.out.json_or_null(&records)?;
        } else {
            list_images(&images, self.quiet, &mut cx.out)?;
        }
        Ok(0)
    }
}

/// `images-by-digest`.
#[derive(Args)]
pub(crate) struct ImagesByDigest {
    /// The digest of a manifest, or the one that an image was created with
    #[arg(value_name = "DIGEST")]
    digest: String,
    /// Only print IDs
    #[arg(short, long)]
    quiet: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl ImagesByDigest {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let digest = Digest::parse(self.digest)?;
        let images = cx.store()?.images_by_digest(&digest)?;
        if self.json {
            let records: Vec<&Image> = images.iter().map(|image| &image.record).collect();
            cx.out.json(&records)?;
        } else {
            list_images(&images, self.quiet, &mut cx.out)?;
        }
        Ok(0)
    }
}

fn list_images(images: &[ImageInfo], quiet: bool, out: &mut Output) -> anyhow::Result<()> {
    for image in images {
        out.line(&image.id)?;
        if quiet {
            continue;
        }
        for name in &image.names {
            out.line(format_args!("\tname: {name}"))?;
        }
        for digest in digests(image)? {
            out.line(format_args!("\tdigest: {digest}"))?;
        }
        for name in &image.big_data_names {
            out.line(format_args!("\tdata: {name}"))?;
        }
    }
    Ok(())
}

/// The digests that identify an image: its preferred one, then the others.
fn digests(image: &Image) -> orlop::Result<Vec<Digest>> {
    let mut digests: Vec<Digest> = image.digests()?.into_iter().collect();
    digests.sort_by_key(|digest| digest.as_str() != image.digest);
    Ok(digests)
}

/// `containers`.
#[derive(Args)]
pub(crate) struct Containers {
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Containers {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let containers = cx.store()?.containers()?;
        if self.json {
            cx.out.json(&containers)?;
            return Ok(0);
        }
        for container in &containers {
            cx.out.line(&container.id)?;
            for name in &container.names {
                cx.out.line(format_args!("\tname: {name}"))?;
            }
            for name in &container.big_data_names {
                cx.out.line(format_args!("\tdata: {name}"))?;
            }
        }
        Ok(0)
    }
}

/// `layer`, `image` and `container`.
#[derive(Args)]
pub(crate) struct Examine {
    /// IDs or names
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Examine {
    pub(crate) fn layers(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let (layers, code) = self.find(|id| store.layer(id))?;
        if self.json {
            cx.out.json(&layers.iter().map(|layer| &layer.record).collect::<Vec<_>>())?;
            return Ok(code);
        }
        for layer in &layers {
            let out = &mut cx.out;
            out.line(format_args!("ID: {}", layer.id))?;
            for (kind, maps) in [("UID", &layer.uid_map), ("GID", &layer.gid_map)] {
                for map in maps {
                    out.line(format_args!(
                        "{kind} mapping: (container={}, host={}, size={})",
                        map.container_id, map.host_id, map.size
                    ))?;
                }
            }
            if !layer.parent.is_empty() {
                out.line(format_args!("Parent: {}", layer.parent))?;
            }
            for name in &layer.names {
                out.line(format_args!("Name: {name}"))?;
            }
            if layer.read_only {
                out.line("Read Only: true")?;
            }
        }
        Ok(code)
    }

    pub(crate) fn images(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let (images, code) = self.find(|id| store.image(id))?;
        if self.json {
            cx.out.json(&images.iter().map(|image| &image.record).collect::<Vec<_>>())?;
            return Ok(code);
        }
        for image in &images {
            let out = &mut cx.out;
            out.line(format_args!("ID: {}", image.id))?;
            for name in &image.names {
                out.line(format_args!("Name: {name}"))?;
            }
            for layer in std::iter::once(&image.layer).chain(&image.mapped_layers) {
                out.line(format_args!("Top Layer: {layer}"))?;
            }
            for digest in digests(image)? {
                out.line(format_args!("Digest: {digest}"))?;
            }
            for name in &image.big_data_names {
                out.line(format_args!("Data: {name}"))?;
            }
            print_size(store.image_size(&image.id), out)?;
            if image.read_only {
                out.line("Read Only: true")?;
            }
        }
        Ok(code)
    }

    pub(crate) fn containers(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let (containers, code) = self.find(|id| store.container(id))?;
        if self.json {
            cx.out.json(&containers)?;
            return Ok(code);
        }
        let images = store.images()?;
        for container in &containers {
            let out = &mut cx.out;
            out.line(format_args!("ID: {}", container.id))?;
            for name in &container.names {
                out.line(format_args!("Name: {name}"))?;
            }
            out.line(format_args!("Image: {}", container.image))?;
            let image = images.iter().find(|image| image.id == container.image);
            for name in image.into_iter().flat_map(|image| &image.names) {
                out.line(format_args!("Image name: {name}"))?;
            }
            print_size(store.container_size(&container.id), out)?;
            out.line(format_args!("Layer: {}", container.layer))?;
            for name in &container.big_data_names {
                out.line(format_args!("Data: {name}"))?;
            }
        }
        Ok(code)
    }

    fn find<T>(&self, look_up: impl Fn(&str) -> orlop::Result<T>) -> orlop::Result<(Vec<T>, u8)> {
        find(&self.ids, look_up)
    }
}

/// What is found of the ids, and code 1 if something is not; standard error says what.
pub(crate) fn find<T>(
    ids: &[String],
    look_up: impl Fn(&str) -> orlop::Result<T>,
) -> orlop::Result<(Vec<T>, u8)> {
    let mut found = Vec::new();
    let mut code = 0;
    for id in ids {
        match look_up(id) {
            Ok(object) => found.push(object),
            Err(error) if is_unknown(&error) => {
                output::complain(&error.to_string());
                code = 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found, code))
}

/// Whether the error says that there is no such thing, rather than that it could not be found out.
pub(crate) fn is_unknown(error: &orlop::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::LayerUnknown
            | ErrorKind::ImageUnknown
            | ErrorKind::ContainerUnknown
            | ErrorKind::NotFound
    )
}

fn print_size(size: orlop::Result<i64>, out: &mut Output) -> std::io::Result<()> {
    match size {
        Ok(size) => out.line(format_args!("Size: {size}")),
        Err(error) => out.line(format_args!("Size unknown: {error}")),
    }
}
