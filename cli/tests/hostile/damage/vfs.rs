//! The home of the driver vfs, where each layer is a whole tree (`store-format.md` 13).

use super::Damage::{Closed, Empty, LinkDangling, LinkOut, Missing, Pipe, WrongType};
use super::Step::{Afterwards, Delete, Layers, Neighbour, Use, Write};
use super::{DELETE, SOUND, Subject, USE, subject};

pub const SUBJECTS: &[Subject] = &[
    subject(
        "g/vfs/dir/{box}",
        USE,
        DELETE,
        &[
            (Missing, refusing!("{box} & layer not known", Use)),
            (Empty, SOUND),
            (WrongType, refusing!("{box} & layer not known", Use)),
            (Pipe, refusing!("{box} & layer not known", Use)),
            (LinkOut, refusing!("{box} & layer not known", Use)),
            (LinkDangling, refusing!("{box} & layer not known", Use)),
            // To name the tree is all that mounting is.
            (Closed, SOUND),
        ],
    ),
    subject(
        "g/vfs/dir/{top}",
        "diff -u -f /dev/null {top}",
        DELETE,
        &[
            (Missing, refusing!("{top} & layer not known", Use)),
            (Empty, refusing!("{top} & opt/top", Use)),
            (WrongType, refusing!("{top} & layer not known", Use)),
            (LinkOut, refusing!("{top} & layer not known", Use)),
            (LinkDangling, refusing!("{top} & layer not known", Use)),
            (Closed, refusing!("{top} & Permission denied", Use)),
        ],
    ),
    // Of which new layers are copies.
    subject(
        "g/vfs/dir/{top}",
        "create-container -i child {img}",
        DELETE,
        &[
            (Missing, refusing!("{top} & layer not known", Use)),
            (WrongType, refusing!("{top} & layer not known", Use)),
            (LinkOut, refusing!("{top} & layer not known", Use)),
        ],
    ),
    subject(
        "g/vfs/dir",
        USE,
        DELETE,
        &[
            (
                Missing,
                &[
                    (Use, "layer not known"),
                    (Neighbour, "layer not known"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (Empty, refusing!("layer not known", Use, Neighbour)),
            (WrongType, refusing!("vfs/dir", Use, Neighbour, Write, Delete)),
            (LinkDangling, refusing!("vfs/dir", Use, Neighbour, Write, Delete)),
            (Closed, refusing!("vfs/dir", Use, Neighbour)),
        ],
    ),
    Subject {
        // A layer is moved there on its way out.
        file: "g/vfs/tempdirs",
        usage: USE,
        write: "create-layer -i fresh",
        delete: DELETE,
        cells: &[
            (Missing, SOUND),
            (Empty, SOUND),
            (WrongType, refusing!("vfs/tempdirs", Delete)),
            (Pipe, refusing!("vfs/tempdirs", Delete)),
            (LinkOut, refusing!("vfs/tempdirs & symbolic link", Delete)),
            (LinkDangling, refusing!("vfs/tempdirs & symbolic link", Delete)),
        ],
    },
    subject(
        "g/vfs-layers/{top}",
        "get-layer-data -f /dev/null {top} note",
        DELETE,
        &[(Closed, refusing!("note & Permission denied", Use))],
    ),
    subject(
        "g/vfs-images/{img}",
        "get-image-data -f /dev/null {img} manifest",
        DELETE,
        &[(Closed, refusing!("manifest & Permission denied", Use))],
    ),
    subject(
        "g/vfs-containers/box",
        "get-container-data -f /dev/null box note",
        DELETE,
        &[(Closed, refusing!("note & Permission denied", Use))],
    ),
    subject(
        "g/vfs-layers",
        USE,
        DELETE,
        &[(Closed, refusing!("vfs-layers & Permission denied", Layers, Use, Neighbour))],
    ),
];
