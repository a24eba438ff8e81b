//! Data items of layers, images and containers, and the directories that belong to images and containers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use orlop::store::{BigDataItem, Store};
use orlop::{Digest, Error, ErrorKind};

use crate::command::Outcome;
use crate::global::Context;
use crate::input::{self, Input};
use crate::output;

/// What the items belong to.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `…-layer-data`
    Layer,
    /// `…-image-data`
    Image,
    /// `…-container-data`
    Container,
}

/// `list-…-data`.
#[derive(Args)]
pub(crate) struct ListItems {
    /// ID or name
    #[arg(value_name = "ID")]
    id: String,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl ListItems {
    pub(crate) fn run(self, cx: &mut Context, kind: Kind) -> Outcome {
        let store = cx.store()?;
        let names = match kind {
            Kind::Layer => store.layer(&self.id)?.record.big_data_names,
            Kind::Image => store.image(&self.id)?.record.big_data_names,
            Kind::Container => store.container(&self.id)?.big_data_names,
        };
        if self.json {
            cx.out.json_or_null(&names)?;
        } else {
            for name in names {
                cx.out.line(name)?;
            }
        }
        Ok(0)
    }
}

/// `get-…-data`.
#[derive(Args)]
pub(crate) struct GetItem {
    #[command(flatten)]
    item: Item,
    /// Write data to file
    #[arg(short, long)]
    file: Option<PathBuf>,
}

impl GetItem {
    pub(crate) fn run(self, cx: &mut Context, kind: Kind) -> Outcome {
        let store = cx.store()?;
        let Item { id, name } = &self.item;
        let id = kind.id(store, id)?;
        // As with the Go command, the file is there (and empty) even if the item is not.
        let (mut to, what) = match self.file {
            Some(path) => (input::create(&path)?, path),
            None => (output::stdout_file()?, PathBuf::from("/dev/stdout")),
        };
        let mut item: Box<dyn Read> = match kind {
            Kind::Layer => store.layer_big_data(&id, name)?,
            Kind::Image => Box::new(io::Cursor::new(store.image_big_data(&id, name)?)),
            Kind::Container => Box::new(io::Cursor::new(store.container_big_data(&id, name)?)),
        };
        copy(&mut item, name, &mut to, &what)?;
        Ok(0)
    }
}

/// Whichever of the two fails is the one that is named.
fn copy(item: &mut dyn Read, name: &str, to: &mut File, what: &Path) -> orlop::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match item.read(&mut buffer) {
            Ok(0) => return to.flush().map_err(|e| Error::io("writing", what, e)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => {
                read.map_err(|e| Error::io(format!("reading the data item {name:?}"), "", e))?
            }
        };
        let piece = buffer.get(..read).unwrap_or_default();
        to.write_all(piece).map_err(|e| Error::io("writing", what, e))?;
    }
}

/// An item of a layer, image or container.
#[derive(Args)]
pub(crate) struct Item {
    /// ID or name
    #[arg(value_name = "ID")]
    id: String,
    /// Name of the data item
    #[arg(value_name = "DATA")]
    name: String,
}

impl Item {
    /// `get-…-data-size`.
    pub(crate) fn size(self, cx: &mut Context, kind: Kind) -> Outcome {
        let (sizes, _) = kind.items(cx.store()?, &self.id)?;
        let size = sizes.get(&self.name).ok_or_else(|| self.missing(ErrorKind::SizeUnknown))?;
        cx.out.line(size)?;
        Ok(0)
    }

    /// `get-…-data-digest`.
    pub(crate) fn digest(self, cx: &mut Context, kind: Kind) -> Outcome {
        let (_, digests) = kind.items(cx.store()?, &self.id)?;
        let digest = digests.get(&self.name).ok_or_else(|| {
            self.missing(ErrorKind::DataUnknown).detail("could not compute digest of item")
        })?;
        cx.out.line(Digest::parse(digest.as_str())?)?;
        Ok(0)
    }

    fn missing(&self, kind: ErrorKind) -> Error {
        let Self { id, name } = self;
        Error::new(kind, format!("locating item named {name:?} of {id:?}"))
    }
}

/// `set-…-data`.
#[derive(Args)]
pub(crate) struct SetItem {
    #[command(flatten)]
    item: Item,
    /// Read data from file instead of stdin
    #[arg(short, long)]
    file: Option<PathBuf>,
}

impl SetItem {
    pub(crate) fn run(self, cx: &mut Context, kind: Kind) -> Outcome {
        let store = cx.store()?;
        let Item { id, name } = self.item;
        let id = kind.id(store, &id)?;
        let file = self.file.as_deref();
        match kind {
            Kind::Layer => store.set_layer_big_data(&id, &name, &mut Input::open(file)?.stream)?,
            Kind::Image => {
                let data = input::read_all(file)?;
                store.set_image_big_data(&id, BigDataItem { key: name, data, digest: None })?;
            }
            Kind::Container => store.set_container_big_data(&id, &name, &input::read_all(file)?)?,
        }
        Ok(0)
    }
}

impl Kind {
    /// The id of what goes by the id or name `id`.
    fn id(self, store: &Store, id: &str) -> orlop::Result<String> {
        Ok(match self {
            Self::Layer => store.layer(id)?.record.id,
            Self::Image => store.image(id)?.record.id,
            Self::Container => store.container(id)?.id,
        })
    }

    /// Sizes and digests of the items; a layer's are not recorded.
    #[allow(clippy::type_complexity)]
    fn items(
        self,
        store: &Store,
        id: &str,
    ) -> orlop::Result<(BTreeMap<String, i64>, BTreeMap<String, String>)> {
        Ok(match self {
            Self::Layer => Default::default(),
            Self::Image => {
                let image = store.image(id)?.record;
                (image.big_data_sizes, image.big_data_digests)
            }
            Self::Container => {
                let container = store.container(id)?;
                (container.big_data_sizes, container.big_data_digests)
            }
        })
    }
}

/// `get-…-dir` and `get-…-run-dir`.
#[derive(Args)]
pub(crate) struct Directory {
    /// ID or name
    #[arg(value_name = "ID")]
    id: String,
}

impl Directory {
    /// Prints what `find`, one of the store's methods, finds.
    pub(crate) fn run(
        self,
        cx: &mut Context,
        find: fn(&Store, &str) -> orlop::Result<PathBuf>,
    ) -> Outcome {
        let path = find(cx.store()?, &self.id)?;
        cx.out.line(path.display())?;
        Ok(0)
    }
}
