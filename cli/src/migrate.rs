//! `migrate`: images of another engine's store come into this one, or this one gets today's layout.

use std::path::PathBuf;

use clap::Args;
use orlop::docker::{
    Finished, MigrateOptions, MigratedImage, Outcome as LayerOutcome, Transfer, migrate,
};

use crate::command::Outcome;
use crate::docker::data_root;
use crate::global::Context;
use crate::images::temp_dir;
use crate::migrate_legacy::Legacy;
use crate::{output, progress};

/// `migrate`.
#[derive(Args)]
pub(crate) struct Migrate {
    /// docker: whose images; legacy: the layout that the store has now, that of containers/storage in 2016
    #[arg(value_name = "FROM", value_parser = ["docker", "legacy"])]
    from: String,
    /// Names or IDs of images there (default: all that `docker images` shows)
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Docker's data root (default: as /etc/docker/daemon.json says, else /var/lib/docker)
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Take the images away from docker, whose daemon must not run; what its other images and containers need stays
    #[arg(long)]
    r#move: bool,
    /// Share the files' blocks with docker, or fail (default: share them where that can be, else copy)
    #[arg(long)]
    reflink: bool,
    /// Copy the files
    #[arg(long)]
    copy: bool,
    /// Make an image of each stopped container, too: localhost/NAME
    #[arg(long)]
    containers: bool,
    /// Do not compare the layers with their digests, nor what lies there with their tars
    #[arg(long)]
    no_verify: bool,
    /// With legacy: remove the old layout, also one that an earlier migration has kept
    #[arg(long)]
    remove: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// No progress bars
    #[arg(short, long)]
    quiet: bool,
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
}

impl Migrate {
    fn transfer(&self) -> anyhow::Result<Transfer> {
        Ok(match (self.r#move, self.reflink, self.copy) {
            (false, false, false) => Transfer::Either,
            (true, false, false) => Transfer::Move,
            (false, true, false) => Transfer::Reflink,
            (false, false, true) => Transfer::Copy,
            _ => anyhow::bail!("--move, --reflink and --copy exclude each other"),
        })
    }

    /// The migration of the store's own layout, with which nothing goes that is about docker.
    fn legacy(&self) -> anyhow::Result<Legacy> {
        let given = [
            ("IMAGE", !self.images.is_empty()),
            ("--data-root", self.data_root.is_some()),
            ("--move", self.r#move),
            ("--reflink", self.reflink),
            ("--copy", self.copy),
            ("--containers", self.containers),
        ];
        if let Some((what, _)) = given.iter().find(|(_, given)| *given) {
            anyhow::bail!("{what} goes with docker, not with legacy");
        }
        let Self { dry_run, remove, no_verify, json, .. } = *self;
        Ok(Legacy { dry_run, remove, no_verify, json })
    }

    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        if self.from == "legacy" {
            return self.legacy()?.run(cx);
        }
        if self.remove {
            anyhow::bail!("--remove goes with legacy; docker's images are taken away by --move");
        }
        let transfer = self.transfer()?;
        let docker = data_root(self.data_root)?;
        let progress = progress::on_terminal(self.quiet);
        let options = MigrateOptions {
            images: self.images,
            containers: self.containers,
            transfer,
            verify: !self.no_verify,
            dry_run: self.dry_run,
            temp_dir: temp_dir(),
            progress: &*progress,
        };
        let report = migrate(cx.store()?, &docker, &options)?;
        let whole = report.is_whole();
        if let Some(why) = &report.unfinished {
            output::complain(&format!("docker has not forgotten all that was to be moved: {why}"));
        }
        tell_finished(cx, &report.finished, self.dry_run, self.json)?;
        if self.json {
            cx.out.json(&report.images)?;
        } else {
            for image in &report.images {
                print(cx, image, self.dry_run)?;
            }
        }
        Ok(if whole { 0 } else { 1 })
    }
}

/// A line about the rest of an earlier move, if there was one. The list in JSON is one of images, and has no place for it.
fn tell_finished(
    cx: &mut Context,
    finished: &Finished,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<()> {
    if finished.is_empty() {
        return Ok(());
    }
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let rest = format!(
        "{} and {}",
        counted(finished.images.len(), "image"),
        counted(finished.layers, "layer")
    );
    let line = match dry_run {
        true => format!("Would finish an earlier move: docker would forget {rest} more"),
        false => format!("Finished an earlier move: docker has forgotten {rest} more"),
    };
    if json {
        output::complain(&line);
    } else {
        cx.out.line(line)?;
    }
    Ok(())
}

/// One line for an image, and one for what else is to be said of it.
fn print(cx: &mut Context, image: &MigratedImage, dry_run: bool) -> anyhow::Result<()> {
    let what = match (&image.container, image.names.first()) {
        (Some(container), _) => format!("container {container}"),
        (None, Some(name)) => name.clone(),
        (None, None) => format!("sha256:{}", image.id),
    };
    if let Some(error) = &image.error {
        output::complain(&format!("{what}: {error}"));
        return Ok(());
    }
    let verb = if dry_run { "Would migrate" } else { "Migrated" };
    cx.out.line(format_args!("{verb} {what}: {}", counted(image)))?;
    for name in image.names.iter().skip(usize::from(image.container.is_none())) {
        cx.out.line(format_args!("\tname: {name}"))?;
    }
    for name in &image.left_out {
        cx.out.line(format_args!("\tleft out, another image of the store has the name: {name}"))?;
    }
    if let Some(why) = &image.kept {
        cx.out.line(format_args!("\tdocker keeps it: {why}"))?;
    }
    Ok(())
}

/// `3 layers, 2 present, 1 reflinked (12345 bytes)`.
fn counted(image: &MigratedImage) -> String {
    use LayerOutcome::{Copied, Moved, Planned, Present, Reflinked};
    let layers = image.layers.len();
    let mut words = vec![format!("{layers} layer{}", if layers == 1 { "" } else { "s" })];
    for outcome in [Present, Planned, Moved, Reflinked, Copied] {
        let these: Vec<_> = image.layers.iter().filter(|l| l.outcome == outcome).collect();
        if these.is_empty() {
            continue;
        }
        let bytes: u64 = these.iter().map(|l| l.bytes).sum();
        let bytes = if outcome == Present { String::new() } else { format!(" ({bytes} bytes)") };
        words.push(format!("{} {}{bytes}", these.len(), outcome.word()));
    }
    words.join(", ")
}
