//! `migrate legacy`: a store of 2016's overlay driver becomes one of today's.

use orlop::store::{LegacyMigration, MigratedLegacy};
use serde::Serialize;

use crate::command::Outcome;
use crate::global::Context;

/// The flags of `migrate legacy`.
pub(crate) struct Legacy {
    /// Only tell what there is to do.
    pub(crate) dry_run: bool,
    /// Remove the old layout, also one that was kept by an earlier migration.
    pub(crate) remove: bool,
    /// Do not compare the layers with the digests of their archives.
    pub(crate) no_verify: bool,
    /// Prefer JSON output.
    pub(crate) json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    from: &'static str,
    dry_run: bool,
    #[serde(flatten)]
    done: MigratedLegacy,
}

impl Legacy {
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let store = cx.store()?;
        let done = store.migrate_legacy(LegacyMigration {
            dry_run: self.dry_run,
            unverified: self.no_verify,
            remove: self.remove,
        })?;
        let kept = store.graph_root().join(format!("{}.legacy", store.driver_name()));
        let kept = kept.is_dir().then(|| kept.display().to_string());
        let MigratedLegacy { images, containers, verified, removed, .. } = done;
        if self.json {
            cx.out.json(&Report { from: "legacy", dry_run: self.dry_run, done })?;
            return Ok(0);
        }
        let layers = format!("{images} layers of images and {containers} of containers");
        match (images + containers, self.dry_run) {
            (0, _) => cx.out.line(format_args!("No layers are of the legacy layout"))?,
            (_, true) => cx.out.line(format_args!("Would migrate {layers}"))?,
            (_, false) => cx.out.line(format_args!("Migrated {layers}; {verified} verified"))?,
        }
        if removed {
            cx.out.line(format_args!("Removed the old layout"))?;
        } else if let Some(kept) = kept {
            cx.out.line(format_args!("The old layout is kept in {kept}; --remove removes it"))?;
        }
        Ok(0)
    }
}
