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

/// A directory, and when its entries were last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    device: u64,
    inode: u64,
    seconds: i64,
    nanos: u64,
}

impl Look {
    pub(super) fn of(dir: &Stat) -> Self {
        Self {
            device: dir.st_dev,
            inode: dir.st_ino,
            seconds: dir.st_ctime,
            nanos: dir.st_ctime_nsec,
        }
    }

    /// Whether every later change gives the directory another time.
    fn is_settled(&self, now: SystemTime) -> bool {
        let margin = if self.nanos == 0 { SETTLED_SECONDS } else { SETTLED };
        let changed = u64::try_from(self.seconds).ok().and_then(|seconds| {
            SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_secs(seconds))?
                .checked_add(Duration::from_nanos(self.nanos))
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
    older: Option<Look>,
    image: Option<Look>,
}

impl Seen {
    fn of(&mut self, what: Lack) -> &mut Option<Look> {
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
    /// Whether the layer's directory, which looks so now, is known to lack this; else `search` says, and it is remembered. Nothing may have
    /// been searched for before the look was taken.
    pub(super) fn lacks(
        &self,
        id: &LayerId,
        look: &Look,
        what: Lack,
        search: impl FnOnce() -> bool,
    ) -> bool {
        let known = lock(&self.0).get_mut(id).is_some_and(|seen| *seen.of(what) == Some(*look));
        if known || !search() {
            return known;
        }
        if look.is_settled(SystemTime::now()) {
            let mut all = lock(&self.0);
            if all.len() >= MANY {
                all.clear();
            }
            *all.entry(id.clone()).or_default().of(what) = Some(*look);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(inode: u64, ago: Duration) -> Look {
        let changed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() - ago;
        let nanos = changed.subsec_nanos().max(1).into();
        Look { device: 1, inode, seconds: changed.as_secs().try_into().unwrap(), nanos }
    }

    #[test]
    fn what_has_not_changed_is_not_searched_again() {
        // GET-8, GET-36
        let (plain, id) = (Plain::default(), LayerId::new("a").unwrap());
        let old = look(1, Duration::from_secs(9));
        assert!(!plain.lacks(&id, &old, Lack::Older, || false));
        assert!(plain.lacks(&id, &old, Lack::Older, || true));
        assert!(plain.lacks(&id, &old, Lack::Older, || panic!("searched")));
        // The other answer, another directory, and one that changed since.
        assert!(!plain.lacks(&id, &old, Lack::Image, || false));
        assert!(!plain.lacks(&id, &Look { inode: 2, ..old }, Lack::Older, || false));
        assert!(!plain.lacks(&id, &Look { nanos: old.nanos + 1, ..old }, Lack::Older, || false));
    }

    #[test]
    fn a_change_in_the_same_tick_would_be_seen() {
        let (plain, id) = (Plain::default(), LayerId::new("a").unwrap());
        let ahead = look(1, Duration::ZERO);
        let ahead = Look { seconds: ahead.seconds + 60, ..ahead };
        let second = |ago| Look { nanos: 0, ..look(1, Duration::from_secs(ago)) };
        for fresh in [look(1, Duration::ZERO), look(1, Duration::from_millis(50)), ahead, second(2)]
        {
            assert!(plain.lacks(&id, &fresh, Lack::Older, || true));
            assert!(!plain.lacks(&id, &fresh, Lack::Older, || false), "{fresh:?}");
        }
        let settled = second(9);
        assert!(plain.lacks(&id, &settled, Lack::Older, || true));
        assert!(plain.lacks(&id, &settled, Lack::Older, || false));
    }
}
