//! What is known of the kernel's features without making anything, for an examination, and the same tried out.

use super::probe::Answer;
use super::{Overlay, layout};
use crate::Result;
use crate::driver::options::OverlayOptions;

/// What only an attempt can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::driver) enum Feature {
    /// Overlays of two layers, and entries with their types.
    Mounts,
    /// Copies of metadata alone, with the configured mount words.
    Metacopy,
    /// Changes are what the layer's own directory holds, with the configured mount words.
    NativeDiff,
    /// Lower layers whose ids are mapped.
    IdMapped,
}

/// What an attempt said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::driver) enum Known {
    /// It works.
    Yes,
    /// It does not, and why, if that was kept.
    No(String),
    /// Nobody has tried, or could.
    Not(String),
}

impl Overlay {
    /// What the run root remembers of earlier attempts (`overlay-driver.md` 2.3).
    pub(in crate::driver) fn known(&self, feature: Feature) -> Known {
        match self.recall(&self.remembered_as(feature)) {
            Some(Answer::Yes) => Known::Yes,
            Some(Answer::No(why)) => Known::No(why),
            None => Known::Not(
                "nothing has been mounted in this store since the run root is there".to_owned(),
            ),
        }
    }

    /// Tries it out in the home.
    ///
    /// # Errors
    /// When the attempt itself fails.
    pub(in crate::driver) fn try_out(&self, feature: Feature) -> Result<Known> {
        let said = match feature {
            Feature::Mounts => self.check_overlay().map(|()| true)?,
            Feature::Metacopy => self.using_metacopy()?,
            Feature::NativeDiff => self.native_diff()?,
            Feature::IdMapped => self.maps_lowers()?,
        };
        // The reason is where the answer was remembered.
        Ok(if said { Known::Yes } else { self.known(feature) })
    }

    /// Whether mounts map ids, and why, where that depends on no attempt: on what the driver was told, and on who asks.
    pub(in crate::driver) fn settled_mapping(&self) -> Option<(bool, String)> {
        if self.options.disable_idmap {
            return Some((false, "disable_idmap is set".to_owned()));
        }
        if !self.rules.shape().shifts {
            return Some((false, format!("the dialect {} has none", self.rules.dialect())));
        }
        match self.wanted_program() {
            Ok(Some(program)) => Some((true, format!("{program:?} maps them"))),
            _ => None,
        }
    }

    /// Whether this process lacks the rights of the machine's root.
    pub(in crate::driver) fn is_of_a_user(&self) -> bool {
        self.rootless
    }

    /// Makes the home's directories, and nothing else of what the first use makes.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub(in crate::driver) fn make_home(&self) -> Result<()> {
        let look = layout::DirLook::root(0o700);
        for dir in [&self.home, &self.run] {
            layout::ensure_dir(dir, look, 0o700)?;
        }
        Ok(())
    }

    /// What the driver was told.
    pub(in crate::driver) fn options(&self) -> &OverlayOptions {
        &self.options
    }

    fn remembered_as(&self, feature: Feature) -> String {
        let words = &self.options.mountopt;
        match feature {
            Feature::Mounts => "overlay".to_owned(),
            Feature::Metacopy => format!("metacopy({words})"),
            Feature::NativeDiff => format!("native-diff({words})"),
            Feature::IdMapped => "idmapped-lower-dir".to_owned(),
        }
    }
}
