//! Layers that lie in repositories, which somebody has to mount (`overlay-driver.md` 18).

use crate::thin::InUse;
use crate::{LayerId, Result};

/// A driver of layers that lie in repositories of CernVM-FS. The mount of a repository takes as long as its servers please: whoever has
/// locks that others wait for has what a layer needs brought into place before he takes them, and the driver finds it ready then.
pub trait ThinLayers {
    /// Brings the repositories into use that [`super::Driver::get`] is going to need for that layer; none for one that is mounted. No lock
    /// is needed. A layer that others are changing may be seen half: what is missing then, [`super::Driver::get`] mounts itself.
    ///
    /// # Errors
    /// When a repository cannot be mounted, or does not answer. What else is wrong with the layer is for [`super::Driver::get`] to say.
    fn bring_for_mount(&self, id: &LayerId) -> Result<Brought<'_>>;

    /// As [`ThinLayers::bring_for_mount`], for a comparison: [`super::Driver::diff`], [`super::Driver::changes`] and
    /// [`super::Driver::diff_size`].
    ///
    /// # Errors
    /// As for [`ThinLayers::bring_for_mount`].
    fn bring_for_diff(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<Brought<'_>>;
}

/// Repositories that nobody in this process unmounts until this is dropped; those that nobody else uses then are unmounted.
#[derive(Debug)]
#[must_use]
pub struct Brought<'a> {
    _in_use: Option<InUse<'a>>,
}

impl<'a> Brought<'a> {
    pub(super) fn new(in_use: Option<InUse<'a>>) -> Self {
        Self { _in_use: in_use }
    }
}
