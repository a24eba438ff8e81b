//! What layer directories were seen not to hold: nearly every layer is one directory of content, and a process that mounts many
//! containers of one image need not find that out each time.
//!
//! What a directory holds changes only with its change time, so that one that is as it was when it was looked through still lacks what
//! it lacked. A change in the same tick of the clock as the last look would not show: only a time that was over by then counts.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rustix::fs::Stat;

use super::get::lock;
use crate::LayerId;

/// How long ago a directory must have changed for the next change to give it another time: many ticks of any kernel's clock.
const SETTLED: Duration = Duration::from_millis(100);

/// As [`SETTLED`], where the file system keeps whole seconds only, of which the coarsest counts in twos.
const SETTLED_SECONDS: Duration = Duration::from_secs(3);

/// How many layers are remembered at most; no image has nearly as many.
const MANY: usize = 1 << 14;

/// How a directory looked, and whether every change after that look gives it another time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    stamp: Stamp,
    is_settled: bool,
}

/// A directory, and when its entries were last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    seconds: i64,
    nanos: u64,
}

impl Look {
    /// Nothing may have been searched for in the directory yet.
    pub(super) fn of(dir: &Stat) -> Self {
        let stamp = Stamp {
            device: dir.st_dev,
            inode: dir.st_ino,
            seconds: dir.st_ctime,
            nanos: dir.st_ctime_nsec,
        };
        Self { stamp, is_settled: stamp.is_settled(SystemTime::now()) }
    }
}

impl Stamp {
    fn is_settled(&self, now: SystemTime) -> bool {
        let margin = if self.nanos == 0 { SETTLED_SECONDS } else { SETTLED };
        let changed = u64::try_from(self.seconds).ok().and_then(|seconds| {
            let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
            changed.checked_add(Duration::from_nanos(self.nanos))
        });
        changed.and_then(|changed| now.duration_since(changed).ok()).is_some_and(|ago| ago > margin)
    }
}

/// What a layer's directory can lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// Content in other directories than `diff`, which is one.
    Older,
    /// The image of a composefs layer.
    Image,
}

/// How a layer's directory looked when it lacked each of them.
#[derive(Debug, Default)]
struct Seen {
    older: Option<Stamp>,
    image: Option<Stamp>,
}

impl Seen {
    fn of(&mut self, what: Lack) -> &mut Option<Stamp> {
        match what {
            Lack::Older => &mut self.older,
            Lack::Image => &mut self.image,
        }
    }
}

/// What was seen of the layers of one home.
#[derive(Debug, Default)]
pub(super) struct Plain(Mutex<HashMap<LayerId, Seen>>);

impl Plain {
    /// Whether the layer's directory, which looks so now, is known to lack this; else `search` says, and it is remembered.
    pub(super) fn lacks(
        &self,
        id: &LayerId,
        look: &Look,
        what: Lack,
        search: impl FnOnce() -> bool,
    ) -> bool {
        let known =
            lock(&self.0).get_mut(id).is_some_and(|seen| *seen.of(what) == Some(look.stamp));
        if known || !search() {
            return known;
        }
        if look.is_settled {
            let mut all = lock(&self.0);
            if all.len() >= MANY {
                all.clear();
            }
            *all.entry(id.clone()).or_default().of(what) = Some(look.stamp);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Look =
        Look { stamp: Stamp { device: 1, inode: 1, seconds: 1_000, nanos: 1 }, is_settled: true };

    #[test]
    fn what_has_not_changed_is_not_searched_again() {
        // GET-8, GET-36
        let (plain, id) = (Plain::default(), LayerId::new("a").unwrap());
        let other = |stamp| Look { stamp, ..OLD };
        assert!(!plain.lacks(&id, &OLD, Lack::Older, || false));
        assert!(plain.lacks(&id, &OLD, Lack::Older, || true));
        assert!(plain.lacks(&id, &OLD, Lack::Older, || panic!("searched")));
        // The other answer, another directory, and one that changed since.
        assert!(!plain.lacks(&id, &OLD, Lack::Image, || false));
        for stamp in [
            Stamp { device: 2, ..OLD.stamp },
            Stamp { inode: 2, ..OLD.stamp },
            Stamp { seconds: 1_001, ..OLD.stamp },
            Stamp { nanos: 2, ..OLD.stamp },
        ] {
            assert!(!plain.lacks(&id, &other(stamp), Lack::Older, || false), "{stamp:?}");
        }
        // A change in the same tick would not show.
        let (plain, fresh) = (Plain::default(), Look { is_settled: false, ..OLD });
        assert!(plain.lacks(&id, &fresh, Lack::Older, || true));
        assert!(!plain.lacks(&id, &fresh, Lack::Older, || false));
    }

    #[test]
    fn a_time_is_settled_when_the_clock_has_left_it_behind() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let fine = Stamp { nanos: 500_000_000, ..OLD.stamp };
        let whole = Stamp { nanos: 0, ..OLD.stamp };
        for (stamp, now, settled) in [
            (fine, 1_000_500, false),
            (fine, 1_000_550, false),
            (fine, 1_000_601, true),
            (fine, 999_000, false),
            (whole, 1_002_999, false),
            (whole, 1_003_001, true),
            (Stamp { seconds: -1, ..fine }, 1_000_000, false),
        ] {
            assert_eq!(stamp.is_settled(at(now)), settled, "{stamp:?} {now}");
        }
    }
}
