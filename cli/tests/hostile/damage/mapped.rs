//! Layers whose files have other owners than those of the layers that they are copies of (`overlay-driver.md` 13), and what is left of
//! quotas and composefs. The container stands on the copy, and that on `top`, whose files it has with other owners.

use super::Damage::{
    Added, Empty, Escaping, Foreign, LinkDangling, LinkOut, Missing, Note, Pipe, WrongType,
};
use super::Step::{Afterwards, Containers, Delete, Images, Layers, Neighbour, Use, Write};
use super::{SOUND, Subject, USE, subject};

const DELETE: &str = "delete-container box; delete-image {img}";

pub const SUBJECTS: &[Subject] = &[
    // What is next is found past the gap, and gets the number back.
    subject(
        "g/overlay/{box}/diff1",
        USE,
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/diff1 & not a directory", Use)),
            (LinkOut, refusing!("{box}/diff1 & not a directory", Use)),
        ],
    ),
    subject(
        "g/overlay/{box}/diff2",
        USE,
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/diff2 & not a directory", Use)),
            (Pipe, refusing!("{box}/diff2 & not a directory", Use)),
            (LinkOut, refusing!("{box}/diff2 & not a directory", Use)),
            (LinkDangling, refusing!("{box}/diff2 & not a directory", Use)),
        ],
    ),
    subject(
        "g/overlay/{box}/diff3",
        USE,
        DELETE,
        &[
            // Nothing tells how many there were.
            (Missing, SOUND),
            (WrongType, refusing!("{box}/diff3 & not a directory", Use)),
        ],
    ),
    // All that the copy has of its own. What it was made of has the same names and bytes, with other owners.
    subject(
        "g/overlay/{copy}/diff1",
        USE,
        DELETE,
        &[
            (Missing, SOUND),
            (Empty, SOUND),
            (WrongType, refusing!("{copy}/diff1 & not a directory", Use)),
            (LinkOut, refusing!("{copy}/diff1 & not a directory", Use)),
        ],
    ),
    // What the copy was made of, and lies on.
    subject(
        "g/overlay/{top}",
        USE,
        DELETE,
        &[
            (Missing, refusing!("{top} & in no store", Use)),
            (Empty, refusing!("{top}/diff & missing", Use)),
            (WrongType, refusing!("{top} & in no store", Use)),
            (LinkOut, refusing!("{top} & in no store", Use)),
            (LinkDangling, refusing!("{top} & in no store", Use)),
        ],
    ),
    // Another container on the copy, and another copy.
    subject(
        "g/overlay/{top}",
        "{maps} -i again {img}",
        DELETE,
        &[(Missing, refusing!("{top}", Use))],
    ),
    subject(
        "g/overlay/{top}",
        "{othermaps} -i again {img}",
        DELETE,
        &[
            (Missing, refusing!("{top}", Use)),
            (Empty, refusing!("{top}", Use)),
            (WrongType, refusing!("{top}", Use)),
            (LinkOut, refusing!("{top}", Use)),
        ],
    ),
    subject(
        "g/overlay-layers/layers.json",
        USE,
        DELETE,
        &[
            // The record of what the copy was made of is not needed.
            (Foreign("\"id\":\"{top}\"", "\"id\":\"nosuch\""), SOUND),
            (
                Foreign("\"host_id\":100000", "\"host_id\":\"x\""),
                refusing!("layers.json", Layers, Use, Neighbour, Write, Delete),
            ),
            (
                Foreign("\"host_id\":100000", "\"host_id\":-1"),
                refusing!("layers.json", Layers, Use, Neighbour, Write, Delete),
            ),
            (
                Foreign("\"host_id\":100000", "\"host_id\":4294967295"),
                refusing!("{copy} & other id maps", Use),
            ),
            (Foreign("\"size\":65536", "\"size\":0"), refusing!("{copy} & other id maps", Use)),
            // The maps of both, lost.
            (
                Foreign(
                    ",\"uidmap\":[{\"container_id\":0,\"host_id\":100000,\"size\":65536}],\"gidmap\":[{\"container_id\":0,\"host_id\":100000,\"size\":65536}]",
                    "",
                ),
                refusing!("{box}", Use),
            ),
        ],
    ),
    subject(
        "g/overlay-images/images.json",
        "{maps} -i again {img}; mount again; unmount again; delete-container again",
        DELETE,
        &[
            // Then there is no copy that fits, and another one is made.
            (
                Foreign("\"mapped-layers\":[\"{copy}\"]", "\"mapped-layers\":[\"nosuch\"]"),
                &[(Afterwards, "rebuilt")],
            ),
            (
                Escaping("\"mapped-layers\":[\"{copy}\"]", "\"mapped-layers\":[\"../../outside\"]"),
                &[(Afterwards, "rebuilt")],
            ),
            (
                Foreign("\"mapped-layers\":[\"{copy}\"]", "\"mapped-layers\":[7]"),
                refusing!("images.json", Images, Use, Write, Delete),
            ),
        ],
    ),
    subject(
        "g/overlay-containers/containers.json",
        USE,
        DELETE,
        &[
            // Other maps than its layer's.
            (
                Foreign("\"host_id\":100000", "\"host_id\":200000"),
                refusing!("{copy} & other id maps & anew", Use),
            ),
            (
                Foreign("\"host_id\":100000", "\"host_id\":\"x\""),
                refusing!("containers.json", Containers, Use, Neighbour, Write, Delete),
            ),
        ],
    ),
    // A layer that says it is a composefs layer has an image (ELS-7).
    subject(
        "g/overlay/{base}/composefs-data",
        USE,
        DELETE,
        &[(Added, refusing!("{base}/composefs-data/composefs.blob & missing", Use))],
    ),
    // Of a process that was killed over it (QUO-3).
    subject("g/overlay/backingFsBlockDev.tmp", USE, DELETE, &[(Added, SOUND)]),
    // What is no note is an attribute like others; the disk tells owner and mode.
    subject(
        "g/overlay/{box}/diff2/older2",
        "--storage-opt overlay.force_mask=shared diff -u -f /dev/null {box}",
        DELETE,
        &[
            (Note("x:y:z"), SOUND),
            (Note("0:0:9999:file"), SOUND),
            (Note("0:0:0644:nonsense"), SOUND),
            (Note(":"), SOUND),
        ],
    ),
    // The root's, which children take.
    subject(
        "g/overlay/{top}/diff",
        "--storage-opt overlay.force_mask=shared create-layer -r -i child {top}; diff -u -f /dev/null child; delete-layer child",
        DELETE,
        &[(Note("x:y:z"), SOUND), (Note("99999999999:0:0755:dir"), SOUND)],
    ),
];
