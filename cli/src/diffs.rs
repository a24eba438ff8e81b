//! Differences between layers: as a list, a size, a tar stream, and applied to another layer.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use orlop::archive::{ChangeKind, Compat, Compression};
use orlop::{Error, ErrorKind};

use crate::command::Outcome;
use crate::global::Context;
use crate::input::{self, Input};
use crate::output;
use crate::progress::Watched;
use crate::quote::{go_json_string, go_quote};

/// The two layers that are compared.
#[derive(Args)]
struct Pair {
    /// Layer or container
    #[arg(value_name = "LAYER")]
    layer: String,
    /// What to compare it with; its parent if not given
    #[arg(value_name = "REFERENCE")]
    reference: Option<String>,
}

impl Pair {
    fn reference(&self) -> Option<&str> {
        self.reference.as_deref().filter(|id| !id.is_empty())
    }
}

/// `changes`.
#[derive(Args)]
pub(crate) struct Changes {
    #[command(flatten)]
    pair: Pair,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Changes {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let changes = cx.store()?.changes(&self.pair.layer, self.pair.reference())?;
        if self.json {
            // By hand: a path need not be text, and Go's encoder has a way with that.
            let objects = changes
                .iter()
                .map(|change| {
                    let path = go_json_string(&change.path)?;
                    Ok(format!("{{\"Path\":{path},\"Kind\":{}}}", change.kind as u8))
                })
                .collect::<orlop::Result<Vec<_>>>()?;
            let list = objects.join(",");
            cx.out.line(if list.is_empty() { "null".to_owned() } else { format!("[{list}]") })?;
            return Ok(0);
        }
        for change in &changes {
            let kind = match change.kind {
                ChangeKind::Add => "Add",
                ChangeKind::Modify => "Modify",
                ChangeKind::Delete => "Delete",
            };
            cx.out.line(format_args!("{kind} {}", go_quote(&change.path)))?;
        }
        Ok(0)
    }
}

/// `diff`.
#[derive(Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    pair: Pair,
    /// Write to file instead of stdout
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// Use no compression
    #[arg(short, long)]
    uncompressed: bool,
    /// Compress using gzip
    #[arg(short = 'c', long)]
    gzip: bool,
    /// Compress using bzip2 (refused)
    #[arg(short, long, visible_alias = "bz2")]
    bzip2: bool,
    /// Compress using xz (refused)
    #[arg(short, long)]
    xz: bool,
    /// Write the form of tar that this version of containers/storage wrote: 1.24 or current
    #[arg(long, value_name = "VERSION", default_value = "current", value_parser = compat)]
    compat: Compat,
}

fn compat(text: &str) -> Result<Compat, String> {
    match text {
        "current" => Ok(Compat::Current),
        "1.24" => Ok(Compat::V1_24),
        _ => Err("there is 1.24, and current".to_owned()),
    }
}

impl Diff {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let compression = self.compression()?;
        let (file, what) = match self.file.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => (input::create(&path)?, path),
            None => (output::stdout_file()?, PathBuf::from("/dev/stdout")),
        };
        // Smaller than the pieces in which files are read: those go out without another copy.
        let mut out = BufWriter::with_capacity(1 << 16, file);
        store
            .diff_as(&self.pair.layer, self.pair.reference(), compression, self.compat, &mut out)
            .map_err(|e| output::naming(e, &what))?;
        out.flush().map_err(|e| Error::io("writing", what, e))?;
        Ok(0)
    }

    /// Of several flags the last one of the list counts; without any, the stream comes as it once came in.
    fn compression(&self) -> orlop::Result<Option<Compression>> {
        let refused = |extension: &str| {
            Err(Error::new(ErrorKind::NotSupported, format!("writing {:?}", self.pair.layer))
                .detail(format!("unsupported compression format {extension}"))
                .hint("compress with --gzip, or pipe --uncompressed into another program"))
        };
        if self.xz {
            refused("tar.xz")
        } else if self.bzip2 {
            refused("tar.bz2")
        } else if self.gzip {
            Ok(Some(Compression::Gzip))
        } else if self.uncompressed {
            Ok(Some(Compression::None))
        } else {
            Ok(None)
        }
    }
}

/// `diffsize`.
#[derive(Args)]
pub(crate) struct DiffSize {
    #[command(flatten)]
    pair: Pair,
}

impl DiffSize {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let size = cx.store()?.diff_size(&self.pair.layer, self.pair.reference())?;
        cx.out.line(size)?;
        Ok(0)
    }
}

/// `applydiff`.
#[derive(Args)]
pub(crate) struct ApplyDiff {
    /// The layer whose content changes
    #[arg(value_name = "LAYER")]
    layer: String,
    /// Read from file instead of stdin
    #[arg(short, long)]
    file: Option<PathBuf>,
}

impl ApplyDiff {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let file = self.file.as_deref().filter(|path| !path.as_os_str().is_empty());
        let input = Input::open(file)?;
        let what = file.and_then(Path::file_name).unwrap_or("diff".as_ref()).to_string_lossy();
        let store = cx.store()?;
        let mut stream = Watched::new(input.stream, &what, input.length);
        store
            .apply_diff(&self.layer, &mut stream)
            .map_err(|e| e.context(format!("applying {}", Input::describe(file))))?;
        stream.done();
        Ok(0)
    }
}
