//! `thin`: images whose layers lie in a CernVM-FS repository.

use std::path::PathBuf;

use clap::Args;
use orlop::image::{ThinOptions, make_thin};
use orlop::thin::Repository;
use orlop_s3::{Config, S3Upload};

use crate::command::Outcome;
use crate::global::Context;
use crate::images::temp_dir;
use crate::progress;

/// `thin`. What it does is an argument, not a command below this one: there is only one thing, and the commands have no others below
/// them.
#[derive(Args)]
pub(crate) struct Thin {
    /// make: send an image's layers to where they are published, and make an image that lists them
    #[arg(value_name = "ACTION", value_parser = ["make"])]
    action: String,
    /// ID or name of the image, which stays as it is
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The repository that the layers are published in
    #[arg(long, value_name = "REPO")]
    repo: String,
    /// Name of the new image; app:1 becomes localhost/app:1
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where layers are sent: a JSON file with AccessKey, AccessSecret, Host, CvmfsRepo, SSL and PublishStatusURL
    #[arg(long, value_name = "FILE", default_value = Config::USUAL)]
    upload_config: PathBuf,
    /// No progress bars
    #[arg(short, long)]
    quiet: bool,
}

impl Thin {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        // The only one that is understood.
        let Self { action: _, image, repo, name, upload_config, quiet } = self;
        let repository = Repository::new(repo)?;
        let upload = S3Upload::new(Config { repository, ..Config::read(&upload_config)? })?;
        let progress = progress::on_terminal(quiet);
        let options = ThinOptions {
            name,
            temp_dir: temp_dir(),
            progress: &*progress,
            ..ThinOptions::default()
        };
        let made = make_thin(cx.store()?, &image, &upload, &options)?;
        cx.out.line(made.image_id)?;
        Ok(0)
    }
}
