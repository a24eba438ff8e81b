//! What a volatile mount leaves: a mark that its writes were never waited for (`overlay-driver.md` GET-42, DEF-27).

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::chain::LayerDir;
use crate::Result;
use crate::sys::remove::remove_tree;

/// The key among a layer's metadata.
pub(super) const UNCLEAN: &str = "Unclean";

impl LayerDir {
    /// The kernel makes it with a volatile mount, lets it stand when that ends, and refuses a second such mount as long as it is there.
    fn volatile_mark(&self) -> PathBuf {
        self.path().join("work/work/incompat/volatile")
    }

    /// Whether the last mount for writing was volatile, and the machine was started anew since: what was written through it may be
    /// missing, in part or in whole. Until then the kernel has all of it.
    pub(super) fn is_unclean(&self) -> bool {
        booted().is_some_and(|booted| self.was_volatile_before(booted))
    }

    fn was_volatile_before(&self, time: SystemTime) -> bool {
        self.volatile_mark()
            .symlink_metadata()
            .is_ok_and(|mark| mark.modified().is_ok_and(|made| made < time))
    }

    /// Makes the layer ready for the next mount.
    ///
    /// # Errors
    /// When the mark cannot be removed.
    pub(super) fn clear_volatile_mark(&self) -> Result<()> {
        if self.is_unclean() {
            tracing::warn!(
                layer = %self.id,
                "its last mount was volatile, and the machine was started anew since: what was written may be missing, in part or in whole"
            );
        }
        remove_tree(&self.volatile_mark())
    }
}

/// When the machine was started (proc_uptime(5)).
fn booted() -> Option<SystemTime> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds = text.split_ascii_whitespace().next()?.parse().ok()?;
    SystemTime::now().checked_sub(Duration::try_from_secs_f64(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::Overlay;
    use super::*;
    use crate::driver::tests::{TestStore, chain, id};
    use crate::driver::{Driver, MountOptions};

    #[test]
    fn only_what_an_earlier_start_of_the_machine_has_left_is_unclean() {
        // DEF-27
        let store = TestStore::new();
        let driver = Overlay::open("overlay", &store.graph, &store.run, None, &[], None).unwrap();
        chain(&driver, &["a"]);
        let layer = driver.locate(&id("a")).unwrap();
        let (now, later) = (SystemTime::now(), SystemTime::now() + Duration::from_secs(3600));
        assert!(booted().unwrap() < now && !layer.was_volatile_before(later), "no mark");
        driver.get(&id("a"), &MountOptions { volatile: true, ..MountOptions::default() }).unwrap();
        driver.put(&id("a")).unwrap();
        assert!(
            layer.was_volatile_before(later)
                && !layer.was_volatile_before(now - Duration::from_secs(60))
        );
        assert!(!layer.is_unclean() && !driver.metadata(&id("a")).unwrap().contains_key(UNCLEAN));
        let mark = std::fs::File::open(layer.volatile_mark()).unwrap();
        mark.set_modified(booted().unwrap() - Duration::from_secs(60)).unwrap();
        assert_eq!(driver.metadata(&id("a")).unwrap()[UNCLEAN], "true");
        // The next mount takes the mark away, and with it all that is known.
        driver.get(&id("a"), &MountOptions::default()).unwrap();
        driver.put(&id("a")).unwrap();
        assert!(!driver.metadata(&id("a")).unwrap().contains_key(UNCLEAN));
    }
}
