//! `dedup`: equal files share their space.

use clap::Args;
use orlop::driver::DedupMethod;
use serde::Serialize;

use crate::command::Outcome;
use crate::global::Context;

/// `dedup`.
#[derive(Args)]
pub(crate) struct Dedup {
    /// Prefer JSON output
    #[arg(short, long)]
    json: bool,
    /// How equal files are found before the kernel compares them: crc, size or sha256
    #[arg(long, value_name = "METHOD", default_value = "crc")]
    hash_method: String,
}

#[derive(Serialize)]
struct Shared {
    #[serde(rename = "Deduped")]
    deduped: u64,
}

impl Dedup {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let method = match self.hash_method.as_str() {
            "crc" => DedupMethod::Crc,
            "size" => DedupMethod::Size,
            "sha256" => DedupMethod::Sha256,
            other => anyhow::bail!("invalid hash method: {other}"),
        };
        let deduped = cx.store()?.dedup(method)?;
        if self.json {
            cx.out.json(&Shared { deduped })?;
        } else {
            cx.out.line(format_args!("Deduplicated {deduped} bytes"))?;
        }
        Ok(0)
    }
}
