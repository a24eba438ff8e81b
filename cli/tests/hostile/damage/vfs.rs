//! The home of the driver vfs, where each layer is a whole tree (`store-format.md` 13).

use super::Damage::{Closed, Empty, LinkDangling, LinkOut, Missing, Pipe, WrongType};
use super::Step::{Afterwards, Delete, Layers, Neighbour, Use, Write};
use super::{SOUND, Subject};

const USE: &str = "mount box; unmount box";
/// Everything that the image brought.
const DELETE: &str = "delete-container box; delete-container vol; delete-image {img}";
const WRITE: &str = "create-layer -i fresh; delete-layer fresh";

pub const SUBJECTS: &[Subject] = &[
    Subject {
        file: "g/vfs/dir/{box}",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, refusing!("{box} & layer not known", Use)),
            (Empty, SOUND),
            (WrongType, refusing!("{box} & layer not known", Use)),
            (Pipe, refusing!("{box} & layer not known", Use)),
            (LinkOut, refusing!("{box} & layer not known", Use)),
            (LinkDangling, refusing!("{box} & layer not known", Use)),
            // To name the tree is all that mounting is.
            (Closed, SOUND),
        ],
    },
    Subject {
        file: "g/vfs/dir/{top}",
        usage: "diff -u -f /dev/null {top}",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, refusing!("{top} & layer not known", Use)),
            (Empty, refusing!("{top} & opt/top", Use)),
            (WrongType, refusing!("{top} & layer not known", Use)),
            (LinkOut, refusing!("{top} & layer not known", Use)),
            (LinkDangling, refusing!("{top} & layer not known", Use)),
            (Closed, refusing!("{top} & Permission denied", Use)),
        ],
    },
    Subject {
        // Of which new layers are copies.
        file: "g/vfs/dir/{top}",
        usage: "create-container -i child {img}",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, refusing!("{top} & layer not known", Use)),
            (WrongType, refusing!("{top} & layer not known", Use)),
            (LinkOut, refusing!("{top} & layer not known", Use)),
        ],
    },
    Subject {
        file: "g/vfs/dir",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
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
    },
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
    Subject {
        file: "g/vfs-layers/{top}",
        usage: "get-layer-data -f /dev/null {top} note",
        write: WRITE,
        delete: DELETE,
        cells: &[(Closed, refusing!("note & Permission denied", Use))],
    },
    Subject {
        file: "g/vfs-images/{img}",
        usage: "get-image-data -f /dev/null {img} manifest",
        write: WRITE,
        delete: DELETE,
        cells: &[(Closed, refusing!("manifest & Permission denied", Use))],
    },
    Subject {
        file: "g/vfs-containers/box",
        usage: "get-container-data -f /dev/null box note",
        write: WRITE,
        delete: DELETE,
        cells: &[(Closed, refusing!("note & Permission denied", Use))],
    },
    Subject {
        file: "g/vfs-layers",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[(Closed, refusing!("vfs-layers & Permission denied", Layers, Use, Neighbour))],
    },
];
