//! An additional image store, which is damaged and never mended: its links, its lists and its records. The container stands on
//! `top`, and that on `base`, both of the other store.

use super::Damage::{
    Empty, Escaping, Foreign, LinkDangling, LinkOut, Missing, Pipe, Truncated, Unreadable,
    WrongType,
};
use super::Step::{Images, Layers, Use};
use super::{SOUND, Subject, USE, subject};

/// A new one needs all that the other store says of them.
const CREATE: &str =
    "create-container -i child {img}; mount child; unmount child; delete-container child";
const DELETE: &str = "delete-container box";

pub const SUBJECTS: &[Subject] = &[
    subject(
        "outside/medium/overlay/{top}/link",
        CREATE,
        DELETE,
        &[
            (Missing, refusing!("{top}/link & missing", Use)),
            (Empty, refusing!("{top}/link & empty", Use)),
            (Truncated, refusing!("{top}/link & 26", Use)),
            (Escaping("", "../../../../outside/canary"), refusing!("{top}/link & 26", Use)),
            (WrongType, refusing!("{top}/link & not a regular file", Use)),
            (Pipe, refusing!("{top}/link & not a regular file", Use)),
            (LinkOut, refusing!("{top}/link & symbolic link", Use)),
            (Unreadable, refusing!("{top}/link & Input/output error", Use)),
        ],
    ),
    subject(
        "outside/medium/overlay/l/{toplink}",
        USE,
        DELETE,
        &[
            // The list of ids leads there as well.
            (Missing, SOUND),
            (WrongType, refusing!("l/{toplink} & not a symbolic link", Use)),
            (LinkDangling, refusing!("l/{toplink} & ../<id>/diff", Use)),
        ],
    ),
    subject(
        "outside/medium/overlay/{top}/lower",
        CREATE,
        DELETE,
        &[
            // `lower-layers` says the same, but other programs will read the new layer's.
            (Missing, SOUND),
            (Empty, refusing!("{top}/lower & 26", Use)),
            (Truncated, refusing!("{top}/lower & 26", Use)),
        ],
    ),
    subject(
        "outside/medium/overlay/{top}/lower-layers",
        CREATE,
        DELETE,
        &[
            (Missing, SOUND),
            (Empty, refusing!("lower-layers & not a layer's id", Use)),
            (Foreign("{base}", "nosuch"), refusing!("nosuch & in no store", Use)),
            (
                Escaping("{base}", "../../outside"),
                refusing!("lower-layers & not a layer's id", Use),
            ),
            (WrongType, refusing!("lower-layers & not a regular file", Use)),
            (LinkOut, refusing!("lower-layers & symbolic link", Use)),
        ],
    ),
    subject(
        "outside/medium/overlay/{base}",
        USE,
        DELETE,
        &[
            (Missing, refusing!("{base} & in no store", Use)),
            (Empty, refusing!("{base}/diff & missing", Use)),
            (LinkOut, refusing!("{base} & in no store", Use)),
        ],
    ),
    subject(
        "outside/medium/overlay/{base}/diff",
        USE,
        DELETE,
        &[
            (Missing, refusing!("{base}/diff & missing", Use)),
            (WrongType, refusing!("{base}/diff & not a directory", Use)),
            (LinkOut, refusing!("{base}/diff & additional layer store", Use)),
        ],
    ),
    subject(
        "outside/medium/overlay-layers/layers.json",
        USE,
        DELETE,
        &[
            // The driver knows the layers without it.
            (Missing, &[(Layers, "=3")]),
            (Empty, &[(Layers, "=3")]),
            (Truncated, refusing!("medium/overlay-layers/layers.json", Layers)),
            (WrongType, refusing!("medium/overlay-layers/layers.json", Layers)),
            (Unreadable, refusing!("medium/overlay-layers/layers.json", Layers)),
        ],
    ),
    subject(
        "outside/medium/overlay-images/images.json",
        CREATE,
        DELETE,
        &[
            (Missing, &[(Images, "=1"), (Use, "image not known")]),
            (Truncated, refusing!("medium/overlay-images/images.json", Images, Use)),
            (Foreign("{top}", "nosuch"), refusing!("nosuch", Use)),
        ],
    ),
    subject(
        "g/overlay/{box}/lower-layers",
        USE,
        DELETE,
        &[
            (Missing, SOUND),
            (Foreign("{base}", "nosuch"), refusing!("lower-layers & nosuch & in no store", Use)),
            (
                Escaping("{base}", "../../outside"),
                refusing!("lower-layers & not a layer's id", Use),
            ),
        ],
    ),
];
