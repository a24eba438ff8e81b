//! What changed: in an overlay's upper directory, or between two trees (`overlay-driver.md` 9).

mod above;
mod between;
mod exact;
mod noted;
mod upper;

pub use above::Above;
pub use between::{changes_between, changes_by_layers};
pub(super) use exact::exact_changes;
pub use upper::changes_in_upper;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::names::show;
use super::{Change, ChangeKind};
use crate::{Error, ErrorKind};

fn failed(path: &[u8], e: Errno) -> Error {
    Error::new(ErrorKind::Io, format!("comparing {}", show(path)))
        .caused_by(std::io::Error::from(e))
}

/// CHG-5: tars have whole seconds, so that one side's nanoseconds may be lost.
fn same_time(a: &Stat, b: &Stat) -> bool {
    let (a_nanos, b_nanos) = (a.st_mtime_nsec, b.st_mtime_nsec);
    a.st_mtime == b.st_mtime && (a_nanos == b_nanos || a_nanos == 0 || b_nanos == 0)
}

/// Puts changes, each path once, in the order of a walk, and the directories above a change before it (CHG-6).
fn in_order(mut changes: Vec<Change>) -> Vec<Change> {
    // A directory comes before what is in it, and that before the directory's next sibling.
    let key =
        |path: &[u8]| path.iter().map(|b| if *b == b'/' { 0 } else { *b }).collect::<Vec<_>>();
    changes.sort_by_cached_key(|change| key(&change.path));
    let mut all: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        let path = &change.path;
        let ends = path.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for end in ends {
            let dir = path.get(..end).unwrap_or_default();
            // The entry before, or it is in the directory: then that was listed before it.
            let is_listed = all.last().is_some_and(|last| {
                last.path.starts_with(dir) && matches!(last.path.get(end), None | Some(b'/'))
            });
            if !is_listed {
                all.push(Change { path: dir.to_vec(), kind: ChangeKind::Modify });
            }
        }
        all.push(change);
    }
    all
}

/// Changes in the order of a walk, each directory above a change listed once before it (CHG-6).
#[derive(Default)]
struct List {
    changes: Vec<Change>,
    /// For every directory above the present entry: how long its path is and whether it is listed.
    above: Vec<(usize, bool)>,
}

impl List {
    /// The walk has entered a directory.
    fn enter(&mut self, path: &[u8], listed: bool) {
        self.above.push((path.len(), listed));
    }

    /// Lists `path` alone.
    fn push(&mut self, path: &[u8], kind: ChangeKind) {
        self.changes.push(Change { path: [b"/", path].concat(), kind });
    }

    /// Lists `path` and, before it, the directories above.
    fn push_below(&mut self, path: &[u8], kind: ChangeKind) {
        for (length, listed) in &mut self.above {
            if !*listed {
                *listed = true;
                let dir = path.get(..*length).unwrap_or_default();
                self.changes.push(Change { path: [b"/", dir].concat(), kind: ChangeKind::Modify });
            }
        }
        self.push(path, kind);
    }
}
