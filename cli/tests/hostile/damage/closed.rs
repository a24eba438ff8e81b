//! Directories of the overlay driver that the caller may not enter. A reader is refused what it needs of them, and reads all else.
//!
//! The uses are such as mount nothing: without the right to pass over modes, no overlay can be mounted for writing.

use super::Damage::Closed;
use super::Step::{Neighbour, Use};
use super::{DELETE, SOUND, Subject, subject};
use crate::ground::Ground;

/// Of what the container has changed: read from its own content.
const DIFF: &str = "diff -u -f /dev/null {vol}";

pub const SUBJECTS: &[Subject] = &[
    subject(
        "g/overlay",
        DIFF,
        DELETE,
        &[(Closed, refusing!("g/overlay & Permission denied", Use, Neighbour))],
    ),
    subject(
        "g/overlay/l",
        "mount box",
        DELETE,
        &[(Closed, refusing!("overlay/l/{toplink} & Permission denied", Use))],
    ),
    subject(
        "g/overlay/{vol}",
        DIFF,
        DELETE,
        &[(Closed, refusing!("{vol} & Permission denied", Use))],
    ),
    subject(
        "g/overlay/{vol}/diff",
        DIFF,
        DELETE,
        &[(Closed, refusing!("{vol}/diff & Permission denied", Use))],
    ),
    subject(
        "g/overlay/{top}",
        "diff -u -f /dev/null {top}",
        DELETE,
        &[(Closed, refusing!("{top} & Permission denied", Use))],
    ),
    subject(
        "g/overlay/{top}/diff",
        "diff -u -f /dev/null {top}",
        DELETE,
        &[(Closed, refusing!("{top}/diff & Permission denied", Use))],
    ),
    // What stands below is looked at for what the container has changed.
    subject(
        "g/overlay/{base}/diff",
        DIFF,
        DELETE,
        &[(Closed, refusing!("{base}/diff & Permission denied", Use))],
    ),
    // What only a mount needs.
    subject("g/overlay/{vol}/work", DIFF, DELETE, &[(Closed, SOUND)]),
    subject("g/overlay/{vol}/merged", DIFF, DELETE, &[(Closed, SOUND)]),
    subject("g/overlay/{box}/diff1", DIFF, DELETE, &[(Closed, SOUND)]),
    subject("g/overlay/{base}/empty", DIFF, DELETE, &[(Closed, SOUND)]),
    // What only a removal needs.
    subject("g/overlay/tempdirs", DIFF, DELETE, &[(Closed, SOUND)]),
    subject("g/overlay-layers/tmp", DIFF, DELETE, &[(Closed, SOUND)]),
    // Without what was probed, it is probed again; this caller has not the rights.
    subject("r/overlay", DIFF, DELETE, &[(Closed, refusing!("probing & Permission denied", Use))]),
];

#[test]
fn what_a_caller_may_not_do_is_not_remembered_as_what_the_kernel_cannot() {
    // INI-12, DEF-17
    let Some(mut ground) = Ground::new() else { return };
    ground.hinder(true);
    ground.run("create-layer -i a").check_refusal(&["probing", "Permission denied"]).unwrap();
    ground.hinder(false);
    ground.ok("create-layer -i a");
    ground.ok("mount a");
    ground.ok("unmount a");
}
