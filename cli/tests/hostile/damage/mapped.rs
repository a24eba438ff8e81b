//! Layers whose files have other owners than those of the layers that they are copies of (`overlay-driver.md` 13), and what is left of
//! quotas and composefs.

use super::Damage::{
    Added, Empty, Escaping, Foreign, LinkDangling, LinkOut, Missing, Note, Pipe, WrongType,
};
use super::Step::{Afterwards, Containers, Delete, Images, Layers, Neighbour, Use, Write};
use super::{SOUND, Subject};

/// The container stands on the copy, and that on `top`, whose files it has with other owners.
const USE: &str = "mount box; unmount box";
const DELETE: &str = "delete-container box; delete-image {img}";
const WRITE: &str = "create-layer -i fresh; delete-layer fresh";

pub const SUBJECTS: &[Subject] = &[
    Subject {
        // What is next is found past the gap, and gets the number back.
        file: "g/overlay/{box}/diff1",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/diff1 & not a directory", Use)),
            (LinkOut, refusing!("{box}/diff1 & not a directory", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{box}/diff2",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/diff2 & not a directory", Use)),
            (Pipe, refusing!("{box}/diff2 & not a directory", Use)),
            (LinkOut, refusing!("{box}/diff2 & not a directory", Use)),
            (LinkDangling, refusing!("{box}/diff2 & not a directory", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{box}/diff3",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            // Nothing tells how many there were.
            (Missing, SOUND),
            (WrongType, refusing!("{box}/diff3 & not a directory", Use)),
        ],
    },
    Subject {
        // All that the copy has of its own. What it was made of has the same names and bytes, with other owners.
        file: "g/overlay/{copy}/diff1",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, SOUND),
            (Empty, SOUND),
            (WrongType, refusing!("{copy}/diff1 & not a directory", Use)),
            (LinkOut, refusing!("{copy}/diff1 & not a directory", Use)),
        ],
    },
    Subject {
        // What the copy was made of, and lies on.
        file: "g/overlay/{top}",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, refusing!("{top} & in no store", Use)),
            (Empty, refusing!("{top}/diff & missing", Use)),
            (WrongType, refusing!("{top} & in no store", Use)),
            (LinkOut, refusing!("{top} & in no store", Use)),
            (LinkDangling, refusing!("{top} & in no store", Use)),
        ],
    },
    Subject {
        // Another container on the copy, and another copy.
        file: "g/overlay/{top}",
        usage: "{maps} -i again {img}",
        write: WRITE,
        delete: DELETE,
        cells: &[(Missing, refusing!("{top}", Use))],
    },
    Subject {
        file: "g/overlay/{top}",
        usage: "{othermaps} -i again {img}",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, refusing!("{top}", Use)),
            (Empty, refusing!("{top}", Use)),
            (WrongType, refusing!("{top}", Use)),
            (LinkOut, refusing!("{top}", Use)),
        ],
    },
    Subject {
        file: "g/overlay-layers/layers.json",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
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
    },
    Subject {
        file: "g/overlay-images/images.json",
        usage: "{maps} -i again {img}; mount again; unmount again; delete-container again",
        write: WRITE,
        delete: DELETE,
        cells: &[
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
    },
    Subject {
        file: "g/overlay-containers/containers.json",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
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
    },
    Subject {
        // A layer that says it is a composefs layer has an image (ELS-7).
        file: "g/overlay/{base}/composefs-data",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[(Added, refusing!("{base}/composefs-data/composefs.blob & missing", Use))],
    },
    Subject {
        // Of a process that was killed over it (QUO-3).
        file: "g/overlay/backingFsBlockDev.tmp",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[(Added, SOUND)],
    },
    Subject {
        // What is no note is an attribute like others; the disk tells owner and mode.
        file: "g/overlay/{box}/diff2/older2",
        usage: "--storage-opt overlay.force_mask=shared diff -u -f /dev/null {box}",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Note("x:y:z"), SOUND),
            (Note("0:0:9999:file"), SOUND),
            (Note("0:0:0644:nonsense"), SOUND),
            (Note(":"), SOUND),
        ],
    },
    Subject {
        // The root's, which children take.
        file: "g/overlay/{top}/diff",
        usage: "--storage-opt overlay.force_mask=shared create-layer -r -i child {top}; diff -u -f /dev/null child; delete-layer child",
        write: WRITE,
        delete: DELETE,
        cells: &[(Note("x:y:z"), SOUND), (Note("99999999999:0:0755:dir"), SOUND)],
    },
];
