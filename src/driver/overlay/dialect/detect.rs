//! Whose a home is, by what its layers look like (`overlay-driver.md` 20).

use std::io;
use std::path::Path;

use super::cvmfs::{HOME_FLAG, PARENT};
use super::moby::COMMITTED;
use crate::driver::overlay::chain::is_reserved;
use crate::driver::overlay::{layout, legacy};
use crate::{Dialect, Error, Result};

/// The dialect of a home; `None` where it has no layers, or none that tells.
///
/// # Errors
/// When the home cannot be read.
pub(in crate::driver) fn detect(home: &Path) -> Result<Option<Dialect>> {
    // The flag is ours; the directory is the plugin's, which makes it at once.
    if home.join(HOME_FLAG).symlink_metadata().is_ok() {
        return Ok(Some(Dialect::Cvmfs));
    }
    // Only Docker's driver has this name today; containers/storage takes it for an alias of its own.
    let moby = home.file_name().is_some_and(|name| name == Dialect::Moby.driver_name());
    let by_name = if moby { of_layer } else { of_layer_of_containers };
    let failed = |e| Error::io("examining", home, e);
    let entries = match std::fs::read_dir(home) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Whoever opens a driver of containers/storage may look into its home later, as root of a namespace perhaps.
        Err(e) if !moby => {
            tracing::debug!(path = ?home, error = %e, "the home does not tell its dialect");
            return Ok(None);
        }
        entries => entries.map_err(failed)?,
    };
    if moby && home.join(layout::REPOSITORIES).is_dir() {
        return Ok(Some(Dialect::Cvmfs));
    }
    // Up to the first that is sure: a home has thousands.
    let mut likely = None;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_none_or(is_reserved) {
            continue;
        }
        match by_name(&entry.path()) {
            Some(Told::Sure(dialect)) => return Ok(Some(dialect)),
            Some(Told::Likely(dialect)) => likely = Some(dialect),
            None => {}
        }
    }
    Ok(likely)
}

/// What a layer tells of its home.
enum Told {
    /// There is no other explanation.
    Sure(Dialect),
    /// A layer that a crash or an earlier engine has left could look like that, too.
    Likely(Dialect),
}

/// What one layer of a home of containers/storage tells.
fn of_layer_of_containers(layer: &Path) -> Option<Told> {
    if matches!(layout::read_link_file(layer), Ok(Some(_))) {
        return Some(Told::Sure(Dialect::Containers));
    }
    legacy::is_layer(layer).then_some(Told::Likely(Dialect::Legacy))
}

/// What one layer tells.
fn of_layer(layer: &Path) -> Option<Told> {
    let has = |name: &str| layer.join(name).symlink_metadata().is_ok();
    if has(PARENT) {
        return Some(Told::Sure(Dialect::Cvmfs));
    }
    if has(layout::LOWER_LAYERS) || has("empty") {
        return Some(Told::Sure(Dialect::Containers));
    }
    if has(COMMITTED) {
        return Some(Told::Sure(Dialect::Moby));
    }
    let base = has(layout::LINK) && has("diff") && !has("work");
    base.then_some(Told::Likely(Dialect::Moby))
}
