//! Tar-splits and big data (`store-format.md` 7, 8).

use super::Damage::{
    Empty, Escaping, Foreign, LinkDangling, LinkOut, Missing, Pipe, Truncated, Unreadable,
    WrongType,
};
use super::Step::{Afterwards, Delete, Layers, Neighbour, Use, Write};
use super::{SOUND, Subject};

pub const SUBJECTS: &[Subject] = &[
    Subject {
        file: "g/overlay-layers/{top}.tar-split.gz",
        usage: "diff -u -f /dev/null {top}",
        write: "create-layer -i fresh",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            // store-format.md 8: the diff is then made of the files.
            (Missing, SOUND),
            (Empty, refusing!("{top}.tar-split.gz & damaged store", Use)),
            (Truncated, refusing!("{top}.tar-split.gz & damaged store", Use)),
            (Foreign("", "no gzip at all"), refusing!("{top}.tar-split.gz & damaged store", Use)),
            (WrongType, refusing!("{top}.tar-split.gz & not a regular file", Use)),
            (Pipe, refusing!("{top}.tar-split.gz & not a regular file", Use)),
            (LinkOut, refusing!("{top}.tar-split.gz & symbolic link", Use)),
            (LinkDangling, refusing!("{top}.tar-split.gz & symbolic link", Use)),
            (
                Unreadable,
                &[
                    (Use, "{top}.tar-split.gz & Input/output error"),
                    // The means of this test: a mount, which cannot be renamed.
                    (Delete, "{top}.tar-split.gz & resource busy"),
                ],
            ),
        ],
    },
    Subject {
        file: "g/overlay-layers/{top}/note",
        usage: "get-layer-data -f /dev/null {top} note",
        write: "set-layer-data -f /dev/null {top} more",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("note & file does not exist", Use)),
            // A layer's items have neither size nor digest on record.
            (Empty, SOUND),
            (Truncated, SOUND),
            (WrongType, refusing!("note & not a regular file", Use)),
            (Pipe, refusing!("note & not a regular file", Use)),
            (LinkOut, refusing!("note & symbolic link", Use)),
            (LinkDangling, refusing!("note & symbolic link", Use)),
            (Unreadable, refusing!("note & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay-layers/{top}",
        usage: "get-layer-data -f /dev/null {top} note",
        write: "create-layer -i fresh",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("note & file does not exist", Use)),
            (Empty, refusing!("note & file does not exist", Use)),
            (WrongType, refusing!("note & Not a directory", Use)),
            (LinkOut, refusing!("{top} & symbolic link", Use)),
            (LinkDangling, refusing!("{top} & symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay-images/{img}/manifest",
        usage: "save -q -o {outside}/../saved.tar {img}",
        write: "set-image-data -f /dev/null {img} more",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("manifest", Use)),
            (Empty, refusing!("manifest", Use)),
            (Truncated, refusing!("manifest", Use)),
            // What is written out is counted anew.
            (Foreign("\"size\":", "\"size\":1"), SOUND),
            (Foreign("{img}", "{base}"), refusing!("sha256:{base}", Use)),
            (Escaping("sha256:", "sha256:../../../../outside/canary"), refusing!("manifest", Use)),
            (WrongType, refusing!("manifest & not a regular file", Use)),
            (Pipe, refusing!("manifest & not a regular file", Use)),
            (LinkOut, refusing!("manifest & symbolic link", Use)),
            (LinkDangling, refusing!("manifest & symbolic link", Use)),
            (Unreadable, refusing!("manifest & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay-images/{img}/{config}",
        usage: "save -q -o {outside}/../saved.tar {img}",
        write: "set-image-data -f /dev/null {img} more",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("sha256:{img}", Use)),
            (Empty, refusing!("sha256:{img}", Use)),
            (Truncated, refusing!("sha256:{img}", Use)),
            (Foreign("amd64", "arm64"), refusing!("sha256:{img}", Use)),
            (
                Escaping("sha256:", "sha256:../../../../outside/canary"),
                refusing!("sha256:{img}", Use),
            ),
            (WrongType, refusing!("sha256:{img} & not a regular file", Use)),
            (Pipe, refusing!("sha256:{img} & not a regular file", Use)),
            (LinkOut, refusing!("sha256:{img} & symbolic link", Use)),
            (LinkDangling, refusing!("sha256:{img} & symbolic link", Use)),
            (Unreadable, refusing!("sha256:{img} & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay-images/{img}",
        usage: "get-image-data -f /dev/null {img} manifest",
        write: "create-image -i fresh solo",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("manifest & file does not exist", Use)),
            (Empty, refusing!("manifest & file does not exist", Use)),
            (WrongType, refusing!("manifest & Not a directory", Use)),
            (LinkOut, refusing!("{img} & symbolic link", Use)),
            (LinkDangling, refusing!("{img} & symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay-containers/box/note",
        usage: "get-container-data -f /dev/null box note",
        write: "set-container-data -f /dev/null box more",
        delete: "delete-container box",
        cells: &[
            (Missing, refusing!("note & file does not exist", Use)),
            (Empty, SOUND),
            (Truncated, SOUND),
            (WrongType, refusing!("note & not a regular file", Use)),
            (Pipe, refusing!("note & not a regular file", Use)),
            (LinkOut, refusing!("note & symbolic link", Use)),
            (LinkDangling, refusing!("note & symbolic link", Use)),
            (Unreadable, refusing!("note & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay-containers/box",
        usage: "get-container-data -f /dev/null box note",
        write: "set-container-data -f /dev/null keep more",
        delete: "delete-container box",
        cells: &[
            (Missing, refusing!("note & file does not exist", Use)),
            (Empty, refusing!("note & file does not exist", Use)),
            (WrongType, refusing!("note & Not a directory", Use)),
            (LinkOut, refusing!("box & symbolic link", Use)),
            (LinkDangling, refusing!("box & symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay-layers",
        usage: "mount box; unmount box",
        write: "create-layer -i fresh",
        delete: "delete-container box",
        cells: &[
            (
                Missing,
                &[
                    (Layers, "=0"),
                    (Use, "layer not known"),
                    (Neighbour, "layer not known"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (Empty, &[(Layers, "=0"), (Use, "layer not known"), (Neighbour, "layer not known")]),
            (WrongType, refusing!("overlay-layers", Layers, Use, Neighbour, Write, Delete)),
            (
                LinkDangling,
                &[
                    (Layers, "=0"),
                    (Use, "overlay-layers"),
                    (Neighbour, "overlay-layers"),
                    (Write, "overlay-layers"),
                    (Delete, "overlay-layers"),
                ],
            ),
        ],
    },
];
