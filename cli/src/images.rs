//! Images in and out: `load`, `save` and `commit`.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use orlop::config::{Environment, User};
use orlop::image::{
    self, CommitOptions, LoadOptions, Output, Platform, SaveFormat, SaveOptions, Source,
};
use orlop::record::Timestamp;
use orlop::{Error, ErrorKind};

use crate::command::Outcome;
use crate::create::not_empty;
use crate::global::Context;
use crate::input::Input;
use crate::{output, progress};

/// `load`.
#[derive(Args)]
pub(crate) struct Load {
    /// Read from this archive or OCI layout folder; - for stdin
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Which image of a multi-platform index (default: this machine's); a single image is loaded whatever it is for
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// No progress bars
    #[arg(short, long)]
    quiet: bool,
}

/// `save`.
#[derive(Args)]
pub(crate) struct Save {
    /// IDs or names of images; one given by name is saved with that name
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Write to this new file, or folder for oci-dir; - for stdout
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    #[arg(value_parser = ["docker-archive", "oci-archive", "oci-dir"])]
    format: String,
    /// No progress bars
    #[arg(short, long)]
    quiet: bool,
}

/// `commit`.
#[derive(Args)]
pub(crate) struct Commit {
    /// ID or name of the container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Name of the new image; app:1 becomes localhost/app:1
    #[arg(value_name = "NAME")]
    name: String,
    /// Author of the image
    #[arg(short, long)]
    author: Option<String>,
    /// Comment in the image's history
    #[arg(short, long)]
    message: Option<String>,
    /// Change the image's configuration by CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD (docker format only), STOPSIGNAL,
    /// USER, VOLUME or WORKDIR, as "ENV A=B" (repeatable)
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Kind of the image's manifest
    #[arg(short, long, value_name = "FORMAT", default_value = "oci")]
    #[arg(value_parser = ["oci", "docker"])]
    format: String,
    /// No progress bars
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let env = Environment::of_process();
        let platform = self.platform.as_deref().map(str::parse::<Platform>).transpose()?;
        let progress = progress::on_terminal(self.quiet);
        let options = LoadOptions {
            platform,
            policy: image::find_policy(config_home(&env).as_deref()),
            temp_dir: temp_dir(),
            progress: &*progress,
            ..LoadOptions::default()
        };
        let source = if is_standard_stream(&self.input) {
            if io::stdin().is_terminal() {
                return Err(Error::new(ErrorKind::InvalidArgument, "loading images")
                    .detail("standard input is a terminal")
                    .hint("name an archive with --input, or pipe one in")
                    .into());
            }
            Source::Stream(Box::new(Input::open(None)?.stream))
        } else {
            Source::Path(self.input)
        };
        let loaded = image::load(cx.store()?, source, &options)?;
        for image in loaded {
            if image.names.is_empty() {
                cx.out.line(format_args!("Loaded image: sha256:{}", image.image_id))?;
            }
            for name in image.names {
                cx.out.line(format_args!("Loaded image: {name}"))?;
            }
        }
        Ok(0)
    }
}

/// `-`, or nothing.
fn is_standard_stream(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.as_os_str() == "-"
}

impl Save {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let format: SaveFormat = self.format.parse()?;
        let progress = progress::on_terminal(self.quiet);
        let options = SaveOptions { temp_dir: temp_dir(), progress: &*progress };
        if !is_standard_stream(&self.output) {
            let store = cx.store()?;
            let path = Output::Path(self.output.clone());
            image::save(store, &self.images, format, path, &options)
                .map_err(|e| output::naming(e, &self.output))?;
            return Ok(0);
        }
        if io::stdout().is_terminal() {
            return Err(Error::new(ErrorKind::InvalidArgument, "saving images")
                .detail("standard output is a terminal")
                .hint("name a file with --output, or redirect standard output")
                .into());
        }
        let mut out = BufWriter::with_capacity(1 << 18, output::stdout_file()?);
        image::save(cx.store()?, &self.images, format, Output::Writer(&mut out), &options)
            .map_err(|e| output::naming(e, Path::new("/dev/stdout")))?;
        out.flush().map_err(|e| Error::io("writing", "/dev/stdout", e))?;
        Ok(0)
    }
}

impl Commit {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let progress = progress::on_terminal(self.quiet);
        let options = CommitOptions {
            author: not_empty(self.author),
            message: not_empty(self.message),
            changes: self.change,
            created: source_date_epoch(&Environment::of_process())?,
            format: self.format.parse()?,
            temp_dir: temp_dir(),
            progress: &*progress,
        };
        let id = image::commit(cx.store()?, &self.container, &self.name, &options)?;
        cx.out.line(id)?;
        Ok(0)
    }
}

/// The directory of the user's configuration, an empty XDG_CONFIG_HOME counting as unset.
fn config_home(env: &Environment) -> Option<PathBuf> {
    let home = || User::of_process(env).home.map(|home| home.join(".config"));
    env.non_empty("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home)
}

/// Where the engines put large temporary files, if the user says so.
pub(crate) fn temp_dir() -> Option<PathBuf> {
    Environment::of_process().non_empty("TMPDIR").map(PathBuf::from)
}

/// The time that stands in for now in builds that shall come out the same each time: seconds since 1970 in SOURCE_DATE_EPOCH.
fn source_date_epoch(env: &Environment) -> orlop::Result<Option<Timestamp>> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let Some(text) = env.non_empty(NAME) else { return Ok(None) };
    let seconds = text.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("reading {NAME}={text:?}"))
            .detail("it is not a number of seconds since 1970")
    })?;
    Timestamp::from_unix(seconds).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_a_number() {
        let epoch = |text| source_date_epoch(&[("SOURCE_DATE_EPOCH", text)].into_iter().collect());
        assert_eq!(epoch("").unwrap(), None);
        assert_eq!(epoch("86400").unwrap().unwrap().unix_seconds(), 86_400);
        assert_eq!(epoch("yesterday").unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
