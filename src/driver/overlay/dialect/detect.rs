//! Whose a home is, by what its layers look like (`overlay-driver.md` 20).

use std::io;
use std::path::Path;

use super::cvmfs::{HOME_FLAG, PARENT};
use super::moby::COMMITTED;
use crate::driver::overlay::chain::list_layers;
use crate::driver::overlay::layout;
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
    if home.file_name().is_none_or(|name| name != Dialect::Moby.driver_name()) {
        return Ok(None);
    }
    match home.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("examining", home, e)),
        Ok(_) => {}
    }
    if home.join(layout::REPOSITORIES).is_dir() {
        return Ok(Some(Dialect::Cvmfs));
    }
    Ok(list_layers(home)?.iter().find_map(|name| of_layer(&home.join(name))))
}

/// What one layer tells.
fn of_layer(layer: &Path) -> Option<Dialect> {
    let has = |name: &str| layer.join(name).symlink_metadata().is_ok();
    if has(PARENT) {
        return Some(Dialect::Cvmfs);
    }
    if has(layout::LOWER_LAYERS) || has("empty") {
        return Some(Dialect::Containers);
    }
    if has(COMMITTED) || has(layout::LINK) && has("diff") && !has("work") {
        return Some(Dialect::Moby);
    }
    None
}
