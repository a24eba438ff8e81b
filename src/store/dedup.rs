//! Equal files of the images' layers that share their space (`overlay-driver.md` REM-16).

use std::collections::{HashMap, HashSet};

use super::Store;
use super::order::Held;
use crate::driver::DedupMethod;
use crate::{LayerId, Result};

impl Store {
    /// Has equal files of the layers of all images share their space on the disk, where the file system can (btrfs, xfs with
    /// reflinks); elsewhere nothing happens. Returns the bytes that are shared now, with what was before.
    ///
    /// No layer is changed or removed meanwhile, and what the files show stays as it is.
    ///
    /// # Errors
    /// When records or files cannot be read.
    ///
    /// ```no_run
    /// # fn main() -> orlop::Result<()> {
    /// let options = orlop::config::StoreOptions::default();
    /// let store = orlop::store::Store::open(options)?;
    /// let bytes = store.dedup(orlop::driver::DedupMethod::default())?;
    /// # Ok(()) }
    /// ```
    pub fn dedup(&self, method: DedupMethod) -> Result<u64> {
        let images = self.images_everywhere()?;
        let tops = images.iter().flat_map(|(list, _)| {
            list.iter().flat_map(|image| [&image.layer].into_iter().chain(&image.mapped_layers))
        });
        // For reading: others may look, and nobody can take a layer away.
        let (_held, layers) = self.layers.read(&Held::nothing())?;
        let parents: HashMap<&str, &str> =
            layers.iter().map(|l| (l.id.as_str(), l.parent.as_str())).collect();
        let mut chosen = HashSet::new();
        for top in tops {
            let mut next = parents.get_key_value(top.as_str());
            while let Some((id, parent)) = next
                && chosen.insert(*id)
            {
                next = parents.get_key_value(parent);
            }
        }
        let ids: Vec<LayerId> = chosen.into_iter().map(LayerId::new).collect::<Result<_>>()?;
        self.driver.dedup(&ids, method)
    }
}
