//! The damage matrix: each file of a store, damaged in each way that applies to it (`store-format.md` 10 and 16).
//!
//! For each cell a fresh store is damaged in one place; then the command lists, uses the damaged object and a sound one beside it,
//! writes elsewhere and deletes the damaged object. The tables say which of these are refused, with which words; all else must
//! succeed. Whatever is refused leaves the damaged file as it was; and what stands outside the store is never changed.

/// These words in each of these steps.
macro_rules! refusing {
    ($words:literal, $($step:ident),*) => { &[$(($step, $words)),*] };
}

mod beside;
mod cell;
mod closed;
mod data;
mod drivers;
mod locks;
mod mapped;
mod records;
mod store;
mod vfs;

use std::sync::Mutex;
use std::thread;

/// A file of the store, and what happens in each of its cells.
#[derive(Clone, Copy)]
pub struct Subject {
    /// The file below the ground, with placeholders.
    file: &'static str,
    /// Commands that need the file, `;` between them.
    usage: &'static str,
    /// Commands that write beside it.
    write: &'static str,
    /// Commands that delete the object.
    delete: &'static str,
    cells: &'static [(Damage, Deviations)],
}

/// A file of the driver's, beside which a layer is written.
const fn subject(
    file: &'static str,
    usage: &'static str,
    delete: &'static str,
    cells: &'static [(Damage, Deviations)],
) -> Subject {
    Subject { file, usage, write: "create-layer -i fresh; delete-layer fresh", delete, cells }
}

/// All that a container stands on.
const USE: &str = "mount box; unmount box";

/// Everything that the image brought.
const DELETE: &str = "delete-container box; delete-container vol; delete-image {img}";

/// What does not simply succeed in a cell.
type Deviations = &'static [(Step, &'static str)];

/// Every step succeeds, with the same lists as before.
const SOUND: Deviations = &[];

#[derive(Debug, Clone, Copy)]
pub enum Damage {
    /// An empty directory where there is nothing.
    Added,
    /// A note of owner and mode that is none (`overlay-driver.md` FMK-3, ARC-9).
    Note(&'static str),
    Missing,
    Empty,
    /// The first half.
    Truncated,
    /// A directory in a file's or link's place, a file in a directory's.
    WrongType,
    /// A named pipe, which nobody serves.
    Pipe,
    /// The first text replaced by the second, which names what is not there or another's; all of it, if the first is empty.
    Foreign(&'static str, &'static str),
    /// As `Foreign`, with a text that leads out of the store.
    Escaping(&'static str, &'static str),
    /// Moved to the outside, and a link left that leads there.
    LinkOut,
    /// A link to nothing, outside.
    LinkDangling,
    /// Whatever reads or writes it gets EIO.
    Unreadable,
    /// A directory without any permission, for readers that need one.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The lists. Here `=3` stands for a success with three lines.
    Layers,
    Images,
    Containers,
    Use,
    /// The use of the sound objects.
    Neighbour,
    Write,
    Delete,
    /// Not a step: with `rebuilt` the file may be another one before the deletion.
    Afterwards,
}

#[test]
fn damage_is_named_contained_and_deletable() {
    withstand(
        store::template("overlay"),
        &[records::SUBJECTS, locks::SUBJECTS, data::SUBJECTS, drivers::SUBJECTS, closed::SUBJECTS]
            .concat(),
    );
}

#[test]
fn damage_to_whole_trees_is_named_contained_and_deletable() {
    withstand(store::template("vfs"), vfs::SUBJECTS);
}

#[test]
fn damage_to_layers_with_other_owners_is_named_contained_and_deletable() {
    // MAP-1a, MAP-2, ELS-7
    withstand(store::mapped(), mapped::SUBJECTS);
}

#[test]
fn damage_to_a_store_beside_is_named_contained_and_deletable() {
    // ADD-2, ADD-7, store-format.md 16.30
    withstand(store::beside(), beside::SUBJECTS);
}

fn withstand(template: Option<store::Template>, subjects: &[Subject]) {
    let Some(template) = template else { return };
    let cells = subjects.iter().flat_map(|s| s.cells.iter().map(move |cell| (s, cell)));
    let cells: Vec<_> = cells.collect();
    let (next, failures) = (Mutex::new(cells.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from).min(8) {
            scope.spawn(|| {
                loop {
                    let Some((subject, (damage, deviations))) = next.lock().unwrap().next() else {
                        return;
                    };
                    let failed = cell::run(&template, subject, *damage, deviations);
                    failures.lock().unwrap().extend(failed);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("damage: {} files, {} cells", subjects.len(), cells.len());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
